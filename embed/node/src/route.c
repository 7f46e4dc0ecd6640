/* Users, rooms, pushes, topics: what reaches other processes. Answers come by promises, which are never rejected: what cannot
 * be known is said as unknown, since a rejection that nobody waits for would end a Node process. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* ---- answers ---- */

static napi_value make_false(void)
{
    return make_bool(false);
}

static napi_value make_null(void)
{
    napi_value made;
    napi_get_null(env, &made);
    return made;
}

static napi_value make_outcome(const wh_outcome *outcome)
{
    napi_value made;
    napi_create_object(env, &made);
    set_field(made, "delivered", make_int((int64_t)outcome->delivered));
    set_field(made, "refused", make_int((int64_t)outcome->refused));
    set_field(made, "unknown", make_bool(outcome->unknown != 0));
    set_field(made, "unrouted", make_bool(outcome->is_unrouted != 0));
    set_field(made, "isDelivered", make_bool(outcome->is_delivered != 0));
    return made;
}

static napi_value make_unknown_outcome(void)
{
    const wh_outcome outcome = { .unknown = 1 };
    return make_outcome(&outcome);
}

static napi_value make_unrouted_outcome(void)
{
    const wh_outcome outcome = { .is_unrouted = 1 };
    return make_outcome(&outcome);
}

static napi_value make_count(uint64_t count, bool partial)
{
    napi_value made;
    napi_create_object(env, &made);
    set_field(made, "count", make_int((int64_t)count));
    set_field(made, "partial", make_bool(partial));
    return made;
}

static napi_value make_unknown_count(void)
{
    return make_count(0, true);
}

static napi_value make_names(const wh_bytes *names, size_t count, int64_t next, bool partial)
{
    napi_value made, list;
    napi_create_object(env, &made);
    napi_create_array_with_length(env, count, &list);
    for (size_t at = 0; at < count; at++)
        napi_set_element(env, list, (uint32_t)at, make_buffer(names[at].data, names[at].len));
    set_field(made, "names", list);
    set_field(made, "next", make_int(next));
    set_field(made, "partial", make_bool(partial));
    return made;
}

static napi_value make_unknown_names(void)
{
    return make_names(NULL, 0, -1, true);
}

#define SETTLE(user, value) \
    do { \
        napi_handle_scope scope; \
        if (env != NULL && napi_open_handle_scope(env, &scope) == napi_ok) { \
            promise_settle((user), (value)); \
            napi_close_handle_scope(env, scope); \
        } \
    } while (0)

static void on_done(void *user, wh_result result)
{
    SETTLE(user, make_bool(result == WH_OK));
}

static void on_outcome(void *user, const wh_outcome *outcome)
{
    SETTLE(user, make_outcome(outcome));
}

static void on_presence(void *user, int32_t presence)
{
    SETTLE(user, presence == WH_UNKNOWN ? make_null() : make_bool(presence == WH_ONLINE));
}

static void on_count(void *user, uint64_t count, int32_t partial)
{
    SETTLE(user, make_count(count, partial != 0));
}

static void on_names(void *user, const wh_bytes *names, size_t count, int64_t next, int32_t partial)
{
    SETTLE(user, make_names(names, count, next, partial != 0));
}

/* ---- memberships of a connection ---- */

typedef wh_result (*join_fn)(wh_conn, const uint8_t *, size_t, wh_done_fn, void *, wh_destroy_fn);
typedef wh_result (*leave_fn)(wh_conn, const uint8_t *, size_t);

/* A promise: true when it is in force, false if the connection ended first. */
static napi_value join(napi_env from, napi_callback_info info, join_fn function, const char *what)
{
    napi_value argv[2], value;
    wh_conn conn;
    struct text name;
    if (!arguments(from, info, 2, argv) || !text_take(&name, argv[1], what))
        return NULL;
    struct promise *promise = promise_new(&value, make_false);
    if (promise == NULL) {
        text_free(&name);
        return NULL;
    }
    if (!conn_of(argv[0], &conn)) {
        promise_drop(promise);
        text_free(&name);
        return value;
    }
    loop_touch();
    wh_result result = function(conn, name.data, name.len, on_done, promise, promise_drop);
    text_free(&name);
    return result == WH_OK || result == WH_ERR_GONE ? value : throw_result(result);
}

static napi_value leave(napi_env from, napi_callback_info info, leave_fn function, const char *what)
{
    napi_value argv[2];
    wh_conn conn;
    struct text name;
    if (!arguments(from, info, 2, argv) || !text_take(&name, argv[1], what))
        return NULL;
    loop_touch();
    wh_result result = conn_of(argv[0], &conn) ? function(conn, name.data, name.len) : WH_ERR_GONE;
    text_free(&name);
    if (result == WH_OK || result == WH_ERR_GONE || result == WH_ERR_NOT_BOUND)
        return make_bool(result == WH_OK);
    return throw_result(result);
}

#define JOIN(name, what) \
    static napi_value conn_##name(napi_env from, napi_callback_info info) { return join(from, info, lib.wh_conn_##name, what); }
#define LEAVE(name, what) \
    static napi_value conn_##name(napi_env from, napi_callback_info info) { return leave(from, info, lib.wh_conn_##name, what); }
JOIN(bind_uid, "the uid")
JOIN(join_room, "the room")
LEAVE(claim_uid, "the uid")
LEAVE(unbind_uid, "the uid")
LEAVE(leave_room, "the room")
LEAVE(set_session, "the session")

/* ---- pushes ---- */

enum { TO_UID, TO_UIDS, TO_ROOM, TO_ROOMS, TO_ALL, TO_CONNECTION };

static wh_result push(int32_t to, const struct texts *names, int32_t kind, const struct text *data, const struct texts *except, void *promise)
{
    const wh_bytes none = { NULL, 0 };
    const wh_bytes first = names->count > 0 ? names->bytes[0] : none;
    switch (to) {
    case TO_UID:
        return lib.wh_send_to_uid(first.data, first.len, kind, data->data, data->len, except->bytes, except->count, on_outcome, promise, promise_drop);
    case TO_UIDS:
        return lib.wh_send_to_uids(names->bytes, names->count, kind, data->data, data->len, except->bytes, except->count, on_outcome, promise, promise_drop);
    case TO_ROOM:
        return lib.wh_send_to_room(first.data, first.len, kind, data->data, data->len, except->bytes, except->count, on_outcome, promise, promise_drop);
    case TO_ROOMS:
        return lib.wh_send_to_rooms(names->bytes, names->count, kind, data->data, data->len, except->bytes, except->count, on_outcome, promise, promise_drop);
    case TO_ALL:
        return lib.wh_send_to_all(kind, data->data, data->len, except->bytes, except->count, on_outcome, promise, promise_drop);
    default:
        return lib.wh_send_to_connection((const char *)first.data, first.len, kind, data->data, data->len, on_outcome, promise, promise_drop);
    }
}

/* send(to, names, data, kind, except) -> promise of an outcome */
static napi_value send_to(napi_env from, napi_callback_info info)
{
    napi_value argv[5], value = NULL;
    struct texts names, except;
    struct text data;
    if (!arguments(from, info, 5, argv) || !texts_take(&names, argv[1], "the receivers"))
        return NULL;
    if (texts_take(&except, argv[4], "except")) {
        if (text_take(&data, argv[2], "what is sent")) {
            struct promise *promise = promise_new(&value, make_unrouted_outcome);
            loop_touch();
            wh_result result = promise == NULL ? WH_OK : push(int_of(argv[0]), &names, int_of(argv[3]), &data, &except, promise);
            text_free(&data);
            if (result == WH_OK && promise != NULL)
                promise->otherwise = make_unknown_outcome;
            /* Too much waits: that is an outcome, and no mistake of the program. */
            else if (result != WH_OK && result != WH_ERR_BUSY)
                value = throw_result(result);
        }
        texts_free(&except);
    }
    texts_free(&names);
    return value;
}

/* close(what: 0 uid, 1 connection, 2 room; name, code, reason) */
static napi_value close_all(napi_env from, napi_callback_info info)
{
    napi_value argv[4];
    struct text name, reason;
    if (!arguments(from, info, 4, argv) || !text_take(&name, argv[1], "the name"))
        return NULL;
    if (!text_take(&reason, argv[3], "the reason")) {
        text_free(&name);
        return NULL;
    }
    uint16_t code = (uint16_t)int_of(argv[2]);
    const char *words = (const char *)reason.data;
    wh_result result;
    loop_touch();
    switch (int_of(argv[0])) {
    case 0: result = lib.wh_close_uid(name.data, name.len, code, words, reason.len); break;
    case 1: result = lib.wh_close_connection((const char *)name.data, name.len, code, words, reason.len); break;
    default: result = lib.wh_close_room(name.data, name.len, code, words, reason.len);
    }
    text_free(&name);
    text_free(&reason);
    return result == WH_OK ? NULL : throw_result(result);
}

static napi_value pair(napi_env from, napi_callback_info info, wh_result (*function)(const uint8_t *, size_t, const uint8_t *, size_t))
{
    napi_value argv[2];
    struct text uid, room;
    if (!arguments(from, info, 2, argv) || !text_take(&uid, argv[0], "the uid"))
        return NULL;
    wh_result result = WH_OK;
    if (text_take(&room, argv[1], "the room")) {
        loop_touch();
        result = function(uid.data, uid.len, room.data, room.len);
        text_free(&room);
    }
    text_free(&uid);
    return result == WH_OK ? NULL : throw_result(result);
}

static napi_value join_uid(napi_env from, napi_callback_info info)
{
    return pair(from, info, lib.wh_join_uid);
}

static napi_value leave_uid(napi_env from, napi_callback_info info)
{
    return pair(from, info, lib.wh_leave_uid);
}

/* ---- questions ---- */

/* isUidOnline(uid) -> promise of true, false, or null if it is not known */
static napi_value is_uid_online(napi_env from, napi_callback_info info)
{
    napi_value argv[1], value;
    struct text uid;
    if (!arguments(from, info, 1, argv) || !text_take(&uid, argv[0], "the uid"))
        return NULL;
    struct promise *promise = promise_new(&value, make_null);
    loop_touch();
    wh_result result = promise == NULL ? WH_OK : lib.wh_is_uid_online(uid.data, uid.len, on_presence, promise, promise_drop);
    text_free(&uid);
    return result != WH_OK ? throw_result(result) : promise == NULL ? NULL : value;
}

/* roomSize(room) -> promise of { count, partial } */
static napi_value room_size(napi_env from, napi_callback_info info)
{
    napi_value argv[1], value;
    struct text room;
    if (!arguments(from, info, 1, argv) || !text_take(&room, argv[0], "the room"))
        return NULL;
    struct promise *promise = promise_new(&value, make_unknown_count);
    loop_touch();
    wh_result result = promise == NULL ? WH_OK : lib.wh_room_size(room.data, room.len, on_count, promise, promise_drop);
    text_free(&room);
    return result != WH_OK ? throw_result(result) : promise == NULL ? NULL : value;
}

/* onlineCount() -> promise of { count, partial } */
static napi_value online_count(napi_env from, napi_callback_info info)
{
    (void)from, (void)info;
    napi_value value;
    struct promise *promise = promise_new(&value, make_unknown_count);
    loop_touch();
    wh_result result = promise == NULL ? WH_OK : lib.wh_online_count(on_count, promise, promise_drop);
    return result != WH_OK ? throw_result(result) : promise == NULL ? NULL : value;
}

/* names(0 uids, 1 rooms; from) -> promise of { names, next, partial } */
static napi_value names(napi_env from, napi_callback_info info)
{
    napi_value argv[2], value;
    if (!arguments(from, info, 2, argv))
        return NULL;
    struct promise *promise = promise_new(&value, make_unknown_names);
    if (promise == NULL)
        return NULL;
    loop_touch();
    int64_t first = (int64_t)number_of(argv[1]);
    wh_result result = (int_of(argv[0]) == 0 ? lib.wh_uids : lib.wh_rooms)(first, on_names, promise, promise_drop);
    return result == WH_OK ? value : throw_result(result);
}

/* ---- topics ---- */

static void on_topic(void *user, const uint8_t *data, size_t len, int32_t is_text)
{
    napi_handle_scope scope;
    if (env == NULL || napi_open_handle_scope(env, &scope) != napi_ok)
        return;
    napi_value argv[] = { make_int((intptr_t)user), is_text ? make_text(data, len) : make_buffer(data, len) };
    call_hook(HOOK_TOPIC, 2, argv, NULL);
    napi_close_handle_scope(env, scope);
}

/* subscribe(topic, index): messages go to the hook, with the index. */
static napi_value subscribe(napi_env from, napi_callback_info info)
{
    napi_value argv[2];
    struct text topic;
    if (!arguments(from, info, 2, argv) || !text_take(&topic, argv[0], "the topic"))
        return NULL;
    loop_touch();
    wh_result result = lib.wh_subscribe(topic.data, topic.len, on_topic, (void *)(intptr_t)int_of(argv[1]), NULL);
    text_free(&topic);
    return result == WH_OK ? NULL : throw_result(result);
}

/* unsubscribe(topic) */
static napi_value unsubscribe(napi_env from, napi_callback_info info)
{
    napi_value argv[1];
    struct text topic;
    if (!arguments(from, info, 1, argv) || !text_take(&topic, argv[0], "the topic"))
        return NULL;
    loop_touch();
    wh_result result = lib.wh_unsubscribe(topic.data, topic.len);
    text_free(&topic);
    return result == WH_OK ? NULL : throw_result(result);
}

/* publish(topic, data, kind) */
static napi_value publish(napi_env from, napi_callback_info info)
{
    napi_value argv[3];
    struct text topic, data;
    if (!arguments(from, info, 3, argv) || !text_take(&topic, argv[0], "the topic"))
        return NULL;
    wh_result result = WH_OK;
    if (text_take(&data, argv[1], "what is published")) {
        loop_touch();
        result = lib.wh_publish(topic.data, topic.len, int_of(argv[2]), data.data, data.len);
        text_free(&data);
    }
    text_free(&topic);
    return result == WH_OK ? NULL : throw_result(result);
}

void route_exports(napi_value exports)
{
    const struct export all[] = {
        { "connBindUid", conn_bind_uid }, { "connClaimUid", conn_claim_uid }, { "connUnbindUid", conn_unbind_uid },
        { "connJoinRoom", conn_join_room }, { "connLeaveRoom", conn_leave_room }, { "connSetSession", conn_set_session },
        { "send", send_to }, { "close", close_all }, { "joinUid", join_uid }, { "leaveUid", leave_uid },
        { "isUidOnline", is_uid_online }, { "roomSize", room_size }, { "onlineCount", online_count }, { "names", names },
        { "subscribe", subscribe }, { "unsubscribe", unsubscribe }, { "publish", publish },
    };
    export_all(exports, all, COUNT_OF(all));
}
