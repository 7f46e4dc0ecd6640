/* Connections. JavaScript knows each by a small number, its seat here: as an argument that costs less than the library's
 * handles, which are too long for a JavaScript number. A seat is given away again when its connection has ended, after
 * JavaScript has been told to forget it. */
#include "addon.h"

#include <stdio.h>
#include <stdlib.h>

static struct { wh_conn conn; int32_t next; } *seats;
static int32_t seat_count;
static int32_t first_free = -1;

static bool more_seats(void)
{
    int32_t count = seat_count == 0 ? 64 : seat_count * 2;
    void *grown = realloc(seats, (size_t)count * sizeof *seats);
    if (grown == NULL)
        return false;
    seats = grown;
    for (int32_t at = count - 1; at >= seat_count; at--) {
        seats[at].conn = 0;
        seats[at].next = first_free;
        first_free = at;
    }
    seat_count = count;
    return true;
}

/* The library's destroy function of the seat that a connection keeps. */
static void forget(void *data)
{
    int32_t seat = (int32_t)((intptr_t)data - 1);
    napi_handle_scope scope;
    if (env != NULL && napi_open_handle_scope(env, &scope) == napi_ok) {
        napi_value argv[] = { make_int(seat) };
        call_hook(HOOK_FORGET, 1, argv, NULL);
        napi_close_handle_scope(env, scope);
    }
    seats[seat].conn = 0;
    seats[seat].next = first_free;
    first_free = seat;
}

int32_t seat_of(wh_conn conn)
{
    void *data = NULL;
    if (lib.wh_conn_data(conn, &data) == WH_OK && data != NULL)
        return (int32_t)((intptr_t)data - 1);
    if (first_free < 0 && !more_seats())
        return -1;
    int32_t seat = first_free;
    first_free = seats[seat].next;
    seats[seat].conn = conn;
    return lib.wh_conn_set_data(conn, (void *)((intptr_t)seat + 1), forget) == WH_OK ? seat : -1;
}

bool conn_of(napi_value value, wh_conn *conn)
{
    int32_t seat = -1;
    if (napi_get_value_int32(env, value, &seat) != napi_ok || seat < 0 || seat >= seat_count || seats[seat].conn == 0)
        return false;
    *conn = seats[seat].conn;
    return true;
}

/* True if it was done; false if the connection has ended or cannot take it now; all else is thrown. */
static napi_value done(wh_result result)
{
    switch (result) {
    case WH_OK: return make_bool(true);
    case WH_ERR_GONE: case WH_ERR_HANDLE: case WH_ERR_FULL: return make_bool(false);
    default: return throw_result(result);
    }
}

/* connSend(seat, data, kind) -> taken */
static napi_value conn_send(napi_env from, napi_callback_info info)
{
    napi_value argv[3];
    wh_conn conn;
    struct text data;
    if (!arguments(from, info, 3, argv) || !text_take(&data, argv[1], "what is sent"))
        return NULL;
    wh_result result = WH_ERR_GONE;
    if (conn_of(argv[0], &conn)) {
        loop_touch();
        result = lib.wh_conn_send(conn, int_of(argv[2]), data.data, data.len);
    }
    text_free(&data);
    return done(result);
}

/* connRespond(seat, status, headers, body) -> taken */
static napi_value conn_respond(napi_env from, napi_callback_info info)
{
    napi_value argv[4];
    wh_conn conn;
    struct text headers, body;
    if (!arguments(from, info, 4, argv) || !text_take(&body, argv[3], "the body"))
        return NULL;
    wh_result result = WH_ERR_GONE;
    if (conn_of(argv[0], &conn) && text_take_latin1(&headers, argv[2])) {
        loop_touch();
        result = lib.wh_conn_respond(conn, (uint16_t)int_of(argv[1]), (const char *)headers.data, headers.len, body.data, body.len);
        text_free(&headers);
    }
    text_free(&body);
    return done(result);
}

/* connRespondStream(seat, status, headers) -> taken */
static napi_value conn_respond_stream(napi_env from, napi_callback_info info)
{
    napi_value argv[3];
    wh_conn conn;
    struct text headers;
    if (!arguments(from, info, 3, argv))
        return NULL;
    wh_result result = WH_ERR_GONE;
    if (conn_of(argv[0], &conn) && text_take_latin1(&headers, argv[2])) {
        loop_touch();
        result = lib.wh_conn_respond_stream(conn, (uint16_t)int_of(argv[1]), (const char *)headers.data, headers.len);
        text_free(&headers);
    }
    return done(result);
}

/* connChunk(seat, data, last) -> taken */
static napi_value conn_chunk(napi_env from, napi_callback_info info)
{
    napi_value argv[3];
    wh_conn conn;
    struct text data;
    if (!arguments(from, info, 3, argv) || !text_take(&data, argv[1], "a chunk"))
        return NULL;
    wh_result result = WH_ERR_GONE;
    if (conn_of(argv[0], &conn)) {
        loop_touch();
        result = lib.wh_conn_chunk(conn, data.data, data.len, int_of(argv[2]));
    }
    text_free(&data);
    return done(result);
}

/* connCloseWith(seat, code, reason) */
static napi_value conn_close_with(napi_env from, napi_callback_info info)
{
    napi_value argv[3];
    wh_conn conn;
    struct text reason;
    if (!arguments(from, info, 3, argv) || !text_take(&reason, argv[2], "the reason"))
        return NULL;
    wh_result result = WH_ERR_GONE;
    if (conn_of(argv[0], &conn)) {
        loop_touch();
        result = lib.wh_conn_close_with(conn, (uint16_t)int_of(argv[1]), (const char *)reason.data, reason.len);
    }
    text_free(&reason);
    return done(result);
}

/* connFail(seat, text): ends it as if its callback had failed. */
static napi_value conn_fail(napi_env from, napi_callback_info info)
{
    napi_value argv[2];
    wh_conn conn;
    struct text text;
    if (!arguments(from, info, 2, argv) || !text_take(&text, argv[1], "the text"))
        return NULL;
    wh_result result = WH_ERR_GONE;
    if (conn_of(argv[0], &conn)) {
        loop_touch();
        result = lib.wh_conn_fail(conn, (const char *)text.data, text.len);
    }
    text_free(&text);
    return done(result);
}

static napi_value simple(napi_env from, napi_callback_info info, wh_result (*function)(wh_conn))
{
    napi_value argv[1];
    wh_conn conn;
    if (!arguments(from, info, 1, argv))
        return NULL;
    if (!conn_of(argv[0], &conn))
        return make_bool(false);
    loop_touch();
    return done(function(conn));
}

#define SIMPLE(name) \
    static napi_value conn_##name(napi_env from, napi_callback_info info) { return simple(from, info, lib.wh_conn_##name); }
SIMPLE(close)
SIMPLE(end)
SIMPLE(destroy)
SIMPLE(pause)
SIMPLE(resume)
SIMPLE(hold)
SIMPLE(release)

/* connPipe(from, to) */
static napi_value conn_pipe(napi_env from, napi_callback_info info)
{
    napi_value argv[2];
    wh_conn source, target;
    if (!arguments(from, info, 2, argv))
        return NULL;
    if (!conn_of(argv[0], &source) || !conn_of(argv[1], &target))
        return make_bool(false);
    loop_touch();
    return done(lib.wh_conn_pipe(source, target));
}

/* connIsOpen(seat) */
static napi_value conn_is_open(napi_env from, napi_callback_info info)
{
    napi_value argv[1];
    wh_conn conn;
    int32_t open = 0;
    if (arguments(from, info, 1, argv) && conn_of(argv[0], &conn))
        lib.wh_conn_is_open(conn, &open);
    return make_bool(open != 0);
}

/* A text that the library lends; undefined if the connection has ended, or has none. */
static napi_value lent(napi_env from, napi_callback_info info, wh_result (*function)(wh_conn, wh_bytes *), napi_value (*make)(const void *, size_t))
{
    napi_value argv[1];
    wh_conn conn;
    wh_bytes bytes = { NULL, 0 };
    if (!arguments(from, info, 1, argv) || !conn_of(argv[0], &conn) || function(conn, &bytes) != WH_OK || bytes.data == NULL)
        return make_undefined();
    return make(bytes.data, bytes.len);
}

#define LENT(name, make) \
    static napi_value conn_##name(napi_env from, napi_callback_info info) { return lent(from, info, lib.wh_conn_##name, make); }
LENT(protocol, make_latin1)
LENT(remote_addr, make_latin1)
LENT(local_addr, make_latin1)
LENT(id, make_latin1)
LENT(uid, make_buffer)
LENT(session, make_buffer)

/* connStats(seat) -> object, or undefined if the connection has ended */
static napi_value conn_stats(napi_env from, napi_callback_info info)
{
    napi_value argv[1], made;
    wh_conn conn;
    struct wh_conn_stats stats = { 0 };
    if (!arguments(from, info, 1, argv) || !conn_of(argv[0], &conn)
        || lib.wh_conn_stats_of(conn, &stats, sizeof stats) != WH_OK)
        return make_undefined();
    napi_create_object(env, &made);
    set_field(made, "bytesIn", make_int((int64_t)stats.bytes_in));
    set_field(made, "bytesOut", make_int((int64_t)stats.bytes_out));
    set_field(made, "messagesIn", make_int((int64_t)stats.messages_in));
    set_field(made, "queued", make_int((int64_t)stats.queued));
    return made;
}

/* connQueued(seat) -> bytes that wait to be sent */
static napi_value conn_queued(napi_env from, napi_callback_info info)
{
    napi_value argv[1];
    wh_conn conn;
    uint64_t queued = 0;
    if (arguments(from, info, 1, argv) && conn_of(argv[0], &conn))
        lib.wh_conn_send_queue(conn, &queued);
    return make_int((int64_t)queued);
}

/* An array of Buffers; an empty one if the connection has ended. */
static napi_value names(napi_env from, napi_callback_info info, wh_result (*function)(wh_conn, const wh_bytes **, size_t *))
{
    napi_value argv[1], made;
    wh_conn conn;
    const wh_bytes *each = NULL;
    size_t count = 0;
    napi_create_array(env, &made);
    if (!arguments(from, info, 1, argv) || !conn_of(argv[0], &conn) || function(conn, &each, &count) != WH_OK)
        return made;
    for (size_t at = 0; at < count; at++)
        napi_set_element(env, made, (uint32_t)at, make_buffer(each[at].data, each[at].len));
    return made;
}

static napi_value conn_uids(napi_env from, napi_callback_info info)
{
    return names(from, info, lib.wh_conn_uids);
}

static napi_value conn_rooms(napi_env from, napi_callback_info info)
{
    return names(from, info, lib.wh_conn_rooms);
}

void conn_exports(napi_value exports)
{
    const struct export all[] = {
        { "connSend", conn_send }, { "connRespond", conn_respond }, { "connRespondStream", conn_respond_stream },
        { "connChunk", conn_chunk }, { "connCloseWith", conn_close_with }, { "connFail", conn_fail },
        { "connClose", conn_close }, { "connEnd", conn_end }, { "connDestroy", conn_destroy },
        { "connPause", conn_pause }, { "connResume", conn_resume }, { "connHold", conn_hold }, { "connRelease", conn_release },
        { "connPipe", conn_pipe }, { "connIsOpen", conn_is_open }, { "connProtocol", conn_protocol },
        { "connRemote", conn_remote_addr }, { "connLocal", conn_local_addr }, { "connId", conn_id }, { "connUid", conn_uid },
        { "connSession", conn_session }, { "connStats", conn_stats }, { "connQueued", conn_queued }, { "connUids", conn_uids }, { "connRooms", conn_rooms },
    };
    export_all(exports, all, COUNT_OF(all));
}
