/* SPDX-License-Identifier: Apache-2.0 */
/* A point in time as a person writes it. */
#ifndef CLI_WHEN_H
#define CLI_WHEN_H

#include <stdint.h>

/*
 * "18:30" (the next time it is that), "2030-01-31 18:30", with "T" for the space, with seconds, with "Z" or "+01:00" behind it
 * (else it is local time), or "@1900000000" (seconds since 1970). Microseconds since 1970; -EINVAL for anything else.
 */
int when_parse(const char *text, uint64_t now_us, uint64_t *ret_us);

/* The same for what has happened: also a span ("2h"), which is so long before now, and "18:30" is the last time it was that. */
int when_parse_past(const char *text, uint64_t now_us, uint64_t *ret_us);

#endif
