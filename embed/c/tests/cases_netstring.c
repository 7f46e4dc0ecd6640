/* The case server in C: a protocol of its own. A package is a number, a colon, so many bytes, a comma: 5:hello, */
#include <stdio.h>
#include <string.h>

#include "cases.h"

#define MAX_DIGITS 8

/* How many digits there are, and what they say; the colon is behind them. */
static size_t number_of(const uint8_t *data, size_t len, int64_t *number)
{
    size_t digits = 0;
    *number = 0;
    while (digits < len && digits <= MAX_DIGITS && data[digits] >= '0' && data[digits] <= '9')
        *number = *number * 10 + (data[digits++] - '0');
    return digits;
}

static int64_t input(void *user, const uint8_t *data, size_t len)
{
    (void)user;
    int64_t number;
    size_t digits = number_of(data, len, &number);
    if (digits > MAX_DIGITS)
        return -1;
    if (digits == len)
        return 0;
    if (digits == 0 || data[digits] != ':')
        return -1;
    return (int64_t)digits + 1 + number + 1;
}

static int32_t decode(void *user, const uint8_t *data, size_t len, void *sink)
{
    (void)user;
    int64_t number;
    size_t start = number_of(data, len, &number) + 1;
    if (data[len - 1] != ',')
        return fail("a netstring ends with a comma");
    return wh_sink_write(sink, data + start, (size_t)number);
}

static int32_t encode(void *user, const uint8_t *data, size_t len, void *sink)
{
    (void)user;
    char start[32];
    int digits = snprintf(start, sizeof start, "%zu:", len);
    wh_result code = wh_sink_write(sink, (const uint8_t *)start, (size_t)digits);
    if (code == WH_OK)
        code = wh_sink_write(sink, data, len);
    return code == WH_OK ? wh_sink_write(sink, (const uint8_t *)",", 1) : code;
}

wh_result register_netstring(void)
{
    return wh_protocol_register("netstring", 9, input, decode, encode, NULL, NULL);
}
