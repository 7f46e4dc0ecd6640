/* Tests of the C interface: what counts, and what all parts use. */
#ifndef ABI_H
#define ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <workhive.h>

/* Counted in memory that master and worker share. */
struct results {
    int checks, failures, processes;
};
extern struct results *results;
extern wh_hive hive;

/* A call gives this code. */
#define IS(expected, call) is(__FILE__, __LINE__, #call, (expected), (call))
/* A call gives an error, whichever. */
#define REFUSED(call) refused(__FILE__, __LINE__, #call, (call))
/* Something is so. */
#define OK(condition) ok(__FILE__, __LINE__, #condition, (condition))

bool is(const char *file, int line, const char *what, wh_result expected, wh_result code);
bool refused(const char *file, int line, const char *what, wh_result code);
bool ok(const char *file, int line, const char *what, bool condition);

/* A user that knows what the library does with it: it is to be destroyed exactly once, never while its function runs. */
struct tally {
    const char *what;
    int calls, destroyed;
    bool runs;
    struct tally *next;
};
struct tally *tally(const char *what);
void enter(void *user);
void leave(void *user);
void destroy(void *user);
void check_tallies(void);

/* Functions that only count. */
int32_t of_process(void *user);
int32_t of_conn(void *user, wh_conn conn);
int32_t of_message(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text);
int32_t of_request(void *user, wh_conn conn, const wh_request *request);
int32_t of_opening(void *user, wh_conn conn, wh_opening *opening);
int32_t of_close(void *user, wh_conn conn, const wh_close_info *info);
int32_t of_error(void *user, wh_conn conn, uint32_t kind, const char *text, size_t len);
int32_t of_uid(void *user, const uint8_t *uid, size_t len);
void of_done(void *user, wh_result result);
void of_outcome(void *user, const wh_outcome *outcome);
void of_presence(void *user, int32_t presence);
void of_count(void *user, uint64_t count, int32_t partial);
void of_names(void *user, const wh_bytes *names, size_t count, int64_t next, int32_t partial);
void of_members(void *user, const wh_member *members, size_t count, int32_t more, int32_t partial);
void of_session(void *user, const uint8_t *data, size_t len, int32_t partial);
void of_totals(void *user, const wh_totals *totals, int32_t partial);
void of_topic(void *user, const uint8_t *data, size_t len, int32_t is_text);
void of_work(void *user);

#define BYTES(text) ((const uint8_t *)(text))
#define TEXT(text) BYTES(text), sizeof(text) - 1
#define CHARS(text) (text), sizeof(text) - 1

/* abi_outside.c: before any hive runs. */
void outside(void);
/* abi_conns.c: handles that are none, or those of connections that have ended. */
void every_call_of(wh_conn conn, wh_result expected);
void every_call_about_names(wh_result expected);
/* abi_inside.c: in a running worker. */
void define_inside(void);
void inside(void);
/* The connection that was last heard of; a turn of the loop; turns until a counter says so. */
extern wh_conn last;
void turn(void);
bool until(const int *counter, int goal);
/* abi_later.c */
void timers(void);
void mailboxes(void);
void blocking(void);

#endif
