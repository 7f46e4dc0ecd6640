/* Tests of the C interface: every function, misused in every way. Codes come back; nothing crashes, nothing leaks.
 *
 * To be run in an empty folder of its own. Ends with code 0 if all is well, and says what is not. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi.h"

struct results *results;
wh_hive hive;

static struct tally *tallies;

bool ok(const char *file, int line, const char *what, bool condition)
{
    results->checks++;
    if (!condition) {
        results->failures++;
        fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    }
    return condition;
}

bool is(const char *file, int line, const char *what, wh_result expected, wh_result code)
{
    results->checks++;
    size_t len = 0;
    const char *text = wh_last_error(&len);
    bool right = code == expected && (code < 100 || (len > 0 && strlen(text) == len));
    if (!right) {
        results->failures++;
        fprintf(stderr, "%s:%d: %s gave %s, not %s (%s)\n", file, line, what, wh_result_name(code),
                wh_result_name(expected), text);
    }
    return right;
}

bool refused(const char *file, int line, const char *what, wh_result code)
{
    return ok(file, line, what, code >= 100 && code != WH_ERR_PANIC && strcmp(wh_result_name(code), "unknown"));
}

struct tally *tally(const char *what)
{
    struct tally *tally = calloc(1, sizeof *tally);
    if (!tally)
        abort();
    tally->what = what;
    tally->next = tallies;
    tallies = tally;
    return tally;
}

void enter(void *user)
{
    struct tally *tally = user;
    tally->calls++;
    OK(!tally->destroyed);
    tally->runs = true;
}

void leave(void *user)
{
    struct tally *tally = user;
    tally->runs = false;
}

void destroy(void *user)
{
    struct tally *tally = user;
    if (!OK(!tally->runs) | !OK(++tally->destroyed == 1))
        fprintf(stderr, "  that was: %s\n", tally->what);
}

void check_tallies(void)
{
    while (tallies) {
        struct tally *tally = tallies;
        tallies = tally->next;
        if (!OK(tally->destroyed == 1))
            fprintf(stderr, "  that was: %s, called %d times, destroyed %d times\n", tally->what, tally->calls,
                    tally->destroyed);
        free(tally);
    }
}

/* ---- functions that only count ---- */

static int32_t count(void *user)
{
    if (user) {
        enter(user);
        leave(user);
    }
    return WH_OK;
}

int32_t of_process(void *user)
{
    return count(user);
}

int32_t of_conn(void *user, wh_conn conn)
{
    (void)conn;
    return count(user);
}

int32_t of_message(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text)
{
    (void)conn, (void)data, (void)len, (void)is_text;
    return count(user);
}

int32_t of_request(void *user, wh_conn conn, const wh_request *request)
{
    (void)conn, (void)request;
    return count(user);
}

int32_t of_opening(void *user, wh_conn conn, wh_opening *opening)
{
    (void)conn, (void)opening;
    return count(user);
}

int32_t of_close(void *user, wh_conn conn, const wh_close_info *info)
{
    (void)conn, (void)info;
    return count(user);
}

int32_t of_error(void *user, wh_conn conn, uint32_t kind, const char *text, size_t len)
{
    (void)conn, (void)kind, (void)text, (void)len;
    return count(user);
}

int32_t of_uid(void *user, const uint8_t *uid, size_t len)
{
    (void)uid, (void)len;
    return count(user);
}

void of_done(void *user, wh_result result)
{
    (void)result;
    count(user);
}

void of_outcome(void *user, const wh_outcome *outcome)
{
    (void)outcome;
    count(user);
}

void of_presence(void *user, int32_t presence)
{
    (void)presence;
    count(user);
}

void of_count(void *user, uint64_t number, int32_t partial)
{
    (void)number, (void)partial;
    count(user);
}

void of_names(void *user, const wh_bytes *names, size_t number, int64_t next, int32_t partial)
{
    (void)names, (void)number, (void)next, (void)partial;
    count(user);
}

void of_members(void *user, const wh_member *members, size_t number, int32_t more, int32_t partial)
{
    (void)members, (void)number, (void)more, (void)partial;
    count(user);
}

void of_session(void *user, const uint8_t *data, size_t len, int32_t partial)
{
    (void)data, (void)len, (void)partial;
    count(user);
}

void of_totals(void *user, const wh_totals *totals, int32_t partial)
{
    (void)partial;
    OK(totals->uids < 1000);
    count(user);
}

void of_topic(void *user, const uint8_t *data, size_t len, int32_t is_text)
{
    (void)data, (void)len, (void)is_text;
    count(user);
}

void of_work(void *user)
{
    (void)user;
}

int main(int argc, char **argv)
{
    /* Forked or executed anew, the worker finds the same file. */
    int file = open("results", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, sizeof *results) < 0)
        return 2;
    results = mmap(NULL, sizeof *results, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (results == MAP_FAILED)
        return 2;
    outside();
    define_inside();
    int32_t role = -1, code = -1;
    wh_result started = wh_hive_start(hive, argc, (const char *const *)argv, &role, &code);
    IS(WH_OK, started);
    if (started == WH_OK && role == WH_ROLE_WORKER) {
        /* One that has burst is started again: it does nothing more then. */
        bool first = ++results->processes == 1;
        if (first)
            inside();
        IS(WH_OK, wh_stop_all(hive));
        int32_t over = 0;
        while (!over && IS(WH_OK, wh_run_once(hive, -1, &over)))
            ;
        IS(WH_OK, wh_finish(hive, &code));
        IS(WH_OK, wh_hive_free(hive));
        check_tallies();
        return code;
    }
    OK(role == WH_ROLE_OVER);
    OK(results->processes == 1);
    IS(WH_OK, wh_hive_free(hive));
    IS(WH_ERR_HANDLE, wh_hive_free(hive));
    check_tallies();
    fprintf(stderr, "%d checks, %d failures\n", results->checks, results->failures);
    int failed = results->failures != 0 || code != 0;
    munmap(results, sizeof *results);
    return failed;
}
