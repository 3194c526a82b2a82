/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "machine/internal.h"

void machine_load_init(struct machine_load_state *state, const struct machine_source *source)
{
    *state = (struct machine_load_state){0};
    if (source)
        state->source = *source;
}

/*
 * The counters may go back a little (iowait, and all of them when a processor is taken out), and two samples may fall into the
 * same tick: then nothing new is known, and what was last known still holds.
 */
static void add_ticks(struct machine_load_state *state, const struct machine_ticks *now)
{
    const struct machine_ticks *before = &state->ticks;
    if (state->have_ticks && now->total > before->total) {
        uint64_t total = now->total - before->total;
        uint64_t busy = now->busy > before->busy ? MIN(now->busy - before->busy, total) : 0;
        /* A double is exact enough for a thousandth, and cannot overflow. */
        state->busy_per_mille = MIN((unsigned)((double)busy * 1000.0 / (double)total + 0.5), 1000U);
        state->have_busy = true;
    }
    state->ticks = *now;
    state->have_ticks = true;
}

static int sample_busy(struct machine_load_state *state, struct machine_load *ret)
{
    CLEANUP_FREE char *text = NULL;
    struct machine_ticks ticks = {0};
    int r = machine_read(&state->source, "/proc/stat", &text);
    if (r == 0 && !machine_parse_stat(text, &ticks))
        r = -EBADMSG;
    if (r < 0) {
        state->have_ticks = state->have_busy = false; /* what was known is of another time */
        return r;
    }
    add_ticks(state, &ticks);
    ret->busy_known = state->have_busy;
    ret->busy_per_mille = state->busy_per_mille;
    return 0;
}

static int sample_memory(const struct machine_load_state *state, struct machine_load *ret)
{
    CLEANUP_FREE char *text = NULL;
    int r = machine_read(&state->source, "/proc/meminfo", &text);
    if (r < 0)
        return r;
    ret->memory_known = machine_parse_meminfo(text, &ret->memory);
    return ret->memory_known ? 0 : -EBADMSG;
}

/* A kernel without it has no such file, or says EOPNOTSUPP when it is read. */
static void sample_pressure(const struct machine_load_state *state, const char *path, struct machine_pressure *ret)
{
    CLEANUP_FREE char *text = NULL;
    if (machine_read(&state->source, path, &text) == 0)
        (void)machine_parse_pressure(text, ret);
}

int machine_load_sample(struct machine_load_state *state, struct machine_load *ret)
{
    *ret = (struct machine_load){0};
    int busy = sample_busy(state, ret), memory = sample_memory(state, ret);
    sample_pressure(state, "/proc/pressure/cpu", &ret->cpu);
    sample_pressure(state, "/proc/pressure/memory", &ret->memory_pressure);
    sample_pressure(state, "/proc/pressure/io", &ret->io);
    return busy < 0 ? busy : memory;
}
