/* The callbacks that the library calls; see glue.h. They only take apart what they are given: no rule lives here. */

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY(user) ((intptr_t)(user))
#define CHARS(data, len) ((len) ? (char *)(data) : (char *)"")

/* Python ends before the process does. What other threads call of it, and what the library lets go of at the very end, must
 * not meet it then: CPython ends a thread that wants the GIL too late, in the middle of somebody else's functions. */
static atomic_int inside, python_has_ended;

static int enter(void) {
    atomic_fetch_add(&inside, 1);
    if (!atomic_load(&python_has_ended)) return 1;
    atomic_fetch_sub(&inside, 1);
    return 0;
}

static void leave(void) { atomic_fetch_sub(&inside, 1); }

/* From now on nobody comes in. Waits for those who are inside, up to so long, and says how many are left. */
static int32_t end_of_python(int32_t milliseconds) {
    const struct timespec moment = {0, 1000000};
    atomic_store(&python_has_ended, 1);
    while (atomic_load(&inside) && milliseconds-- > 0) nanosleep(&moment, NULL);
    return atomic_load(&inside);
}

/* A forked process has one thread, whatever the others were at. */
static void forget_threads(void) { atomic_store(&inside, 0); }

static int32_t on_call(void *user) { return py_call(KEY(user)); }

static int32_t on_conn(void *user, wh_conn conn) { return py_conn(KEY(user), conn); }

static int32_t on_message(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text) {
    return py_message(KEY(user), conn, CHARS(data, len), len, is_text);
}

/* Method, target, path, query and headers behind one another, so that Python copies them out at once and takes them
 * apart when it is asked for one. There is one loop in a process and Python copies at once, so one buffer will do. */
static char *head_of(const wh_request_view *view, wh_bytes headers) {
    static char *head;
    static size_t room;
    const wh_bytes parts[] = {view->method, view->target, view->path, view->query, headers};
    size_t need = 1, at = 0;
    for (size_t i = 0; i < 5; i++) need += parts[i].len;
    if (need > room) {
        char *more = realloc(head, need);
        if (!more) return NULL;
        head = more;
        room = need;
    }
    for (size_t i = 0; i < 5; i++) {
        if (parts[i].len) memcpy(head + at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    return head;
}

static int64_t query_of(const wh_request_view *view) { return view->query.data ? (int64_t)view->query.len : -1; }

static int32_t flags_of(const wh_request_view *view) {
    return view->version_major * 10 + view->version_minor + (view->keep_alive ? 100 : 0);
}

static int32_t on_request(void *user, wh_conn conn, const wh_request *request) {
    wh_request_view view = {0};
    wh_bytes headers = {0};
    wh_result result = wh_request_read(request, &view, sizeof view);
    if (result == WH_OK) result = wh_request_headers(request, &headers);
    if (result != WH_OK) return result;
    char *head = head_of(&view, headers);
    if (!head) return WH_ERR_SYSTEM;
    return py_request(KEY(user), conn, head, view.method.len, view.target.len, view.path.len, query_of(&view), headers.len,
                      CHARS(view.body.data, view.body.len), view.body.len, flags_of(&view));
}

static int32_t on_opening(void *user, wh_conn conn, wh_opening *opening) {
    wh_request_view view = {0};
    wh_bytes headers = {0};
    wh_result result = wh_opening_read(opening, &view, sizeof view);
    if (result == WH_OK) result = wh_opening_headers(opening, &headers);
    if (result != WH_OK) return result;
    char *head = head_of(&view, headers);
    if (!head) return WH_ERR_SYSTEM;
    return py_opening(KEY(user), conn, KEY(opening), head, view.method.len, view.target.len, view.path.len,
                      query_of(&view), headers.len, flags_of(&view));
}

static int32_t on_close(void *user, wh_conn conn, const wh_close_info *info) {
    return py_close(KEY(user), conn, info->reason, info->peer_code, CHARS(info->peer_reason.data, info->peer_reason.len),
                    info->peer_reason.len, CHARS(info->text.data, info->text.len), info->text.len);
}

static int32_t on_error(void *user, wh_conn conn, uint32_t kind, const char *text, size_t len) {
    return py_error(KEY(user), conn, kind, CHARS(text, len), len);
}

static int32_t on_name(void *user, const uint8_t *name, size_t len) { return py_name(KEY(user), CHARS(name, len), len); }

static int64_t on_input(void *user, const uint8_t *data, size_t len) { return py_input(KEY(user), CHARS(data, len), len); }

static int32_t on_encode(void *user, const uint8_t *data, size_t len, void *sink) {
    return py_encode(KEY(user), CHARS(data, len), len, KEY(sink));
}

static int64_t on_fork(void *user) { return py_fork(KEY(user)); }

static void on_log(void *user, uint32_t level, const char *text, size_t len) {
    if (!enter()) return;
    py_log(KEY(user), level, CHARS(text, len), len);
    leave();
}

static void on_work(void *user) {
    if (!enter()) return;
    py_work(KEY(user));
    leave();
}

static void on_done(void *user, wh_result result) { py_done(KEY(user), result); }

static void on_outcome(void *user, const wh_outcome *outcome) {
    py_outcome(KEY(user), outcome->delivered, outcome->refused, outcome->unknown,
               (outcome->is_delivered ? 1 : 0) | (outcome->is_unrouted ? 2 : 0));
}

static void on_presence(void *user, int32_t presence) { py_presence(KEY(user), presence); }

static void on_count(void *user, uint64_t count, int32_t partial) { py_count(KEY(user), count, partial); }

static void on_names(void *user, const wh_bytes *names, size_t count, int64_t next, int32_t partial) {
    py_names(KEY(user), names, count, next, partial);
}

static void on_members(void *user, const wh_member *members, size_t count, int32_t more, int32_t partial) {
    py_members(KEY(user), members, count, more, partial);
}

static void on_session(void *user, const uint8_t *data, size_t len, int32_t partial) {
    py_session(KEY(user), CHARS(data, len), data ? (int64_t)len : -1, partial);
}

static void on_totals(void *user, const wh_totals *totals, int32_t partial) {
    py_totals(KEY(user), totals->uids, totals->rooms, totals->topics, totals->processes, partial);
}

static void on_topic(void *user, const uint8_t *data, size_t len, int32_t is_text) {
    py_topic(KEY(user), CHARS(data, len), len, is_text);
}

static void on_destroy(void *user) {
    if (!enter()) return;
    py_destroy(KEY(user));
    leave();
}
