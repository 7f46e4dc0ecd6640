/* The case server in C: users, rooms, and messages between processes. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"

/* Who asked, and for what, until the answer is there. */
struct asked {
    wh_conn conn;
    char what[];
};

static struct asked *asked(wh_conn conn, const char *what)
{
    struct asked *asked = malloc(sizeof *asked + strlen(what) + 1);
    if (!asked)
        abort();
    asked->conn = conn;
    strcpy(asked->what, what);
    return asked;
}

static const uint8_t *bytes(const char *text)
{
    return (const uint8_t *)text;
}

/* ---- answers ---- */

static void on_bound(void *user, wh_result result)
{
    struct asked *asked = user;
    if (result == WH_OK)
        say(asked->conn, "bound %s", asked->what);
}

static void on_joined(void *user, wh_result result)
{
    struct asked *asked = user;
    if (result == WH_OK)
        say(asked->conn, "joined %s", asked->what);
}

static void on_outcome(void *user, const wh_outcome *outcome)
{
    struct asked *asked = user;
    say(asked->conn, "%s %llu", asked->what, (unsigned long long)outcome->delivered);
}

static void on_pushed(void *user, const wh_outcome *outcome)
{
    struct asked *asked = user;
    say(asked->conn, outcome->is_delivered ? "ok" : "fail");
}

static void on_presence(void *user, int32_t presence)
{
    struct asked *asked = user;
    say(asked->conn, "%s", presence == WH_ONLINE ? "online" : presence == WH_OFFLINE ? "offline" : "unknown");
}

static void on_count(void *user, uint64_t count, int32_t partial)
{
    struct asked *asked = user;
    (void)partial;
    say(asked->conn, "%llu", (unsigned long long)count);
}

int32_t on_online(void *user, const uint8_t *uid, size_t len)
{
    (void)user;
    note_line("online %.*s", (int)len, (const char *)uid);
    return WH_OK;
}

int32_t on_offline(void *user, const uint8_t *uid, size_t len)
{
    (void)user;
    note_line("offline %.*s", (int)len, (const char *)uid);
    return WH_OK;
}

void on_topic(void *user, const uint8_t *data, size_t len, int32_t is_text)
{
    (void)user, (void)is_text;
    note_line("topic %.*s", (int)len, (const char *)data);
}

/* ---- orders ---- */

static int by_bytes(const void *one, const void *other)
{
    const wh_bytes *a = one, *b = other;
    int order = memcmp(a->data, b->data, a->len < b->len ? a->len : b->len);
    return order ? order : (a->len > b->len) - (a->len < b->len);
}

static int32_t say_rooms(wh_conn conn)
{
    const wh_bytes *rooms;
    size_t count;
    char list[1024] = "";
    wh_result code = wh_conn_rooms(conn, &rooms, &count);
    if (code != WH_OK)
        return done(code);
    wh_bytes sorted[16];
    count = count < 16 ? count : 16;
    if (count)
        memcpy(sorted, rooms, count * sizeof *rooms);
    qsort(sorted, count, sizeof *sorted, by_bytes);
    for (size_t n = 0, at = 0; n < count && at < sizeof list; n++)
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%.*s", n ? "," : "", (int)sorted[n].len,
                               (const char *)sorted[n].data);
    return say(conn, "%s", list);
}

/* The id of a connection is lent for a moment only. */
static size_t id_of(wh_conn conn, char *id, size_t size)
{
    wh_bytes lent;
    if (wh_conn_id(conn, &lent) != WH_OK)
        return 0;
    return (size_t)snprintf(id, size, "%.*s", (int)lent.len, (const char *)lent.data);
}

static int32_t say_in(wh_conn conn, const char *room, const char *text)
{
    char id[128];
    size_t len = id_of(conn, id, sizeof id);
    wh_bytes me = {bytes(id), len};
    return done(wh_send_to_room(bytes(room), strlen(room), WH_TEXT, bytes(text), strlen(text), &me, 1, on_outcome,
                                asked(conn, "said"), free));
}

static int32_t obey(wh_conn conn, const char *what, char *rest)
{
    if (!strcmp(what, "!who"))
        return say_who(conn);
    if (!strcmp(what, "!join"))
        return done(wh_conn_join_room(conn, bytes(rest), strlen(rest), on_joined, asked(conn, rest), free));
    if (!strcmp(what, "!leave")) {
        wh_result code = wh_conn_leave_room(conn, bytes(rest), strlen(rest));
        return code == WH_OK ? say(conn, "left %s", rest) : done(code);
    }
    if (!strcmp(what, "!rooms"))
        return say_rooms(conn);
    if (!strcmp(what, "!size"))
        return done(wh_room_size(bytes(rest), strlen(rest), on_count, asked(conn, ""), free));
    if (!strcmp(what, "!uid")) {
        wh_bytes uid;
        wh_result code = wh_conn_uid(conn, &uid);
        return code == WH_OK ? say(conn, "%.*s", (int)uid.len, (const char *)uid.data) : done(code);
    }
    if (!strcmp(what, "!id")) {
        char id[128];
        return id_of(conn, id, sizeof id) ? say(conn, "%s", id) : fail("no id");
    }
    if (!strcmp(what, "!online"))
        return done(wh_is_uid_online(bytes(rest), strlen(rest), on_presence, asked(conn, ""), free));
    if (!strcmp(what, "!to")) {
        char *uid = next_word(&rest);
        return done(wh_send_to_uid(bytes(uid), strlen(uid), WH_TEXT, bytes(rest), strlen(rest), NULL, 0, on_outcome,
                                   asked(conn, "delivered"), free));
    }
    if (!strcmp(what, "!say")) {
        char *room = next_word(&rest);
        return say_in(conn, room, rest);
    }
    if (!strcmp(what, "!all"))
        return done(wh_send_to_all(WH_TEXT, bytes(rest), strlen(rest), NULL, 0, NULL, NULL, NULL));
    if (!strcmp(what, "!send")) {
        char *id = next_word(&rest);
        return done(wh_send_to_connection(id, strlen(id), WH_TEXT, bytes(rest), strlen(rest), on_outcome,
                                          asked(conn, "delivered"), free));
    }
    if (!strcmp(what, "!kick"))
        return done(wh_close_uid(bytes(rest), strlen(rest), 4001, "kicked", 6));
    if (!strcmp(what, "!count"))
        return done(wh_online_count(on_count, asked(conn, ""), free));
    if (!strcmp(what, "!publish")) {
        char *topic = next_word(&rest);
        return done(wh_publish(bytes(topic), strlen(topic), WH_TEXT, bytes(rest), strlen(rest)));
    }
    return say(conn, "what?");
}

int32_t on_push(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text)
{
    (void)user, (void)is_text;
    wh_bytes uid;
    wh_result known = wh_conn_uid(conn, &uid);
    if (known != WH_OK)
        return done(known);
    char *text = strndup((const char *)data, len);
    if (!text)
        return fail("out of memory");
    int32_t code;
    if (!uid.data) {
        code = done(wh_conn_bind_uid(conn, data, len, on_bound, asked(conn, text), free));
    } else {
        char *rest = text;
        const char *what = next_word(&rest);
        code = obey(conn, what, rest);
    }
    free(text);
    return code;
}

int32_t on_push_line(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text)
{
    (void)user, (void)is_text;
    char *line = strndup((const char *)data, len);
    if (!line)
        return fail("out of memory");
    char *rest = line, *uid = next_word(&rest);
    int32_t code;
    if (!strcmp(uid, "!who"))
        code = say_who(conn);
    else
        code = done(wh_send_to_uid(bytes(uid), strlen(uid), WH_TEXT, bytes(rest), strlen(rest), NULL, 0, on_pushed,
                                   asked(conn, ""), free));
    free(line);
    return code;
}
