/* Protocols of the program's own. What an encoder is given and what a decoder has made may be any value, so decoding is done
 * by lib/protocol.js when the message has come; here packages are found, and bytes that others push are encoded. */
#include "addon.h"

#include <stdlib.h>

/* Which protocol. */
struct protocol { int32_t index; };

static int64_t on_input(void *user, const uint8_t *data, size_t len)
{
    const struct protocol *protocol = user;
    napi_handle_scope scope;
    if (env == NULL || napi_open_handle_scope(env, &scope) != napi_ok)
        return -1;
    napi_value argv[] = { make_int(protocol->index), make_buffer(data, len) }, found;
    int64_t length = -1;
    if (call_hook(HOOK_INPUT, 2, argv, &found))
        napi_get_value_int64(env, found, &length);
    napi_close_handle_scope(env, scope);
    return length;
}

static int32_t on_encode(void *user, const uint8_t *data, size_t len, void *sink)
{
    const struct protocol *protocol = user;
    napi_handle_scope scope;
    if (env == NULL || napi_open_handle_scope(env, &scope) != napi_ok)
        return WH_ERR_CALLBACK;
    napi_value argv[] = { make_int(protocol->index), make_buffer(data, len) }, wire;
    int32_t said = WH_ERR_CALLBACK;
    struct text text;
    if (call_hook(HOOK_ENCODE, 2, argv, &wire) && text_take(&text, wire, "what encode returns")) {
        said = lib.wh_sink_write(sink, text.data, text.len);
        text_free(&text);
    }
    napi_close_handle_scope(env, scope);
    return said;
}

/* protocolRegister(scheme, index, has an encoder) */
static napi_value protocol_register(napi_env from, napi_callback_info info)
{
    napi_value argv[3];
    struct text scheme;
    if (!arguments(from, info, 3, argv) || !text_take(&scheme, argv[0], "the protocol's name"))
        return NULL;
    bool encodes = false;
    napi_get_value_bool(env, argv[2], &encodes);
    struct protocol *protocol = malloc(sizeof *protocol);
    wh_result result = WH_ERR_SYSTEM;
    if (protocol != NULL) {
        protocol->index = int_of(argv[1]);
        result = lib.wh_protocol_register((const char *)scheme.data, scheme.len, on_input, NULL, encodes ? on_encode : NULL,
                                          protocol, free);
    }
    text_free(&scheme);
    return result == WH_OK ? NULL : throw_result(result);
}

void protocol_exports(napi_value exports)
{
    const struct export all[] = { { "protocolRegister", protocol_register } };
    export_all(exports, all, COUNT_OF(all));
}
