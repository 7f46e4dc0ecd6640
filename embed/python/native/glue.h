/* What the compiled part adds to workhive.h: callbacks of the library in the form that Python takes fastest. Numbers
 * arrive as numbers (`user` is a key of _live.objects, never an address), bytes as `char *`, which cffi can copy out,
 * and what belongs together in one call. The functions named py_* are written in Python. */

extern "Python" {
    int32_t py_call(intptr_t user);
    int32_t py_conn(intptr_t user, uint64_t conn);
    int32_t py_message(intptr_t user, uint64_t conn, char *data, size_t len, int32_t is_text);
    int32_t py_request(intptr_t user, uint64_t conn, char *head, size_t method, size_t target, size_t path, int64_t query,
                       size_t headers, char *body, size_t body_len, int32_t flags);
    int32_t py_opening(intptr_t user, uint64_t conn, intptr_t opening, char *head, size_t method, size_t target,
                       size_t path, int64_t query, size_t headers, int32_t flags);
    int32_t py_close(intptr_t user, uint64_t conn, uint32_t reason, uint32_t peer_code, char *peer_reason,
                     size_t peer_reason_len, char *text, size_t text_len);
    int32_t py_error(intptr_t user, uint64_t conn, uint32_t kind, char *text, size_t len);
    int32_t py_name(intptr_t user, char *name, size_t len);
    int64_t py_input(intptr_t user, char *data, size_t len);
    int32_t py_encode(intptr_t user, char *data, size_t len, intptr_t sink);
    int64_t py_fork(intptr_t user);
    void py_log(intptr_t user, uint32_t level, char *text, size_t len);
    void py_work(intptr_t user);
    void py_done(intptr_t user, int32_t result);
    void py_outcome(intptr_t user, uint64_t delivered, uint64_t refused, uint64_t unknown, int32_t flags);
    void py_presence(intptr_t user, int32_t presence);
    void py_count(intptr_t user, uint64_t count, int32_t partial);
    void py_names(intptr_t user, const wh_bytes *names, size_t count, int64_t next, int32_t partial);
    void py_members(intptr_t user, const wh_member *members, size_t count, int32_t more, int32_t partial);
    void py_session(intptr_t user, char *data, int64_t len, int32_t partial);
    void py_totals(intptr_t user, uint64_t uids, uint64_t rooms, uint64_t topics, uint64_t processes, int32_t partial);
    void py_topic(intptr_t user, char *data, size_t len, int32_t is_text);
    void py_destroy(intptr_t user);
}

static int32_t on_call(void *user);
static int32_t on_conn(void *user, wh_conn conn);
static int32_t on_message(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text);
static int32_t on_request(void *user, wh_conn conn, const wh_request *request);
static int32_t on_opening(void *user, wh_conn conn, wh_opening *opening);
static int32_t on_close(void *user, wh_conn conn, const wh_close_info *info);
static int32_t on_error(void *user, wh_conn conn, uint32_t kind, const char *text, size_t len);
static int32_t on_name(void *user, const uint8_t *name, size_t len);
static int64_t on_input(void *user, const uint8_t *data, size_t len);
static int32_t on_encode(void *user, const uint8_t *data, size_t len, void *sink);
static int64_t on_fork(void *user);
static void on_log(void *user, uint32_t level, const char *text, size_t len);
static void on_work(void *user);
static void on_done(void *user, wh_result result);
static void on_outcome(void *user, const wh_outcome *outcome);
static void on_presence(void *user, int32_t presence);
static void on_count(void *user, uint64_t count, int32_t partial);
static void on_names(void *user, const wh_bytes *names, size_t count, int64_t next, int32_t partial);
static void on_members(void *user, const wh_member *members, size_t count, int32_t more, int32_t partial);
static void on_session(void *user, const uint8_t *data, size_t len, int32_t partial);
static void on_totals(void *user, const wh_totals *totals, int32_t partial);
static void on_topic(void *user, const uint8_t *data, size_t len, int32_t is_text);
static void on_destroy(void *user);
static int32_t end_of_python(int32_t milliseconds);
static void forget_threads(void);
