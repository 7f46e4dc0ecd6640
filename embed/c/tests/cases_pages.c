/* The case server in C: HTTP, and the handshakes of WebSockets. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"

static bool is(wh_bytes bytes, const char *text)
{
    return bytes.len == strlen(text) && !memcmp(bytes.data, text, bytes.len);
}

static int32_t answer(wh_conn conn, uint16_t status, const char *headers, const void *body, size_t len)
{
    return done(wh_conn_respond(conn, status, headers, strlen(headers), body, len));
}

static int32_t answer_text(wh_conn conn, uint16_t status, const char *text)
{
    return answer(conn, status, "Content-Type: text/plain\n", text, strlen(text));
}

static int32_t who(wh_conn conn)
{
    wh_place place;
    wh_result code = wh_place_of(hive, &place);
    if (code != WH_OK)
        return done(code);
    char text[64];
    snprintf(text, sizeof text, "%u %u", place.slot, place.pid);
    return answer_text(conn, 200, text);
}

static int32_t describe(wh_conn conn, const wh_request *request, const wh_request_view *view)
{
    wh_bytes field;
    wh_result code = wh_request_header(request, "x-case", 6, &field);
    if (code != WH_OK)
        return done(code);
    char *text;
    int len = asprintf(&text, "%.*s\n%.*s\n%.*s\n%.*s\n%u.%u\n%zu\n",
                       (int)view->method.len, (const char *)view->method.data,
                       (int)view->path.len, (const char *)view->path.data,
                       (int)view->query.len, (const char *)view->query.data,
                       (int)field.len, (const char *)field.data,
                       view->version_major, view->version_minor, view->body.len);
    if (len < 0)
        return fail("out of memory");
    int32_t answered = answer_text(conn, 200, text);
    free(text);
    return answered;
}

static int32_t with_field(wh_conn conn, wh_bytes value)
{
    /* Lines of foreign text are the program's to look at. */
    if (memchr(value.data, '\n', value.len) || memchr(value.data, '\r', value.len))
        return fail("a header field with a line break");
    char *headers;
    if (asprintf(&headers, "X-Case: %.*s\n", (int)value.len, (const char *)value.data) < 0)
        return fail("out of memory");
    int32_t answered = answer(conn, 200, headers, "ok", 2);
    free(headers);
    return answered;
}

/* ---- later ---- */

struct rest {
    wh_conn conn;
    wh_timer timer;
    int parts;
};

static int32_t next_chunk(void *user)
{
    struct rest *rest = user;
    bool last = ++rest->parts == 2;
    const char *text = last ? "three" : "two ";
    wh_result code = wh_conn_chunk(rest->conn, (const uint8_t *)text, strlen(text), last);
    if (last)
        wh_timer_cancel(rest->timer);
    return done(code);
}

static int32_t answer_after(void *user)
{
    struct rest *rest = user;
    return answer_text(rest->conn, 200, "after");
}

static struct rest *rest_of(wh_conn conn)
{
    struct rest *rest = calloc(1, sizeof *rest);
    if (!rest)
        abort();
    rest->conn = conn;
    return rest;
}

static int32_t stream(wh_conn conn)
{
    static const char headers[] = "Content-Type: text/plain\n";
    wh_result code = wh_conn_respond_stream(conn, 200, headers, strlen(headers));
    if (code == WH_OK)
        code = wh_conn_chunk(conn, (const uint8_t *)"one ", 4, 0);
    if (code != WH_OK)
        return done(code);
    struct rest *rest = rest_of(conn);
    return done(wh_timer_every(1, next_chunk, rest, free, &rest->timer));
}

int32_t on_page(void *user, wh_conn conn, const wh_request *request)
{
    (void)user;
    wh_request_view view;
    wh_result code = wh_request_read(request, &view, sizeof view);
    if (code != WH_OK)
        return done(code);
    bool get = is(view.method, "GET"), post = is(view.method, "POST");
    if (get && is(view.path, "/"))
        return answer_text(conn, 200, "Hello, World!");
    if (post && is(view.path, "/"))
        return answer(conn, 200, "", view.body.data, view.body.len);
    if (get && is(view.path, "/who"))
        return who(conn);
    if (is(view.path, "/read"))
        return describe(conn, request, &view);
    if (get && view.path.len > 8 && !memcmp(view.path.data, "/status/", 8)) {
        char text[64];
        int len = snprintf(text, sizeof text, "status %.*s", (int)view.path.len - 8, (const char *)view.path.data + 8);
        return answer(conn, (uint16_t)atoi(text + 7), "X-Case: yes\r\n", text, (size_t)len);
    }
    if (post && is(view.path, "/field"))
        return with_field(conn, view.body);
    if (get && is(view.path, "/stream"))
        return stream(conn);
    if (get && is(view.path, "/after")) {
        wh_timer timer;
        return done(wh_timer_after(10, answer_after, rest_of(conn), free, &timer));
    }
    if (get && is(view.path, "/fail"))
        return deep();
    return answer_text(conn, 404, "nothing here");
}

int32_t on_opening(void *user, wh_conn conn, wh_opening *opening)
{
    (void)user, (void)conn;
    wh_request_view view;
    wh_bytes offered;
    wh_result code = wh_opening_read(opening, &view, sizeof view);
    if (code != WH_OK)
        return done(code);
    if (is(view.path, "/refuse"))
        return done(wh_opening_refuse(opening, 403, "not here", 8));
    code = wh_opening_header(opening, "Sec-WebSocket-Protocol", 22, &offered);
    if (code != WH_OK)
        return done(code);
    char list[256], *rest = list;
    snprintf(list, sizeof list, "%.*s", (int)offered.len, (const char *)offered.data);
    for (char *name; code == WH_OK && (name = strtok_r(rest, ", ", &rest));)
        if (!strcmp(name, "case"))
            code = wh_opening_subprotocol(opening, "case", 4);
    if (code != WH_OK)
        return done(code);
    return done(wh_opening_add_header(opening, "X-Case", 6, (const char *)view.query.data, view.query.len));
}
