/* Tests of the C interface: in a running worker, which is its own client. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "abi.h"

/* What the next callback does. */
static int32_t (*act)(wh_conn conn);
static int acted, dialled, closed, errors, started, stopped;
wh_conn last;
static const wh_request *stale_request;
static wh_opening *stale_opening;
static void *stale_sink;
static wh_hive left_over;

/* ---- clients ---- */

static void path_of(const char *name, char *path, size_t size)
{
    char here[64];
    if (!getcwd(here, sizeof here))
        abort();
    snprintf(path, size, "%s/%s", here, name);
}

static int dial(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    path_of(name, address.sun_path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    OK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    dialled++;
    return fd;
}

void turn(void)
{
    int32_t over = 0;
    IS(WH_OK, wh_run_once(hive, 20, &over));
    OK(!over);
}

/* Turns until something has happened; enough of them for the slowest machine. */
bool until(const int *counter, int goal)
{
    for (int turns = 0; *counter < goal && turns < 1500; turns++)
        turn();
    return OK(*counter >= goal);
}

static void put(int fd, const char *text)
{
    OK(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

/* What comes next; an empty text at the end of the stream. */
static const char *get(int fd)
{
    static char answer[4096];
    for (int turns = 0; turns < 1500; turns++) {
        ssize_t len = recv(fd, answer, sizeof answer - 1, MSG_DONTWAIT);
        if (len >= 0 || (errno != EAGAIN && errno != EINTR)) {
            answer[len > 0 ? len : 0] = 0;
            return answer;
        }
        turn();
    }
    OK(!"an answer");
    return "";
}

/* Has a callback of a new connection do something. */
static int made_to(int32_t (*what)(wh_conn conn), const char *name, const char *words)
{
    int fd = dial(name), before = acted;
    act = what;
    put(fd, words);
    until(&acted, before + 1);
    return fd;
}

/* Every connection ends with one on_close. */
static void end(int fd)
{
    close(fd);
    until(&closed, dialled);
    OK(closed == dialled);
}

/* ---- callbacks ---- */

static int32_t do_it(void *user, wh_conn conn)
{
    if (user)
        enter(user);
    last = conn;
    int32_t (*what)(wh_conn) = act;
    act = NULL;
    int32_t code = what ? what(conn) : WH_OK;
    acted++;
    if (user)
        leave(user);
    return code;
}

static int32_t on_message(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text)
{
    (void)data, (void)len, (void)is_text;
    return do_it(user, conn);
}

static int32_t on_request(void *user, wh_conn conn, const wh_request *request)
{
    stale_request = request;
    return do_it(user, conn);
}

static int32_t on_opening(void *user, wh_conn conn, wh_opening *opening)
{
    stale_opening = opening;
    return do_it(user, conn);
}

static int32_t on_close(void *user, wh_conn conn, const wh_close_info *info)
{
    enter(user);
    OK(info->reason >= 1 && info->text.len > 0);
    /* It can still be asked, and is beyond help. */
    void *data;
    OK(wh_conn_data(conn, &data) == WH_OK);
    OK(wh_conn_send(conn, WH_TEXT, TEXT("too late")) != WH_OK);
    closed++;
    leave(user);
    return WH_OK;
}

static int32_t on_error(void *user, wh_conn conn, uint32_t kind, const char *text, size_t len)
{
    (void)conn;
    enter(user);
    OK(kind >= 1 && kind <= 6 && len > 0 && text[0]);
    errors++;
    leave(user);
    return WH_OK;
}

/* ---- a protocol of our own ---- */

static int64_t own_input(void *user, const uint8_t *data, size_t len)
{
    (void)user;
    switch (data[0]) {
    case '-': return -1;
    case '<': return INT64_MIN;
    case '>': return INT64_MAX;
    default: return len < 4 ? 0 : 4;
    }
}

static int32_t own_decode(void *user, const uint8_t *data, size_t len, void *sink)
{
    (void)user;
    stale_sink = sink;
    /* In the middle of reading, nothing else may be done. */
    IS(WH_ERR_STATE, wh_conn_send(last, WH_TEXT, TEXT("hi")));
    IS(WH_ERR_STATE, wh_stop_all(hive));
    IS(WH_ERR_NULL, wh_sink_write(sink, NULL, 3));
    IS(WH_ERR_LENGTH, wh_sink_write(sink, data, SIZE_MAX));
    REFUSED(wh_sink_write((char *)sink + 1, data, len));
    if (data[1] == '!')
        return wh_fail_text(CHARS("cannot be decoded")), WH_ERR_CALLBACK;
    return wh_sink_write(sink, data, len);
}

static int32_t own_encode(void *user, const uint8_t *data, size_t len, void *sink)
{
    (void)user;
    IS(WH_ERR_STATE, wh_conn_close(last));
    if (len && data[0] == '!')
        return WH_ERR_CALLBACK;
    return wh_sink_write(sink, data, len);
}

/* ---- what is done inside ---- */

static int32_t nothing(wh_conn conn)
{
    (void)conn;
    return WH_OK;
}

static int32_t fails(wh_conn conn)
{
    (void)conn;
    IS(WH_OK, wh_fail_text(CHARS("not this")));
    IS(WH_ERR_NULL, wh_fail_text(NULL, 3));
    IS(WH_OK, wh_fail_text(CHARS("in one\nin another\nit has failed")));
    return WH_ERR_CALLBACK;
}

static int32_t fails_silently(wh_conn conn)
{
    (void)conn;
    return INT32_MIN;
}

static int32_t runs_loops(wh_conn conn)
{
    int32_t number, code;
    wh_hive other = 0;
    (void)conn;
    const char *const argv[] = {"abi"};
    IS(WH_ERR_STATE, wh_run_once(hive, 0, &number));
    IS(WH_ERR_STATE, wh_loop(hive, &number));
    IS(WH_ERR_STATE, wh_finish(hive, &number));
    IS(WH_ERR_STATE, wh_hive_free(hive));
    IS(WH_ERR_STATE, wh_hive_start(hive, 1, argv, &number, &code));
    IS(WH_ERR_STATE, wh_run(hive, 1, argv, &code));
    IS(WH_OK, wh_ready(hive, CHARS("too late")));
    REFUSED(wh_worker_attach(hive, &number, &code));
    if (wh_hive_new(CHARS("another"), &other) == WH_OK) {
        REFUSED(wh_hive_start(other, 1, argv, &number, &code));
        IS(WH_ERR_STATE, wh_hive_free(other));
        left_over = other;
    }
    IS(WH_ERR_NULL, wh_poll_fd(hive, NULL));
    IS(WH_ERR_NULL, wh_place_of(hive, NULL));
    IS(WH_ERR_NULL, wh_stats_of(hive, NULL, sizeof(wh_stats)));
    wh_stats stats;
    IS(WH_ERR_LENGTH, wh_stats_of(hive, &stats, 0));
    IS(WH_ERR_LENGTH, wh_stats_of(hive, &stats, SIZE_MAX));
    uint64_t first[2] = {0, 77};
    IS(WH_OK, wh_stats_of(hive, (wh_stats *)first, sizeof first[0]));
    OK(first[0] >= 1 && first[1] == 77);
    IS(WH_OK, wh_signal(hive, -1));
    IS(WH_OK, wh_signal(hive, 12345));
    return WH_OK;
}

static int32_t destroys_itself(wh_conn conn)
{
    IS(WH_OK, wh_conn_set_data(conn, tally("data of one destroyed"), destroy));
    IS(WH_OK, wh_conn_destroy(conn));
    REFUSED(wh_conn_send(conn, WH_TEXT, TEXT("hi")));
    return WH_OK;
}

static int32_t closes_and_goes_on(wh_conn conn)
{
    IS(WH_OK, wh_conn_close(conn));
    REFUSED(wh_conn_send(conn, WH_TEXT, TEXT("hi")));
    wh_conn_close(conn);
    wh_conn_end(conn);
    wh_conn_close_with(conn, 4000, CHARS("once more"));
    return WH_OK;
}

static int32_t fails_itself(wh_conn conn)
{
    IS(WH_ERR_NULL, wh_conn_fail(conn, NULL, 3));
    IS(WH_OK, wh_conn_fail(conn, CHARS("as told")));
    return WH_OK;
}

static int32_t misuses(wh_conn conn)
{
    wh_bytes bytes;
    size_t count;
    const wh_bytes *list;
    wh_conn_stats stats;
    static const uint8_t long_name[256];
    IS(WH_ERR_NULL, wh_conn_send(conn, WH_TEXT, NULL, 3));
    IS(WH_ERR_LENGTH, wh_conn_send(conn, WH_TEXT, BYTES("hi"), SIZE_MAX));
    IS(WH_ERR_VALUE, wh_conn_send(conn, 7, TEXT("hi")));
    IS(WH_ERR_PROTOCOL, wh_conn_respond(conn, 200, NULL, 0, NULL, 0));
    IS(WH_ERR_PROTOCOL, wh_conn_respond_stream(conn, 200, NULL, 0));
    IS(WH_ERR_PROTOCOL, wh_conn_chunk(conn, TEXT("x"), 0));
    IS(WH_ERR_NAME, wh_conn_bind_uid(conn, NULL, 0, of_done, tally("no uid"), destroy));
    IS(WH_ERR_NAME, wh_conn_bind_uid(conn, long_name, 256, of_done, tally("long uid"), destroy));
    IS(WH_ERR_NULL, wh_conn_bind_uid(conn, NULL, 4, of_done, tally("NULL uid"), destroy));
    IS(WH_ERR_NAME, wh_conn_join_room(conn, NULL, 0, of_done, tally("no room"), destroy));
    IS(WH_ERR_NAME, wh_conn_claim_uid(conn, NULL, 0));
    IS(WH_ERR_NOT_BOUND, wh_conn_unbind_uid(conn, TEXT("nobody")));
    IS(WH_ERR_NOT_BOUND, wh_conn_leave_room(conn, TEXT("nowhere")));
    IS(WH_ERR_NULL, wh_conn_uid(conn, NULL));
    IS(WH_ERR_NULL, wh_conn_rooms(conn, NULL, &count));
    IS(WH_ERR_NULL, wh_conn_uids(conn, &list, NULL));
    IS(WH_ERR_NULL, wh_conn_rooms(conn, &list, NULL));
    IS(WH_ERR_NULL, wh_conn_set_session(conn, NULL, 9));
    IS(WH_ERR_NULL, wh_conn_session(conn, NULL));
    IS(WH_ERR_NULL, wh_conn_is_open(conn, NULL));
    IS(WH_ERR_NULL, wh_conn_protocol(conn, NULL));
    IS(WH_ERR_NULL, wh_conn_remote_addr(conn, NULL));
    IS(WH_ERR_NULL, wh_conn_local_addr(conn, NULL));
    IS(WH_ERR_NULL, wh_conn_id(conn, NULL));
    IS(WH_ERR_NULL, wh_conn_send_queue(conn, NULL));
    IS(WH_ERR_NULL, wh_conn_stats_of(conn, NULL, sizeof stats));
    IS(WH_ERR_LENGTH, wh_conn_stats_of(conn, &stats, 0));
    IS(WH_ERR_NULL, wh_conn_data(conn, NULL));
    IS(WH_OK, wh_conn_bind_uid(conn, TEXT("ann"), of_done, tally("bind"), destroy));
    IS(WH_OK, wh_conn_join_room(conn, TEXT("attic"), of_done, tally("join"), destroy));
    IS(WH_OK, wh_conn_join_room(conn, TEXT("attic"), NULL, tally("join without a function"), destroy));
    IS(WH_OK, wh_conn_rooms(conn, &list, &count));
    OK(count == 1 && list[0].len == 5 && !memcmp(list[0].data, "attic", 5));
    IS(WH_OK, wh_conn_uid(conn, &bytes));
    OK(bytes.len == 3 && !memcmp(bytes.data, "ann", 3));
    IS(WH_OK, wh_conn_protocol(conn, &bytes));
    OK(bytes.len == 4 && !memcmp(bytes.data, "text", 4));
    IS(WH_OK, wh_conn_id(conn, &bytes));
    OK(bytes.len > 0);
    IS(WH_OK, wh_send_to_connection((const char *)bytes.data, bytes.len, WH_TEXT, TEXT("by id"), of_outcome,
                                    tally("to_connection"), destroy));
    char id[64];
    IS(WH_OK, wh_conn_id(conn, &bytes));
    int len = snprintf(id, sizeof id, "%.*s", (int)bytes.len, (const char *)bytes.data);
    IS(WH_OK, wh_session_of(id, (size_t)len, of_session, tally("session_of"), destroy));
    IS(WH_OK, wh_join_connection(id, (size_t)len, TEXT("cellar")));
    IS(WH_OK, wh_leave_connection(id, (size_t)len, TEXT("cellar")));
    /* One value after another; the last one goes with the connection. */
    IS(WH_OK, wh_conn_set_data(conn, tally("data"), destroy));
    IS(WH_OK, wh_conn_set_data(conn, tally("other data"), destroy));
    IS(WH_OK, wh_conn_set_data(conn, NULL, NULL));
    IS(WH_OK, wh_conn_set_data(conn, tally("last data"), destroy));
    wh_conn_release(conn);
    IS(WH_OK, wh_conn_hold(conn));
    IS(WH_OK, wh_conn_release(conn));
    wh_conn_pipe(conn, conn);
    IS(WH_ERR_HANDLE, wh_conn_pipe(conn, 0));
    every_call_about_names(WH_OK);
    return WH_OK;
}

static int32_t answers(wh_conn conn)
{
    wh_request_view view = {.version_minor = 77};
    wh_bytes bytes;
    const wh_request *request = stale_request;
    IS(WH_ERR_NULL, wh_request_read(request, NULL, sizeof view));
    IS(WH_ERR_LENGTH, wh_request_read(request, &view, 0));
    IS(WH_OK, wh_request_read(request, &view, sizeof view.method));
    OK(view.method.len == 3 && view.version_minor == 77);
    IS(WH_OK, wh_request_read(request, &view, sizeof view));
    OK(view.path.len == 2 && !view.query.data && view.version_minor == 1);
    IS(WH_ERR_NULL, wh_request_header(request, NULL, 4, &bytes));
    IS(WH_ERR_NULL, wh_request_header(request, CHARS("host"), NULL));
    IS(WH_OK, wh_request_header(request, CHARS("HOST"), &bytes));
    OK(bytes.len == 3);
    IS(WH_OK, wh_request_header(request, CHARS("none"), &bytes));
    OK(!bytes.data);
    IS(WH_ERR_NULL, wh_request_headers(request, NULL));
    IS(WH_OK, wh_request_headers(request, &bytes));
    IS(WH_ERR_STATE, wh_request_read((const wh_request *)((uintptr_t)request ^ 0x100), &view, sizeof view));
    REFUSED(wh_opening_read((const wh_opening *)request, &view, sizeof view));

    IS(WH_ERR_PROTOCOL, wh_conn_send(conn, WH_TEXT, TEXT("no response")));
    IS(WH_ERR_PROTOCOL, wh_conn_respond(conn, 0, NULL, 0, NULL, 0));
    IS(WH_ERR_PROTOCOL, wh_conn_respond(conn, 1000, NULL, 0, NULL, 0));
    REFUSED(wh_conn_respond(conn, 200, CHARS("no colon\n"), NULL, 0));
    IS(WH_ERR_PROTOCOL, wh_conn_respond(conn, 200, CHARS("X: a\rb\n"), NULL, 0));
    IS(WH_ERR_PROTOCOL, wh_conn_respond(conn, 200, "X: \0\n", 5, NULL, 0));
    IS(WH_ERR_NULL, wh_conn_respond(conn, 200, NULL, 3, NULL, 0));
    IS(WH_ERR_NULL, wh_conn_respond(conn, 200, NULL, 0, NULL, 3));
    IS(WH_ERR_LENGTH, wh_conn_respond(conn, 200, NULL, 0, BYTES("x"), SIZE_MAX));
    IS(WH_ERR_PROTOCOL, wh_conn_chunk(conn, TEXT("no head"), 0));
    IS(WH_OK, wh_conn_respond(conn, 200, CHARS("X-Abi: yes\r\nX-More: yes\n"), TEXT("hello")));
    IS(WH_ERR_PROTOCOL, wh_conn_respond(conn, 200, NULL, 0, NULL, 0));
    return WH_OK;
}

static int32_t opens(wh_conn conn)
{
    wh_request_view view;
    wh_bytes bytes;
    wh_opening *opening = stale_opening;
    (void)conn;
    IS(WH_OK, wh_opening_read(opening, &view, sizeof view));
    IS(WH_ERR_NULL, wh_opening_read(opening, NULL, sizeof view));
    IS(WH_ERR_NULL, wh_opening_header(opening, NULL, 4, &bytes));
    IS(WH_OK, wh_opening_header(opening, CHARS("upgrade"), &bytes));
    OK(bytes.len == 9);
    IS(WH_ERR_NULL, wh_opening_headers(opening, NULL));
    IS(WH_OK, wh_opening_headers(opening, &bytes));
    IS(WH_ERR_VALUE, wh_opening_refuse(opening, 0, NULL, 0));
    IS(WH_ERR_NULL, wh_opening_refuse(opening, 403, NULL, 4));
    IS(WH_ERR_NULL, wh_opening_subprotocol(opening, NULL, 3));
    IS(WH_ERR_NULL, wh_opening_add_header(opening, NULL, 1, CHARS("x")));
    IS(WH_ERR_LENGTH, wh_opening_add_header(opening, CHARS("X"), "x", SIZE_MAX));
    IS(WH_OK, wh_opening_refuse(opening, 403, CHARS("no")));
    return WH_OK;
}

static int32_t injects(wh_conn conn)
{
    (void)conn;
    /* It may be taken: then the handshake fails. */
    wh_opening_add_header(stale_opening, CHARS("X"), CHARS("a\r\nInjected: yes"));
    return WH_OK;
}

/* ---- listeners ---- */

static const char *address(const char *scheme, const char *name)
{
    static char address[256];
    char path[128];
    path_of(name, path, sizeof path);
    snprintf(address, sizeof address, "%s://unix:%s", scheme, path);
    return address;
}

static wh_worker listener(const char *scheme, const char *name)
{
    wh_worker worker = 0;
    const char *there = address(scheme, name);
    IS(WH_OK, wh_worker_new(there, strlen(there), &worker));
    IS(WH_OK, wh_on_close(worker, on_close, tally("on_close"), destroy));
    IS(WH_OK, wh_on_error(worker, on_error, tally("on_error"), destroy));
    return worker;
}

static void listen_at(wh_worker worker)
{
    IS(WH_OK, wh_listen(worker));
    IS(WH_ERR_HANDLE, wh_listen(worker));
    IS(WH_ERR_HANDLE, wh_worker_free(worker));
}

static int32_t on_worker_start(void *user)
{
    enter(user);
    started++;
    wh_worker text = listener("text", "text.sock"), http = listener("http", "http.sock");
    wh_worker websocket = listener("websocket", "ws.sock"), own = listener("abi", "own.sock");
    IS(WH_OK, wh_on_message(text, on_message, tally("on_message"), destroy));
    IS(WH_OK, wh_on_request(http, on_request, tally("on_request"), destroy));
    IS(WH_OK, wh_on_websocket_connect(websocket, on_opening, tally("opening"), destroy));
    IS(WH_OK, wh_on_message(own, on_message, tally("on_message of our own"), destroy));
    IS(WH_OK, wh_worker_set_int(text, WH_COUNT, 4));
    IS(WH_ERR_OPTION, wh_listen(text));
    IS(WH_OK, wh_worker_free(text));
    text = listener("text", "text.sock");
    IS(WH_OK, wh_on_message(text, on_message, tally("on_message"), destroy));
    listen_at(text);
    listen_at(http);
    listen_at(websocket);
    listen_at(own);
    leave(user);
    return WH_PENDING;
}

static int32_t on_worker_stop(void *user)
{
    enter(user);
    stopped++;
    leave(user);
    return WH_OK;
}

static void listeners(void)
{
    wh_worker again = listener("text", "text.sock");
    REFUSED(wh_listen(again));
    IS(WH_OK, wh_worker_free(again));
    const char *there = address("text", "text.sock");
    IS(WH_ERR_NOT_LISTENING, wh_unlisten(CHARS("text://127.0.0.1:1")));
    IS(WH_ERR_NULL, wh_unlisten(NULL, 4));
    IS(WH_ERR_NOT_LISTENING, wh_pause_accept(CHARS("text://127.0.0.1:1")));
    IS(WH_ERR_NOT_LISTENING, wh_resume_accept(CHARS("text://127.0.0.1:1")));
    IS(WH_OK, wh_pause_accept(there, strlen(there)));
    IS(WH_OK, wh_pause_accept(there, strlen(there)));
    IS(WH_OK, wh_resume_accept(there, strlen(there)));
    there = address("abi", "own.sock");
    IS(WH_OK, wh_unlisten(there, strlen(there)));
    IS(WH_ERR_NOT_LISTENING, wh_unlisten(there, strlen(there)));
}

/* ---- all of it ---- */

void define_inside(void)
{
    wh_worker worker;
    IS(WH_OK, wh_hive_new(CHARS("abi"), &hive));
    IS(WH_OK, wh_protocol_register(CHARS("abi"), own_input, own_decode, own_encode, NULL, NULL));
    IS(WH_OK, wh_worker_new(NULL, 0, &worker));
    IS(WH_OK, wh_worker_set_text(worker, WH_NAME, CHARS("abi")));
    IS(WH_OK, wh_on_worker_start(worker, on_worker_start, tally("on_worker_start"), destroy));
    IS(WH_OK, wh_on_worker_stop(worker, on_worker_stop, tally("on_worker_stop"), destroy));
    IS(WH_OK, wh_hive_add(hive, worker));
}

static void connections(void)
{
    int before = errors;
    int fd = made_to(fails, "text.sock", "go\n");
    OK(!*get(fd));
    end(fd);
    fd = made_to(fails_silently, "text.sock", "go\n");
    OK(!*get(fd));
    end(fd);
    fd = made_to(fails_itself, "text.sock", "go\n");
    OK(!*get(fd));
    end(fd);
    OK(errors == before + 3);
    every_call_of(last, WH_ERR_GONE);

    end(made_to(runs_loops, "text.sock", "go\n"));
    if (left_over)
        IS(WH_OK, wh_hive_free(left_over));
    end(made_to(destroys_itself, "text.sock", "go\n"));
    every_call_of(last, WH_ERR_GONE);
    end(made_to(closes_and_goes_on, "text.sock", "go\n"));
    fd = made_to(misuses, "text.sock", "go\n");
    turn();
    end(fd);
}

#define HANDSHAKE                                                                    \
    "GET / HTTP/1.1\r\nHost: abi\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static void requests(void)
{
    wh_request_view view;
    wh_bytes bytes;
    int fd = made_to(answers, "http.sock", "GET /x HTTP/1.1\r\nHost: abi\r\n\r\n");
    const wh_request *old = stale_request;
    const char *answer = get(fd);
    OK(strstr(answer, "X-Abi: yes") && strstr(answer, "hello"));
    IS(WH_ERR_STATE, wh_request_read(old, &view, sizeof view));
    IS(WH_ERR_STATE, wh_request_header(old, CHARS("host"), &bytes));
    IS(WH_ERR_STATE, wh_request_headers(old, &bytes));
    end(fd);
    /* Nobody answers it, and it is answered nevertheless. */
    fd = made_to(fails, "http.sock", "GET /x HTTP/1.1\r\nHost: abi\r\n\r\n");
    OK(strstr(get(fd), " 500 "));
    end(fd);
    fd = made_to(injects, "ws.sock", HANDSHAKE);
    OK(!strstr(get(fd), "Injected"));
    end(fd);
    fd = made_to(opens, "ws.sock", HANDSHAKE);
    OK(strstr(get(fd), " 403 "));
    IS(WH_ERR_STATE, wh_opening_refuse(stale_opening, 403, NULL, 0));
    IS(WH_ERR_STATE, wh_opening_subprotocol(stale_opening, CHARS("x")));
    IS(WH_ERR_STATE, wh_opening_add_header(stale_opening, CHARS("X"), CHARS("x")));
    IS(WH_ERR_STATE, wh_opening_headers(stale_opening, &bytes));
    IS(WH_ERR_STATE, wh_opening_header(stale_opening, CHARS("x"), &bytes));
    end(fd);
}

static int32_t says_it_back(wh_conn conn)
{
    IS(WH_OK, wh_conn_send(conn, WH_BINARY, TEXT("back")));
    REFUSED(wh_conn_send(conn, WH_BINARY, TEXT("!not to be encoded")));
    return WH_OK;
}

static void own_protocol(void)
{
    int fd = made_to(nothing, "own.sock", "abcd");
    act = says_it_back;
    put(fd, "efgh");
    OK(!strncmp(get(fd), "back", 4));
    IS(WH_ERR_STATE, wh_sink_write(stale_sink, TEXT("x")));
    end(fd);
    static const char *const broken[] = {"-", "<", ">", "a!cd"};
    for (size_t n = 0; n < sizeof broken / sizeof *broken; n++) {
        fd = dial("own.sock");
        put(fd, broken[n]);
        OK(!*get(fd));
        end(fd);
    }
}

void inside(void)
{
    wh_place place;
    int32_t fd = -1, other = -1;
    IS(WH_OK, wh_poll_fd(hive, &fd));
    OK(fd >= 0);
    until(&started, 1);
    IS(WH_OK, wh_ready(hive, NULL, 0));
    IS(WH_OK, wh_ready(hive, NULL, 0));
    turn();
    IS(WH_OK, wh_place_of(hive, &place));
    OK(place.slot == 0 && place.count == 1 && place.pid == (uint32_t)getpid() && place.group.len == 3);
    connections();
    requests();
    own_protocol();
    timers();
    mailboxes();
    blocking();
    listeners();
    every_call_about_names(WH_OK);
    IS(WH_OK, wh_subscribe(TEXT("news"), of_topic, tally("subscribe"), destroy));
    IS(WH_OK, wh_unsubscribe(TEXT("news")));
    REFUSED(wh_unsubscribe(TEXT("news")));
    IS(WH_OK, wh_subscribe(TEXT("news"), of_topic, tally("subscribed to the end"), destroy));
    for (int turns = 0; turns < 10; turns++)
        turn();
    IS(WH_OK, wh_poll_fd(hive, &other));
    OK(fd == other);
    /* One that stays to the end. */
    fd = made_to(nothing, "text.sock", "go\n");
    IS(WH_OK, wh_conn_set_data(last, tally("data to the end"), destroy));
    close(fd);
}
