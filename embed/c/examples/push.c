/* Push to a user by name, whichever of four processes has him.
 *
 *   cc push.c $(pkg-config --cflags --libs workhive) -o push && ./push
 *   in a browser:  ws = new WebSocket("ws://127.0.0.1:1234"); ws.onopen = () => ws.send("uid1");
 *   printf '{"uid":"uid1","percent":"88%%"}\n' | nc -N 127.0.0.1 5678
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <workhive.h>

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value ? value : otherwise;
}

/* ---- who is there ---- */

/* The first message of a client is its user id. */
static int32_t on_message(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text)
{
    wh_bytes uid;
    (void)user, (void)is_text;
    wh_result code = wh_conn_uid(conn, &uid);
    if (code != WH_OK || uid.data)
        return code;
    return wh_conn_bind_uid(conn, data, len, NULL, NULL, NULL);
}

/* ---- what is pushed ---- */

/* The connection may have ended by now: then the answer has nowhere to go. */
static void on_outcome(void *user, const wh_outcome *outcome)
{
    wh_conn *pusher = user;
    const char *answer = outcome->is_delivered ? "ok" : "fail";
    wh_conn_send(*pusher, WH_TEXT, (const uint8_t *)answer, strlen(answer));
}

/* What stands behind "uid": in a line of JSON. A program with more to read takes a library for it. */
static wh_bytes uid_of(const uint8_t *line, size_t len)
{
    static const char key[] = "\"uid\":\"";
    wh_bytes uid = {NULL, 0};
    const uint8_t *start = memmem(line, len, key, strlen(key));
    if (start) {
        start += strlen(key);
        const uint8_t *end = memchr(start, '"', len - (size_t)(start - line));
        if (end)
            uid = (wh_bytes){start, (size_t)(end - start)};
    }
    return uid;
}

static int32_t on_line(void *user, wh_conn conn, const uint8_t *line, size_t len, int32_t is_text)
{
    (void)user, (void)is_text;
    wh_bytes uid = uid_of(line, len);
    if (!uid.len) {
        wh_fail_text("the line has no uid", 19);
        return WH_ERR_CALLBACK;
    }
    wh_conn *pusher = malloc(sizeof *pusher);
    if (!pusher)
        return WH_ERR_CALLBACK;
    *pusher = conn;
    return wh_send_to_uid(uid.data, uid.len, WH_TEXT, line, len, NULL, 0, on_outcome, pusher, free);
}

/* Every process listens for lines at the same address, and the kernel spreads them. */
static int32_t on_worker_start(void *user)
{
    const char *address = setting("PUSH_TEXT", "text://127.0.0.1:5678");
    wh_worker lines;
    (void)user;
    wh_result code = wh_worker_new(address, strlen(address), &lines);
    if (code != WH_OK)
        return code;
    code = wh_worker_set_int(lines, WH_REUSE_PORT, 1);
    if (code == WH_OK)
        code = wh_on_message(lines, on_line, NULL, NULL);
    if (code == WH_OK)
        code = wh_listen(lines);
    return code; /* if it failed, the start fails with the reason */
}

static void check(wh_result code, const char *what)
{
    if (code == WH_OK)
        return;
    fprintf(stderr, "push: %s: %s: %s\n", what, wh_result_name(code), wh_last_error(NULL));
    exit(2);
}

int main(int argc, char **argv)
{
    const char *address = setting("PUSH_WS", "websocket://127.0.0.1:1234");
    wh_hive hive;
    wh_worker push;
    int32_t exit_code;

    check(wh_abi_version() == WH_ABI_VERSION ? WH_OK : WH_ERR_ABI, "another libworkhive than this was compiled for");
    check(wh_hive_new("push", 4, &hive), "hive");
    check(wh_worker_new(address, strlen(address), &push), address);
    check(wh_worker_set_text(push, WH_NAME, "push", 4), "name");
    check(wh_worker_set_int(push, WH_COUNT, 4), "count");
    check(wh_on_worker_start(push, on_worker_start, NULL, NULL), "on_worker_start");
    check(wh_on_message(push, on_message, NULL, NULL), "on_message");
    check(wh_hive_add(hive, push), "add");
    check(wh_run(hive, argc, (const char *const *)argv, &exit_code), "run");
    check(wh_hive_free(hive), "free");
    return exit_code;
}
