/* The addon: what lib/native.js gets, the functions that it gives, and errors. */
#include "addon.h"

#include <stdio.h>
#include <string.h>

napi_env env;

static const char *const HOOK_NAMES[HOOKS] = {
    "process", "uid", "conn", "message", "request", "opening", "close", "error", "forget",
    "pool", "input", "encode", "topic", "log", "over", "describe",
};
static napi_ref hooks[HOOKS];

static napi_value hook_function(enum hook hook)
{
    napi_value function = NULL;
    if (hooks[hook] != NULL)
        napi_get_reference_value(env, hooks[hook], &function);
    return function;
}

/* Tells the library why the callback fails: the stack of what was thrown, with its causes. */
static void tell_failure(void)
{
    static const char UNKNOWN[] = "a handler has thrown something that cannot be described";
    napi_value thrown, words = NULL, describe = hook_function(HOOK_DESCRIBE);
    if (napi_get_and_clear_last_exception(env, &thrown) == napi_ok && describe != NULL)
        napi_call_function(env, make_undefined(), describe, 1, &thrown, &words);
    struct text text;
    bool pending = false;
    napi_is_exception_pending(env, &pending);
    if (pending)
        napi_get_and_clear_last_exception(env, &thrown);
    if (!pending && words != NULL && text_take(&text, words, "a description")) {
        lib.wh_fail_text((const char *)text.data, text.len);
        text_free(&text);
    } else {
        lib.wh_fail_text(UNKNOWN, sizeof UNKNOWN - 1);
    }
}

bool call_hook(enum hook hook, size_t argc, const napi_value *argv, napi_value *result)
{
    napi_value ignored;
    napi_value function = hook_function(hook);
    if (function == NULL)
        return true;
    napi_status status = napi_call_function(env, make_undefined(), function, argc, argv, result == NULL ? &ignored : result);
    if (status == napi_ok)
        return true;
    tell_failure();
    return false;
}

napi_value throw_result(wh_result result)
{
    size_t len = 0;
    const char *words = lib.wh_last_error(&len);
    napi_throw_error(env, lib.wh_result_name(result), len == 0 ? lib.wh_result_name(result) : words);
    return NULL;
}

napi_value throw_type(const char *message)
{
    bool pending = false;
    napi_is_exception_pending(env, &pending);
    if (!pending)
        napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
    return NULL;
}

void export_all(napi_value exports, const struct export *all, size_t count)
{
    for (size_t at = 0; at < count; at++) {
        napi_value function;
        if (napi_create_function(env, all[at].name, NAPI_AUTO_LENGTH, all[at].function, NULL, &function) == napi_ok)
            set_field(exports, all[at].name, function);
    }
}

/* bind(hooks): the functions that are called from here. */
static napi_value bind(napi_env from, napi_callback_info info)
{
    napi_value argv[1];
    if (!arguments(from, info, 1, argv))
        return NULL;
    for (int hook = 0; hook < HOOKS; hook++) {
        napi_value function;
        if (hooks[hook] == NULL && napi_get_named_property(env, argv[0], HOOK_NAMES[hook], &function) == napi_ok)
            napi_create_reference(env, function, 1, &hooks[hook]);
    }
    return NULL;
}

/* From now on JavaScript is gone; the library may still end what it has, on its way out of the process. */
static void taken_down(void *unused)
{
    (void)unused;
    env = NULL;
}

static napi_value init(napi_env from, napi_value exports)
{
    if (env != NULL) {
        napi_throw_error(from, NULL, "workhive runs in Node's main thread only: load it there, not in a worker_threads Worker");
        return NULL;
    }
    char why[1024];
    if (!library_open(why, sizeof why)) {
        napi_throw_error(from, NULL, why);
        return NULL;
    }
    env = from;
    napi_add_env_cleanup_hook(env, taken_down, NULL);
    const struct export all[] = { { "bind", bind } };
    export_all(exports, all, COUNT_OF(all));
    set_field(exports, "version", make_text(lib.wh_version(), strlen(lib.wh_version())));
    loop_exports(exports);
    hive_exports(exports);
    worker_exports(exports);
    conn_exports(exports);
    route_exports(exports);
    ask_exports(exports);
    protocol_exports(exports);
    return exports;
}

/* Called by Node when the addon is loaded. */
NAPI_MODULE_INIT()
{
    return init(env, exports);
}
