/* The functions of libworkhive.so, found when the addon is loaded.
 *
 * The addon does not name the library as one that it needs: which file it is, WORKHIVE_LIBRARY may say, and a library that
 * speaks another ABI is refused with words instead of a symbol that is missing in the middle of the program. */
#ifndef WORKHIVE_NODE_LIBRARY_H
#define WORKHIVE_NODE_LIBRARY_H

#include <workhive.h>

#define WH_FUNCTIONS(X) \
    X(wh_version) X(wh_result_name) X(wh_last_error) X(wh_fail_text) X(wh_log) \
    X(wh_worker_new) X(wh_worker_free) X(wh_worker_set_int) X(wh_worker_set_text) \
    X(wh_on_worker_start) X(wh_on_worker_reload) X(wh_on_uid_online) X(wh_on_uid_offline) \
    X(wh_on_connect) X(wh_on_message) X(wh_on_request) X(wh_on_close) X(wh_on_error) \
    X(wh_on_buffer_full) X(wh_on_buffer_drain) X(wh_on_goodbye) \
    X(wh_on_websocket_connect) X(wh_on_websocket_connected) \
    X(wh_protocol_register) X(wh_sink_write) \
    X(wh_hive_new) X(wh_hive_free) X(wh_hive_set_int) X(wh_hive_set_text) X(wh_hive_log_with) X(wh_hive_add) X(wh_hive_start) \
    X(wh_worker_attach) X(wh_poll_fd) X(wh_run_once) X(wh_finish) X(wh_ready) X(wh_signal) \
    X(wh_stop) X(wh_stop_all) X(wh_reload_all) X(wh_place_of) X(wh_stats_of) \
    X(wh_listen) X(wh_unlisten) X(wh_pause_accept) X(wh_resume_accept) \
    X(wh_conn_send) X(wh_conn_respond) X(wh_conn_respond_stream) X(wh_conn_chunk) \
    X(wh_conn_close) X(wh_conn_close_with) X(wh_conn_end) X(wh_conn_destroy) X(wh_conn_fail) \
    X(wh_conn_pause) X(wh_conn_resume) X(wh_conn_hold) X(wh_conn_release) X(wh_conn_pipe) X(wh_conn_is_open) \
    X(wh_conn_protocol) X(wh_conn_remote_addr) X(wh_conn_local_addr) X(wh_conn_id) X(wh_conn_send_queue) X(wh_conn_stats_of) \
    X(wh_conn_set_data) X(wh_conn_data) \
    X(wh_request_read) X(wh_request_headers) \
    X(wh_opening_read) X(wh_opening_headers) X(wh_opening_refuse) X(wh_opening_subprotocol) X(wh_opening_add_header) \
    X(wh_conn_bind_uid) X(wh_conn_claim_uid) X(wh_conn_unbind_uid) X(wh_conn_uid) X(wh_conn_uids) X(wh_conn_join_room) X(wh_conn_leave_room) X(wh_conn_rooms) \
    X(wh_conn_set_session) X(wh_conn_session) \
    X(wh_send_to_uid) X(wh_send_to_uids) X(wh_send_to_room) X(wh_send_to_rooms) X(wh_send_to_all) X(wh_send_to_connection) \
    X(wh_close_uid) X(wh_close_connection) X(wh_close_room) X(wh_join_uid) X(wh_leave_uid) \
    X(wh_join_connection) X(wh_leave_connection) X(wh_dismiss_room) \
    X(wh_is_uid_online) X(wh_room_size) X(wh_online_count) X(wh_uids) X(wh_rooms) \
    X(wh_members_of_uid) X(wh_members_of_room) X(wh_members_of_all) X(wh_session_of) X(wh_totals_of_hive) \
    X(wh_subscribe) X(wh_unsubscribe) X(wh_publish)

struct library {
#define X(name) __typeof__(name) *name;
    WH_FUNCTIONS(X)
#undef X
};

extern struct library lib;

/* Opens the library and finds all functions. On failure `why` has the words. */
int library_open(char *why, size_t room);

#endif
