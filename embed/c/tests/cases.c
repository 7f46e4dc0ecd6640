/* The case server in C: its groups, what each process does, and its loop. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cases.h"

#define MAX_MESSAGE (17 * 1024 * 1024)

wh_hive hive;

/* Signals of ours come through this pipe into the loop. */
static int signals[2];

static void die(const char *what)
{
    fprintf(stderr, "cases: %s: %s\n", what, wh_last_error(NULL));
    exit(2);
}

static void must(wh_result code, const char *what)
{
    if (code != WH_OK)
        die(what);
}

/* What a callback returns after a call: the text of its error is that of the callback's. */
int32_t done(wh_result code)
{
    if (code == WH_OK || code == WH_PENDING)
        return WH_OK;
    char *text = strdup(wh_last_error(NULL));
    int32_t failed = fail(text ? text : "");
    free(text);
    return failed;
}

int32_t fail(const char *text)
{
    wh_fail_text(text, strlen(text));
    return WH_ERR_CALLBACK;
}

void note_line(const char *format, ...)
{
    char *line;
    va_list values;
    va_start(values, format);
    int len = vasprintf(&line, format, values);
    va_end(values);
    if (len < 0)
        return;
    wh_log(3, line, (size_t)len);
    free(line);
}

/* ---- every group ---- */

static void on_signal(int signo)
{
    int kept = errno;
    unsigned char byte = (unsigned char)signo;
    if (write(signals[1], &byte, 1) < 0) {
        /* The pipe is full: the loop will wake up anyway. */
    }
    errno = kept;
}

static bool are_own(void)
{
    const char *whose = getenv("WORKHIVE_CASE_SIGNALS");
    return whose && !strcmp(whose, "host");
}

static int32_t on_worker_start(void *user)
{
    (void)user;
    const char *reason = getenv("WORKHIVE_CASE_FAIL_START");
    if (reason)
        return fail(reason);
    /* A pipe for each process: one made before the fork would be everybody's. */
    if (pipe2(signals, O_CLOEXEC | O_NONBLOCK) < 0)
        return fail("pipe2");
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGWINCH, &action, NULL);
    if (are_own())
        sigaction(SIGTERM, &action, NULL);
    note_line("on_worker_start");
    return WH_OK;
}

static int32_t on_worker_stop(void *user)
{
    (void)user;
    note_line("on_worker_stop");
    return WH_OK;
}

static int32_t on_close(void *user, wh_conn conn, const wh_close_info *info)
{
    (void)user, (void)conn;
    note_line("on_close %u %.*s", info->peer_code, (int)info->peer_reason.len, (const char *)info->peer_reason.data);
    return WH_OK;
}

static int32_t on_error(void *user, wh_conn conn, uint32_t kind, const char *text, size_t len)
{
    (void)user, (void)conn, (void)kind;
    const char *end = memchr(text, '\n', len);
    note_line("on_error %.*s", (int)(end ? end - text : (ptrdiff_t)len), text);
    return WH_OK;
}

static int32_t on_buffer_full(void *user, wh_conn conn)
{
    (void)user, (void)conn;
    note_line("on_buffer_full");
    return WH_OK;
}

static int32_t on_buffer_drain(void *user, wh_conn conn)
{
    (void)user, (void)conn;
    note_line("on_buffer_drain");
    return WH_OK;
}

/* ---- groups ---- */

/* A worker at an address, with what all of them have. */
static wh_worker worker_at(const char *scheme, const char *address)
{
    char whole[256] = "";
    int len = address ? snprintf(whole, sizeof whole, "%s://%s", scheme, address) : 0;
    wh_worker worker;
    must(wh_worker_new(whole, (size_t)len, &worker), "wh_worker_new");
    if (address && strcmp(scheme, "tcp"))
        must(wh_worker_set_int(worker, WH_MAX_MESSAGE, MAX_MESSAGE), "WH_MAX_MESSAGE");
    must(wh_on_close(worker, on_close, NULL, NULL), "wh_on_close");
    must(wh_on_error(worker, on_error, NULL, NULL), "wh_on_error");
    must(wh_on_buffer_full(worker, on_buffer_full, NULL, NULL), "wh_on_buffer_full");
    must(wh_on_buffer_drain(worker, on_buffer_drain, NULL, NULL), "wh_on_buffer_drain");
    return worker;
}

/* A group that listens at the address in a variable; 0 if there is none. */
static wh_worker group(const char *name, const char *scheme, const char *variable)
{
    const char *address = getenv(variable);
    if (!address)
        return 0;
    wh_worker worker = worker_at(scheme, scheme[0] ? address : NULL);
    must(wh_worker_set_text(worker, WH_NAME, name, strlen(name)), "WH_NAME");
    must(wh_on_worker_start(worker, on_worker_start, NULL, NULL), "wh_on_worker_start");
    must(wh_on_worker_stop(worker, on_worker_stop, NULL, NULL), "wh_on_worker_stop");
    return worker;
}

static void add(wh_worker worker)
{
    must(wh_hive_add(hive, worker), "wh_hive_add");
}

static void add_orders(const char *name, const char *scheme, const char *variable)
{
    wh_worker worker = group(name, scheme, variable);
    if (!worker)
        return;
    bool is_websocket = !strcmp(scheme, "websocket");
    must(wh_on_message(worker, on_order, is_websocket ? &hive : NULL, NULL), "wh_on_message");
    if (is_websocket)
        must(wh_on_websocket_connect(worker, on_opening, NULL, NULL), "wh_on_websocket_connect");
    add(worker);
}

/* ---- listeners inside ---- */

static int32_t on_push_start(void *user)
{
    int32_t code = on_worker_start(user);
    const char *address = getenv("WORKHIVE_CASE_PUSH_TEXT");
    if (code != WH_OK)
        return code;
    must(wh_subscribe((const uint8_t *)"case", 4, on_topic, NULL, NULL), "wh_subscribe");
    if (!address)
        return WH_OK;
    wh_worker inner = worker_at("text", address);
    must(wh_worker_set_int(inner, WH_REUSE_PORT, 1), "WH_REUSE_PORT");
    must(wh_on_message(inner, on_push_line, NULL, NULL), "wh_on_message");
    wh_result listens = wh_listen(inner);
    int32_t failed = done(listens);
    if (listens != WH_OK)
        wh_worker_free(inner);
    return failed;
}

static int32_t on_inner_start(void *user)
{
    int32_t code = on_worker_start(user);
    if (code != WH_OK)
        return code;
    const char *how = getenv("WORKHIVE_CASE_INNER_HOW");
    wh_worker inner = worker_at("text", getenv("WORKHIVE_CASE_INNER"));
    must(wh_on_message(inner, on_order, NULL, NULL), "wh_on_message");
    if (how && !strcmp(how, "reuse_port"))
        must(wh_worker_set_int(inner, WH_REUSE_PORT, 1), "WH_REUSE_PORT");
    if (how && !strcmp(how, "shared"))
        must(wh_worker_set_int(inner, WH_SHARED, 1), "WH_SHARED");
    if (wh_listen(inner) == WH_OK)
        return WH_OK;
    char *reason = strdup(wh_last_error(NULL));
    if (!reason)
        return fail("out of memory");
    for (char *at = reason; (at = strchr(at, '\n'));)
        *at = ' ';
    note_line("does without: %s", reason);
    free(reason);
    return done(wh_worker_free(inner));
}

static void add_groups(void)
{
    add_orders("text", "text", "WORKHIVE_CASE_TEXT");
    add_orders("frame", "frame", "WORKHIVE_CASE_FRAME");
    add_orders("tcp", "tcp", "WORKHIVE_CASE_TCP");
    add_orders("websocket", "websocket", "WORKHIVE_CASE_WEBSOCKET");
    add_orders("netstring", "netstring", "WORKHIVE_CASE_NETSTRING");
    wh_worker http = group("http", "http", "WORKHIVE_CASE_HTTP");
    if (http) {
        must(wh_on_request(http, on_page, NULL, NULL), "wh_on_request");
        add(http);
    }
    wh_worker push = group("push", "websocket", "WORKHIVE_CASE_PUSH");
    if (push) {
        must(wh_on_worker_start(push, on_push_start, NULL, NULL), "wh_on_worker_start");
        must(wh_on_message(push, on_push, NULL, NULL), "wh_on_message");
        must(wh_on_uid_online(push, on_online, NULL, NULL), "wh_on_uid_online");
        must(wh_on_uid_offline(push, on_offline, NULL, NULL), "wh_on_uid_offline");
        add(push);
    }
    wh_worker inner = group("inner", "", "WORKHIVE_CASE_INNER");
    if (inner) {
        must(wh_on_worker_start(inner, on_inner_start, NULL, NULL), "wh_on_worker_start");
        add(inner);
    }
}

/* ---- the hive ---- */

static void log_line(void *user, uint32_t level, const char *text, size_t len)
{
    (void)user;
    static const char *const levels[] = {"", "error", "warn", "info", "debug", "trace"};
    fprintf(stderr, "own: %s %.*s\n", level < 6 ? levels[level] : "", (int)len, text);
}

static void on_own_signal(unsigned char signo)
{
    if (signo == SIGWINCH)
        note_line("saw SIGWINCH");
    if (signo == SIGTERM) {
        note_line("host saw SIGTERM");
        must(wh_signal(hive, SIGTERM), "wh_signal");
    }
}

/* A loop of the host's own, which waits for more than connections: for signals, here. */
static int loop(void)
{
    int32_t over = 0, code = 1;
    struct pollfd waits[2] = {{.events = POLLIN}, {.fd = -1, .events = POLLIN}};
    must(wh_poll_fd(hive, &waits[0].fd), "wh_poll_fd");
    /* The first turn calls on_worker_start, which makes the pipe. */
    must(wh_run_once(hive, 0, &over), "wh_run_once");
    waits[1].fd = signals[0] ? signals[0] : -1;
    while (!over) {
        if (poll(waits, 2, -1) < 0 && errno != EINTR)
            die("poll");
        unsigned char signo;
        while (waits[1].revents && read(signals[0], &signo, 1) == 1)
            on_own_signal(signo);
        must(wh_run_once(hive, 0, &over), "wh_run_once");
    }
    must(wh_finish(hive, &code), "wh_finish");
    return code;
}

int main(int argc, char **argv)
{
    if (wh_abi_version() != WH_ABI_VERSION) {
        fprintf(stderr, "cases: the library has ABI %u, not %u\n", wh_abi_version(), (unsigned)WH_ABI_VERSION);
        return 2;
    }
    must(wh_hive_new("cases", 5, &hive), "wh_hive_new");
    const char *whose = getenv("WORKHIVE_CASE_LOG");
    if (whose && !strcmp(whose, "own"))
        must(wh_hive_log_with(hive, log_line, NULL, NULL), "wh_hive_log_with");
    if (are_own())
        must(wh_hive_set_int(hive, WH_HIVE_SIGNALS, 1), "WH_HIVE_SIGNALS");
    must(register_netstring(), "wh_protocol_register");
    add_groups();
    int32_t role, code;
    must(wh_hive_start(hive, argc, (const char *const *)argv, &role, &code), "wh_hive_start");
    if (role == WH_ROLE_WORKER)
        code = loop();
    must(wh_hive_free(hive), "wh_hive_free");
    return code;
}
