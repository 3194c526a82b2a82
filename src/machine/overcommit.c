/* SPDX-License-Identifier: Apache-2.0 */
/* A state machine without clock or I/O; its rules stand in machine.h. */
#include "base/util.h"
#include "machine/machine.h"

#define SECOND UINT64_C(1000000)
#define QUIET_US (120 * SECOND) /* how long it must have been quiet before the first step up */
#define RAISE_US (30 * SECOND)
#define LOWER_US (10 * SECOND)
#define BUSY_US (30 * SECOND)
#define GAP_US (30 * SECOND) /* who samples every 10 s has missed some by then */
/* Samples come a little early or late; one that is early by this counts as in time, or a step would wait for the next. */
#define SLACK_US SECOND

enum {
    RAISE = 100,
    LOWER = 250,
    QUIET_PER_MILLE = 700,
    BUSY_PER_MILLE = 900,
    CPU_STALL_HIGH = 6000, /* hundredths of a percent, as all of them */
    MEMORY_STALL_HIGH = 500,
    MEMORY_STALL_LOW = 100,
    MEMORY_SPARE_SHARE = 10, /* a tenth of the memory must be available */
};

static bool passed(uint64_t since_us, uint64_t now_us, uint64_t wanted_us)
{
    return now_us - since_us >= wanted_us - SLACK_US;
}

void overcommit_init(struct overcommit *o)
{
    *o = (struct overcommit){.per_mille = OVERCOMMIT_MIN};
}

/* A time before the last one says nothing about how long anything took: everything begins anew but what was reached. */
static void begin(struct overcommit *o, uint64_t now_us)
{
    unsigned reached = MAX(o->per_mille, (unsigned)OVERCOMMIT_MIN);
    *o = (struct overcommit){.per_mille = reached, .started = true, .last_us = now_us};
}

/* A busy share is about the time from the sample before to this one, so a window begins with that one. */
static void watch(struct overcommit *o, const struct machine_load *load, uint64_t now_us)
{
    bool seen = now_us - o->last_us <= GAP_US;
    bool quiet = load->busy_known && load->busy_per_mille < QUIET_PER_MILLE;
    bool busy = load->busy_known && load->busy_per_mille > BUSY_PER_MILLE;
    if (quiet && (!o->quiet || !seen))
        o->quiet_since_us = seen ? o->last_us : now_us;
    if (busy && !o->busy)
        o->busy_since_us = o->last_us; /* also over a gap: it was busy on the average of it */
    o->quiet = quiet;
    o->busy = busy;
}

static bool pressed(const struct overcommit *o, const struct machine_load *load, uint64_t now_us)
{
    if (load->memory_pressure.present && load->memory_pressure.some.avg10 > MEMORY_STALL_HIGH)
        return true;
    if (load->cpu.present)
        return load->cpu.some.avg10 > CPU_STALL_HIGH;
    return o->busy && passed(o->busy_since_us, now_us, BUSY_US);
}

static bool memory_to_spare(const struct machine_load *load)
{
    return load->memory_known && load->memory.available_bytes > load->memory.total_bytes / MEMORY_SPARE_SHARE &&
        (!load->memory_pressure.present || load->memory_pressure.some.avg10 < MEMORY_STALL_LOW);
}

static void lower(struct overcommit *o, uint64_t now_us)
{
    o->quiet = false;
    if (o->lowered && !passed(o->lowered_us, now_us, LOWER_US))
        return;
    o->per_mille = MAX(o->per_mille, (unsigned)OVERCOMMIT_MIN + LOWER) - LOWER;
    o->lowered = true;
    o->lowered_us = now_us;
}

static void raise_slowly(struct overcommit *o, uint64_t now_us)
{
    if (!o->quiet || !passed(o->quiet_since_us, now_us, QUIET_US) ||
        (o->raised && !passed(o->raised_us, now_us, RAISE_US)))
        return;
    o->per_mille += RAISE;
    o->raised = true;
    o->raised_us = now_us;
}

unsigned overcommit_step(
    struct overcommit *o, const struct machine_load *load, uint64_t now_us, unsigned ceiling_per_mille)
{
    unsigned ceiling = MAX(ceiling_per_mille, (unsigned)OVERCOMMIT_MIN);
    if (!o->started || now_us < o->last_us)
        begin(o, now_us);
    watch(o, load, now_us);
    if (pressed(o, load, now_us))
        lower(o, now_us);
    else if (o->per_mille < ceiling && memory_to_spare(load))
        raise_slowly(o, now_us);
    o->per_mille = MIN(o->per_mille, ceiling);
    o->last_us = now_us;
    return o->per_mille;
}
