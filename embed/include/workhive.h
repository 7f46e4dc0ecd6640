/* workhive.h: the C interface of workhive, a multi-process runtime for network services.
 *
 * Made out of the doc comments in embed/src by embed/header: change it there.
 *
 * GENERAL RULES
 *  - Every function returns a wh_result: WH_OK (0), WH_PENDING (1) where that is said, or an error from 100 on. Results come
 *    back through pointers, which are written only on WH_OK. wh_last_error() has the text of the last error of this thread.
 *  - Handles are numbers, not addresses: 0 is none, the top bit is never set, and one that was freed, or is of another kind,
 *    is WH_ERR_HANDLE. They are good in the process that made them; the workers of a hive inherit those of their master.
 *    In a process that the host itself forks off a worker (os.fork, pcntl_fork) all is WH_ERR_STATE but freeing. A connection
 *    that has ended is WH_ERR_GONE, and its handle never names another one.
 *  - Strings and bytes are a pointer and a length in bytes, and need not end in zero. NULL is allowed only with length 0. Texts
 *    are UTF-8. The library copies what it keeps. What it lends to a callback is good until that callback returns.
 *  - Threads: the thread of the first call of wh_hive_new, wh_worker_new or wh_protocol_register is the loop's, until all hives
 *    and workers are freed. Registered protocols belong to their thread for its life. All else is called on it (WH_ERR_THREAD), but for functions that say "Thread: any".
 *  - Callbacks are (function, user, destroy). `user` is given to each call. `destroy`, which may be NULL, is called exactly
 *    once with it, when the library will never call the function again: also when the call that took them has failed, and
 *    never while the function with that user is still running. What was not freed when its thread, or the process, ends is
 *    left as it is: nothing is called after main. Callbacks may call any function of the library that does not
 *    say otherwise: end connections, their own too, cancel timers, open listeners.
 *  - A callback that returns int32_t says WH_OK, or, by anything else, that it has failed; wh_fail_text says why. A failed
 *    callback of a connection ends that connection with the protocol's goodbye for failures (WebSocket: 1011; HTTP: 500 if an
 *    answer is owed); on_error and on_close follow. Others are logged.
 *  - A callback returns: exceptions, longjmp and pthread_exit must not leave it. An interpreter that ends threads which want
 *    its lock while it finalizes (CPython before 3.14 does) must not finalize while wh_blocking has work in hand: wait for
 *    that, or end the process by _exit.
 *  - Structs that say "grows at its end only" are passed with their size, so that old programs can use new libraries. All
 *    others never change.
 *  - Times are in milliseconds, sizes in bytes.
 */


#ifndef WORKHIVE_H
#define WORKHIVE_H

#include <stddef.h>
#include <stdint.h>

// The number of this interface. It changes only with something that old programs cannot use.
#define WH_ABI_VERSION 1

// It is done.
#define WH_OK 0

// It is not done yet: something tells later.
#define WH_PENDING 1

// A pointer is NULL that must not be, or one is with a length that is not 0.
#define WH_ERR_NULL 100

// The handle was never given out, was freed, or is one of another kind.
#define WH_ERR_HANDLE 101

// Called on another thread than the loop's.
#define WH_ERR_THREAD 102

// Not now: in the wrong order, inside the wrong callback, or where no loop runs.
#define WH_ERR_STATE 103

// A length that cannot be.
#define WH_ERR_LENGTH 104

// A value out of its range.
#define WH_ERR_VALUE 105

// No such option, or not for this worker.
#define WH_ERR_OPTION 106

// A bug of the library: it panicked. Please report it.
#define WH_ERR_PANIC 107

// For packages to use: the library that was loaded has another WH_ABI_VERSION. The library itself does not return it.
#define WH_ERR_ABI 108

// Text that must be UTF-8 is not.
#define WH_ERR_UTF8 109

// A callback failed: for callbacks to return; and the encode of a protocol of one's own has failed.
#define WH_ERR_CALLBACK 110

// The connection, or whoever was to be told, is no more.
#define WH_ERR_GONE 200

// The send buffer cannot take it; nothing of it is sent.
#define WH_ERR_FULL 201

// Longer than the protocol, or routing, can carry.
#define WH_ERR_TOO_LONG 202

// The protocol cannot say that: a response to no request, a line break inside a line.
#define WH_ERR_PROTOCOL 203

// Text that is no address.
#define WH_ERR_ADDRESS 300

// An address with a scheme that is not known.
#define WH_ERR_SCHEME 301

// Somebody listens there already.
#define WH_ERR_IN_USE 302

// The system does not allow it.
#define WH_ERR_ACCESS 303

// The listener cannot be opened for another reason.
#define WH_ERR_LISTEN 304

// This process does not listen there.
#define WH_ERR_NOT_LISTENING 305

// A uid, room or topic has 1 to 255 bytes.
#define WH_ERR_NAME 400

// The connection has as many uids, or is in as many rooms, as its listener allows.
#define WH_ERR_TOO_MANY 401

// The connection does not have this uid, or is not in this room.
#define WH_ERR_NOT_BOUND 402

// Too much waits already: try later.
#define WH_ERR_BUSY 403

// The id belongs to another hive, or to this one before it was started anew.
#define WH_ERR_OTHER_HIVE 404

// Applications close with 1000 or 3000 to 4999.
#define WH_ERR_CLOSE_CODE 405

// Reserved: a command line that makes no sense is printed, and ends in WH_ROLE_OVER with exit code 2.
#define WH_ERR_USAGE 500

// No seat was handed to this process.
#define WH_ERR_NO_SEAT 501

// Reserved: a fork that fails is printed or logged, and ends in WH_ROLE_OVER with exit code 1.
#define WH_ERR_FORK 502

// The hive has been started already.
#define WH_ERR_RUNNING 503

// The system refused something else.
#define WH_ERR_SYSTEM 504

// How many processes, 1 to 1024; 1 unless set. `--count` on the command line wins.
#define WH_COUNT 1

// 1: every process has a listening socket of its own, over which the kernel spreads connections. 0 unless set.
#define WH_REUSE_PORT 2

// 1: all processes that open this listener accept from one socket. Only for wh_listen; not with WH_REUSE_PORT.
#define WH_SHARED 3

// 0: a reload does not replace the processes, but calls on_worker_reload in them. 1 unless set.
#define WH_RELOADABLE 4

// Length of the accept queue, in connections; 4096 unless set.
#define WH_BACKLOG 5

// How long a process may take to finish what it has in hand, in ms; 10,000 unless set.
#define WH_DRAIN 6

// How long a process may take to become ready, in ms; 60,000 unless set.
#define WH_BOOT_TIMEOUT 7

// After how long in one turn of its loop a process counts as stuck and is replaced, in ms; 60,000 unless set. Where a host's
// loop runs it, the time until the next turn counts too, if there is something to do.
#define WH_STUCK_AFTER 8

// After how many messages a process is replaced, as by a reload; never unless set.
#define WH_MAX_REQUESTS 9

// After how long a process is replaced, as by a reload, in ms; never unless set.
#define WH_MAX_LIFETIME 10

// With how much memory of its own a process is replaced, as by a reload, in bytes; never unless set.
#define WH_MAX_MEMORY 11

// How many descriptors a process may have open; as many as the administrator allows unless set.
#define WH_NOFILE 12

// The nice value of the processes, -20 to 19.
#define WH_NICE 13

// How likely the processes are to be killed when memory runs out, -1000 to 1000.
#define WH_OOM_SCORE_ADJ 14

// Which permissions the files that the processes make do not get, 0 to 0777 (octal).
#define WH_UMASK 15

// How many bytes may wait to be sent on one connection; 1 MiB unless set. What would leave more waiting is WH_ERR_FULL; but
// where nothing waits, not even the answer to a handshake of the same turn, one message is taken however long it is.
#define WH_MAX_SEND_BUFFER 16

// Whether messages to all reach the connections: 1 or 0; 1 unless set, 0 for http.
#define WH_ROUTED 17

// How many uids a connection may have, up to 65,535; 1 unless set.
#define WH_MAX_UIDS 18

// In how many rooms a connection may be, up to 65,535; 128 unless set.
#define WH_MAX_ROOMS 19

// After how long without a message a connection is ended, in ms; never unless set.
#define WH_IDLE_TIMEOUT 20

// How long a message may stay unfinished without another byte, in ms; 60,000 unless set. Not for http and websocket.
#define WH_MESSAGE_TIMEOUT 21

// How long a peer may take nothing of what waits for it, in ms; 60,000 unless set. So long, too, an answer may be owed to a
// peer that sends no more: nothing else ends a connection whose request is never answered.
#define WH_SEND_TIMEOUT 22

// How long a connection that this side has half-closed waits for the peer's end, in ms; 1,000 unless set.
#define WH_LINGER 23

// 1: a connection stays when the peer has closed its sending side. 0 unless set.
#define WH_HALF_OPEN 24

// The longest message, in bytes; 10 MiB unless set. Not for tcp.
#define WH_MAX_MESSAGE 25

// The longest head of a request, in bytes; 16 KiB unless set. For http and websocket.
#define WH_MAX_HEAD 26

// The most header fields of a request; 100 unless set. For http and websocket.
#define WH_MAX_HEADERS 27

// How long a head may take, in ms; 10,000 unless set. For http.
#define WH_HEADER_TIMEOUT 28

// How long a body may make no progress, in ms; 60,000 unless set. For http.
#define WH_BODY_TIMEOUT 29

// How long a connection may be idle between requests, in ms; 75,000 unless set. For http.
#define WH_KEEP_ALIVE_TIMEOUT 30

// How long a peer may be silent before it is pinged, in ms; 25,000 unless set, 0 for never. For websocket.
#define WH_PING_INTERVAL 31

// How long a pinged peer may go on being silent, in ms; 10,000 unless set. For websocket.
#define WH_PONG_TIMEOUT 32

// How long to wait for the peer's close frame after ours, in ms; 5,000 unless set. For websocket.
#define WH_CLOSE_TIMEOUT 33

// How long a handshake may take, in ms; 10,000 unless set. For websocket.
#define WH_HANDSHAKE_TIMEOUT 34

// The most fragments of a message; 65,536 unless set. For websocket.
#define WH_MAX_FRAGMENTS 35

// How processes come to be: WH_SPAWN_FORK or WH_SPAWN_EXEC; the hive's way unless set.
#define WH_SPAWN 36

// The group's name, in tables, logs and on the command line; the protocol's unless set.
#define WH_NAME 100

// The user that the processes become; needs a master that runs as root.
#define WH_USER 101

// The Unix group that the processes become a member of; the user's own unless set.
#define WH_GROUP 102

// On which CPUs the processes run, a list such as "0,2-5", or "auto" for one each.
#define WH_CPU_AFFINITY 103

// The working directory of the processes.
#define WH_CHDIR 104

// Refuses to start with more than one process, for the reason given.
#define WH_ONE_PROCESS 105

// WH_SPAWN, WH_HIVE_SPAWN: processes are copies of the master, fork(2).
#define WH_SPAWN_FORK 0

// WH_SPAWN, WH_HIVE_SPAWN: the program is started anew for each process, fork(2) and execve(2).
#define WH_SPAWN_EXEC 1

// Who handles signals: WH_SIGNALS_LIBRARY, unless set, or WH_SIGNALS_HOST.
#define WH_HIVE_SIGNALS 1

// How processes come to be whose worker does not say it: WH_SPAWN_FORK, unless set, or WH_SPAWN_EXEC.
#define WH_HIVE_SPAWN 2

// 1: wh_hive_start returns in the master too, with WH_ROLE_MASTER, and the host's loop runs it. Only with
// WH_SPAWN_EXEC. 0 unless set.
#define WH_HIVE_NESTED 3

// One line about the program, for --help.
#define WH_HIVE_ABOUT 100

// WH_HIVE_SIGNALS: while it runs the library handles INT, TERM, QUIT, HUP, USR1, USR2, TTIN and TTOU, calls the host's
// handlers too, and puts them back at its end. In a worker TERM and QUIT let it drain, and INT does nothing: the master tells
// its workers when a terminal's Ctrl-C ends the hive.
#define WH_SIGNALS_LIBRARY 0

// WH_HIVE_SIGNALS: in workers and nested masters the host handles them, and calls wh_signal. A master that blocks inside
// wh_hive_start handles them by the library in any case, since no code of the host runs there.
#define WH_SIGNALS_HOST 1

// The process has done what the command line said, and is to end.
#define WH_ROLE_OVER 0

// The process is a worker.
#define WH_ROLE_WORKER 1

// The process is the master, and is to be run by the host's loop: only with WH_HIVE_NESTED.
#define WH_ROLE_MASTER 2

// Something failed that somebody should look after.
#define WH_LOG_ERROR 1

// Something failed that the library could bear.
#define WH_LOG_WARN 2

// What happens.
#define WH_LOG_INFO 3

// What happens in detail.
#define WH_LOG_DEBUG 4

// What happens in every detail.
#define WH_LOG_TRACE 5

// `kind`: UTF-8 text; on WebSockets a text frame.
#define WH_TEXT 0

// `kind`: any bytes; on WebSockets a binary frame.
#define WH_BINARY 1

// Closed by the peer, in the protocol's words or by the end of its stream.
#define WH_CLOSED_PEER 1

// Closed by this side, by wh_conn_close or wh_conn_end.
#define WH_CLOSED_LOCAL 2

// Dropped by this side, by wh_conn_destroy.
#define WH_CLOSED_DESTROYED 3

// Ended by the protocol in good order: the response said "Connection: close", or a keep-alive time was over.
#define WH_CLOSED_PROTOCOL 4

// Something went wrong; on_error was called before.
#define WH_CLOSED_ERROR 5

// The process drained or stopped.
#define WH_CLOSED_DRAINED 6

// The peer broke the protocol.
#define WH_ERROR_PROTOCOL 1

// The system reported an error.
#define WH_ERROR_IO 2

// Nothing was received for WH_IDLE_TIMEOUT.
#define WH_ERROR_IDLE 3

// A callback failed.
#define WH_ERROR_CALLBACK 4

// The library panicked in a callback. Please report it.
#define WH_ERROR_PANIC 5

// The peer was too slow for the protocol.
#define WH_ERROR_SLOW 6

// The uid has a connection.
#define WH_ONLINE 1

// It has none.
#define WH_OFFLINE 2

// The router has just been restarted, or cannot be reached.
#define WH_UNKNOWN 3

// A handshake: lent to on_websocket_connect, and to nothing else.
typedef struct wh_opening wh_opening;

// A request: lent to on_request, and to nothing else.
typedef struct wh_request wh_request;

// What every function returns: WH_OK, WH_PENDING where that is said, or an error.
typedef int32_t wh_result;

// What a group of processes is to do, or a listener inside a running process. A handle; 0 is none.
typedef uint64_t wh_worker;

// Of the process: returns WH_OK, or anything else if it has failed.
typedef int32_t (*wh_worker_fn)(void *user);

// Called exactly once with `user`, when the library will never call the function again that came with it; also when
// the call that took them has failed. May be NULL.
typedef void (*wh_destroy_fn)(void *user);

// A uid that comes or goes.
typedef int32_t (*wh_uid_fn)(void *user, const uint8_t *uid, size_t len);

// A connection of this process. A handle that stays safe when it has ended (WH_ERR_GONE) and never names another one;
// 0 is none.
typedef uint64_t wh_conn;

// Of a connection.
typedef int32_t (*wh_conn_fn)(void *user, wh_conn conn);

// A message. `data` is lent. `is_text`: 1 for a text frame of a WebSocket, which is valid UTF-8, and for lines and
// frames that are valid UTF-8; else 0.
typedef int32_t (*wh_message_fn)(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text);

// An HTTP request, which is lent.
typedef int32_t (*wh_request_fn)(void *user, wh_conn conn, const struct wh_request *request);

// Bytes that are lent; `data` may be NULL if `len` is 0.
typedef struct wh_bytes {
    // The first of them.
    const uint8_t *data;
    // How many there are.
    size_t len;
} wh_bytes;

// How a connection has ended; lent to on_close.
typedef struct wh_close_info {
    // One of WH_CLOSED_*.
    uint32_t reason;
    // The code with which the peer said goodbye (WebSocket; 1005 for a close frame without one); 0 if it did not.
    uint16_t peer_code;
    // Its reason, in UTF-8.
    struct wh_bytes peer_reason;
    // The reason in words.
    struct wh_bytes text;
} wh_close_info;

// The end of a connection. `info` is lent.
typedef int32_t (*wh_close_fn)(void *user, wh_conn conn, const struct wh_close_info *info);

// An error of a connection, one of WH_ERROR_* with its text.
typedef int32_t (*wh_error_fn)(void *user, wh_conn conn, uint32_t kind, const char *text, size_t len);

// A WebSocket handshake, which is lent.
typedef int32_t (*wh_opening_fn)(void *user, wh_conn conn, struct wh_opening *opening);

// A master with all its processes, before and while it runs. A handle; 0 is none.
typedef uint64_t wh_hive;

// Makes a copy of the process, as fork(2): -1 if it cannot, which wh_fail_text or else errno explains, 0 in the new process, else the pid of the new one.
typedef int64_t (*wh_fork_fn)(void *user);

// A line of the log. `text` is lent, UTF-8, without an end of line.
typedef void (*wh_log_fn)(void *user, uint32_t level, const char *text, size_t len);

// Tells where the first package in `data` ends: its length, which may be more than `len` (the rest is waited for, and
// the function asked again when it is there), 0 if more bytes are needed to tell, less than 0 if the peer broke the
// protocol and its connection is to end.
typedef int64_t (*wh_input_fn)(void *user, const uint8_t *data, size_t len);

// Makes the message of a package, by `wh_sink_write`. Returns WH_OK, or anything else if the package makes no sense.
typedef int32_t (*wh_decode_fn)(void *user, const uint8_t *data, size_t len, void *sink);

// Makes the bytes on the wire of a message, by `wh_sink_write`. Returns WH_OK, or anything else if that cannot be sent.
typedef int32_t (*wh_encode_fn)(void *user, const uint8_t *data, size_t len, void *sink);

// Which worker process this is.
typedef struct wh_place {
    // The group's name; lent until this thread's next wh_place_of.
    struct wh_bytes group;
    // Which of the group's places, from 0. A timer that must run once in the group belongs into slot 0.
    uint32_t slot;
    // How many places the group had when this process was started.
    uint32_t count;
    // How often the place had been filled before.
    uint32_t generation;
    // The process id.
    uint32_t pid;
} wh_place;

// What a process has done. Grows at its end only.
typedef struct wh_stats {
    // Connections open now.
    uint64_t connections;
    // Connections accepted.
    uint64_t accepted;
    // Messages received.
    uint64_t messages_in;
    // Bytes received.
    uint64_t bytes_in;
    // Bytes that the system has taken for sending.
    uint64_t bytes_out;
    // Sends that were refused: no room, or nobody there.
    uint64_t send_failures;
    // Timers set now.
    uint64_t timers;
} wh_stats;

// Work on a thread of the pool. It may call only what any thread may.
typedef void (*wh_work_fn)(void *user);

// A way to a worker's loop from any thread. A handle; 0 is none.
typedef uint64_t wh_mailbox;

// A timer. A handle; 0 is none.
typedef uint64_t wh_timer;

// What a connection has done. Grows at its end only.
typedef struct wh_conn_stats {
    // Bytes received.
    uint64_t bytes_in;
    // Bytes that the system has taken for sending.
    uint64_t bytes_out;
    // Messages received.
    uint64_t messages_in;
    // Bytes that wait to be sent.
    uint64_t queued;
} wh_conn_stats;

// The parts of a request or of a handshake. They are lent, for as long as the request is. Grows at its end only.
typedef struct wh_request_view {
    // "GET"; methods are case-sensitive.
    struct wh_bytes method;
    // As it was sent: "/path?query".
    struct wh_bytes target;
    // The path, not decoded, without the query.
    struct wh_bytes path;
    // What stands behind the "?", not decoded; data is NULL if there is no "?".
    struct wh_bytes query;
    // The body, with any chunking removed; empty for handshakes.
    struct wh_bytes body;
    // 1.
    uint8_t version_major;
    // 0 or 1.
    uint8_t version_minor;
    // 1 if the peer wants to use the connection again.
    uint8_t keep_alive;
    // 0: room for more of these.
    uint8_t reserved[5];
} wh_request_view;

// Something that was asked for is in force: `result` is WH_OK; or WH_ERR_GONE: the connection ended first.
typedef void (*wh_done_fn)(void *user, wh_result result);

// A connection in a listing.
typedef struct wh_member {
    // Its id, as of wh_conn_id.
    struct wh_bytes id;
    // Its uids.
    const struct wh_bytes *uids;
    // How many they are.
    size_t uid_count;
} wh_member;

// A page of connections, at most 1,000, which are lent. `more`: 1 if there are more; ask again with the id of the last of
// these. `partial`: 1 if some may be missing, since not every process has answered.
typedef void (*wh_members_fn)(void *user, const struct wh_member *members, size_t count, int32_t more, int32_t partial);

// Session data, which are lent. `data` is NULL if there is no such connection; `len` is 0 if it has set none. `partial`: 1 if
// the connection may exist all the same: its process has not answered.
typedef void (*wh_session_fn)(void *user, const uint8_t *data, size_t len, int32_t partial);

// One of WH_ONLINE, WH_OFFLINE, WH_UNKNOWN.
typedef void (*wh_presence_fn)(void *user, int32_t presence);

// So many connections; `partial` is 1 if there may be more, since not every process has answered.
typedef void (*wh_count_fn)(void *user, uint64_t count, int32_t partial);

// How much there is in the hive.
typedef struct wh_totals {
    // Uids with at least one connection.
    uint64_t uids;
    // Rooms with at least one member.
    uint64_t rooms;
    // Topics with at least one subscribed process.
    uint64_t topics;
    // Worker processes.
    uint64_t processes;
} wh_totals;

// `totals` is lent. `partial`: 1 if there may be more.
typedef void (*wh_totals_fn)(void *user, const struct wh_totals *totals, int32_t partial);

// A page of names, which are lent. `next`: where the next page begins, -1 after the last. `partial`: 1 if some may be
// missing.
typedef void (*wh_names_fn)(void *user, const struct wh_bytes *names, size_t count, int64_t next, int32_t partial);

// What became of a message, told by the processes that own the connections.
typedef struct wh_outcome {
    // Connections that have it in their send buffer.
    uint64_t delivered;
    // Connections that have not, because their send buffer was full; a process that was not reached counts as one.
    uint64_t refused;
    // 1 if a process died or did not answer in time: more connections may have it.
    uint64_t unknown;
    // 1 if at least one connection has it.
    int32_t is_delivered;
    // 1 if nobody was asked, and nobody has it: the router was away, or too many messages waited for their outcome.
    int32_t is_unrouted;
} wh_outcome;

// Told what became of a message, once, later. `outcome` is lent.
typedef void (*wh_outcome_fn)(void *user, const struct wh_outcome *outcome);

// A message on a topic, which is lent. `is_text`: 1 if it was published as WH_TEXT.
typedef void (*wh_topic_fn)(void *user, const uint8_t *data, size_t len, int32_t is_text);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's WH_ABI_VERSION, to be compared with the header's when the library is loaded. The first call also takes note
// of the process's command line, which is what is executed with WH_SPAWN_EXEC: hosts that give themselves another title
// hide it later.
// Thread: any.
uint32_t wh_abi_version(void);

// The library's version, such as "0.1.0".
// Thread: any. Lifetime: static; ends in a zero byte.
const char *wh_version(void);

// The name of a code, such as "WH_ERR_NULL"; "unknown" for numbers that are none.
// Thread: any. Lifetime: static; ends in a zero byte.
const char *wh_result_name(wh_result code);

// The text of this thread's last error, in UTF-8; "" if there was none. A call that succeeds leaves it as it is.
// `len`: where its length goes, without the zero byte at its end; may be NULL.
// Thread: any; each has its own. Lifetime: until the next call of this thread.
const char *wh_last_error(size_t *len);

// Says why the callback that runs is about to fail: it should then return anything but WH_OK. A whole traceback may
// be given, up to 1 MiB of it; each of its lines becomes a line of the log. Said again, the new text replaces the old one.
// Errors: WH_ERR_STATE outside of callbacks.
// Thread: the loop's; also inside encode, decode and input. Ownership: the text is copied.
wh_result wh_fail_text(const char *text,
                       size_t len);

// A worker that is to listen at an address: a scheme, "://" and a place, as in "websocket://0.0.0.0:1234". Schemes:
// websocket (or ws), http, text, frame, tcp, and those of wh_protocol_register. Places: "127.0.0.1:8080", `[::]:8080`,
// "localhost:8080", "unix:/path"; port 0 lets the system choose. Without a scheme it is tcp. An empty address makes a
// worker without a listener of its own.
// Errors: WH_ERR_SCHEME, WH_ERR_ADDRESS.
// Thread: the loop's; the first call makes this thread the loop's. Ownership: the handle is the caller's, until
// wh_hive_add or wh_listen have taken the worker over, or wh_worker_free has ended it.
wh_result wh_worker_new(const char *address, size_t len, wh_worker *out);

// Ends a worker that was given neither to wh_hive_add nor to wh_listen; the functions that it was to call are destroyed.
// Thread: the loop's.
wh_result wh_worker_free(wh_worker worker);

// Sets an option that is a number, one of those below WH_NAME.
// Errors: WH_ERR_OPTION if there is none, or not for this protocol; WH_ERR_VALUE if it is out of range.
// Thread: the loop's.
wh_result wh_worker_set_int(wh_worker worker, uint32_t option, int64_t value);

// Sets an option that is a text, one of those from WH_NAME on.
// Errors: WH_ERR_OPTION if there is none.
// Thread: the loop's. Ownership: the text is copied.
wh_result wh_worker_set_text(wh_worker worker, uint32_t option, const char *text, size_t len);

// Called in each process before it accepts. If it returns WH_PENDING, the process is ready, and accepts, when wh_ready
// is called. Anything else but WH_OK: it cannot start; if no process of the group ever can, the hive ends with this reason.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_worker_start(wh_worker worker,
                             wh_worker_fn function,
                             void *user,
                             wh_destroy_fn destroy);

// Called in each process that ends in good order, after its last connection.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_worker_stop(wh_worker worker,
                            wh_worker_fn function,
                            void *user,
                            wh_destroy_fn destroy);

// Called when the hive is reloaded, in groups with WH_RELOADABLE 0.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_worker_reload(wh_worker worker,
                              wh_worker_fn function,
                              void *user,
                              wh_destroy_fn destroy);

// Called when a uid gets its first connection in the whole hive, in each process of the group; twice, perhaps, while the hive
// reloads. The uid is lent.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_uid_online(wh_worker worker,
                           wh_uid_fn function,
                           void *user,
                           wh_destroy_fn destroy);

// Called when a uid has had no connection in the whole hive for two seconds, in each process of the group. The uid is lent.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_uid_offline(wh_worker worker,
                            wh_uid_fn function,
                            void *user,
                            wh_destroy_fn destroy);

// Called when a connection has been accepted, before anything was received. On a WebSocket nothing can be sent yet: see
// wh_on_websocket_connected.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_connect(wh_worker worker,
                        wh_conn_fn function,
                        void *user,
                        wh_destroy_fn destroy);

// Called for every message, in the order in which they came. Not for http. The bytes are lent.
// Errors: WH_ERR_OPTION for workers of other protocols.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_message(wh_worker worker,
                        wh_message_fn function,
                        void *user,
                        wh_destroy_fn destroy);

// Called for every HTTP request, complete with its body. Each gets one answer, by wh_conn_respond, at once or later. The
// request is lent.
// Errors: WH_ERR_OPTION for workers of other protocols.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_request(wh_worker worker,
                        wh_request_fn function,
                        void *user,
                        wh_destroy_fn destroy);

// Called exactly once for every connection that was accepted, when it has ended. Nothing can be sent any more, but what it was
// (uids, rooms, data) is still known. The information is lent.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_close(wh_worker worker,
                      wh_close_fn function,
                      void *user,
                      wh_destroy_fn destroy);

// Called when a connection cannot go on: the peer broke the protocol, or was too slow; the system reported an error; a
// callback failed. on_close follows. The text is lent.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_error(wh_worker worker,
                      wh_error_fn function,
                      void *user,
                      wh_destroy_fn destroy);

// Called when a send was refused because too much waits already; once, until the buffer was empty again.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_buffer_full(wh_worker worker,
                            wh_conn_fn function,
                            void *user,
                            wh_destroy_fn destroy);

// Called when the buffer has become empty after a refused send.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_buffer_drain(wh_worker worker,
                             wh_conn_fn function,
                             void *user,
                             wh_destroy_fn destroy);

// Called when this process is about to say goodbye to a connection because it goes away, after a reload above all. What is
// sent here leaves before the goodbye of the protocol.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_goodbye(wh_worker worker,
                        wh_conn_fn function,
                        void *user,
                        wh_destroy_fn destroy);

// Called with the request of a WebSocket handshake, before it is answered. It may refuse it, by wh_opening_refuse. The
// handshake is lent. For websocket.
// Errors: WH_ERR_OPTION for workers of other protocols.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_websocket_connect(wh_worker worker,
                                  wh_opening_fn function,
                                  void *user,
                                  wh_destroy_fn destroy);

// Called when a WebSocket handshake has been answered: from now on messages can be sent. For websocket.
// Errors: WH_ERR_OPTION for workers of other protocols.
// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
// belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_on_websocket_connected(wh_worker worker,
                                    wh_conn_fn function,
                                    void *user,
                                    wh_destroy_fn destroy);

// A hive without workers. `name`: in titles, in the names of pid files, in messages; 1 to 255 bytes without "/" and control
// characters.
// Errors: WH_ERR_VALUE.
// Thread: the first call makes this thread the loop's; all else is called on it. Ownership: the handle is the caller's
// until wh_hive_free.
wh_result wh_hive_new(const char *name,
                      size_t len,
                      wh_hive *out);

// Ends a hive that has not been started, or is over; one that still runs in this process is finished first. The functions
// that it was to call are destroyed. In a process that the host has forked off a worker nothing is finished, only freed.
// Errors: WH_ERR_STATE inside a callback. Thread: the loop's.
wh_result wh_hive_free(wh_hive hive);

// Sets an option that is a number: WH_HIVE_SIGNALS, WH_HIVE_SPAWN, WH_HIVE_NESTED.
// Errors: WH_ERR_OPTION, WH_ERR_VALUE, WH_ERR_RUNNING. Thread: the loop's.
wh_result wh_hive_set_int(wh_hive hive, uint32_t option, int64_t value);

// Sets an option that is a text: WH_HIVE_ABOUT.
// Errors: WH_ERR_OPTION, WH_ERR_RUNNING. Thread: the loop's. Ownership: the text is copied.
wh_result wh_hive_set_text(wh_hive hive, uint32_t option, const char *text, size_t len);

// How the process is forked: os.fork, pcntl_fork; fork(2) itself unless set. Called for every process that goes on as a
// copy of this one, and only while there is one thread.
// Errors: WH_ERR_RUNNING. Thread: the loop's, as the calls. Ownership: `user` belongs to the library until it calls
// `destroy`, which it also does if this call fails.
wh_result wh_hive_fork_with(wh_hive hive, wh_fork_fn function, void *user, wh_destroy_fn destroy);

// Hands every line of the log to the host, instead of to standard error or the log file: its level, one of WH_LOG_*, and
// what it says, with control characters escaped, without time and place.
// The function may call nothing but what any thread may; what it logs itself goes to standard error. It is destroyed with
// the hive.
// Errors: WH_ERR_RUNNING. Thread: the loop's; the function is called on whichever thread logs. Ownership: `user` belongs to
// the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_hive_log_with(wh_hive hive,
                           wh_log_fn function,
                           void *user,
                           wh_destroy_fn destroy);

// Adds a worker to the hive.
// Errors: WH_ERR_VALUE and WH_ERR_OPTION for a definition that makes no sense, WH_ERR_RUNNING.
// Thread: the loop's. Ownership: on WH_OK the worker is the library's, and its handle is none any more; otherwise it
// stays the caller's.
wh_result wh_hive_add(wh_hive hive, wh_worker worker);

// Registers a protocol of one's own: addresses may begin with `scheme` from now on. To be done in each process, before
// the first wh_worker_new that uses it. A scheme that was registered before is replaced, for workers made from then on.
// `scheme`: a to z, 0 to 9, '+', '-' and '.', a letter first; not a built-in one. `input` finds the packages in what
// peers send. `decode` makes messages of them; without it (NULL) the package is the message. `encode` makes the bytes
// of what is sent; without it they are what was given. The three may call nothing but wh_sink_write, wh_fail_text and
// wh_log. A package is not longer than WH_MAX_MESSAGE.
// Errors: WH_ERR_VALUE, WH_ERR_NULL for no `input`.
// Thread: the loop's. Ownership: `user` belongs to the library until it calls `destroy`: if this call fails, or
// when the scheme has been replaced and its last connection has ended.
wh_result wh_protocol_register(const char *scheme,
                               size_t len,
                               wh_input_fn input,
                               wh_decode_fn decode,
                               wh_encode_fn encode,
                               void *user,
                               wh_destroy_fn destroy);

// Appends to the message, inside decode, or to what goes on the wire, inside encode.
// `sink`: what the callback was given.
// Errors: WH_ERR_STATE for a sink of a callback that has returned, WH_ERR_TOO_LONG if there is no memory.
// Thread: the loop's. Ownership: the bytes are copied.
wh_result wh_sink_write(void *sink, const uint8_t *data, size_t len);

// Does what the command line says: `argv[0]` is the program's name, then come a verb and options (start, start -d, stop,
// reload, status, ...; --help lists them). Without a verb it is start.
// `role` becomes WH_ROLE_OVER: it is done, or has failed, which has been printed; end the process with `exit_code`. Or
// WH_ROLE_WORKER: this process is a worker, forked or executed anew; run it by wh_run_once, or all at once by wh_loop. Or
// WH_ROLE_MASTER, with WH_HIVE_NESTED only: run it by wh_run_once. Without that, the master stays inside this call until
// the hive is over.
// Errors: WH_ERR_RUNNING if this hive was started before, or another one runs in this process; WH_ERR_STATE inside a callback;
// WH_ERR_NULL.
// Thread: the loop's. A process with more than one thread cannot be forked: that is printed, and names `--spawn exec`.
wh_result wh_hive_start(wh_hive hive,
                        int32_t argc,
                        const char *const *argv,
                        int32_t *role,
                        int32_t *exit_code);

// Runs a worker, or a nested master, to its end, in place of wh_run_once and wh_finish.
// `exit_code`: with which the process should end. Errors: WH_ERR_STATE. Thread: the loop's.
wh_result wh_loop(wh_hive hive, int32_t *exit_code);

// Takes the seat that the command `workhive run --attach` has for this process: the hive's only worker sits on it, at the
// address and with the options of that command line. In place of wh_hive_start.
// role becomes WH_ROLE_WORKER: run it by wh_run_once, or by wh_loop. Or WH_ROLE_OVER: it cannot take its seat, which its
// master has been told; end the process with exit_code.
// Errors: WH_ERR_NO_SEAT if this process was not started so; the hive can still be started then. WH_ERR_RUNNING,
// WH_ERR_STATE inside a callback. Thread: the loop's.
wh_result wh_worker_attach(wh_hive hive,
                           int32_t *role,
                           int32_t *exit_code);

// wh_hive_start, and wh_loop where there is something to run. It returns in every process, which should then end with
// `exit_code`.
// Errors and thread: as wh_hive_start.
wh_result wh_run(wh_hive hive, int32_t argc, const char *const *argv, int32_t *exit_code);

// A descriptor that is readable when wh_run_once has something to do, its timers included: for the host's own loop
// (asyncio, libuv), level-triggered or edge-triggered. It is readable from the beginning: the first turn calls
// on_worker_start. It stays the same until wh_finish, and is never to be read, closed
// or changed.
// Errors: WH_ERR_STATE if nothing runs in this process. Thread: the loop's.
wh_result wh_poll_fd(wh_hive hive, int32_t *fd);

// One turn of the loop: waits until there is something to do, and does it. The first turn of a worker calls
// on_worker_start. A wait that a signal interrupts ends the turn.
// `timeout_ms`: for how long it waits at the most; -1: as long as it takes, 0: not at all. `over` becomes 1 when the
// process is to end: call wh_finish; else 0.
// Errors: WH_ERR_STATE inside a callback, or if nothing runs in this process. Thread: the loop's.
wh_result wh_run_once(wh_hive hive, int64_t timeout_ms, int32_t *over);

// Ends what runs in this process: says goodbye to the connections that are left, calls on_worker_stop, and frees the loop.
// Of a nested master that still runs it stops the hive, and waits for its end.
// `exit_code`: with which the process should end. Errors: WH_ERR_STATE inside a callback, or if nothing was started.
// Thread: the loop's.
wh_result wh_finish(wh_hive hive,
                    int32_t *exit_code);

// Which worker this process is.
// Errors: WH_ERR_STATE if it is none. Thread: the loop's.
wh_result wh_place_of(wh_hive hive, struct wh_place *out);

// What this process has done, as of the end of its last turn.
// `size`: `sizeof(wh_stats)`. Errors: WH_ERR_STATE if it is no worker. Thread: the loop's.
wh_result wh_stats_of(wh_hive hive, struct wh_stats *out, size_t size);

// Ends a start that on_worker_start has left open by WH_PENDING: the process is ready, and accepts; or it cannot start, for
// the reason in `why_not`, if that is not NULL. The time that a process has to boot includes it.
// Errors: WH_ERR_STATE if no worker runs in this process. Otherwise, said too often, it does nothing.
// Thread: the loop's. Ownership: the text is copied.
wh_result wh_ready(wh_hive hive,
                   const char *why_not,
                   size_t len);

// Does what the signal would do to this process, for hosts that handle signals themselves (WH_SIGNALS_HOST): SIGTERM and
// SIGQUIT let a worker drain; a nested master obeys TERM, QUIT, INT, HUP, USR1, USR2, TTIN and TTOU. Others do nothing.
// Errors: WH_ERR_STATE if nothing runs in this process. Thread: the loop's; not inside a signal handler.
wh_result wh_signal(wh_hive hive,
                    int32_t signo);

// Ends this process gracefully: a worker drains, and the master starts another; a nested master stops the hive.
// Errors: WH_ERR_STATE if nothing runs in this process. Thread: the loop's.
wh_result wh_stop(wh_hive hive);

// Ends the whole hive gracefully.
// Errors: WH_ERR_STATE if nothing runs in this process. Thread: the loop's.
wh_result wh_stop_all(wh_hive hive);

// Reloads the whole hive, as SIGUSR1 to its master does.
// Errors: WH_ERR_STATE if nothing runs in this process. Thread: the loop's.
wh_result wh_reload_all(wh_hive hive);

// Runs `work` on a small pool of threads, for calls that block, and `then` (may be NULL) back on the loop, both with
// `user`. If `then` fails, that is logged.
// Errors: WH_ERR_BUSY if 1,024 pieces of work wait already; WH_ERR_STATE in a process without a loop.
// Thread: the loop's. Ownership: `user` belongs to the library until it calls `destroy`, on the loop, after `then`, or if
// this call fails. A process that ends does not wait for work that runs, and leaves its `user` as it is.
wh_result wh_blocking(wh_work_fn work,
                      wh_worker_fn then,
                      void *user,
                      wh_destroy_fn destroy);

// Opens a listener in this process: in on_worker_start, or later. WH_REUSE_PORT and WH_SHARED say what happens if each
// process of a group does so.
// Errors: WH_ERR_IN_USE, whose text names who listens there and the remedies; WH_ERR_ACCESS; WH_ERR_LISTEN;
// WH_ERR_OPTION for options and functions that only groups have; WH_ERR_ADDRESS for a worker without an address;
// WH_ERR_STATE in a process without a loop.
// Thread: the loop's. Ownership: on WH_OK the worker is the library's, and its handle is none any more; otherwise it
// stays the caller's.
wh_result wh_listen(wh_worker worker);

// Closes the listener of this process at an address; its connections stay.
// Errors: WH_ERR_NOT_LISTENING, WH_ERR_ADDRESS. Thread: the loop's.
wh_result wh_unlisten(const char *address, size_t len);

// Lets new connections wait in the accept queue of the listener at an address.
// Errors: WH_ERR_NOT_LISTENING, WH_ERR_ADDRESS. Thread: the loop's.
wh_result wh_pause_accept(const char *address, size_t len);

// Accepts again.
// Errors: WH_ERR_NOT_LISTENING, WH_ERR_ADDRESS. Thread: the loop's.
wh_result wh_resume_accept(const char *address, size_t len);

// Writes to the hive's log; each line of the text becomes one of the log. What is no UTF-8 becomes U+FFFD. Before a hive is
// started there is no log, and nothing is written.
// `level`: one of WH_LOG_*. Errors: WH_ERR_VALUE for another level.
// Thread: any. Ownership: the text is copied.
wh_result wh_log(uint32_t level,
                 const char *text,
                 size_t len);

// A mailbox of this process's loop.
// Errors: WH_ERR_STATE in a process without a loop.
// Thread: the loop's. Ownership: the handle is the caller's until wh_mailbox_free.
wh_result wh_mailbox_new(wh_mailbox *out);

// Has the loop call `function`, soon. If it fails, that is logged.
// Errors: WH_ERR_BUSY if 65,536 letters wait already, WH_ERR_GONE if the loop is no more, WH_ERR_HANDLE.
// Thread: any. Ownership: `user` belongs to the library until it calls `destroy`, on the loop after the call; or, if this
// call fails, here and now on this thread. Letters that wait when the loop ends are destroyed without a call, on the loop or
// on the thread that posts at that moment.
wh_result wh_mailbox_post(wh_mailbox mailbox,
                          wh_worker_fn function,
                          void *user,
                          wh_destroy_fn destroy);

// Ends a mailbox. Letters that were posted are still delivered.
// Thread: any.
wh_result wh_mailbox_free(wh_mailbox mailbox);

// Calls `function` once, after `ms` milliseconds. If it fails, that is logged.
// Errors: WH_ERR_STATE in a process without a loop.
// Thread: the loop's. Ownership: `user` belongs to the library until it calls `destroy`, when the timer is over, or if
// this call fails.
wh_result wh_timer_after(uint64_t ms, wh_worker_fn function, void *user, wh_destroy_fn destroy, wh_timer *out);

// Calls `function` every `ms` milliseconds (0 counts as 1), first after one such time. It does not drift; times that
// the loop missed are skipped. It goes on when the function fails, which is logged.
// Errors: WH_ERR_STATE in a process without a loop.
// Thread: the loop's. Ownership: as for wh_timer_after; the timer is over when it is cancelled.
wh_result wh_timer_every(uint64_t ms, wh_worker_fn function, void *user, wh_destroy_fn destroy, wh_timer *out);

// Stops a timer; also from inside its own function.
// Errors: WH_ERR_HANDLE if it is over. Thread: the loop's.
wh_result wh_timer_cancel(wh_timer timer);

// Sends a message. It leaves at the end of the turn, in one write with all that was sent before it.
// `kind`: WH_TEXT or WH_BINARY.
// Errors: WH_ERR_FULL, of which on_buffer_full tells too, and nothing of it is sent; WH_ERR_GONE; WH_ERR_UTF8 for text
// on a WebSocket that is not UTF-8; WH_ERR_TOO_LONG; WH_ERR_PROTOCOL for what the protocol cannot say, such as a line
// break inside a line, and for http, which has wh_conn_respond; WH_ERR_STATE before a WebSocket's handshake was
// answered; WH_ERR_CALLBACK if the encode of a protocol of one's own has failed.
// Thread: the loop's. Ownership: the bytes are copied.
wh_result wh_conn_send(wh_conn conn, int32_t kind, const uint8_t *data, size_t len);

// Says the protocol's goodbye (WebSocket: close frame 1000), sends all that waits, then closes.
// Errors: WH_ERR_GONE. Thread: the loop's.
wh_result wh_conn_close(wh_conn conn);

// The same with a code and a reason of the application's: for WebSockets, 1000 or 3000 to 4999, and up to 123 bytes of
// UTF-8. Other protocols just close.
// Errors: WH_ERR_GONE, WH_ERR_CLOSE_CODE, WH_ERR_TOO_LONG, WH_ERR_UTF8. Thread: the loop's.
wh_result wh_conn_close_with(wh_conn conn, uint16_t code, const char *reason, size_t len);

// Sends all that waits, half-closes, and lingers until the peer has closed too; without a goodbye.
// Errors: WH_ERR_GONE. Thread: the loop's.
wh_result wh_conn_end(wh_conn conn);

// Closes the socket at once. What waits to be sent is lost.
// Errors: WH_ERR_GONE. Thread: the loop's.
wh_result wh_conn_destroy(wh_conn conn);

// Stops reading, and calling on_message, until wh_conn_resume. The peer is slowed down by its own full send buffer.
// Errors: WH_ERR_GONE. Thread: the loop's.
wh_result wh_conn_pause(wh_conn conn);

// Goes on reading.
// Errors: WH_ERR_GONE. Thread: the loop's.
wh_result wh_conn_resume(wh_conn conn);

// Something goes on for this connection outside of its callbacks: until wh_conn_release a peer that has closed its sending
// side still gets its answer, and a draining process waits. Counted.
// Errors: WH_ERR_GONE. Thread: the loop's.
wh_result wh_conn_hold(wh_conn conn);

// Undoes one wh_conn_hold.
// Errors: WH_ERR_GONE. Thread: the loop's.
wh_result wh_conn_release(wh_conn conn);

// What went on for this connection outside of its callbacks has failed: at the end of the turn it ends as if a callback of
// it had failed with this text, of which each line becomes a line of the log.
// Errors: WH_ERR_GONE. Thread: the loop's. Ownership: the text is copied.
wh_result wh_conn_fail(wh_conn conn,
                       const char *text,
                       size_t len);

// From now on the bytes received on `from` go to `to` as they are, without either protocol; reading rests while the
// other's buffer is full. When one of the two ends, the other is ended too.
// Errors: WH_ERR_GONE. Thread: the loop's.
wh_result wh_conn_pipe(wh_conn from, wh_conn to);

// `out` becomes 1 while messages can be sent, else 0; an ended connection is no error.
// Thread: the loop's.
wh_result wh_conn_is_open(wh_conn conn, int32_t *out);

// The protocol: "tcp", "text", "frame", "http", "websocket", or the scheme of one's own.
// Errors: WH_ERR_GONE. Thread: the loop's. Lifetime: static.
wh_result wh_conn_protocol(wh_conn conn, struct wh_bytes *out);

// The other side: "127.0.0.1:5000", `[::1]:5000`, "unix:/path" or "unix:".
// Errors: WH_ERR_GONE. Thread: the loop's. Lifetime: until this thread's next call of the same function.
wh_result wh_conn_remote_addr(wh_conn conn, struct wh_bytes *out);

// This side, in the same form.
// Errors: WH_ERR_GONE, also in on_close. Thread: the loop's. Lifetime: until this thread's next call of the same function.
wh_result wh_conn_local_addr(wh_conn conn,
                             struct wh_bytes *out);

// The id of the connection in the whole hive, as text: to be kept, sent elsewhere, and given to wh_send_to_connection.
// It is never used again.
// Errors: WH_ERR_GONE. Thread: the loop's. Lifetime: until this thread's next call of the same function.
wh_result wh_conn_id(wh_conn conn, struct wh_bytes *out);

// How many bytes wait to be sent.
// Errors: WH_ERR_GONE. Thread: the loop's.
wh_result wh_conn_send_queue(wh_conn conn, uint64_t *out);

// What the connection has done so far.
// `size`: `sizeof(wh_conn_stats)`. Errors: WH_ERR_GONE. Thread: the loop's.
wh_result wh_conn_stats_of(wh_conn conn, struct wh_conn_stats *out, size_t size);

// Hangs a pointer on the connection, in place of the one before, which is destroyed. It is destroyed when on_close has
// returned. NULL without a `destroy` takes it away.
// Errors: WH_ERR_GONE. Thread: the loop's. Ownership: `data` belongs to the library until it calls `destroy`, which it
// also does if this call fails.
wh_result wh_conn_set_data(wh_conn conn, void *data, wh_destroy_fn destroy);

// What hangs on the connection; NULL if nothing does.
// Errors: WH_ERR_GONE. Thread: the loop's.
wh_result wh_conn_data(wh_conn conn, void **out);

// The parts of a request.
// `size`: `sizeof(wh_request_view)`. Errors: WH_ERR_STATE when the callback it was lent to has returned.
// Thread: the loop's. Lifetime: what `out` points to is good until on_request returns.
wh_result wh_request_read(const struct wh_request *request, struct wh_request_view *out, size_t size);

// The first header field of a name, in any case; data is NULL if there is none.
// Errors: WH_ERR_STATE when the callback it was lent to has returned.
// Thread: the loop's. Lifetime: what `out` points to is good until on_request returns.
wh_result wh_request_header(const struct wh_request *request, const char *name, size_t len, struct wh_bytes *out);

// All header fields as lines, "name: value\n", in the order in which they came.
// Errors: WH_ERR_STATE when the callback it was lent to has returned.
// Thread: the loop's. Lifetime: what `out` points to is good until on_request returns.
wh_result wh_request_headers(const struct wh_request *request, struct wh_bytes *out);

// Answers the request of a connection that waits for its answer. Every request gets one.
// `status`: 100 to 599. `headers`: lines "Name: value", each ended by LF or CRLF. Content-Length, Transfer-Encoding and Date
// are written by the library: a Content-Length must say what is true, a Date replaces the library's, "Connection: close"
// ends the connection after this response. Whoever makes lines of foreign text must refuse CR, LF and NUL in it.
// Errors: WH_ERR_PROTOCOL if no request waits, or for a status or headers that cannot be; WH_ERR_UTF8; WH_ERR_GONE.
// Thread: the loop's. Ownership: headers and body are copied.
wh_result wh_conn_respond(wh_conn conn,
                          uint16_t status,
                          const char *headers,
                          size_t headers_len,
                          const uint8_t *body,
                          size_t body_len);

// Begins a response whose body comes in chunks, by wh_conn_chunk.
// Arguments and errors: as wh_conn_respond. Thread: the loop's.
wh_result wh_conn_respond_stream(wh_conn conn, uint16_t status, const char *headers, size_t headers_len);

// Sends a piece of the body of a response begun with wh_conn_respond_stream. An empty one sends nothing.
// `last`: not 0 for the last piece; the body ends behind it.
// Errors: WH_ERR_FULL: wait for on_buffer_drain; WH_ERR_PROTOCOL if no response is being streamed; WH_ERR_GONE.
// Thread: the loop's. Ownership: the bytes are copied.
wh_result wh_conn_chunk(wh_conn conn, const uint8_t *data, size_t len, int32_t last);

// The parts of a handshake; the method is GET, the body empty.
// `size`: `sizeof(wh_request_view)`. Errors: WH_ERR_STATE when the callback it was lent to has returned.
// Thread: the loop's. Lifetime: what `out` points to is good until on_websocket_connect returns.
wh_result wh_opening_read(const struct wh_opening *opening, struct wh_request_view *out, size_t size);

// The first header field of a name, in any case; data is NULL if there is none.
// Errors: WH_ERR_STATE when the callback it was lent to has returned.
// Thread: the loop's. Lifetime: what `out` points to is good until on_websocket_connect returns.
wh_result wh_opening_header(const struct wh_opening *opening, const char *name, size_t len, struct wh_bytes *out);

// All header fields as lines, "name: value\n", in the order in which they came.
// Errors: WH_ERR_STATE when the callback it was lent to has returned.
// Thread: the loop's. Lifetime: what `out` points to is good until on_websocket_connect returns.
wh_result wh_opening_headers(const struct wh_opening *opening, struct wh_bytes *out);

// The peer is to get an HTTP response with this status, 300 to 599, instead of a WebSocket, and a line of text as its
// body; the status's own words if `len` is 0. The connection ends then.
// Errors: WH_ERR_VALUE for another status, WH_ERR_STATE when the callback it was lent to has returned.
// Thread: the loop's. Ownership: the text is copied.
wh_result wh_opening_refuse(struct wh_opening *opening, uint16_t status, const char *body, size_t len);

// Chooses a subprotocol. One that the peer has not offered makes the handshake fail.
// Errors: WH_ERR_STATE when the callback it was lent to has returned.
// Thread: the loop's. Ownership: the name is copied.
wh_result wh_opening_subprotocol(struct wh_opening *opening, const char *name, size_t len);

// Adds a header field to the answer, such as Set-Cookie. One that would break out of its line, or belongs to the
// handshake itself, makes the handshake fail.
// Errors: WH_ERR_STATE when the callback it was lent to has returned.
// Thread: the loop's. Ownership: both texts are copied.
wh_result wh_opening_add_header(struct wh_opening *opening,
                                const char *name,
                                size_t name_len,
                                const char *value,
                                size_t value_len);

// Makes the connection one of those that messages to `uid` reach. A uid, 1 to 255 bytes, may have any number of connections
// in any processes; a connection has one uid, or up to WH_MAX_UIDS. The same uid again changes nothing.
// `done` (may be NULL) is called when every message that is sent to the uid from then on, by whatever process, will reach the
// connection.
// Errors: WH_ERR_NAME, WH_ERR_TOO_MANY, WH_ERR_GONE, WH_ERR_BUSY; `done` is not called then.
// Thread: the loop's. Ownership: the uid is copied. `user` belongs to the library until it calls `destroy`, which it also
// does if this call fails.
wh_result wh_conn_bind_uid(wh_conn conn,
                           const uint8_t *uid,
                           size_t len,
                           wh_done_fn done,
                           void *user,
                           wh_destroy_fn destroy);

// Binds a uid that only one connection is to have: the one that had claimed it before, wherever in the hive, is closed with
// code 4001.
// Errors: as wh_conn_bind_uid. Thread: the loop's. Ownership: the uid is copied.
wh_result wh_conn_claim_uid(wh_conn conn,
                            const uint8_t *uid,
                            size_t len);

// Undoes wh_conn_bind_uid and wh_conn_claim_uid.
// Errors: WH_ERR_NOT_BOUND, WH_ERR_GONE. Thread: the loop's.
wh_result wh_conn_unbind_uid(wh_conn conn, const uint8_t *uid, size_t len);

// The uid of the connection; the first one, if it has several; data is NULL if it has none. In on_close it is still known.
// Errors: WH_ERR_GONE. Thread: the loop's. Lifetime: until this thread's next call of the same function.
wh_result wh_conn_uid(wh_conn conn,
                      struct wh_bytes *out);

// All uids of the connection, in no particular order. In on_close they are still known.
// Errors: WH_ERR_GONE. Thread: the loop's. Lifetime: until this thread's next call of the same function.
wh_result wh_conn_uids(wh_conn conn, const struct wh_bytes **out, size_t *count);

// Makes the connection a member of a room, 1 to 255 bytes: wh_send_to_room reaches it from any process. A connection can be
// in 128 rooms, or WH_MAX_ROOMS. The same room again changes nothing.
// `done` (may be NULL) is called when it is in force.
// Errors and ownership: as wh_conn_bind_uid. Thread: the loop's.
wh_result wh_conn_join_room(wh_conn conn,
                            const uint8_t *room,
                            size_t len,
                            wh_done_fn done,
                            void *user,
                            wh_destroy_fn destroy);

// Takes the connection from a room.
// Errors: WH_ERR_NOT_BOUND if it is not in it, WH_ERR_GONE. Thread: the loop's.
wh_result wh_conn_leave_room(wh_conn conn, const uint8_t *room, size_t len);

// The rooms of the connection, in no particular order. In on_close they are still known.
// Errors: WH_ERR_GONE. Thread: the loop's. Lifetime: until this thread's next call of the same function.
wh_result wh_conn_rooms(wh_conn conn, const struct wh_bytes **out, size_t *count);

// Sets data of the connection that any process can ask for. Up to 64 KiB.
// Errors: WH_ERR_TOO_LONG, WH_ERR_GONE. Thread: the loop's. Ownership: the bytes are copied.
wh_result wh_conn_set_session(wh_conn conn, const uint8_t *data, size_t len);

// What was set with wh_conn_set_session; data is NULL if nothing was. In on_close it is still known.
// Errors: WH_ERR_GONE. Thread: the loop's. Lifetime: until this thread's next call of the same function.
wh_result wh_conn_session(wh_conn conn, struct wh_bytes *out);

// Asks for the connections of a uid, a page of them.
// `after`: NULL and 0 for the first page, else the id of the last connection of the page before. The answer comes later, once.
// Errors: WH_ERR_NAME, WH_ERR_BUSY, WH_ERR_NULL, WH_ERR_VALUE for text that is no id. Thread: the loop's. Ownership: all bytes
// are copied. `user` belongs to the library until it calls `destroy`, which it also does if this call fails.
wh_result wh_members_of_uid(const uint8_t *uid,
                            size_t uid_len,
                            const char *after,
                            size_t after_len,
                            wh_members_fn function,
                            void *user,
                            wh_destroy_fn destroy);

// Asks for the members of a room, as wh_members_of_uid does for a uid.
wh_result wh_members_of_room(const uint8_t *room,
                             size_t room_len,
                             const char *after,
                             size_t after_len,
                             wh_members_fn function,
                             void *user,
                             wh_destroy_fn destroy);

// Asks for all connections that wh_send_to_all reaches, as wh_members_of_uid does for a uid.
wh_result wh_members_of_all(const char *after,
                            size_t after_len,
                            wh_members_fn function,
                            void *user,
                            wh_destroy_fn destroy);

// Asks what a connection, in whichever process it is, has set with wh_conn_set_session. The answer comes later, once.
// `id`: as of wh_conn_id. Errors: WH_ERR_VALUE for text that is no id, WH_ERR_OTHER_HIVE, WH_ERR_BUSY, WH_ERR_NULL. Thread: the
// loop's. Ownership: as wh_members_of_uid.
wh_result wh_session_of(const char *id,
                        size_t id_len,
                        wh_session_fn function,
                        void *user,
                        wh_destroy_fn destroy);

// Asks whether a uid has a connection, anywhere in the hive. The answer comes later, once.
// Errors: WH_ERR_NAME, WH_ERR_BUSY, WH_ERR_NULL. Thread: the loop's. Ownership: the uid is copied. `user` belongs to the
// library until it calls `destroy`, which it also does if this call fails.
wh_result wh_is_uid_online(const uint8_t *uid,
                           size_t len,
                           wh_presence_fn function,
                           void *user,
                           wh_destroy_fn destroy);

// Asks how many members a room has. The answer comes later, once.
// Errors, thread and ownership: as wh_is_uid_online.
wh_result wh_room_size(const uint8_t *room, size_t len, wh_count_fn function, void *user, wh_destroy_fn destroy);

// Asks how many connections wh_send_to_all reaches. The answer comes later, once.
// Errors, thread and ownership: as wh_is_uid_online.
wh_result wh_online_count(wh_count_fn function, void *user, wh_destroy_fn destroy);

// Asks how many uids, rooms, topics and processes there are in the hive. The answer comes later, once.
// Errors, thread and ownership: as wh_is_uid_online.
wh_result wh_totals_of_hive(wh_totals_fn function, void *user, wh_destroy_fn destroy);

// Asks for the uids that are online, a page of up to 1,000, in no particular order.
// `from`: -1 for the first page, else what the page before said. The answer comes later, once.
// Errors: WH_ERR_VALUE, and as wh_is_uid_online. Thread and ownership: as wh_is_uid_online.
wh_result wh_uids(int64_t from, wh_names_fn function, void *user, wh_destroy_fn destroy);

// Asks for the rooms that have members, as wh_uids does for uids.
wh_result wh_rooms(int64_t from, wh_names_fn function, void *user, wh_destroy_fn destroy);

// Sends to every connection of a uid, in the natural form of each connection's protocol.
// `kind`: WH_TEXT or WH_BINARY.
// `except`: ids (wh_conn_id) of connections that are left out, such as the one that speaks; up to 1,024; NULL and 0 for none.
// `function` (may be NULL) is told the outcome.
// Errors: WH_ERR_NAME, WH_ERR_TOO_LONG, WH_ERR_BUSY, WH_ERR_UTF8, WH_ERR_VALUE, WH_ERR_STATE in a process without a loop;
// nothing is sent then. That nobody is there is no error, but an outcome.
// Thread: the loop's. Ownership: all bytes are copied. `user` belongs to the library until it calls `destroy`, which it also
// does if this call fails.
wh_result wh_send_to_uid(const uint8_t *uid,
                         size_t uid_len,
                         int32_t kind,
                         const uint8_t *data,
                         size_t len,
                         const struct wh_bytes *except,
                         size_t except_count,
                         wh_outcome_fn function,
                         void *user,
                         wh_destroy_fn destroy);

// Sends to every connection of these uids; one that has two of them gets it once. Up to 16,384 uids with 512 KiB together.
// `except`: ids (wh_conn_id) of connections that are left out, such as the one that speaks; up to 1,024; NULL and 0 for none.
// `function` (may be NULL) is told the outcome.
// Errors: WH_ERR_NAME, WH_ERR_TOO_LONG, WH_ERR_BUSY, WH_ERR_UTF8, WH_ERR_VALUE, WH_ERR_STATE in a process without a loop;
// nothing is sent then. That nobody is there is no error, but an outcome.
// Thread: the loop's. Ownership: all bytes are copied. `user` belongs to the library until it calls `destroy`, which it also
// does if this call fails.
wh_result wh_send_to_uids(const struct wh_bytes *uids,
                          size_t count,
                          int32_t kind,
                          const uint8_t *data,
                          size_t len,
                          const struct wh_bytes *except,
                          size_t except_count,
                          wh_outcome_fn function,
                          void *user,
                          wh_destroy_fn destroy);

// Sends to every member of a room.
// `except`: ids (wh_conn_id) of connections that are left out, such as the one that speaks; up to 1,024; NULL and 0 for none.
// `function` (may be NULL) is told the outcome.
// Errors: WH_ERR_NAME, WH_ERR_TOO_LONG, WH_ERR_BUSY, WH_ERR_UTF8, WH_ERR_VALUE, WH_ERR_STATE in a process without a loop;
// nothing is sent then. That nobody is there is no error, but an outcome.
// Thread: the loop's. Ownership: all bytes are copied. `user` belongs to the library until it calls `destroy`, which it also
// does if this call fails.
wh_result wh_send_to_room(const uint8_t *room,
                          size_t room_len,
                          int32_t kind,
                          const uint8_t *data,
                          size_t len,
                          const struct wh_bytes *except,
                          size_t except_count,
                          wh_outcome_fn function,
                          void *user,
                          wh_destroy_fn destroy);

// Sends to every member of these rooms; a member of two gets it once. As many as for wh_send_to_uids.
// `except`: ids (wh_conn_id) of connections that are left out, such as the one that speaks; up to 1,024; NULL and 0 for none.
// `function` (may be NULL) is told the outcome.
// Errors: WH_ERR_NAME, WH_ERR_TOO_LONG, WH_ERR_BUSY, WH_ERR_UTF8, WH_ERR_VALUE, WH_ERR_STATE in a process without a loop;
// nothing is sent then. That nobody is there is no error, but an outcome.
// Thread: the loop's. Ownership: all bytes are copied. `user` belongs to the library until it calls `destroy`, which it also
// does if this call fails.
wh_result wh_send_to_rooms(const struct wh_bytes *rooms,
                           size_t count,
                           int32_t kind,
                           const uint8_t *data,
                           size_t len,
                           const struct wh_bytes *except,
                           size_t except_count,
                           wh_outcome_fn function,
                           void *user,
                           wh_destroy_fn destroy);

// Sends to every connection of the hive whose listener is WH_ROUTED, and to those others that have a uid, a room or session
// data.
// `except`: ids (wh_conn_id) of connections that are left out, such as the one that speaks; up to 1,024; NULL and 0 for none.
// `function` (may be NULL) is told the outcome.
// Errors: WH_ERR_NAME, WH_ERR_TOO_LONG, WH_ERR_BUSY, WH_ERR_UTF8, WH_ERR_VALUE, WH_ERR_STATE in a process without a loop;
// nothing is sent then. That nobody is there is no error, but an outcome.
// Thread: the loop's. Ownership: all bytes are copied. `user` belongs to the library until it calls `destroy`, which it also
// does if this call fails.
wh_result wh_send_to_all(int32_t kind,
                         const uint8_t *data,
                         size_t len,
                         const struct wh_bytes *except,
                         size_t except_count,
                         wh_outcome_fn function,
                         void *user,
                         wh_destroy_fn destroy);

// Sends to one connection, in whichever process it is, by its id of wh_conn_id. One that has ended makes the outcome that
// nobody got it. `function` (may be NULL) is told the outcome.
// Errors: WH_ERR_VALUE for text that is no id, WH_ERR_OTHER_HIVE for one of another hive, or of this one before it was
// started anew; and as wh_send_to_uid. Thread: the loop's. Ownership: as wh_send_to_uid.
wh_result wh_send_to_connection(const char *id,
                                size_t id_len,
                                int32_t kind,
                                const uint8_t *data,
                                size_t len,
                                wh_outcome_fn function,
                                void *user,
                                wh_destroy_fn destroy);

// Closes every connection of a uid. `code`: 1000 or 3000 to 4999, with a reason of up to 123 bytes of UTF-8.
// Errors: WH_ERR_CLOSE_CODE, WH_ERR_TOO_LONG, WH_ERR_UTF8, and as wh_send_to_uid. Thread: the loop's.
wh_result wh_close_uid(const uint8_t *uid, size_t uid_len, uint16_t code, const char *reason, size_t len);

// Closes one connection, in whichever process it is, by its id of wh_conn_id. `code`: 1000 or 3000 to 4999, with a reason of up to 123 bytes of UTF-8.
// Errors: WH_ERR_CLOSE_CODE, WH_ERR_TOO_LONG, WH_ERR_UTF8, and as wh_send_to_uid. Thread: the loop's.
wh_result wh_close_connection(const char *id,
                              size_t id_len,
                              uint16_t code,
                              const char *reason,
                              size_t len);

// Closes every member of a room. `code`: 1000 or 3000 to 4999, with a reason of up to 123 bytes of UTF-8.
// Errors: WH_ERR_CLOSE_CODE, WH_ERR_TOO_LONG, WH_ERR_UTF8, and as wh_send_to_uid. Thread: the loop's.
wh_result wh_close_room(const uint8_t *room, size_t room_len, uint16_t code, const char *reason, size_t len);

// Makes every connection of a uid a member of a room.
// Errors: as wh_send_to_uid. Thread: the loop's. Ownership: both names are copied.
wh_result wh_join_uid(const uint8_t *uid, size_t uid_len, const uint8_t *room, size_t room_len);

// Takes every connection of a uid from a room.
// Errors: as wh_send_to_uid. Thread: the loop's. Ownership: both names are copied.
wh_result wh_leave_uid(const uint8_t *uid, size_t uid_len, const uint8_t *room, size_t room_len);

// Makes one connection, in whichever process it is, a member of a room. `id`: as of wh_conn_id.
// Errors: as wh_send_to_connection. Thread: the loop's. Ownership: both texts are copied.
wh_result wh_join_connection(const char *id, size_t id_len, const uint8_t *room, size_t room_len);

// Takes one connection, in whichever process it is, from a room. `id`: as of wh_conn_id.
// Errors: as wh_send_to_connection. Thread: the loop's. Ownership: both texts are copied.
wh_result wh_leave_connection(const char *id, size_t id_len, const uint8_t *room, size_t room_len);

// Ends a room: all its members leave it. Their connections stay.
// Errors: as wh_send_to_uid. Thread: the loop's. Ownership: the name is copied.
wh_result wh_dismiss_room(const uint8_t *room, size_t room_len);

// Calls `function` in this process with every message that is published on a topic, 1 to 255 bytes, by whatever process of
// the hive. A process has one subscription to a topic: another one replaces it.
// Errors: WH_ERR_NAME, WH_ERR_BUSY, WH_ERR_NULL, WH_ERR_STATE in a process without a loop.
// Thread: the loop's. Ownership: the topic is copied. `user` belongs to the library until it calls `destroy`, which it also
// does if this call fails.
wh_result wh_subscribe(const uint8_t *topic,
                       size_t len,
                       wh_topic_fn function,
                       void *user,
                       wh_destroy_fn destroy);

// Ends this process's subscription to a topic.
// Errors: WH_ERR_NOT_BOUND if there is none. Thread: the loop's.
wh_result wh_unsubscribe(const uint8_t *topic, size_t len);

// Sends a message to every process of the hive that has subscribed to a topic, this one included.
// Errors: WH_ERR_NAME, WH_ERR_TOO_LONG, WH_ERR_BUSY, WH_ERR_UTF8, WH_ERR_STATE in a process without a loop.
// Thread: the loop's. Ownership: topic and message are copied.
wh_result wh_publish(const uint8_t *topic, size_t topic_len, int32_t kind, const uint8_t *data, size_t len);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* WORKHIVE_H */
