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

static void on_done(void *user, wh_result result)
{
    SETTLE(user, make_bool(result == WH_OK));
}

static void on_outcome(void *user, const wh_outcome *outcome)
{
    SETTLE(user, make_outcome(outcome));
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

typedef wh_result (*pair_fn)(const uint8_t *, size_t, const uint8_t *, size_t);

/* By whom: a uid, or the id of a connection. */
static napi_value pair(napi_env from, napi_callback_info info, pair_fn function, const char *whom)
{
    napi_value argv[2];
    struct text who, room;
    if (!arguments(from, info, 2, argv) || !text_take(&who, argv[0], whom))
        return NULL;
    wh_result result = WH_OK;
    if (text_take(&room, argv[1], "the room")) {
        loop_touch();
        result = function(who.data, who.len, room.data, room.len);
        text_free(&room);
    }
    text_free(&who);
    return result == WH_OK ? NULL : throw_result(result);
}

static napi_value join_uid(napi_env from, napi_callback_info info)
{
    return pair(from, info, lib.wh_join_uid, "the uid");
}

static napi_value leave_uid(napi_env from, napi_callback_info info)
{
    return pair(from, info, lib.wh_leave_uid, "the uid");
}

static wh_result join_by_id(const uint8_t *id, size_t id_len, const uint8_t *room, size_t room_len)
{
    return lib.wh_join_connection((const char *)id, id_len, room, room_len);
}

static wh_result leave_by_id(const uint8_t *id, size_t id_len, const uint8_t *room, size_t room_len)
{
    return lib.wh_leave_connection((const char *)id, id_len, room, room_len);
}

static napi_value join_connection(napi_env from, napi_callback_info info)
{
    return pair(from, info, join_by_id, "the id");
}

static napi_value leave_connection(napi_env from, napi_callback_info info)
{
    return pair(from, info, leave_by_id, "the id");
}

/* dismissRoom(room) */
static napi_value dismiss_room(napi_env from, napi_callback_info info)
{
    napi_value argv[1];
    struct text room;
    if (!arguments(from, info, 1, argv) || !text_take(&room, argv[0], "the room"))
        return NULL;
    loop_touch();
    wh_result result = lib.wh_dismiss_room(room.data, room.len);
    text_free(&room);
    return result == WH_OK ? NULL : throw_result(result);
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
        { "joinConnection", join_connection }, { "leaveConnection", leave_connection }, { "dismissRoom", dismiss_room },
        { "subscribe", subscribe }, { "unsubscribe", unsubscribe }, { "publish", publish },
    };
    export_all(exports, all, COUNT_OF(all));
}
