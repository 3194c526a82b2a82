/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says that processes used, in the terms of the protocol. */
#include "slot/slot.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"

static uint64_t timeval_us(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

struct slot_usage slot_usage_of(const struct rusage *u)
{
    return (struct slot_usage){
        .user_us = timeval_us(u->ru_utime),
        .system_us = timeval_us(u->ru_stime),
        .max_rss_bytes = (uint64_t)u->ru_maxrss * 1024,
        .minor_faults = (uint64_t)u->ru_minflt,
        .major_faults = (uint64_t)u->ru_majflt,
        .waits = (uint64_t)u->ru_nvcsw,
        .preemptions = (uint64_t)u->ru_nivcsw,
    };
}

static void take_off(uint64_t *from, uint64_t what)
{
    *from -= MIN(*from, what);
}

void slot_usage_subtract(struct slot_usage *usage, const struct slot_usage *before)
{
    take_off(&usage->user_us, before->user_us);
    take_off(&usage->system_us, before->system_us);
    take_off(&usage->minor_faults, before->minor_faults);
    take_off(&usage->major_faults, before->major_faults);
    take_off(&usage->waits, before->waits);
    take_off(&usage->preemptions, before->preemptions);
}

void slot_usage_add(struct slot_usage *usage, const struct slot_usage *more)
{
    usage->user_us += more->user_us;
    usage->system_us += more->system_us;
    usage->max_rss_bytes = MAX(usage->max_rss_bytes, more->max_rss_bytes);
    usage->minor_faults += more->minor_faults;
    usage->major_faults += more->major_faults;
    usage->read_bytes += more->read_bytes;
    usage->written_bytes += more->written_bytes;
    usage->waits += more->waits;
    usage->preemptions += more->preemptions;
    usage->processes += more->processes;
}

/* The number behind "key: " in the text. */
static uint64_t number_of(const char *text, const char *key)
{
    char number[24];
    uint64_t value = 0;
    const char *at = strstr(text, key);
    if (!at)
        return 0;
    at += strlen(key);
    snprintf(number, sizeof number, "%.*s", (int)strcspn(at, "\n"), at);
    return parse_u64(number, 0, UINT64_MAX, &value) == 0 ? value : 0;
}

void slot_usage_set_io(struct slot_usage *usage, const char *text)
{
    usage->read_bytes = number_of(text, "rchar: ");
    usage->written_bytes = number_of(text, "wchar: ");
}
