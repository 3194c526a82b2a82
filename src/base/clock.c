/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec ts = {0};
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_wall_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

uint64_t clock_monotonic_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

const char *clock_format(uint64_t wall_us, char out[CLOCK_TEXT_MAX])
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    if (wall_us == 0 || !gmtime_r(&seconds, &tm)) {
        snprintf(out, CLOCK_TEXT_MAX, "-");
        return out;
    }
    size_t n = strftime(out, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, CLOCK_TEXT_MAX - n, ".%06uZ", (unsigned)(wall_us % 1000000));
    return out;
}
