/* Tests of the C interface: before any hive runs. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "abi.h"

static void versions(void)
{
    OK(wh_abi_version() == WH_ABI_VERSION);
    OK(strlen(wh_version()) >= 5);
    OK(!strcmp(wh_result_name(WH_OK), "WH_OK"));
    OK(!strcmp(wh_result_name(WH_ERR_NULL), "WH_ERR_NULL"));
    OK(!strcmp(wh_result_name(-1), "unknown"));
    OK(!strcmp(wh_result_name(99999), "unknown"));
    OK(wh_last_error(NULL) != NULL);
    IS(WH_ERR_STATE, wh_fail_text(CHARS("no callback runs")));
}

static wh_worker worker(const char *address)
{
    wh_worker worker = 0;
    IS(WH_OK, wh_worker_new(address, strlen(address), &worker));
    OK(worker != 0 && worker >> 63 == 0);
    return worker;
}

static void workers(void)
{
    wh_worker out = 77;
    IS(WH_ERR_NULL, wh_worker_new(CHARS("text://127.0.0.1:0"), NULL));
    IS(WH_ERR_NULL, wh_worker_new(NULL, 5, &out));
    IS(WH_ERR_LENGTH, wh_worker_new("x", SIZE_MAX, &out));
    IS(WH_ERR_SCHEME, wh_worker_new(CHARS("gopher://127.0.0.1:70"), &out));
    IS(WH_ERR_UTF8, wh_worker_new(CHARS("text://\xff\xfe"), &out));
    IS(WH_ERR_ADDRESS, wh_worker_new(CHARS("text://nowhere"), &out));
    OK(out == 77);

    wh_worker text = worker("text://127.0.0.1:0");
    IS(WH_ERR_OPTION, wh_worker_set_int(text, 9999, 1));
    IS(WH_ERR_OPTION, wh_worker_set_int(text, WH_NAME, 1));
    IS(WH_ERR_OPTION, wh_worker_set_text(text, WH_COUNT, CHARS("four")));
    IS(WH_ERR_VALUE, wh_worker_set_int(text, WH_COUNT, -1));
    IS(WH_ERR_VALUE, wh_worker_set_int(text, WH_BACKLOG, INT64_MAX));
    IS(WH_ERR_NULL, wh_worker_set_text(text, WH_NAME, NULL, 4));
    IS(WH_ERR_LENGTH, wh_worker_set_text(text, WH_NAME, "x", SIZE_MAX));
    IS(WH_ERR_UTF8, wh_worker_set_text(text, WH_NAME, CHARS("\xc3")));
    IS(WH_OK, wh_worker_set_int(text, WH_COUNT, 2));
    IS(WH_OK, wh_worker_set_text(text, WH_NAME, CHARS("a name")));

    IS(WH_OK, wh_worker_free(text));
    IS(WH_ERR_HANDLE, wh_worker_free(text));
    IS(WH_ERR_HANDLE, wh_worker_set_int(text, WH_COUNT, 1));
    IS(WH_ERR_HANDLE, wh_worker_set_text(text, WH_NAME, CHARS("a name")));
    IS(WH_ERR_HANDLE, wh_worker_free(0));
    IS(WH_ERR_HANDLE, wh_worker_free(UINT64_MAX));
}

/* Every function that takes callbacks of a worker: one that works, one in its place, one without a function, one for a
 * worker that is none. */
static void callbacks(void)
{
    wh_worker http = worker("http://127.0.0.1:0"), text = worker("text://127.0.0.1:0");
    wh_worker websocket = worker("websocket://127.0.0.1:0");
#define EACH(set, worker, fn)                                   \
    IS(WH_OK, set(worker, fn, tally(#set), destroy));           \
    IS(WH_OK, set(worker, fn, tally(#set), destroy));           \
    IS(WH_ERR_HANDLE, set(0, fn, tally(#set), destroy));        \
    IS(WH_ERR_HANDLE, set(~worker, fn, tally(#set), destroy));  \
    IS(WH_ERR_NULL, set(worker, NULL, tally(#set), destroy));   \
    IS(WH_OK, set(worker, fn, NULL, NULL));                     \
    IS(WH_OK, set(worker, fn, tally(#set), destroy))
    EACH(wh_on_worker_start, text, of_process);
    EACH(wh_on_worker_stop, text, of_process);
    EACH(wh_on_worker_reload, text, of_process);
    EACH(wh_on_uid_online, text, of_uid);
    EACH(wh_on_uid_offline, text, of_uid);
    EACH(wh_on_connect, text, of_conn);
    EACH(wh_on_message, text, of_message);
    EACH(wh_on_request, http, of_request);
    EACH(wh_on_close, text, of_close);
    EACH(wh_on_error, text, of_error);
    EACH(wh_on_buffer_full, text, of_conn);
    EACH(wh_on_buffer_drain, text, of_conn);
    EACH(wh_on_goodbye, text, of_conn);
    EACH(wh_on_websocket_connect, websocket, of_opening);
    EACH(wh_on_websocket_connected, websocket, of_conn);
    /* What a protocol does not have. */
    REFUSED(wh_on_message(http, of_message, tally("on_message of http"), destroy));
    REFUSED(wh_on_request(text, of_request, tally("on_request of text"), destroy));
    REFUSED(wh_on_websocket_connect(text, of_opening, tally("opening of text"), destroy));
    IS(WH_OK, wh_worker_free(http));
    IS(WH_OK, wh_worker_free(text));
    IS(WH_OK, wh_worker_free(websocket));
}

static int64_t input(void *user, const uint8_t *data, size_t len)
{
    (void)user, (void)data;
    return (int64_t)len;
}

static void protocols(void)
{
    wh_worker own;
    REFUSED(wh_protocol_register(CHARS("websocket"), input, NULL, NULL, tally("built in"), destroy));
    REFUSED(wh_protocol_register(CHARS("ws"), input, NULL, NULL, tally("built in"), destroy));
    REFUSED(wh_protocol_register(CHARS("Shouting"), input, NULL, NULL, tally("capital letters"), destroy));
    REFUSED(wh_protocol_register(CHARS(""), input, NULL, NULL, tally("no name"), destroy));
    IS(WH_ERR_NULL, wh_protocol_register(NULL, 3, input, NULL, NULL, tally("NULL"), destroy));
    IS(WH_ERR_NULL, wh_protocol_register(CHARS("own"), NULL, NULL, NULL, tally("no input"), destroy));
    IS(WH_ERR_LENGTH, wh_protocol_register("own", SIZE_MAX, input, NULL, NULL, tally("huge"), destroy));
    IS(WH_ERR_SCHEME, wh_worker_new(CHARS("own://127.0.0.1:0"), &own));
    /* Registered protocols stay for the life of the process: nobody destroys their user. */
    IS(WH_OK, wh_protocol_register(CHARS("own"), input, NULL, NULL, NULL, NULL));
    own = worker("own://127.0.0.1:0");
    IS(WH_OK, wh_worker_free(own));
    REFUSED(wh_sink_write(NULL, TEXT("x")));
    REFUSED(wh_sink_write((void *)8, TEXT("x")));
}

static int64_t no_fork(void *user)
{
    (void)user;
    return -1;
}

static void no_log(void *user, uint32_t level, const char *text, size_t len)
{
    (void)user, (void)level, (void)text, (void)len;
}

static void hives(void)
{
    wh_hive one = 0;
    int32_t number = 0;
    wh_place place;
    wh_stats stats;
    const char *const argv[] = {"abi", "status"};
    IS(WH_ERR_NULL, wh_hive_new(CHARS("abi"), NULL));
    IS(WH_ERR_NULL, wh_hive_new(NULL, 3, &one));
    IS(WH_ERR_LENGTH, wh_hive_new("abi", SIZE_MAX, &one));
    IS(WH_OK, wh_hive_new(CHARS("abi"), &one));

    IS(WH_ERR_OPTION, wh_hive_set_int(one, 9999, 1));
    IS(WH_ERR_OPTION, wh_hive_set_int(one, WH_HIVE_ABOUT, 1));
    IS(WH_ERR_VALUE, wh_hive_set_int(one, WH_HIVE_SPAWN, 7));
    IS(WH_ERR_OPTION, wh_hive_set_text(one, WH_HIVE_SPAWN, CHARS("fork")));
    IS(WH_ERR_NULL, wh_hive_set_text(one, WH_HIVE_ABOUT, NULL, 3));
    IS(WH_OK, wh_hive_set_text(one, WH_HIVE_ABOUT, CHARS("what it is about")));
    IS(WH_OK, wh_hive_fork_with(one, no_fork, tally("fork"), destroy));
    IS(WH_OK, wh_hive_fork_with(one, no_fork, tally("fork"), destroy));
    IS(WH_ERR_NULL, wh_hive_fork_with(one, NULL, tally("fork"), destroy));
    IS(WH_OK, wh_hive_log_with(one, no_log, tally("log"), destroy));
    IS(WH_OK, wh_hive_log_with(one, no_log, tally("log"), destroy));
    IS(WH_ERR_NULL, wh_hive_log_with(one, NULL, tally("log"), destroy));

    wh_worker text = worker("text://127.0.0.1:0");
    IS(WH_OK, wh_on_message(text, of_message, tally("on_message"), destroy));
    IS(WH_ERR_HANDLE, wh_hive_add(one, one));
    IS(WH_ERR_HANDLE, wh_hive_add(text, text));
    IS(WH_ERR_HANDLE, wh_hive_add(0, text));
    IS(WH_OK, wh_hive_add(one, text));
    IS(WH_ERR_HANDLE, wh_hive_add(one, text));
    IS(WH_ERR_HANDLE, wh_worker_set_int(text, WH_COUNT, 1));
    IS(WH_ERR_HANDLE, wh_worker_free(text));
    wh_worker shared = worker("text://127.0.0.1:0");
    IS(WH_OK, wh_worker_set_int(shared, WH_SHARED, 1));
    IS(WH_ERR_OPTION, wh_hive_add(one, shared));
    IS(WH_OK, wh_worker_free(shared));

    /* Nothing runs yet. */
    IS(WH_ERR_STATE, wh_poll_fd(one, &number));
    IS(WH_ERR_STATE, wh_run_once(one, 0, &number));
    IS(WH_ERR_STATE, wh_loop(one, &number));
    IS(WH_ERR_STATE, wh_finish(one, &number));
    IS(WH_ERR_STATE, wh_ready(one, NULL, 0));
    IS(WH_ERR_STATE, wh_signal(one, 15));
    IS(WH_ERR_STATE, wh_stop(one));
    IS(WH_ERR_STATE, wh_stop_all(one));
    IS(WH_ERR_STATE, wh_reload_all(one));
    IS(WH_ERR_STATE, wh_place_of(one, &place));
    IS(WH_ERR_STATE, wh_stats_of(one, &stats, sizeof stats));
    IS(WH_ERR_NO_SEAT, wh_worker_attach(one, &number, &number));
    IS(WH_ERR_NULL, wh_poll_fd(one, NULL));
    IS(WH_ERR_NULL, wh_hive_start(one, 2, argv, NULL, &number));
    IS(WH_ERR_NULL, wh_hive_start(one, 2, argv, &number, NULL));
    IS(WH_ERR_NULL, wh_hive_start(one, 2, NULL, &number, &number));
    REFUSED(wh_hive_start(one, -1, argv, &number, &number));
    IS(WH_ERR_NULL, wh_run(one, 2, argv, NULL));

    IS(WH_OK, wh_hive_free(one));
    IS(WH_ERR_HANDLE, wh_hive_free(one));
    IS(WH_ERR_HANDLE, wh_hive_set_int(one, WH_HIVE_SPAWN, 0));
    IS(WH_ERR_HANDLE, wh_hive_set_text(one, WH_HIVE_ABOUT, CHARS("x")));
    IS(WH_ERR_HANDLE, wh_hive_fork_with(one, no_fork, tally("fork"), destroy));
    IS(WH_ERR_HANDLE, wh_hive_log_with(one, no_log, tally("log"), destroy));
    IS(WH_ERR_HANDLE, wh_hive_start(one, 2, argv, &number, &number));
    IS(WH_ERR_HANDLE, wh_run(one, 2, argv, &number));
    IS(WH_ERR_HANDLE, wh_worker_attach(one, &number, &number));
    IS(WH_ERR_HANDLE, wh_poll_fd(one, &number));
    IS(WH_ERR_HANDLE, wh_run_once(one, 0, &number));
    IS(WH_ERR_HANDLE, wh_loop(one, &number));
    IS(WH_ERR_HANDLE, wh_finish(one, &number));
    IS(WH_ERR_HANDLE, wh_ready(one, NULL, 0));
    IS(WH_ERR_HANDLE, wh_signal(one, 15));
    IS(WH_ERR_HANDLE, wh_stop(one));
    IS(WH_ERR_HANDLE, wh_stop_all(one));
    IS(WH_ERR_HANDLE, wh_reload_all(one));
    IS(WH_ERR_HANDLE, wh_place_of(one, &place));
    IS(WH_ERR_HANDLE, wh_stats_of(one, &stats, sizeof stats));
}

/* What only a running worker has. */
static void no_worker_runs(void)
{
    wh_timer timer;
    wh_mailbox mailbox;
    wh_worker text = worker("text://127.0.0.1:0");
    IS(WH_ERR_STATE, wh_listen(text));
    IS(WH_OK, wh_worker_free(text));
    IS(WH_ERR_HANDLE, wh_listen(text));
    REFUSED(wh_unlisten(CHARS("text://127.0.0.1:0")));
    REFUSED(wh_pause_accept(CHARS("text://127.0.0.1:0")));
    REFUSED(wh_resume_accept(CHARS("text://127.0.0.1:0")));
    IS(WH_ERR_STATE, wh_timer_after(1, of_process, tally("after"), destroy, &timer));
    IS(WH_ERR_STATE, wh_timer_every(1, of_process, tally("every"), destroy, &timer));
    IS(WH_ERR_HANDLE, wh_timer_cancel(0));
    IS(WH_ERR_STATE, wh_blocking(of_work, of_process, tally("blocking"), destroy));
    IS(WH_ERR_STATE, wh_mailbox_new(&mailbox));
    IS(WH_ERR_HANDLE, wh_mailbox_post(0, of_process, tally("post"), destroy));
    IS(WH_ERR_HANDLE, wh_mailbox_free(0));
    IS(WH_ERR_STATE, wh_subscribe(TEXT("news"), of_topic, tally("news"), destroy));
    REFUSED(wh_unsubscribe(TEXT("news")));
    every_call_of(0, WH_ERR_HANDLE);
    every_call_of(UINT64_MAX, WH_ERR_HANDLE);
    every_call_of(text, WH_ERR_HANDLE);
    every_call_about_names(WH_ERR_STATE);
    IS(WH_ERR_NULL, wh_request_read(NULL, &(wh_request_view){0}, sizeof(wh_request_view)));
    IS(WH_ERR_NULL, wh_opening_read(NULL, &(wh_request_view){0}, sizeof(wh_request_view)));
    IS(WH_OK, wh_log(3, CHARS("a line before there is a hive")));
    IS(WH_ERR_NULL, wh_log(3, NULL, 4));
    REFUSED(wh_log(99, CHARS("no such level")));
}

/* The loop's thread is this one. Another one may do only what it may. */
static void *on_a_thread(void *user)
{
    wh_worker worker = *(wh_worker *)user;
    wh_worker other;
    wh_hive none;
    wh_timer timer;
    IS(WH_ERR_THREAD, wh_worker_new(CHARS("text://127.0.0.1:0"), &other));
    IS(WH_ERR_THREAD, wh_worker_set_int(worker, WH_COUNT, 1));
    IS(WH_ERR_THREAD, wh_worker_free(worker));
    IS(WH_ERR_THREAD, wh_on_message(worker, of_message, tally("on another thread"), destroy));
    IS(WH_ERR_THREAD, wh_hive_new(CHARS("abi"), &none));
    IS(WH_ERR_THREAD, wh_listen(worker));
    IS(WH_ERR_THREAD, wh_timer_after(1, of_process, tally("on another thread"), destroy, &timer));
    IS(WH_ERR_THREAD, wh_conn_send(1, WH_TEXT, TEXT("hi")));
    OK(wh_abi_version() == WH_ABI_VERSION);
    IS(WH_OK, wh_log(3, CHARS("from another thread")));
    IS(WH_ERR_HANDLE, wh_mailbox_free(0));
    return NULL;
}

void outside(void)
{
    wh_hive owner;
    pthread_t thread;
    versions();
    IS(WH_OK, wh_hive_new(CHARS("owner"), &owner));
    workers();
    callbacks();
    protocols();
    hives();
    no_worker_runs();
    wh_worker mine = worker("text://127.0.0.1:0");
    OK(!pthread_create(&thread, NULL, on_a_thread, &mine));
    OK(!pthread_join(thread, NULL));
    IS(WH_OK, wh_worker_free(mine));
    IS(WH_OK, wh_hive_free(owner));
}
