/* Values of JavaScript and bytes of the library. */
#include "addon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_free(struct text *text)
{
    free(text->heap);
    text->heap = NULL;
}

static bool take_string(struct text *text, napi_value value, bool latin1)
{
    napi_status (*get)(napi_env, napi_value, char *, size_t, size_t *) =
        latin1 ? napi_get_value_string_latin1 : napi_get_value_string_utf8;
    size_t len = 0;
    text->heap = NULL;
    text->data = text->small;
    if (get(env, value, (char *)text->small, sizeof text->small, &len) != napi_ok)
        return false;
    /* A character has up to four bytes and is not cut: a string that ends further in front was not cut either. */
    if (len < sizeof text->small - 4) {
        text->len = len;
        return true;
    }
    if (get(env, value, NULL, 0, &len) != napi_ok)
        return false;
    text->heap = malloc(len + 1);
    if (text->heap == NULL) {
        napi_throw_error(env, NULL, "no memory for this string");
        return false;
    }
    text->data = text->heap;
    return get(env, value, (char *)text->heap, len + 1, &text->len) == napi_ok;
}

static bool take_view(struct text *text, napi_value value)
{
    bool is = false;
    if (napi_is_typedarray(env, value, &is) != napi_ok || !is)
        return false;
    napi_typedarray_type type;
    void *data = NULL;
    size_t len = 0;
    if (napi_get_typedarray_info(env, value, &type, &len, &data, NULL, NULL) != napi_ok || type != napi_uint8_array)
        return false;
    text->data = data;
    text->len = len;
    return true;
}

bool text_take(struct text *text, napi_value value, const char *what)
{
    text->heap = NULL;
    napi_valuetype type;
    if (napi_typeof(env, value, &type) != napi_ok)
        return false;
    if (type == napi_string)
        return take_string(text, value, false);
    if (type == napi_object && take_view(text, value))
        return true;
    char words[160];
    snprintf(words, sizeof words, "%s must be a string, a Buffer or a Uint8Array", what);
    throw_type(words);
    return false;
}

bool text_take_latin1(struct text *text, napi_value value)
{
    return take_string(text, value, true);
}

bool texts_take(struct texts *texts, napi_value list, const char *what)
{
    memset(texts, 0, sizeof *texts);
    bool is = false;
    if (is_nullish(list))
        return true;
    if (napi_is_array(env, list, &is) != napi_ok || !is) {
        char words[160];
        snprintf(words, sizeof words, "%s must be an array", what);
        throw_type(words);
        return false;
    }
    uint32_t count = 0;
    napi_get_array_length(env, list, &count);
    if (count == 0)
        return true;
    texts->each = calloc(count, sizeof *texts->each);
    texts->bytes = calloc(count, sizeof *texts->bytes);
    if (texts->each == NULL || texts->bytes == NULL) {
        texts_free(texts);
        napi_throw_error(env, NULL, "no memory for this list");
        return false;
    }
    for (uint32_t at = 0; at < count; at++) {
        napi_value value;
        if (napi_get_element(env, list, at, &value) != napi_ok || !text_take(&texts->each[at], value, what)) {
            texts_free(texts);
            return false;
        }
        texts->count = at + 1;
        texts->bytes[at].data = texts->each[at].data;
        texts->bytes[at].len = texts->each[at].len;
    }
    return true;
}

void texts_free(struct texts *texts)
{
    for (uint32_t at = 0; at < texts->count; at++)
        text_free(&texts->each[at]);
    free(texts->each);
    free(texts->bytes);
    memset(texts, 0, sizeof *texts);
}

bool arguments(napi_env from, napi_callback_info info, size_t count, napi_value *argv)
{
    /* Missing ones are undefined. */
    size_t given = count;
    return napi_get_cb_info(from, info, &given, argv, NULL, NULL) == napi_ok;
}

int32_t int_of(napi_value value)
{
    int32_t number = 0;
    return napi_get_value_int32(env, value, &number) == napi_ok ? number : 0;
}

double number_of(napi_value value)
{
    double number = 0;
    return napi_get_value_double(env, value, &number) == napi_ok ? number : 0;
}

bool is_nullish(napi_value value)
{
    napi_valuetype type = napi_undefined;
    napi_typeof(env, value, &type);
    return type == napi_undefined || type == napi_null;
}

napi_value make_int(int64_t value)
{
    napi_value made = NULL;
    if (value >= INT32_MIN && value <= INT32_MAX)
        napi_create_int32(env, (int32_t)value, &made);
    else
        napi_create_int64(env, value, &made);
    return made;
}

static bool is_ascii(const uint8_t *data, size_t len)
{
    /* Without a branch inside, so that the compiler makes it many bytes at a time. */
    uint8_t all = 0;
    for (size_t at = 0; at < len; at++)
        all |= data[at];
    return all < 0x80;
}

napi_value make_text(const void *data, size_t len)
{
    napi_value made = NULL;
    /* ASCII is the same in Latin-1, which V8 only copies. */
    if (is_ascii(data, len))
        napi_create_string_latin1(env, data == NULL ? "" : data, len, &made);
    else
        napi_create_string_utf8(env, data, len, &made);
    return made;
}

napi_value make_latin1(const void *data, size_t len)
{
    napi_value made = NULL;
    napi_create_string_latin1(env, data == NULL ? "" : data, len, &made);
    return made;
}

napi_value make_buffer(const void *data, size_t len)
{
    napi_value made = NULL;
    napi_create_buffer_copy(env, len, data == NULL ? "" : data, NULL, &made);
    return made;
}

napi_value make_bool(bool value)
{
    napi_value made = NULL;
    napi_get_boolean(env, value, &made);
    return made;
}

napi_value make_undefined(void)
{
    napi_value made = NULL;
    napi_get_undefined(env, &made);
    return made;
}

void set_field(napi_value object, const char *name, napi_value value)
{
    napi_set_named_property(env, object, name, value);
}

struct promise *promise_new(napi_value *value, napi_value (*otherwise)(void))
{
    struct promise *promise = malloc(sizeof *promise);
    if (promise == NULL || napi_create_promise(env, &promise->deferred, value) != napi_ok) {
        free(promise);
        napi_throw_error(env, NULL, "no memory for a promise");
        return NULL;
    }
    promise->otherwise = otherwise;
    return promise;
}

void promise_settle(struct promise *promise, napi_value value)
{
    if (promise->deferred == NULL)
        return;
    napi_resolve_deferred(env, promise->deferred, value);
    promise->deferred = NULL;
}

void promise_drop(void *user)
{
    struct promise *promise = user;
    napi_handle_scope scope;
    if (env != NULL && promise->deferred != NULL && napi_open_handle_scope(env, &scope) == napi_ok) {
        promise_settle(promise, promise->otherwise());
        napi_close_handle_scope(env, scope);
    }
    free(promise);
}
