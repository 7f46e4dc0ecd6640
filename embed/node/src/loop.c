/* Our loop inside Node's: Node waits for our descriptor among all that it waits for, and gives us a turn when it is
 * readable. A turn never waits. */
#include "addon.h"

#include <stdlib.h>
#include <uv.h>

static uv_poll_t *poll_handle;
static uv_prepare_t *prepare_handle;
static napi_async_context context;
static napi_ref resource;
static bool turning;
static bool touched;

void loop_touch(void)
{
    touched = true;
}

static void freed(uv_handle_t *handle)
{
    free(handle);
}

static void stop(void)
{
    if (poll_handle == NULL)
        return;
    uv_poll_stop(poll_handle);
    uv_close((uv_handle_t *)poll_handle, freed);
    uv_prepare_stop(prepare_handle);
    uv_close((uv_handle_t *)prepare_handle, freed);
    poll_handle = NULL;
    prepare_handle = NULL;
}

/* What a turn's callbacks have left to microtasks and process.nextTick runs at the end of the scope. */
static void turn_in_scope(int32_t *over, wh_result *result)
{
    napi_callback_scope scope;
    napi_value object;
    bool opened = napi_get_reference_value(env, resource, &object) == napi_ok
        && napi_open_callback_scope(env, object, context, &scope) == napi_ok;
    turning = true;
    *result = lib.wh_run_once(hive, 0, over);
    turning = false;
    /* What its callbacks have asked for it has done. */
    touched = false;
    if (opened)
        napi_close_callback_scope(env, scope);
}

static void turn(void)
{
    if (env == NULL || turning)
        return;
    napi_handle_scope scope;
    if (napi_open_handle_scope(env, &scope) != napi_ok)
        return;
    int32_t over = 0;
    wh_result result;
    turn_in_scope(&over, &result);
    if (result != WH_OK || over != 0) {
        stop();
        size_t len = 0;
        const char *words = result == WH_OK ? "" : lib.wh_last_error(&len);
        napi_value text = make_text(words, len);
        napi_callback_scope calls;
        napi_value object;
        napi_get_reference_value(env, resource, &object);
        bool opened = napi_open_callback_scope(env, object, context, &calls) == napi_ok;
        call_hook(HOOK_OVER, 1, &text, NULL);
        if (opened)
            napi_close_callback_scope(env, calls);
    }
    napi_close_handle_scope(env, scope);
}

static void readable(uv_poll_t *handle, int status, int events)
{
    (void)handle, (void)status, (void)events;
    turn();
}

/* What Node's own callbacks have sent through us leaves before Node waits again. */
static void before_waiting(uv_prepare_t *handle)
{
    (void)handle;
    if (touched)
        turn();
}

/* loopStart(): from now on Node's loop runs ours, and does not end before it. */
static napi_value loop_start(napi_env from, napi_callback_info info)
{
    (void)info;
    uv_loop_t *loop = NULL;
    int fd = -1;
    wh_result result = lib.wh_poll_fd(hive, &fd);
    if (result != WH_OK)
        return throw_result(result);
    poll_handle = malloc(uv_handle_size(UV_POLL));
    prepare_handle = malloc(uv_handle_size(UV_PREPARE));
    if (napi_get_uv_event_loop(from, &loop) != napi_ok || poll_handle == NULL || prepare_handle == NULL
        || uv_poll_init(loop, poll_handle, fd) != 0) {
        free(poll_handle);
        free(prepare_handle);
        poll_handle = NULL;
        prepare_handle = NULL;
        napi_throw_error(from, NULL, "our loop cannot be run by Node's: libuv does not take its descriptor");
        return NULL;
    }
    napi_value object, name;
    napi_create_object(env, &object);
    napi_create_reference(env, object, 1, &resource);
    napi_create_string_utf8(env, "WORKHIVE", NAPI_AUTO_LENGTH, &name);
    napi_async_init(env, object, name, &context);
    uv_poll_start(poll_handle, UV_READABLE, readable);
    uv_prepare_init(loop, prepare_handle);
    uv_prepare_start(prepare_handle, before_waiting);
    uv_unref((uv_handle_t *)prepare_handle);
    /* The first turn starts the process; it comes when the program's own first run is over. */
    touched = true;
    return NULL;
}

/* loopStop() */
static napi_value loop_stop(napi_env from, napi_callback_info info)
{
    (void)from, (void)info;
    stop();
    return NULL;
}

void loop_exports(napi_value exports)
{
    const struct export all[] = { { "loopStart", loop_start }, { "loopStop", loop_stop } };
    export_all(exports, all, COUNT_OF(all));
}
