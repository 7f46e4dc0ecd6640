/* The case server in C: what connections are told to do. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"

/* Something to do later on a connection. */
struct later {
    wh_conn conn;
    wh_timer timer;
    unsigned long turn, turns;
    char text[];
};

static wh_conn kept;

int32_t say(wh_conn conn, const char *format, ...)
{
    char *text;
    va_list values;
    va_start(values, format);
    int len = vasprintf(&text, format, values);
    va_end(values);
    if (len < 0)
        return fail("out of memory");
    wh_result code = wh_conn_send(conn, WH_TEXT, (const uint8_t *)text, (size_t)len);
    free(text);
    return done(code);
}

int32_t say_who(wh_conn conn)
{
    wh_place place;
    wh_result code = wh_place_of(hive, &place);
    return code == WH_OK ? say(conn, "%u %u", place.slot, place.pid) : done(code);
}

/* A string of an order, for the caller to free; NULL if it is none. */
char *order_of(const uint8_t *data, size_t len)
{
    if (len == 0 || data[0] != '!')
        return NULL;
    return strndup((const char *)data, len);
}

/* Cuts off the first word. What is behind the blank remains; an empty string at the end. */
char *next_word(char **rest)
{
    char *word = *rest, *blank = strchr(word, ' ');
    if (blank) {
        *blank = 0;
        *rest = blank + 1;
    } else {
        *rest = word + strlen(word);
    }
    return word;
}

static unsigned long next_number(char **rest)
{
    return strtoul(next_word(rest), NULL, 10);
}

static int32_t deeper(void)
{
    return fail("in deep\nin deeper\ntold to fail");
}

int32_t deep(void)
{
    return deeper();
}

/* ---- timers ---- */

static struct later *later(wh_conn conn, const char *text)
{
    struct later *later = calloc(1, sizeof *later + strlen(text) + 1);
    if (!later)
        abort();
    later->conn = conn;
    strcpy(later->text, text);
    return later;
}

static int32_t say_later(void *user)
{
    struct later *later = user;
    return say(later->conn, "%s", later->text);
}

static int32_t count_later(void *user)
{
    struct later *later = user;
    int32_t code = say(later->conn, "%lu", ++later->turn);
    if (later->turn >= later->turns)
        wh_timer_cancel(later->timer);
    return code;
}

static int32_t resume_later(void *user)
{
    struct later *later = user;
    wh_result code = wh_conn_resume(later->conn);
    return code == WH_OK ? say(later->conn, "resumed") : done(code);
}

static int32_t fail_later(void *user)
{
    (void)user;
    return fail("timer told to fail");
}

static int32_t after(wh_conn conn, unsigned long ms, const char *text, wh_worker_fn fn, wh_timer *timer)
{
    wh_timer unused;
    return done(wh_timer_after(ms, fn, later(conn, text), free, timer ? timer : &unused));
}

static int32_t every(wh_conn conn, unsigned long ms, unsigned long turns)
{
    struct later *each = later(conn, "");
    each->turns = turns;
    return done(wh_timer_every(ms, count_later, each, free, &each->timer));
}

static int32_t cancel(wh_conn conn, unsigned long ms)
{
    wh_timer timer;
    int32_t code = after(conn, ms, "late", say_later, &timer);
    if (code == WH_OK)
        code = after(conn, 2 * ms, "done", say_later, NULL);
    return code == WH_OK ? done(wh_timer_cancel(timer)) : code;
}

/* ---- the rest ---- */

static int32_t about(wh_conn conn)
{
    wh_bytes protocol, addr;
    char remote[128], local[128];
    if (wh_conn_remote_addr(conn, &addr) != WH_OK)
        return fail("no remote address");
    snprintf(remote, sizeof remote, "%.*s", (int)addr.len, (const char *)addr.data);
    if (wh_conn_local_addr(conn, &addr) != WH_OK)
        return fail("no local address");
    snprintf(local, sizeof local, "%.*s", (int)addr.len, (const char *)addr.data);
    if (wh_conn_protocol(conn, &protocol) != WH_OK)
        return fail("no protocol");
    return say(conn, "%.*s %s %s", (int)protocol.len, (const char *)protocol.data, remote, local);
}

static int32_t close_with(wh_conn conn, char *rest)
{
    if (!*rest)
        return done(wh_conn_close(conn));
    unsigned long code = next_number(&rest);
    return done(wh_conn_close_with(conn, (uint16_t)code, rest, strlen(rest)));
}

static int32_t flood(wh_conn conn, unsigned long size)
{
    uint8_t *message = malloc(size);
    if (!message)
        return fail("out of memory");
    memset(message, 'x', size);
    unsigned taken = 0;
    wh_result code;
    while ((code = wh_conn_send(conn, WH_TEXT, message, size)) == WH_OK)
        taken++;
    free(message);
    if (code != WH_ERR_FULL)
        return done(code);
    note_line("flooded %u", taken);
    return WH_OK;
}

static int32_t set(wh_conn conn, const char *text)
{
    wh_result code = wh_conn_set_data(conn, strdup(text), free);
    return code == WH_OK ? say(conn, "set") : done(code);
}

static int32_t get(wh_conn conn)
{
    void *data;
    wh_result code = wh_conn_data(conn, &data);
    return code == WH_OK ? say(conn, "%s", data ? (char *)data : "none") : done(code);
}

static int32_t send_to_kept(wh_conn conn, const char *text)
{
    wh_result code = wh_conn_send(kept, WH_TEXT, (const uint8_t *)text, strlen(text));
    if (code == WH_OK || code == WH_ERR_GONE)
        return say(conn, code == WH_OK ? "sent" : "gone");
    return done(code);
}

static int32_t invalid(wh_conn conn)
{
    wh_result code = wh_conn_send(conn, WH_TEXT, (const uint8_t *)"\xff\xfe", 2);
    return code == WH_ERR_UTF8 ? say(conn, "refused") : done(code);
}

static int32_t stats(wh_conn conn)
{
    wh_stats stats;
    wh_result code = wh_stats_of(hive, &stats, sizeof stats);
    if (code != WH_OK)
        return done(code);
    return say(conn, "%llu %llu %llu", (unsigned long long)stats.connections, (unsigned long long)stats.accepted,
               (unsigned long long)stats.messages_in);
}

static int32_t child(wh_conn conn)
{
    char line[64] = "";
    FILE *out = popen("echo from the child; exit 7", "r");
    if (!out)
        return fail("popen");
    if (!fgets(line, sizeof line, out))
        line[0] = 0;
    int status = pclose(out);
    line[strcspn(line, "\n")] = 0;
    return say(conn, "%s %d", line, status >> 8);
}

static int32_t stop(wh_conn conn)
{
    int32_t code = say(conn, "stopping");
    return code == WH_OK ? done(wh_stop(hive)) : code;
}

static int32_t obey(wh_conn conn, const char *what, char *rest)
{
    if (!strcmp(what, "!who"))
        return say_who(conn);
    if (!strcmp(what, "!about"))
        return about(conn);
    if (!strcmp(what, "!fail"))
        return deep();
    if (!strcmp(what, "!after")) {
        unsigned long ms = next_number(&rest);
        return after(conn, ms, rest, say_later, NULL);
    }
    if (!strcmp(what, "!every")) {
        unsigned long ms = next_number(&rest);
        return every(conn, ms, next_number(&rest));
    }
    if (!strcmp(what, "!cancel"))
        return cancel(conn, next_number(&rest));
    if (!strcmp(what, "!timer-fail")) {
        int32_t code = after(conn, 1, "", fail_later, NULL);
        return code == WH_OK ? after(conn, 20, "still here", say_later, NULL) : code;
    }
    if (!strcmp(what, "!close"))
        return close_with(conn, rest);
    if (!strcmp(what, "!destroy"))
        return done(wh_conn_destroy(conn));
    if (!strcmp(what, "!pause")) {
        wh_result code = wh_conn_pause(conn);
        if (code != WH_OK || (code = say(conn, "paused")) != WH_OK)
            return done(code);
        return after(conn, next_number(&rest), "", resume_later, NULL);
    }
    if (!strcmp(what, "!flood"))
        return flood(conn, next_number(&rest));
    if (!strcmp(what, "!set"))
        return set(conn, rest);
    if (!strcmp(what, "!get"))
        return get(conn);
    if (!strcmp(what, "!keep")) {
        kept = conn;
        return say(conn, "kept");
    }
    if (!strcmp(what, "!kept"))
        return send_to_kept(conn, rest);
    if (!strcmp(what, "!invalid"))
        return invalid(conn);
    if (!strcmp(what, "!stats"))
        return stats(conn);
    if (!strcmp(what, "!child"))
        return child(conn);
    if (!strcmp(what, "!stop"))
        return stop(conn);
    return say(conn, "what?");
}

int32_t on_order(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text)
{
    char *order = user && !is_text ? NULL : order_of(data, len);
    if (!order)
        return done(wh_conn_send(conn, is_text ? WH_TEXT : WH_BINARY, data, len));
    char *rest = order;
    const char *what = next_word(&rest);
    int32_t code = obey(conn, what, rest);
    free(order);
    return code;
}
