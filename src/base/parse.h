/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One parser per kind of value, used everywhere: flags, files, environment, wire. Each takes the whole string (no leading
 * or trailing space, no sign where none makes sense), returns 0, -EINVAL (not of that kind) or -ERANGE, and touches *ret
 * only on success.
 */
#ifndef BASE_PARSE_H
#define BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret); /* decimal digits only */
int parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret);    /* the same, or behind a '-' */
int parse_bool(const char *s, bool *ret);                                /* true/false, yes/no, on/off, 1/0 */
int parse_size(const char *s, uint64_t *ret);   /* bytes: 123, 64K, 100M, 10G, 1T (powers of 1024; B, KB, KiB... too) */
int parse_millis(const char *s, uint64_t *ret); /* thousandths of a decimal number: 2, 1.5, 0.125 */
int parse_duration(const char *s, uint64_t *ret_us); /* 300 (seconds), 1.5s, 250ms, 5m, 24h, 7d; at most 10 years */

#endif
