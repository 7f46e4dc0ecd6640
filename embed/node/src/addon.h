/* What the files of the addon share.
 *
 * The addon translates: values of JavaScript to pointers and lengths, callbacks of the library to calls of the functions
 * that lib/native.js has given it (hooks). It decides nothing. Everything runs on Node's main thread, log lines excepted. */
#ifndef WORKHIVE_NODE_ADDON_H
#define WORKHIVE_NODE_ADDON_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "library.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* ---- addon.c: the environment, hooks, errors ---- */

/* Node's main thread; NULL once it is being taken down, when nothing of JavaScript may be called any more. */
extern napi_env env;
/* The hive of this process; 0 before run(). */
extern wh_hive hive;

enum hook {
    HOOK_PROCESS, HOOK_UID, HOOK_CONN, HOOK_MESSAGE, HOOK_REQUEST, HOOK_OPENING, HOOK_CLOSE, HOOK_ERROR, HOOK_FORGET,
    HOOK_POOL, HOOK_INPUT, HOOK_ENCODE, HOOK_TOPIC, HOOK_LOG, HOOK_OVER, HOOK_DESCRIBE, HOOKS
};

/* Calls a function of lib/native.js. False if it has thrown: then the text of what it has thrown has been told to the
 * library, so that the callback only has to return WH_ERR_CALLBACK. To be called inside a handle scope. */
bool call_hook(enum hook hook, size_t argc, const napi_value *argv, napi_value *result);

/* Throws the library's last error, with its name as `code`. Returns NULL, for the caller to return. */
napi_value throw_result(wh_result result);
napi_value throw_type(const char *message);

/* ---- value.c: values ---- */

/* Bytes of a JavaScript value: those of a string as UTF-8, or those of a Uint8Array where they are. */
struct text {
    const uint8_t *data;
    size_t len;
    uint8_t *heap;      /* what is to be freed */
    uint8_t small[2048];
};
/* False if an exception was thrown. Afterwards text_free. */
bool text_take(struct text *text, napi_value value, const char *what);
/* One byte for each character, as header fields are written. */
bool text_take_latin1(struct text *text, napi_value value);
void text_free(struct text *text);

/* A list of them. */
struct texts {
    struct text *each;
    wh_bytes *bytes;
    uint32_t count;
};
bool texts_take(struct texts *texts, napi_value list, const char *what);
void texts_free(struct texts *texts);

bool arguments(napi_env from, napi_callback_info info, size_t count, napi_value *argv);
int32_t int_of(napi_value value);
double number_of(napi_value value);
bool is_nullish(napi_value value);

napi_value make_int(int64_t value);
napi_value make_text(const void *data, size_t len);    /* of UTF-8 */
napi_value make_latin1(const void *data, size_t len);
napi_value make_buffer(const void *data, size_t len);  /* a copy */
napi_value make_bool(bool value);
napi_value make_undefined(void);
void set_field(napi_value object, const char *name, napi_value value);

/* A promise that is fulfilled once, or dropped with what the second function makes. */
struct promise {
    napi_deferred deferred;
    napi_value (*otherwise)(void);
};
struct promise *promise_new(napi_value *promise, napi_value (*otherwise)(void));
void promise_settle(struct promise *promise, napi_value value);
void promise_drop(void *promise);  /* the library's destroy function */

/* The answer has come: for the library's functions that tell one. */
#define SETTLE(user, value) \
    do { \
        napi_handle_scope scope; \
        if (env != NULL && napi_open_handle_scope(env, &scope) == napi_ok) { \
            promise_settle((user), (value)); \
            napi_close_handle_scope(env, scope); \
        } \
    } while (0)

/* ---- loop.c: our loop inside Node's ---- */

/* That something was asked of the library outside of its turn, so that it gets one more before Node waits again. */
void loop_touch(void);

/* ---- conn.c: connections ---- */

/* The number by which JavaScript knows a connection, -1 if it has none any more. */
int32_t seat_of(wh_conn conn);
/* The connection behind an argument; false if it has ended. */
bool conn_of(napi_value seat, wh_conn *conn);
int32_t fail_callback(void);

/* ---- what each file adds to the exports ---- */

struct export { const char *name; napi_callback function; };
void export_all(napi_value exports, const struct export *all, size_t count);
void loop_exports(napi_value exports);
void hive_exports(napi_value exports);
void worker_exports(napi_value exports);
void conn_exports(napi_value exports);
void route_exports(napi_value exports);
void ask_exports(napi_value exports);
void protocol_exports(napi_value exports);

/* ---- worker.c and request.c: callbacks of definitions ---- */

/* Which callback of which definition. */
struct listener { int32_t event; int32_t worker; bool has_text; };
int32_t on_request(void *user, wh_conn conn, const wh_request *request);
int32_t on_opening(void *user, wh_conn conn, wh_opening *opening);

#endif
