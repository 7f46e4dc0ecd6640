/* HTTP requests, and the requests that open WebSockets. Both are lent for the time of a callback, and handlers may be async:
 * what JavaScript gets is a copy, the header fields as one string that lib/request.js takes apart when somebody asks. */
#include "addon.h"

#include <string.h>

enum { METHOD, TARGET, PATH, QUERY, HEADERS, VERSION, VIEW_FIELDS };

static void view_values(const wh_request_view *view, wh_bytes headers, napi_value *values)
{
    values[METHOD] = make_latin1(view->method.data, view->method.len);
    values[TARGET] = make_latin1(view->target.data, view->target.len);
    bool is_whole = view->path.len == view->target.len && memcmp(view->path.data, view->target.data, view->path.len) == 0;
    values[PATH] = is_whole ? values[TARGET] : make_latin1(view->path.data, view->path.len);
    values[QUERY] = view->query.data == NULL ? make_undefined() : make_latin1(view->query.data, view->query.len);
    values[HEADERS] = make_latin1(headers.data, headers.len);
    values[VERSION] = make_int(view->version_major * 10 + view->version_minor);
}

int32_t on_request(void *user, wh_conn conn, const wh_request *request)
{
    const struct listener *listener = user;
    wh_request_view view = { 0 };
    wh_bytes headers = { NULL, 0 };
    wh_result result = lib.wh_request_read(request, &view, sizeof view);
    if (result == WH_OK)
        result = lib.wh_request_headers(request, &headers);
    napi_handle_scope scope;
    if (result != WH_OK || env == NULL || napi_open_handle_scope(env, &scope) != napi_ok)
        return result == WH_OK ? WH_OK : WH_ERR_CALLBACK;
    napi_value argv[2 + VIEW_FIELDS + 2] = { make_int(listener->worker), make_int(seat_of(conn)) };
    view_values(&view, headers, argv + 2);
    argv[2 + VIEW_FIELDS] = make_bool(view.keep_alive != 0);
    argv[2 + VIEW_FIELDS + 1] = view.body.len == 0 ? make_undefined() : make_buffer(view.body.data, view.body.len);
    bool good = call_hook(HOOK_REQUEST, COUNT_OF(argv), argv, NULL);
    napi_close_handle_scope(env, scope);
    return good ? WH_OK : WH_ERR_CALLBACK;
}

/* What the hook of an opening says: undefined, or a list of [what, name or status, value]. */
static wh_result obey(wh_opening *opening, napi_value list)
{
    uint32_t count = 0;
    if (is_nullish(list) || napi_get_array_length(env, list, &count) != napi_ok)
        return WH_OK;
    for (uint32_t at = 0; at < count; at++) {
        napi_value entry, what, first, second;
        struct text name, value;
        napi_get_element(env, list, at, &entry);
        napi_get_element(env, entry, 0, &what);
        napi_get_element(env, entry, 1, &first);
        napi_get_element(env, entry, 2, &second);
        if (!text_take_latin1(&value, second))
            continue;
        wh_result result;
        switch (int_of(what)) {
        case 0: /* refuse: the body is text of its own */
            text_free(&value);
            if (!text_take(&value, second, "the body"))
                return WH_ERR_CALLBACK;
            result = lib.wh_opening_refuse(opening, (uint16_t)int_of(first), (const char *)value.data, value.len);
            break;
        case 1:
            result = lib.wh_opening_subprotocol(opening, (const char *)value.data, value.len);
            break;
        default:
            result = WH_OK;
            if (text_take_latin1(&name, first)) {
                result = lib.wh_opening_add_header(opening, (const char *)name.data, name.len, (const char *)value.data, value.len);
                text_free(&name);
            }
        }
        text_free(&value);
        if (result != WH_OK)
            return result;
    }
    return WH_OK;
}

int32_t on_opening(void *user, wh_conn conn, wh_opening *opening)
{
    const struct listener *listener = user;
    wh_request_view view = { 0 };
    wh_bytes headers = { NULL, 0 };
    wh_result result = lib.wh_opening_read(opening, &view, sizeof view);
    if (result == WH_OK)
        result = lib.wh_opening_headers(opening, &headers);
    napi_handle_scope scope;
    if (result != WH_OK || env == NULL || napi_open_handle_scope(env, &scope) != napi_ok)
        return result == WH_OK ? WH_OK : WH_ERR_CALLBACK;
    napi_value argv[2 + VIEW_FIELDS] = { make_int(listener->worker), make_int(seat_of(conn)) }, said = NULL;
    view_values(&view, headers, argv + 2);
    int32_t code = WH_ERR_CALLBACK;
    if (call_hook(HOOK_OPENING, COUNT_OF(argv), argv, &said)) {
        result = obey(opening, said);
        code = result == WH_OK ? WH_OK : WH_ERR_CALLBACK;
        if (result != WH_OK && result != WH_ERR_CALLBACK) {
            size_t len = 0;
            const char *words = lib.wh_last_error(&len);
            lib.wh_fail_text(words, len);
        }
    }
    napi_close_handle_scope(env, scope);
    return code;
}
