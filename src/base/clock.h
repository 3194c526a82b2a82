/* SPDX-License-Identifier: Apache-2.0 */
/* Time in microseconds. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

enum { CLOCK_TEXT_MAX = 40 };

uint64_t clock_wall_us(void);      /* since the epoch; may jump */
uint64_t clock_monotonic_us(void); /* for durations */

/* "2026-01-31T12:00:00.123456Z" (RFC 3339, UTC) into out; "-" for 0. */
const char *clock_format(uint64_t wall_us, char out[CLOCK_TEXT_MAX]);

#endif
