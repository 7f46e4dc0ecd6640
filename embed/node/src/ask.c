/* Questions to the hive: who is there, how many, what they keep. Their answers come by promises. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* ---- answers ---- */

static napi_value make_null(void)
{
    napi_value made;
    napi_get_null(env, &made);
    return made;
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

static napi_value make_strings(const wh_bytes *each, size_t count)
{
    napi_value list;
    napi_create_array_with_length(env, count, &list);
    for (size_t at = 0; at < count; at++)
        napi_set_element(env, list, (uint32_t)at, make_buffer(each[at].data, each[at].len));
    return list;
}

static napi_value make_names(const wh_bytes *names, size_t count, int64_t next, bool partial)
{
    napi_value made;
    napi_create_object(env, &made);
    set_field(made, "names", make_strings(names, count));
    set_field(made, "next", make_int(next));
    set_field(made, "partial", make_bool(partial));
    return made;
}

static napi_value make_unknown_names(void)
{
    return make_names(NULL, 0, -1, true);
}

static napi_value make_members(const wh_member *members, size_t count, bool more, bool partial)
{
    napi_value made, list;
    napi_create_object(env, &made);
    napi_create_array_with_length(env, count, &list);
    for (size_t at = 0; at < count; at++) {
        napi_value member;
        napi_create_object(env, &member);
        set_field(member, "id", make_latin1(members[at].id.data, members[at].id.len));
        set_field(member, "uids", make_strings(members[at].uids, members[at].uid_count));
        napi_set_element(env, list, (uint32_t)at, member);
    }
    set_field(made, "members", list);
    set_field(made, "more", make_bool(more));
    set_field(made, "partial", make_bool(partial));
    return made;
}

static napi_value make_unknown_members(void)
{
    return make_members(NULL, 0, false, true);
}

static napi_value make_totals(const wh_totals *totals, bool partial)
{
    napi_value made;
    napi_create_object(env, &made);
    set_field(made, "uids", make_int((int64_t)totals->uids));
    set_field(made, "rooms", make_int((int64_t)totals->rooms));
    set_field(made, "topics", make_int((int64_t)totals->topics));
    set_field(made, "processes", make_int((int64_t)totals->processes));
    set_field(made, "partial", make_bool(partial));
    return made;
}

static napi_value make_unknown_totals(void)
{
    const wh_totals totals = { 0 };
    return make_totals(&totals, true);
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

static void on_members(void *user, const wh_member *members, size_t count, int32_t more, int32_t partial)
{
    SETTLE(user, make_members(members, count, more != 0, partial != 0));
}

static void on_session(void *user, const uint8_t *data, size_t len, int32_t partial)
{
    SETTLE(user, data != NULL ? make_buffer(data, len) : partial != 0 ? make_null() : make_undefined());
}

static void on_totals(void *user, const wh_totals *totals, int32_t partial)
{
    SETTLE(user, make_totals(totals, partial != 0));
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

/* members(0 of a uid, 1 of a room, 2 all; name, after) -> promise of { members, more, partial } */
static napi_value members(napi_env from, napi_callback_info info)
{
    napi_value argv[3], value;
    struct text name, after;
    if (!arguments(from, info, 3, argv) || !text_take(&name, argv[1], "the name"))
        return NULL;
    if (!text_take(&after, argv[2], "the id")) {
        text_free(&name);
        return NULL;
    }
    struct promise *promise = promise_new(&value, make_unknown_members);
    wh_result result = WH_OK;
    loop_touch();
    if (promise != NULL) {
        const char *id = (const char *)after.data;
        switch (int_of(argv[0])) {
        case 0: result = lib.wh_members_of_uid(name.data, name.len, id, after.len, on_members, promise, promise_drop); break;
        case 1: result = lib.wh_members_of_room(name.data, name.len, id, after.len, on_members, promise, promise_drop); break;
        default: result = lib.wh_members_of_all(id, after.len, on_members, promise, promise_drop);
        }
    }
    text_free(&name);
    text_free(&after);
    return result != WH_OK ? throw_result(result) : promise == NULL ? NULL : value;
}

/* sessionOf(id) -> promise of a Buffer, undefined if there is no such connection, null if that is not known */
static napi_value session_of(napi_env from, napi_callback_info info)
{
    napi_value argv[1], value;
    struct text id;
    if (!arguments(from, info, 1, argv) || !text_take(&id, argv[0], "the id"))
        return NULL;
    struct promise *promise = promise_new(&value, make_null);
    loop_touch();
    wh_result result = promise == NULL ? WH_OK : lib.wh_session_of((const char *)id.data, id.len, on_session, promise, promise_drop);
    text_free(&id);
    return result != WH_OK ? throw_result(result) : promise == NULL ? NULL : value;
}

/* totals() -> promise of { uids, rooms, topics, processes, partial } */
static napi_value totals(napi_env from, napi_callback_info info)
{
    (void)from, (void)info;
    napi_value value;
    struct promise *promise = promise_new(&value, make_unknown_totals);
    loop_touch();
    wh_result result = promise == NULL ? WH_OK : lib.wh_totals_of_hive(on_totals, promise, promise_drop);
    return result != WH_OK ? throw_result(result) : promise == NULL ? NULL : value;
}

void ask_exports(napi_value exports)
{
    const struct export all[] = {
        { "isUidOnline", is_uid_online }, { "roomSize", room_size }, { "onlineCount", online_count }, { "names", names },
        { "members", members }, { "sessionOf", session_of }, { "totals", totals },
    };
    export_all(exports, all, COUNT_OF(all));
}
