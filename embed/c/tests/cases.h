/* The case server in C: what its files know of each other. What it does is said in embed/cases/README.md. */
#ifndef CASES_H
#define CASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <workhive.h>

/* cases.c */
extern wh_hive hive;
int32_t done(wh_result code);
int32_t fail(const char *text);
void note_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* cases_orders.c: `user` of on_order is not NULL for WebSockets, where binary messages are no orders. */
int32_t on_order(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text);
int32_t say(wh_conn conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
int32_t say_who(wh_conn conn);
int32_t deep(void);
char *order_of(const uint8_t *data, size_t len);
char *next_word(char **rest);

/* cases_pages.c */
int32_t on_page(void *user, wh_conn conn, const wh_request *request);
int32_t on_opening(void *user, wh_conn conn, wh_opening *opening);

/* cases_push.c */
int32_t on_push(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text);
int32_t on_push_line(void *user, wh_conn conn, const uint8_t *data, size_t len, int32_t is_text);
int32_t on_online(void *user, const uint8_t *uid, size_t len);
int32_t on_offline(void *user, const uint8_t *uid, size_t len);
void on_topic(void *user, const uint8_t *data, size_t len, int32_t is_text);

/* cases_netstring.c */
wh_result register_netstring(void);

#endif
