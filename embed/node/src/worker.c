/* Definitions of groups and listeners, and the callbacks that concern processes and users. */
#include "addon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- options, by the names that JavaScript has for them ---- */

static const struct { const char *name; uint32_t option; bool is_text; } OPTIONS[] = {
    { "count", WH_COUNT, false }, { "reusePort", WH_REUSE_PORT, false }, { "shared", WH_SHARED, false },
    { "reloadable", WH_RELOADABLE, false }, { "backlog", WH_BACKLOG, false }, { "drain", WH_DRAIN, false },
    { "bootTimeout", WH_BOOT_TIMEOUT, false }, { "stuckAfter", WH_STUCK_AFTER, false },
    { "maxRequests", WH_MAX_REQUESTS, false }, { "maxLifetime", WH_MAX_LIFETIME, false },
    { "maxMemory", WH_MAX_MEMORY, false }, { "nofile", WH_NOFILE, false }, { "nice", WH_NICE, false },
    { "oomScoreAdj", WH_OOM_SCORE_ADJ, false }, { "umask", WH_UMASK, false },
    { "maxSendBuffer", WH_MAX_SEND_BUFFER, false }, { "routed", WH_ROUTED, false }, { "maxUids", WH_MAX_UIDS, false },
    { "maxRooms", WH_MAX_ROOMS, false }, { "idleTimeout", WH_IDLE_TIMEOUT, false },
    { "messageTimeout", WH_MESSAGE_TIMEOUT, false }, { "sendTimeout", WH_SEND_TIMEOUT, false },
    { "linger", WH_LINGER, false }, { "halfOpen", WH_HALF_OPEN, false }, { "maxMessage", WH_MAX_MESSAGE, false },
    { "maxHead", WH_MAX_HEAD, false }, { "maxHeaders", WH_MAX_HEADERS, false },
    { "headerTimeout", WH_HEADER_TIMEOUT, false }, { "bodyTimeout", WH_BODY_TIMEOUT, false },
    { "keepAliveTimeout", WH_KEEP_ALIVE_TIMEOUT, false }, { "pingInterval", WH_PING_INTERVAL, false },
    { "pongTimeout", WH_PONG_TIMEOUT, false }, { "closeTimeout", WH_CLOSE_TIMEOUT, false },
    { "handshakeTimeout", WH_HANDSHAKE_TIMEOUT, false }, { "maxFragments", WH_MAX_FRAGMENTS, false },
    { "name", WH_NAME, true }, { "user", WH_USER, true }, { "group", WH_GROUP, true },
    { "cpuAffinity", WH_CPU_AFFINITY, true }, { "chdir", WH_CHDIR, true }, { "oneProcess", WH_ONE_PROCESS, true },
};

/* ---- callbacks ---- */

static int32_t call_in_scope(enum hook hook, size_t argc, const napi_value *argv)
{
    return call_hook(hook, argc, argv, NULL) ? WH_OK : WH_ERR_CALLBACK;
}

/* workerStart says true if it has returned a promise, which lib/run.js then waits for. */
static int32_t on_process(void *user, bool may_wait)
{
    const struct listener *listener = user;
    napi_handle_scope scope;
    if (env == NULL || napi_open_handle_scope(env, &scope) != napi_ok)
        return WH_OK;
    napi_value argv[] = { make_int(listener->event), make_int(listener->worker) }, waits;
    int32_t said = WH_ERR_CALLBACK;
    if (call_hook(HOOK_PROCESS, 2, argv, &waits)) {
        bool later = false;
        napi_get_value_bool(env, waits, &later);
        said = may_wait && later ? WH_PENDING : WH_OK;
    }
    napi_close_handle_scope(env, scope);
    return said;
}

static int32_t on_start(void *user)
{
    return on_process(user, true);
}

static int32_t on_reload(void *user)
{
    return on_process(user, false);
}

static int32_t on_uid(void *user, const uint8_t *uid, size_t len)
{
    const struct listener *listener = user;
    napi_handle_scope scope;
    if (env == NULL || napi_open_handle_scope(env, &scope) != napi_ok)
        return WH_OK;
    napi_value argv[] = { make_int(listener->event), make_int(listener->worker), make_buffer(uid, len) };
    int32_t said = call_in_scope(HOOK_UID, 3, argv);
    napi_close_handle_scope(env, scope);
    return said;
}

static int32_t on_conn(void *user, wh_conn conn)
{
    const struct listener *listener = user;
    napi_handle_scope scope;
    if (env == NULL || napi_open_handle_scope(env, &scope) != napi_ok)
        return WH_OK;
    napi_value argv[] = { make_int(listener->event), make_int(listener->worker), make_int(seat_of(conn)) };
    int32_t said = call_in_scope(HOOK_CONN, 3, argv);
    napi_close_handle_scope(env, scope);
    return said;
}

/* Short messages are copied into one Buffer, of which lib/dispatch.js makes slices: a Buffer of its own would cost each more
 * than all else together. Node's sockets do the same with what they read. */
enum { POOL_MOST = 4096 };
static napi_ref pool;
static size_t pool_used;

/* The bytes of the Buffer behind a reference, asked for each time: a program can take them away from it (transfer). */
static uint8_t *pool_bytes(size_t *size)
{
    napi_value buffer;
    void *bytes = NULL;
    *size = 0;
    if (pool == NULL || napi_get_reference_value(env, pool, &buffer) != napi_ok || buffer == NULL
        || napi_get_buffer_info(env, buffer, &bytes, size) != napi_ok)
        return NULL;
    return bytes;
}

static bool pool_renew(void)
{
    napi_value buffer;
    if (!call_hook(HOOK_POOL, 0, NULL, &buffer))
        return false;
    if (pool != NULL)
        napi_delete_reference(env, pool);
    pool = NULL;
    pool_used = 0;
    return napi_create_reference(env, buffer, 1, &pool) == napi_ok;
}

/* Where `len` bytes go, or -1. */
static int64_t pool_take(const uint8_t *data, size_t len)
{
    size_t size;
    uint8_t *bytes = pool_bytes(&size);
    if (bytes == NULL || size < pool_used + len) {
        if (!pool_renew() || (bytes = pool_bytes(&size)) == NULL || size < len)
            return -1;
    }
    size_t at = pool_used;
    memcpy(bytes + at, data, len);
    /* Views of longer numbers want to begin at a multiple of eight. */
    pool_used = at + ((len + 7) & ~(size_t)7);
    return (int64_t)at;
}

static int32_t on_message(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text)
{
    const struct listener *listener = user;
    napi_handle_scope scope;
    if (env == NULL || napi_open_handle_scope(env, &scope) != napi_ok)
        return WH_OK;
    napi_value message;
    size_t args = 3;
    int64_t at = -1;
    if (is_text && listener->has_text) {
        message = make_text(data, len);
    } else if (len <= POOL_MOST && (at = pool_take(data, len)) >= 0) {
        message = make_int(at);
        args = 4;
    } else {
        message = make_buffer(data, len);
    }
    int32_t said = WH_ERR_CALLBACK;
    if (message == NULL) {
        static const char TOO_LONG[] = "the message is longer than strings may be in Node";
        lib.wh_fail_text(TOO_LONG, sizeof TOO_LONG - 1);
    } else {
        napi_value argv[] = { make_int(listener->worker), make_int(seat_of(conn)), message, make_int((int64_t)len) };
        said = call_in_scope(HOOK_MESSAGE, args, argv);
    }
    napi_close_handle_scope(env, scope);
    return said;
}

static int32_t on_close(void *user, wh_conn conn, const wh_close_info *info)
{
    const struct listener *listener = user;
    napi_handle_scope scope;
    if (env == NULL || napi_open_handle_scope(env, &scope) != napi_ok)
        return WH_OK;
    napi_value argv[] = {
        make_int(listener->worker), make_int(seat_of(conn)), make_int(info->reason), make_int(info->peer_code),
        make_text(info->peer_reason.data, info->peer_reason.len), make_text(info->text.data, info->text.len),
    };
    int32_t said = call_in_scope(HOOK_CLOSE, COUNT_OF(argv), argv);
    napi_close_handle_scope(env, scope);
    return said;
}

static int32_t on_error(void *user, wh_conn conn, uint32_t kind, const char *text, size_t len)
{
    const struct listener *listener = user;
    napi_handle_scope scope;
    if (env == NULL || napi_open_handle_scope(env, &scope) != napi_ok)
        return WH_OK;
    napi_value argv[] = { make_int(listener->worker), make_int(seat_of(conn)), make_int(kind), make_text(text, len) };
    int32_t said = call_in_scope(HOOK_ERROR, COUNT_OF(argv), argv);
    napi_close_handle_scope(env, scope);
    return said;
}

/* ---- events: what each is called, and what it takes ---- */

enum { TAKES_START, TAKES_RELOAD, TAKES_UID, TAKES_CONN, TAKES_MESSAGE, TAKES_REQUEST, TAKES_OPENING, TAKES_CLOSE, TAKES_ERROR };

typedef wh_result (*on_worker_fn)(wh_worker, wh_worker_fn, void *, wh_destroy_fn);
typedef wh_result (*on_uid_fn)(wh_worker, wh_uid_fn, void *, wh_destroy_fn);
typedef wh_result (*on_conn_fn)(wh_worker, wh_conn_fn, void *, wh_destroy_fn);

static const struct { const char *name; int takes; size_t function; } EVENTS[] = {
#define EVENT(name, takes, function) { name, takes, offsetof(struct library, function) }
    EVENT("workerStart", TAKES_START, wh_on_worker_start), EVENT("workerReload", TAKES_RELOAD, wh_on_worker_reload),
    EVENT("uidOnline", TAKES_UID, wh_on_uid_online), EVENT("uidOffline", TAKES_UID, wh_on_uid_offline),
    EVENT("connect", TAKES_CONN, wh_on_connect), EVENT("bufferFull", TAKES_CONN, wh_on_buffer_full),
    EVENT("bufferDrain", TAKES_CONN, wh_on_buffer_drain), EVENT("goodbye", TAKES_CONN, wh_on_goodbye),
    EVENT("websocketConnected", TAKES_CONN, wh_on_websocket_connected),
    EVENT("message", TAKES_MESSAGE, wh_on_message), EVENT("request", TAKES_REQUEST, wh_on_request),
    EVENT("websocketConnect", TAKES_OPENING, wh_on_websocket_connect), EVENT("close", TAKES_CLOSE, wh_on_close),
    EVENT("error", TAKES_ERROR, wh_on_error),
#undef EVENT
};

static wh_result set_callback(wh_worker worker, int32_t event, struct listener *user)
{
    const void *function = (const char *)&lib + EVENTS[event].function;
    switch (EVENTS[event].takes) {
    case TAKES_START: return (*(on_worker_fn const *)function)(worker, on_start, user, free);
    case TAKES_RELOAD: return (*(on_worker_fn const *)function)(worker, on_reload, user, free);
    case TAKES_UID: return (*(on_uid_fn const *)function)(worker, on_uid, user, free);
    case TAKES_CONN: return (*(on_conn_fn const *)function)(worker, on_conn, user, free);
    case TAKES_MESSAGE: return lib.wh_on_message(worker, on_message, user, free);
    case TAKES_REQUEST: return lib.wh_on_request(worker, on_request, user, free);
    case TAKES_OPENING: return lib.wh_on_websocket_connect(worker, on_opening, user, free);
    case TAKES_CLOSE: return lib.wh_on_close(worker, on_close, user, free);
    default: return lib.wh_on_error(worker, on_error, user, free);
    }
}

/* ---- what JavaScript calls; a definition is a BigInt to it ---- */

static wh_worker worker_of(napi_value value)
{
    uint64_t handle = 0;
    bool lossless = false;
    napi_get_value_bigint_uint64(env, value, &handle, &lossless);
    return handle;
}

/* workerNew(address) -> worker */
static napi_value worker_new(napi_env from, napi_callback_info info)
{
    napi_value argv[1], made = NULL;
    struct text address;
    if (!arguments(from, info, 1, argv) || !text_take(&address, argv[0], "the address"))
        return NULL;
    wh_worker worker = 0;
    wh_result result = lib.wh_worker_new((const char *)address.data, address.len, &worker);
    text_free(&address);
    if (result != WH_OK)
        return throw_result(result);
    napi_create_bigint_uint64(env, worker, &made);
    return made;
}

/* workerFree(worker) */
static napi_value worker_free(napi_env from, napi_callback_info info)
{
    napi_value argv[1];
    if (arguments(from, info, 1, argv))
        lib.wh_worker_free(worker_of(argv[0]));
    return NULL;
}

/* workerSet(worker, name, value) */
static napi_value worker_set(napi_env from, napi_callback_info info)
{
    napi_value argv[3];
    struct text name, value;
    if (!arguments(from, info, 3, argv) || !text_take(&name, argv[1], "an option's name"))
        return NULL;
    size_t at = 0;
    while (at < COUNT_OF(OPTIONS) && (strlen(OPTIONS[at].name) != name.len || memcmp(OPTIONS[at].name, name.data, name.len) != 0))
        at++;
    text_free(&name);
    if (at == COUNT_OF(OPTIONS))
        return throw_type("there is no such option");
    wh_result result;
    if (OPTIONS[at].is_text) {
        if (!text_take(&value, argv[2], OPTIONS[at].name))
            return NULL;
        result = lib.wh_worker_set_text(worker_of(argv[0]), OPTIONS[at].option, (const char *)value.data, value.len);
        text_free(&value);
    } else {
        result = lib.wh_worker_set_int(worker_of(argv[0]), OPTIONS[at].option, (int64_t)number_of(argv[2]));
    }
    return result == WH_OK ? NULL : throw_result(result);
}

/* workerOn(worker, event, index, has text): calls the hook of this event, with the definition's index. Messages that are
 * text come as strings only if the protocol has text: whether bytes happen to be UTF-8 must not change what a program gets. */
static napi_value worker_on(napi_env from, napi_callback_info info)
{
    napi_value argv[4];
    if (!arguments(from, info, 4, argv))
        return NULL;
    int32_t event = int_of(argv[1]);
    struct listener *listener = malloc(sizeof *listener);
    if (event < 0 || (size_t)event >= COUNT_OF(EVENTS) || listener == NULL) {
        free(listener);
        return throw_type("there is no such event");
    }
    listener->event = event;
    listener->worker = int_of(argv[2]);
    listener->has_text = false;
    napi_get_value_bool(env, argv[3], &listener->has_text);
    wh_result result = set_callback(worker_of(argv[0]), event, listener);
    return result == WH_OK ? NULL : throw_result(result);
}

/* workerListen(worker) */
static napi_value worker_listen(napi_env from, napi_callback_info info)
{
    napi_value argv[1];
    if (!arguments(from, info, 1, argv))
        return NULL;
    loop_touch();
    wh_result result = lib.wh_listen(worker_of(argv[0]));
    return result == WH_OK ? NULL : throw_result(result);
}

/* hiveAdd(worker) */
static napi_value hive_add(napi_env from, napi_callback_info info)
{
    napi_value argv[1];
    if (!arguments(from, info, 1, argv))
        return NULL;
    wh_result result = lib.wh_hive_add(hive, worker_of(argv[0]));
    return result == WH_OK ? NULL : throw_result(result);
}

static napi_value with_address(napi_env from, napi_callback_info info, wh_result (*function)(const char *, size_t))
{
    napi_value argv[1];
    struct text address;
    if (!arguments(from, info, 1, argv) || !text_take(&address, argv[0], "the address"))
        return NULL;
    loop_touch();
    wh_result result = function((const char *)address.data, address.len);
    text_free(&address);
    return result == WH_OK ? NULL : throw_result(result);
}

static napi_value unlisten(napi_env from, napi_callback_info info)
{
    return with_address(from, info, lib.wh_unlisten);
}

static napi_value pause_accept(napi_env from, napi_callback_info info)
{
    return with_address(from, info, lib.wh_pause_accept);
}

static napi_value resume_accept(napi_env from, napi_callback_info info)
{
    return with_address(from, info, lib.wh_resume_accept);
}

void worker_exports(napi_value exports)
{
    const struct export all[] = {
        { "workerNew", worker_new }, { "workerFree", worker_free }, { "workerSet", worker_set }, { "workerOn", worker_on },
        { "workerListen", worker_listen }, { "hiveAdd", hive_add }, { "unlisten", unlisten },
        { "pauseAccept", pause_accept }, { "resumeAccept", resume_accept },
    };
    export_all(exports, all, COUNT_OF(all));
    napi_value events, options;
    napi_create_array(env, &events);
    for (uint32_t at = 0; at < COUNT_OF(EVENTS); at++)
        napi_set_element(env, events, at, make_text(EVENTS[at].name, strlen(EVENTS[at].name)));
    set_field(exports, "EVENTS", events);
    napi_create_object(env, &options);
    for (size_t at = 0; at < COUNT_OF(OPTIONS); at++)
        set_field(options, OPTIONS[at].name, make_text(OPTIONS[at].is_text ? "string" : "number", 6));
    set_field(exports, "OPTIONS", options);
}
