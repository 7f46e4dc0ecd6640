/* Tests of the C interface: every function that takes a connection, and every one that takes names. */
#include "abi.h"

/* What the library keeps of a call that fails is destroyed at once. */
#define KEPT(call) tally(#call)

void every_call_of(wh_conn conn, wh_result expected)
{
    int32_t number;
    uint64_t big;
    wh_bytes bytes;
    const wh_bytes *list;
    size_t count;
    void *data;
    wh_conn_stats stats;

    IS(expected, wh_conn_send(conn, WH_TEXT, TEXT("hello")));
    IS(expected, wh_conn_send(conn, WH_BINARY, NULL, 0));
    IS(expected, wh_conn_respond(conn, 200, NULL, 0, NULL, 0));
    IS(expected, wh_conn_respond_stream(conn, 200, NULL, 0));
    IS(expected, wh_conn_chunk(conn, NULL, 0, 1));
    IS(expected, wh_conn_close(conn));
    IS(expected, wh_conn_close_with(conn, 4000, CHARS("why")));
    IS(expected, wh_conn_end(conn));
    IS(expected, wh_conn_destroy(conn));
    IS(expected, wh_conn_fail(conn, CHARS("why")));
    IS(expected, wh_conn_pause(conn));
    IS(expected, wh_conn_resume(conn));
    IS(expected, wh_conn_hold(conn));
    IS(expected, wh_conn_release(conn));
    IS(expected, wh_conn_pipe(conn, conn));
    IS(expected, wh_conn_protocol(conn, &bytes));
    IS(expected, wh_conn_remote_addr(conn, &bytes));
    IS(expected, wh_conn_local_addr(conn, &bytes));
    IS(expected, wh_conn_id(conn, &bytes));
    IS(expected, wh_conn_send_queue(conn, &big));
    IS(expected, wh_conn_stats_of(conn, &stats, sizeof stats));
    IS(expected, wh_conn_set_data(conn, KEPT(wh_conn_set_data), destroy));
    IS(expected, wh_conn_data(conn, &data));
    IS(expected, wh_conn_bind_uid(conn, TEXT("ann"), of_done, KEPT(wh_conn_bind_uid), destroy));
    IS(expected, wh_conn_claim_uid(conn, TEXT("ann")));
    IS(expected, wh_conn_unbind_uid(conn, TEXT("ann")));
    IS(expected, wh_conn_uid(conn, &bytes));
    IS(expected, wh_conn_uids(conn, &list, &count));
    IS(expected, wh_conn_join_room(conn, TEXT("attic"), of_done, KEPT(wh_conn_join_room), destroy));
    IS(expected, wh_conn_leave_room(conn, TEXT("attic")));
    IS(expected, wh_conn_rooms(conn, &list, &count));
    IS(expected, wh_conn_set_session(conn, TEXT("session")));
    IS(expected, wh_conn_session(conn, &bytes));
    /* This one can tell. */
    if (expected == WH_ERR_GONE)
        OK(wh_conn_is_open(conn, &number) == WH_OK && number == 0);
    else
        IS(expected, wh_conn_is_open(conn, &number));
}

void every_call_about_names(wh_result expected)
{
    static const uint8_t long_name[256];
    const wh_bytes names[] = {{BYTES("ann"), 3}}, no_names[] = {{NULL, 3}};

#define EACH(expected, name, len)                                                                                      \
    IS(expected, wh_send_to_uid(name, len, WH_TEXT, TEXT("hi"), NULL, 0, of_outcome, KEPT(to_uid), destroy));          \
    IS(expected, wh_send_to_room(name, len, WH_TEXT, TEXT("hi"), NULL, 0, of_outcome, KEPT(to_room), destroy));        \
    IS(expected, wh_close_uid(name, len, 4000, CHARS("why")));                                                         \
    IS(expected, wh_close_room(name, len, 4000, CHARS("why")));                                                        \
    IS(expected, wh_dismiss_room(name, len));                                                                          \
    IS(expected, wh_members_of_uid(name, len, NULL, 0, of_members, KEPT(members_of_uid), destroy));                    \
    IS(expected, wh_members_of_room(name, len, NULL, 0, of_members, KEPT(members_of_room), destroy));                  \
    IS(expected, wh_join_uid(name, len, TEXT("attic")));                                                               \
    IS(expected, wh_leave_uid(name, len, TEXT("attic")));                                                              \
    IS(expected, wh_is_uid_online(name, len, of_presence, KEPT(online), destroy));                                     \
    IS(expected, wh_room_size(name, len, of_count, KEPT(size), destroy))

    if (expected != WH_OK) {
        EACH(expected, BYTES("ann"), 3);
    } else {
        EACH(WH_OK, BYTES("ann"), 3);
        EACH(WH_ERR_NAME, NULL, 0);
        EACH(WH_ERR_NAME, long_name, sizeof long_name);
        EACH(WH_ERR_NULL, NULL, 3);
        EACH(WH_ERR_LENGTH, long_name, SIZE_MAX);
    }
    IS(expected, wh_send_to_uids(names, 1, WH_TEXT, TEXT("hi"), NULL, 0, of_outcome, KEPT(to_uids), destroy));
    IS(expected, wh_send_to_rooms(names, 1, WH_TEXT, TEXT("hi"), NULL, 0, of_outcome, KEPT(to_rooms), destroy));
    IS(expected, wh_send_to_all(WH_TEXT, TEXT("hi"), NULL, 0, of_outcome, KEPT(to_all), destroy));
    IS(expected, wh_online_count(of_count, KEPT(count), destroy));
    IS(expected, wh_members_of_all(NULL, 0, of_members, KEPT(members_of_all), destroy));
    IS(expected, wh_totals_of_hive(of_totals, KEPT(totals), destroy));
    IS(expected, wh_uids(-1, of_names, KEPT(uids), destroy));
    IS(expected, wh_rooms(-1, of_names, KEPT(rooms), destroy));
    REFUSED(wh_send_to_uids(no_names, 1, WH_TEXT, TEXT("hi"), NULL, 0, NULL, KEPT(to_uids), destroy));
    REFUSED(wh_send_to_uids(NULL, 1, WH_TEXT, TEXT("hi"), NULL, 0, NULL, KEPT(to_uids), destroy));
    REFUSED(wh_send_to_rooms(NULL, SIZE_MAX / 2, WH_TEXT, TEXT("hi"), NULL, 0, NULL, KEPT(to_rooms), destroy));
    REFUSED(wh_send_to_all(WH_TEXT, NULL, 2, NULL, 0, of_outcome, KEPT(to_all), destroy));
    REFUSED(wh_send_to_all(WH_TEXT, TEXT("hi"), NULL, 1, of_outcome, KEPT(to_all), destroy));
    REFUSED(wh_send_to_all(WH_TEXT, TEXT("hi"), no_names, 1, of_outcome, KEPT(to_all), destroy));
    REFUSED(wh_send_to_connection(CHARS("no id"), WH_TEXT, TEXT("hi"), of_outcome, KEPT(to_connection), destroy));
    REFUSED(wh_send_to_connection(NULL, 3, WH_TEXT, TEXT("hi"), of_outcome, KEPT(to_connection), destroy));
    REFUSED(wh_close_connection(CHARS("no id"), 4000, CHARS("why")));
    REFUSED(wh_join_connection(CHARS("no id"), TEXT("attic")));
    REFUSED(wh_join_connection(NULL, 3, TEXT("attic")));
    REFUSED(wh_leave_connection(CHARS("no id"), TEXT("attic")));
    REFUSED(wh_session_of(CHARS("no id"), of_session, KEPT(session_of), destroy));
    REFUSED(wh_session_of(NULL, 3, of_session, KEPT(session_of), destroy));
    REFUSED(wh_session_of("no id", SIZE_MAX, of_session, KEPT(session_of), destroy));
    REFUSED(wh_members_of_all(CHARS("no id"), of_members, KEPT(members_of_all), destroy));
    REFUSED(wh_members_of_all(NULL, 0, NULL, KEPT(members_of_all), destroy));
    REFUSED(wh_members_of_uid(TEXT("ann"), CHARS("no id"), of_members, KEPT(members_of_uid), destroy));
    REFUSED(wh_members_of_room(TEXT("attic"), NULL, 3, of_members, KEPT(members_of_room), destroy));
    REFUSED(wh_totals_of_hive(NULL, KEPT(totals), destroy));
    REFUSED(wh_close_uid(TEXT("ann"), 1006, CHARS("why")));
    REFUSED(wh_is_uid_online(TEXT("ann"), NULL, KEPT(online), destroy));
    REFUSED(wh_room_size(TEXT("attic"), NULL, KEPT(size), destroy));
    REFUSED(wh_online_count(NULL, KEPT(count), destroy));
    REFUSED(wh_uids(-1, NULL, KEPT(uids), destroy));
    REFUSED(wh_rooms(-1, NULL, KEPT(rooms), destroy));
    REFUSED(wh_subscribe(TEXT("news"), NULL, KEPT(news), destroy));
    REFUSED(wh_subscribe(NULL, 0, of_topic, KEPT(news), destroy));
    REFUSED(wh_publish(NULL, 0, WH_TEXT, TEXT("hi")));
    IS(expected, wh_publish(TEXT("news"), WH_TEXT, TEXT("hi")));
}
