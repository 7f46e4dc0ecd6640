/* A chat over four processes: rooms, who comes and goes, words for one alone.
 *
 *   cc chat.c $(pkg-config --cflags --libs workhive) -o chat && ./chat
 *   open http://127.0.0.1:8080 in several windows; each shows its process
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <workhive.h>

#define MAX_MESSAGE 2000

static const char page[] =
    "<!doctype html><meta charset=utf-8><title>chat</title>\n"
    "<form id=enter><input name=name placeholder=name required autofocus>\n"
    "  <input name=room value=lobby required><button>enter</button></form>\n"
    "<form id=talk hidden><input name=words placeholder='words; @name words for one alone' size=50><button>say</button></form>\n"
    "<ul id=log></ul>\n"
    "<script>\n"
    "const $ = id => document.getElementById(id);\n"
    "$('enter').onsubmit = event => {\n"
    "  event.preventDefault();\n"
    "  const ws = new WebSocket(`ws://${location.hostname}:%s`);\n"
    "  const inside = yes => { $('talk').hidden = !yes; $('enter').hidden = yes; };\n"
    "  const show = line => $('log').prepend(Object.assign(document.createElement('li'), {textContent: line}));\n"
    "  ws.onopen = () => { ws.send(`${$('enter').name.value} ${$('enter').room.value}`); inside(true); };\n"
    "  ws.onclose = () => { show('disconnected'); inside(false); };\n"
    "  ws.onmessage = ({data}) => show(data);\n"
    "  $('talk').onsubmit = event => { event.preventDefault(); ws.send($('talk').words.value); $('talk').reset(); };\n"
    "};\n"
    "</script>\n";

static wh_hive hive;
static char html[sizeof page + 16];

static const uint8_t *bytes(const char *text)
{
    return (const uint8_t *)text;
}

static int32_t fail(const char *text)
{
    wh_fail_text(text, strlen(text));
    return WH_ERR_CALLBACK;
}

/* ---- the page ---- */

static int32_t on_request(void *user, wh_conn conn, const wh_request *request)
{
    wh_request_view view;
    (void)user;
    wh_result code = wh_request_read(request, &view, sizeof view);
    if (code != WH_OK)
        return code;
    static const char headers[] = "Content-Type: text/html; charset=utf-8\n";
    if (view.path.len == 1)
        return wh_conn_respond(conn, 200, headers, strlen(headers), bytes(html), strlen(html));
    return wh_conn_respond(conn, 404, NULL, 0, NULL, 0);
}

/* ---- the chat ---- */

/* Whoever spoke, and to whom, until it is known whether that one is there. */
struct alone {
    wh_conn from;
    char to[256];
};

static void on_outcome(void *user, const wh_outcome *outcome)
{
    struct alone *alone = user;
    char line[300];
    if (outcome->is_delivered)
        return;
    int len = snprintf(line, sizeof line, "%s is not there", alone->to);
    wh_conn_send(alone->from, WH_TEXT, bytes(line), (size_t)len);
}

static int32_t say_alone(wh_conn conn, const char *me, const char *to, const char *words)
{
    char line[MAX_MESSAGE + 300];
    int len = snprintf(line, sizeof line, "%s says to you alone: %s", me, words);
    struct alone *alone = calloc(1, sizeof *alone);
    if (!alone)
        return fail("out of memory");
    alone->from = conn;
    snprintf(alone->to, sizeof alone->to, "%.255s", to);
    return wh_send_to_uid(bytes(to), strlen(to), WH_TEXT, bytes(line), (size_t)len, NULL, 0, on_outcome, alone, free);
}

static int32_t say_in(const char *room, const char *me, const char *words)
{
    char line[MAX_MESSAGE + 300];
    int len = snprintf(line, sizeof line, "%s says: %s", me, words);
    return wh_send_to_room(bytes(room), strlen(room), WH_TEXT, bytes(line), (size_t)len, NULL, 0, NULL, NULL, NULL);
}

/* The first message is a name and a room. The name is the user id, and the room is kept with the connection. */
static int32_t enter(wh_conn conn, char *name)
{
    char line[300];
    wh_place place;
    char *room = strchr(name, ' ');
    if (!room || room == name || !room[1])
        return fail("a name and a room come first");
    *room++ = 0;
    wh_result code = wh_conn_bind_uid(conn, bytes(name), strlen(name), NULL, NULL, NULL);
    if (code == WH_OK)
        code = wh_conn_join_room(conn, bytes(room), strlen(room), NULL, NULL, NULL);
    if (code == WH_OK)
        code = wh_conn_set_data(conn, strdup(room), free);
    if (code == WH_OK)
        code = wh_place_of(hive, &place);
    if (code != WH_OK)
        return code;
    int len = snprintf(line, sizeof line, "you are %.100s in %.100s, process %u", name, room, place.slot);
    return wh_conn_send(conn, WH_TEXT, bytes(line), (size_t)len);
}

static int32_t on_message(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text)
{
    char text[MAX_MESSAGE + 1], me[256];
    wh_bytes uid;
    void *room;
    (void)user, (void)is_text;
    memcpy(text, data, len); /* WH_MAX_MESSAGE sees to it that it fits */
    text[len] = 0;
    wh_result code = wh_conn_uid(conn, &uid);
    if (code != WH_OK)
        return code;
    if (!uid.data)
        return enter(conn, text);
    snprintf(me, sizeof me, "%.*s", (int)uid.len, (const char *)uid.data); /* lent only until the next call */
    char *words = text[0] == '@' ? strchr(text, ' ') : NULL;
    if (words) {
        *words++ = 0;
        return say_alone(conn, me, text + 1, words);
    }
    code = wh_conn_data(conn, &room);
    return code == WH_OK ? say_in(room, me, text) : code;
}

/* Every process is told who comes and goes; one of them passes it on. */
static int32_t tell_all(const uint8_t *name, size_t len, const char *what)
{
    char line[300];
    wh_place place;
    wh_result code = wh_place_of(hive, &place);
    if (code != WH_OK || place.slot != 0)
        return code;
    int line_len = snprintf(line, sizeof line, "%.*s %s", (int)len, (const char *)name, what);
    return wh_send_to_all(WH_TEXT, bytes(line), (size_t)line_len, NULL, 0, NULL, NULL, NULL);
}

static int32_t on_uid_online(void *user, const uint8_t *uid, size_t len)
{
    (void)user;
    return tell_all(uid, len, "is online");
}

static int32_t on_uid_offline(void *user, const uint8_t *uid, size_t len)
{
    (void)user;
    return tell_all(uid, len, "has gone");
}

/* ---- the hive ---- */

static void check(wh_result code, const char *what)
{
    if (code == WH_OK)
        return;
    fprintf(stderr, "chat: %s: %s: %s\n", what, wh_result_name(code), wh_last_error(NULL));
    exit(2);
}

static wh_worker group(const char *name, const char *address)
{
    wh_worker worker;
    check(wh_worker_new(address, strlen(address), &worker), address);
    check(wh_worker_set_text(worker, WH_NAME, name, strlen(name)), "name");
    return worker;
}

int main(int argc, char **argv)
{
    const char *http = getenv("CHAT_HTTP") ? getenv("CHAT_HTTP") : "http://127.0.0.1:8080";
    const char *ws = getenv("CHAT_WS") ? getenv("CHAT_WS") : "websocket://127.0.0.1:8081";
    const char *port = strrchr(ws, ':');
    int32_t exit_code;

    snprintf(html, sizeof html, page, port ? port + 1 : "");
    check(wh_abi_version() == WH_ABI_VERSION ? WH_OK : WH_ERR_ABI, "another libworkhive than this was compiled for");
    check(wh_hive_new("chat", 4, &hive), "hive");

    wh_worker pages = group("page", http);
    check(wh_on_request(pages, on_request, NULL, NULL), "on_request");
    check(wh_hive_add(hive, pages), "add");

    wh_worker chat = group("chat", ws);
    check(wh_worker_set_int(chat, WH_COUNT, 4), "count");
    check(wh_worker_set_int(chat, WH_MAX_MESSAGE, MAX_MESSAGE), "max_message");
    check(wh_on_message(chat, on_message, NULL, NULL), "on_message");
    check(wh_on_uid_online(chat, on_uid_online, NULL, NULL), "on_uid_online");
    check(wh_on_uid_offline(chat, on_uid_offline, NULL, NULL), "on_uid_offline");
    check(wh_hive_add(hive, chat), "add");

    check(wh_run(hive, argc, (const char *const *)argv, &exit_code), "run");
    check(wh_hive_free(hive), "free");
    return exit_code;
}
