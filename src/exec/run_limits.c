/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory, processes and the share of the CPU are held by the kernel in the slot's group; what is left to do here is to hear
 * that it had to kill something, and then to end the whole run. For the processor time of all processes together there is
 * no such limit in the kernel: it is looked at at the earliest moment at which it could be used up, which is never far off
 * the right one, and costs a timer. Where there is no group, /proc is asked instead.
 */
#include "exec/run_limits.h"

#include "base/clock.h"
#include "base/timer.h"
#include "exec/group.h"
#include "exec/tree.h"

/* A walk through /proc costs more than a look at the group, the more so the more processes there are. */
enum {
    LOOK_MIN_US = 10 * 1000,
    WALK_MIN_US = 100 * 1000,
    LOOK_MAX_US = 60 * 1000 * 1000,
    PAUSED_MIN_US = 5 * 1000 * 1000,
    CPU_MILLIS_MIN = 10 /* of the kernel */
};

static void on_oom(void *ctx)
{
    struct pool_slot *slot = ctx;
    struct sandbox_run *run = slot->run;
    if (!run)
        return;
    run->limit = TW_REASON_OOM;
    run_kill(run);
}

void run_limits_attach(struct pool_slot *slot, const struct launcher_reply *reply, int *fds, size_t n_fds)
{
    slot->pid = reply->pid;
    slot->group = group_new(slot->sandbox->loop, reply, fds, n_fds, on_oom, slot);
}

void run_limits_begin(struct pool_slot *slot, struct sandbox_run *run)
{
    run->group_layers = group_begin(slot->group, &run->limits);
}

static bool cpu_used(const struct sandbox_run *run, uint64_t *ret_us)
{
    struct tw_usage usage = {0};
    if (!run->slot)
        return false;
    if (!group_usage(run->slot->group, &usage) || usage.user_us + usage.system_us == 0) {
        if (!tree_usage(run->slot->pid, &usage))
            return false;
    }
    *ret_us = usage.user_us + usage.system_us;
    return true;
}

static void on_look(uv_timer_t *timer);

/* The processors that it can use at once are what makes the time up to the limit short. */
static void look_after(struct sandbox_run *run, uint64_t left_us)
{
    uint64_t millis = MAX(run->limits.cpu_millis, (uint64_t)CPU_MILLIS_MIN);
    uint64_t wait = left_us / (uint64_t)MAX(run->sandbox->processors, 1u);
    if (run->limits.cpu_millis > 0 && run->group_layers & UINT64_C(1) << TW_LAYER_CGROUP_CPU)
        wait = MAX(wait, left_us / millis * 1000);
    wait = MAX(wait, (uint64_t)(run->slot && run->slot->group ? LOOK_MIN_US : WALK_MIN_US));
    if (run->paused) /* it stands still, but for one that fights against that */
        wait = MAX(wait, (uint64_t)PAUSED_MIN_US);
    wait = MIN(wait, (uint64_t)LOOK_MAX_US);
    uv_timer_start(run->cpu_timer, on_look, wait / 1000 + 1, 0);
}

static void on_look(uv_timer_t *timer)
{
    struct sandbox_run *run = timer->data;
    uint64_t used = 0;
    if (!cpu_used(run, &used))
        used = 0;
    if (used < run->limits.cpu_time_us) {
        look_after(run, run->limits.cpu_time_us - used);
        return;
    }
    run->limit = TW_REASON_TIMEOUT_CPU;
    run_kill(run);
}

static void watch_cpu(struct sandbox_run *run)
{
    if (run->limits.cpu_time_us > 0) /* without memory for it the limit of each process is what holds */
        run->cpu_timer = timer_new(run->sandbox->loop, run);
}

void run_limits_go(struct sandbox_run *run)
{
    group_go(run->slot->group, &run->limits);
    watch_cpu(run);
    if (run->cpu_timer)
        look_after(run, run->limits.cpu_time_us);
}

void run_limits_take_up(struct sandbox_run *run)
{
    watch_cpu(run);
    if (run->cpu_timer)
        uv_timer_start(run->cpu_timer, on_look, 0, 0);
}

void run_limits_rest(struct sandbox_run *run)
{
    timer_free(&run->cpu_timer);
}

void run_limits_resume(struct sandbox_run *run)
{
    if (run->cpu_timer) /* what it waits for now is meant for one that stands still */
        uv_timer_start(run->cpu_timer, on_look, 0, 0);
}

void run_limits_end(struct pool_slot *slot, struct sandbox_run *run)
{
    timer_free(&run->cpu_timer);
    enum tw_reason verdict = group_verdict(slot->group);
    if (verdict == TW_REASON_OOM || run->limit == TW_REASON_NONE)
        run->limit = verdict; /* of two, the kernel's is the one that ended it */
    (void)group_usage(slot->group, &run->group_used);
}

void run_limits_settle(struct sandbox_run *run)
{
    struct run_outcome *o = &run->outcome;
    const struct tw_usage *g = &run->group_used;
    uint64_t slack_us = 20 * 1000, own = o->usage.user_us + o->usage.system_us, all = g->user_us + g->system_us;
    if (run->limit != TW_REASON_NONE)
        o->limit = run->limit;
    o->usage.peak_memory_bytes = g->peak_memory_bytes;
    /*
     * What the slot reports is exact for all that was waited for, and the group's figure holds a little of the slot's own
     * work; but a process that ignores the death of its children makes theirs vanish from the first, never from the second.
     */
    if (all > own + own / 8 + slack_us) {
        o->usage.user_us = g->user_us;
        o->usage.system_us = g->system_us;
    }
}

bool run_limits_usage(struct sandbox_run *run, struct tw_usage *ret)
{
    *ret = (struct tw_usage){0};
    if (!run->slot)
        return false;
    bool known = group_usage(run->slot->group, ret);
    if (ret->user_us + ret->system_us == 0) /* no group, or one without that */
        known = tree_usage(run->slot->pid, ret) || known;
    return known;
}
