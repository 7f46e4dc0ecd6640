/* Hello over HTTP, from four processes.
 *
 *   cc hello.c $(pkg-config --cflags --libs workhive) -o hello && ./hello
 *   curl http://127.0.0.1:8080/
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <workhive.h>

static int32_t on_request(void *user, wh_conn conn, const wh_request *request)
{
    static const char headers[] = "Content-Type: text/plain; charset=utf-8\n";
    static const char hello[] = "Hello, World!", lost[] = "Nothing here.";
    wh_request_view view;
    (void)user;
    wh_result code = wh_request_read(request, &view, sizeof view);
    if (code != WH_OK)
        return code; /* it failed: the client gets a 500, the log has the reason */
    if (view.path.len == 1)
        return wh_conn_respond(conn, 200, headers, strlen(headers), (const uint8_t *)hello, strlen(hello));
    return wh_conn_respond(conn, 404, headers, strlen(headers), (const uint8_t *)lost, strlen(lost));
}

static void check(wh_result code, const char *what)
{
    if (code == WH_OK)
        return;
    fprintf(stderr, "hello: %s: %s: %s\n", what, wh_result_name(code), wh_last_error(NULL));
    exit(2);
}

int main(int argc, char **argv)
{
    const char *address = getenv("HELLO_HTTP") ? getenv("HELLO_HTTP") : "http://127.0.0.1:8080";
    wh_hive hive;
    wh_worker hello;
    int32_t exit_code;

    check(wh_abi_version() == WH_ABI_VERSION ? WH_OK : WH_ERR_ABI, "another libworkhive than this was compiled for");
    check(wh_hive_new("hello", 5, &hive), "hive");
    check(wh_worker_new(address, strlen(address), &hello), address);
    check(wh_worker_set_text(hello, WH_NAME, "hello", 5), "name");
    check(wh_worker_set_int(hello, WH_COUNT, 4), "count");
    check(wh_on_request(hello, on_request, NULL, NULL), "on_request");
    check(wh_hive_add(hive, hello), "add");
    check(wh_run(hive, argc, (const char *const *)argv, &exit_code), "run");
    check(wh_hive_free(hive), "free");
    return exit_code;
}
