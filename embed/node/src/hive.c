/* The hive: definition, start, signals, its end, what it tells about itself, and its log. */
#include "addon.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

wh_hive hive;

/* hiveNew(name): a hive as Node needs it, executed anew for each process, nested in Node's loop, signals left to Node. */
static napi_value hive_new(napi_env from, napi_callback_info info)
{
    napi_value argv[1];
    struct text name;
    if (!arguments(from, info, 1, argv) || !text_take(&name, argv[0], "the hive's name"))
        return NULL;
    wh_result result = lib.wh_hive_new((const char *)name.data, name.len, &hive);
    text_free(&name);
    if (result == WH_OK)
        result = lib.wh_hive_set_int(hive, WH_HIVE_SIGNALS, 1);
    if (result == WH_OK)
        result = lib.wh_hive_set_int(hive, WH_HIVE_SPAWN, 1);
    if (result == WH_OK)
        result = lib.wh_hive_set_int(hive, WH_HIVE_NESTED, 1);
    return result == WH_OK ? NULL : throw_result(result);
}

/* hiveAbout(text) */
static napi_value hive_about(napi_env from, napi_callback_info info)
{
    napi_value argv[1];
    struct text text;
    if (!arguments(from, info, 1, argv) || !text_take(&text, argv[0], "about"))
        return NULL;
    wh_result result = lib.wh_hive_set_text(hive, WH_HIVE_ABOUT, (const char *)text.data, text.len);
    text_free(&text);
    return result == WH_OK ? NULL : throw_result(result);
}

static napi_value role_and_code(int32_t role, int32_t code)
{
    napi_value made;
    napi_create_object(env, &made);
    set_field(made, "role", make_int(role));
    set_field(made, "code", make_int(code));
    return made;
}

/* hiveStart(argv) -> { role, code } */
static napi_value hive_start(napi_env from, napi_callback_info info)
{
    napi_value argv[1];
    struct texts words;
    int32_t role = WH_ROLE_OVER, code = 1;
    if (!arguments(from, info, 1, argv) || !texts_take(&words, argv[0], "the command line"))
        return NULL;
    /* With a zero at the end of each, as main() has them. */
    size_t room = 0;
    for (uint32_t at = 0; at < words.count; at++)
        room += words.bytes[at].len + 1;
    char *all = malloc(room + 1), *next = all;
    const char **list = calloc(words.count + 1, sizeof *list);
    for (uint32_t at = 0; all != NULL && list != NULL && at < words.count; at++) {
        list[at] = next;
        memcpy(next, words.bytes[at].data, words.bytes[at].len);
        next += words.bytes[at].len;
        *next++ = '\0';
    }
    /* Node keeps its standard output and error from programs that others execute: the workers are to have them. */
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        fcntl(fd, F_SETFD, 0);
    wh_result result = WH_ERR_SYSTEM;
    if (all != NULL && list != NULL)
        result = lib.wh_hive_start(hive, (int32_t)words.count, list, &role, &code);
    free(all);
    free(list);
    texts_free(&words);
    return result == WH_OK ? role_and_code(role, code) : throw_result(result);
}

/* workerAttach() -> { role, code } */
static napi_value worker_attach(napi_env from, napi_callback_info info)
{
    (void)from, (void)info;
    int32_t role = WH_ROLE_OVER, code = 1;
    wh_result result = lib.wh_worker_attach(hive, &role, &code);
    return result == WH_OK ? role_and_code(role, code) : throw_result(result);
}

/* hiveFinish() -> exit code */
static napi_value hive_finish(napi_env from, napi_callback_info info)
{
    (void)from, (void)info;
    int32_t code = 1;
    wh_result result = lib.wh_finish(hive, &code);
    return result == WH_OK ? make_int(code) : throw_result(result);
}

/* hiveReady(why not): ends a workerStart that has returned a promise. */
static napi_value hive_ready(napi_env from, napi_callback_info info)
{
    napi_value argv[1];
    struct text why;
    if (!arguments(from, info, 1, argv))
        return NULL;
    loop_touch();
    if (is_nullish(argv[0])) {
        wh_result result = lib.wh_ready(hive, NULL, 0);
        return result == WH_OK ? NULL : throw_result(result);
    }
    if (!text_take(&why, argv[0], "the reason"))
        return NULL;
    wh_result result = lib.wh_ready(hive, (const char *)why.data, why.len);
    text_free(&why);
    return result == WH_OK ? NULL : throw_result(result);
}

/* hiveSignal(number) */
static napi_value hive_signal(napi_env from, napi_callback_info info)
{
    napi_value argv[1];
    if (!arguments(from, info, 1, argv))
        return NULL;
    loop_touch();
    wh_result result = lib.wh_signal(hive, int_of(argv[0]));
    return result == WH_OK ? NULL : throw_result(result);
}

static napi_value simple(wh_result (*function)(wh_hive))
{
    loop_touch();
    wh_result result = function(hive);
    return result == WH_OK ? NULL : throw_result(result);
}

static napi_value hive_stop(napi_env from, napi_callback_info info)
{
    (void)from, (void)info;
    return simple(lib.wh_stop);
}

static napi_value hive_stop_all(napi_env from, napi_callback_info info)
{
    (void)from, (void)info;
    return simple(lib.wh_stop_all);
}

static napi_value hive_reload_all(napi_env from, napi_callback_info info)
{
    (void)from, (void)info;
    return simple(lib.wh_reload_all);
}

/* hivePlace() -> object, or undefined in a process that is no worker */
static napi_value hive_place(napi_env from, napi_callback_info info)
{
    (void)from, (void)info;
    wh_place place = { 0 };
    napi_value made;
    if (lib.wh_place_of(hive, &place) != WH_OK)
        return make_undefined();
    napi_create_object(env, &made);
    set_field(made, "group", make_text(place.group.data, place.group.len));
    set_field(made, "slot", make_int(place.slot));
    set_field(made, "count", make_int(place.count));
    set_field(made, "generation", make_int(place.generation));
    set_field(made, "pid", make_int(place.pid));
    return made;
}

/* hiveStats() -> object */
static napi_value hive_stats(napi_env from, napi_callback_info info)
{
    (void)from, (void)info;
    wh_stats stats = { 0 };
    napi_value made;
    wh_result result = lib.wh_stats_of(hive, &stats, sizeof stats);
    if (result != WH_OK)
        return throw_result(result);
    napi_create_object(env, &made);
    set_field(made, "connections", make_int((int64_t)stats.connections));
    set_field(made, "accepted", make_int((int64_t)stats.accepted));
    set_field(made, "messagesIn", make_int((int64_t)stats.messages_in));
    set_field(made, "bytesIn", make_int((int64_t)stats.bytes_in));
    set_field(made, "bytesOut", make_int((int64_t)stats.bytes_out));
    set_field(made, "sendFailures", make_int((int64_t)stats.send_failures));
    return made;
}

/* ---- the log ---- */

/* hiveLog(level, text): each line of the text becomes one of the log. */
static napi_value hive_log(napi_env from, napi_callback_info info)
{
    napi_value argv[2];
    struct text text;
    if (!arguments(from, info, 2, argv) || !text_take(&text, argv[1], "what is logged"))
        return NULL;
    wh_result result = lib.wh_log((uint32_t)int_of(argv[0]), (const char *)text.data, text.len);
    text_free(&text);
    return result == WH_OK ? NULL : throw_result(result);
}

/* A line that another thread has logged, on its way to Node's. */
struct line { uint32_t level; size_t len; char text[]; };

static napi_threadsafe_function lines;
static __thread bool is_main;
static bool in_log;

static void call_log(uint32_t level, const char *text, size_t len)
{
    napi_handle_scope scope;
    /* What the log function logs itself would come back here. */
    if (env == NULL || in_log || napi_open_handle_scope(env, &scope) != napi_ok) {
        dprintf(STDERR_FILENO, "%.*s\n", (int)len, text);
        return;
    }
    in_log = true;
    napi_value argv[] = { make_int(level), make_text(text, len) };
    call_hook(HOOK_LOG, 2, argv, NULL);
    in_log = false;
    napi_close_handle_scope(env, scope);
}

static void line_came(napi_env from, napi_value function, void *unused, void *data)
{
    (void)from, (void)function, (void)unused;
    struct line *line = data;
    call_log(line->level, line->text, line->len);
    free(line);
}

static void on_log(void *user, uint32_t level, const char *text, size_t len)
{
    (void)user;
    if (is_main) {
        call_log(level, text, len);
        return;
    }
    struct line *line = malloc(sizeof *line + len);
    if (line == NULL)
        return;
    line->level = level;
    line->len = len;
    memcpy(line->text, text, len);
    if (napi_call_threadsafe_function(lines, line, napi_tsfn_nonblocking) != napi_ok)
        free(line);
}

/* hiveLogWith(): log lines go to the hook. */
static napi_value hive_log_with(napi_env from, napi_callback_info info)
{
    (void)info;
    napi_value name;
    napi_create_string_utf8(from, "workhive log", NAPI_AUTO_LENGTH, &name);
    if (napi_create_threadsafe_function(from, NULL, NULL, name, 0, 1, NULL, NULL, NULL, line_came, &lines) != napi_ok) {
        napi_throw_error(from, NULL, "no way for the log lines of other threads");
        return NULL;
    }
    napi_unref_threadsafe_function(from, lines);
    is_main = true;
    wh_result result = lib.wh_hive_log_with(hive, on_log, NULL, NULL);
    return result == WH_OK ? NULL : throw_result(result);
}

void hive_exports(napi_value exports)
{
    const struct export all[] = {
        { "hiveNew", hive_new }, { "hiveAbout", hive_about }, { "hiveStart", hive_start }, { "workerAttach", worker_attach },
        { "hiveFinish", hive_finish }, { "hiveReady", hive_ready }, { "hiveSignal", hive_signal }, { "hiveStop", hive_stop },
        { "hiveStopAll", hive_stop_all }, { "hiveReloadAll", hive_reload_all }, { "hivePlace", hive_place },
        { "hiveStats", hive_stats }, { "hiveLog", hive_log }, { "hiveLogWith", hive_log_with },
    };
    export_all(exports, all, COUNT_OF(all));
    set_field(exports, "ROLE_OVER", make_int(WH_ROLE_OVER));
    set_field(exports, "ROLE_WORKER", make_int(WH_ROLE_WORKER));
    set_field(exports, "ROLE_MASTER", make_int(WH_ROLE_MASTER));
}
