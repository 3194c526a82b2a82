/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a slot's control group were opened by the launcher; here they are only read and written, by pread and
 * pwrite, a handful for each task and none opened or closed. A limit is written only if it is not what the file holds
 * already. The slot's own memory counts in its group, so what is written is the task's limit on top of what the group held
 * when the task began, in steps of BASE_STEP, so that it seldom changes; a base that has grown much since the first task
 * is not believed, or one task could leave room for the next. Counters of events only grow, and only by what happens in
 * the group: what was read last is the state from which the next task begins.
 *
 * Version 1 kills one process of those in the group, version 2 all of them, the slot with them. Version 1 tells by an
 * eventfd a moment before the kernel has counted the kill: then it is looked at again until it has, or LOOKS are over.
 */
#include "exec/group.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/parse.h"

enum {
    BASE_STEP = 4 << 20,
    BASE_GROWTH = 32 << 20,
    OWN_PROCESSES = 2,      /* the slot, and pid 1 of the task */
    OTHER_PROCESSES = 8,    /* for a moment: those of the tasks before, which are on their way out */
    CPU_PERIOD_US = 100000, /* the kernel's default, which version 1 is left with */
    CPU_QUOTA_MIN_US = 1000,
    LOOK_MS = 2,
    LOOKS = 50,
    TEXT_MAX = 4096
};

static const uint64_t UNKNOWN = UINT64_MAX, NO_LIMIT = UINT64_MAX - 1;

struct group {
    uint32_t version;
    int fd[GROUP_FILE_MAX]; /* -1: not there */
    uint64_t layers;
    /*
     * Limits: UNKNOWN is not yet written, NO_LIMIT none. first_base is UNKNOWN until the first task, peak where it begins anew
     * at every task.
     */
    struct group_state s;
    void (*on_oom)(void *ctx);
    void *ctx;
    uv_poll_t *poll;
    uv_timer_t *again;
    unsigned looks;
};

/* --- files --- */

static bool read_text(const struct group *g, enum group_file file, char text[TEXT_MAX])
{
    if (g->fd[file] < 0)
        return false;
    ssize_t n;
    do
        n = pread(g->fd[file], text, TEXT_MAX - 1, 0);
    while (n < 0 && errno == EINTR);
    text[MAX(n, (ssize_t)0)] = '\0';
    return n > 0;
}

static bool read_number(const struct group *g, enum group_file file, uint64_t *ret)
{
    char text[TEXT_MAX];
    if (!read_text(g, file, text))
        return false;
    text[strcspn(text, "\n")] = '\0';
    return parse_u64(text, 0, UINT64_MAX, ret) == 0;
}

/* The number behind "key " at the start of a line. */
static bool find_key(const char *text, const char *key, uint64_t *ret)
{
    size_t len = strlen(key);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char number[32];
        if (strncmp(line, key, len) != 0 || line[len] != ' ')
            continue;
        size_t digits = strcspn(line + len + 1, "\n");
        if (digits >= sizeof number)
            return false;
        memcpy(number, line + len + 1, digits);
        number[digits] = '\0';
        return parse_u64(number, 0, UINT64_MAX, ret) == 0;
    }
    return false;
}

static bool write_text(const struct group *g, enum group_file file, const char *text)
{
    ssize_t n;
    if (g->fd[file] < 0)
        return false;
    do
        n = pwrite(g->fd[file], text, strlen(text), 0);
    while (n < 0 && errno == EINTR);
    return n >= 0;
}

static bool write_limit(const struct group *g, enum group_file file, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return write_text(g, file, value != NO_LIMIT ? text : g->version == 1 && file != GROUP_PIDS_MAX ? "-1" : "max");
}

/* --- counters --- */

static void read_counters(struct group *g)
{
    char text[TEXT_MAX];
    if (read_text(g, GROUP_MEMORY_EVENTS, text))
        (void)find_key(text, "oom_kill", &g->s.oom_kills);
    if (read_text(g, GROUP_PIDS_EVENTS, text))
        (void)find_key(text, "max", &g->s.pids_hits);
}

/* User and system time; false: unknown. */
static bool read_cpu(const struct group *g, uint64_t *ret_user, uint64_t *ret_system)
{
    char text[TEXT_MAX];
    uint64_t total, user, system;
    if (g->version == 2)
        return read_text(g, GROUP_CPU_USAGE, text) && find_key(text, "user_usec", ret_user) &&
            find_key(text, "system_usec", ret_system);
    if (!read_number(g, GROUP_CPU_USAGE, &total))
        return false;
    total /= 1000;
    /* The total is exact, its parts are in ticks: they only tell in which proportion it is to be divided. */
    if (!read_text(g, GROUP_CPU_STAT, text) || !find_key(text, "user", &user) || !find_key(text, "system", &system) ||
        user + system == 0)
        user = 1, system = 0;
    *ret_user = (uint64_t)((double)total * (double)user / (double)(user + system));
    *ret_system = total - *ret_user;
    return true;
}

/* --- being told of a kill --- */

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static bool look(struct group *g)
{
    uint64_t before = g->s.oom_kills;
    read_counters(g);
    if (g->s.oom_kills <= before)
        return false;
    g->looks = 0;
    g->on_oom(g->ctx); /* may free the group */
    return true;
}

static void on_again(uv_timer_t *timer)
{
    struct group *g = timer->data;
    g->looks--;
    if (!look(g) && g->looks > 0)
        uv_timer_start(timer, on_again, LOOK_MS, 0);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct group *g = poll->data;
    uint64_t count;
    (void)events;
    if (status < 0) {
        uv_poll_stop(poll); /* the group is gone, and the slot with it: that is heard of elsewhere */
        return;
    }
    if (g->version == 1 && read(g->fd[GROUP_MEMORY_NOTIFY], &count, sizeof count) < 0)
        return;
    if (look(g) || g->version != 1)
        return;
    g->looks = LOOKS;
    uv_timer_start(g->again, on_again, LOOK_MS, 0);
}

static int watch(struct group *g, uv_loop_t *loop)
{
    int fd = g->fd[g->version == 1 ? GROUP_MEMORY_NOTIFY : GROUP_MEMORY_EVENTS];
    if (fd < 0)
        return 0;
    g->poll = calloc(1, sizeof *g->poll);
    g->again = calloc(1, sizeof *g->again);
    int r = g->poll && g->again ? uv_poll_init(loop, g->poll, fd) : UV_ENOMEM;
    if (r < 0) {
        free(STEAL(g->poll));
        free(STEAL(g->again));
        return r;
    }
    (void)uv_timer_init(loop, g->again);
    g->poll->data = g->again->data = g;
    return uv_poll_start(g->poll, g->version == 1 ? UV_READABLE : UV_PRIORITIZED, on_event);
}

/* --- the interface --- */

struct group *group_new(
    uv_loop_t *loop, const struct launcher_reply *reply, int *fds, size_t n_fds, void (*on_oom)(void *ctx), void *ctx)
{
    struct group *g = n_fds > 0 ? calloc(1, sizeof *g) : NULL;
    if (!g) {
        if (n_fds > 0)
            log_warning("a sandbox runs without its control group: out of memory");
        for (size_t i = 0; i < n_fds; i++)
            fd_close(&fds[i]);
        return NULL;
    }
    *g = (struct group){
        .version = reply->group_version,
        .s = {.memory = UNKNOWN, .cpu = UNKNOWN, .pids = UNKNOWN, .first_base = UNKNOWN},
        .on_oom = on_oom,
        .ctx = ctx,
    };
    for (size_t f = 0, i = 0; f < GROUP_FILE_MAX; f++)
        g->fd[f] = reply->group_files & UINT32_C(1) << f && i < n_fds ? fd_steal(&fds[i++]) : -1;
    g->layers = (g->fd[GROUP_MEMORY_MAX] >= 0 ? UINT64_C(1) << TW_LAYER_CGROUP_MEMORY : 0) |
        (g->fd[GROUP_CPU_MAX] >= 0 ? UINT64_C(1) << TW_LAYER_CGROUP_CPU : 0) |
        (g->fd[GROUP_PIDS_MAX] >= 0 ? UINT64_C(1) << TW_LAYER_CGROUP_PIDS : 0);
    read_counters(g);
    int r = watch(g, loop);
    if (r < 0) /* its limits hold all the same, and are looked at when the task ends */
        log_warning("cannot watch a sandbox's control group: %s", uv_strerror(r));
    return g;
}

void group_free(struct group *g)
{
    if (!g)
        return;
    if (g->poll)
        uv_close((uv_handle_t *)g->poll, free_handle);
    if (g->again)
        uv_close((uv_handle_t *)g->again, free_handle);
    for (size_t f = 0; f < GROUP_FILE_MAX; f++)
        fd_close(&g->fd[f]);
    free(g);
}

size_t group_files(const struct group *g, int fds[GROUP_FILE_MAX], uint32_t *ret_files, uint32_t *ret_version)
{
    size_t n = 0;
    *ret_files = *ret_version = 0;
    for (size_t f = 0; g && f < GROUP_FILE_MAX; f++) {
        if (g->fd[f] < 0)
            continue;
        *ret_files |= UINT32_C(1) << f;
        *ret_version = g->version;
        fds[n++] = g->fd[f];
    }
    return n;
}

const struct group_state *group_state(const struct group *g)
{
    static const struct group_state none;
    return g ? &g->s : &none;
}

void group_set_state(struct group *g, const struct group_state *state)
{
    if (g)
        g->s = *state;
}

uint64_t group_layers(const struct group *g)
{
    return g ? g->layers : 0;
}

/* The task's limit on top of what the slot holds, in steps. */
static uint64_t memory_value(uint64_t limit, uint64_t base)
{
    uint64_t value;
    base = (base + BASE_STEP - 1) / BASE_STEP * BASE_STEP;
    return limit > 0 && !__builtin_add_overflow(limit, base, &value) && value <= INT64_MAX ? value : NO_LIMIT;
}

static bool write_memory(struct group *g, uint64_t value)
{
    if (value == g->s.memory)
        return true;
    /* Memory with swap may never be less than memory: so the one that gives way goes first. */
    bool has_swap = g->fd[GROUP_MEMORY_SWAP] >= 0, unknown = g->s.memory == UNKNOWN, grows = value > g->s.memory;
    bool ok = true;
    if (has_swap && (unknown || grows))
        ok = write_limit(g, GROUP_MEMORY_SWAP, value) || unknown; /* too early where there was no limit: again below */
    ok = write_limit(g, GROUP_MEMORY_MAX, value) && ok;
    if (has_swap && (unknown || !grows))
        ok = write_limit(g, GROUP_MEMORY_SWAP, value) && ok;
    g->s.memory = ok ? value : UNKNOWN;
    return ok;
}

static bool set_memory(struct group *g, uint64_t limit)
{
    uint64_t most = g->s.first_base + BASE_GROWTH;
    if (g->fd[GROUP_MEMORY_MAX] < 0)
        return false;
    /* Version 1 refuses a limit that is below what is held and cannot be given back: then a higher one is better than none. */
    return write_memory(g, memory_value(limit, MIN(g->s.base, most))) ||
        (g->s.base > most && write_memory(g, memory_value(limit, g->s.base)));
}

static bool set_cpu(struct group *g, uint64_t millis)
{
    char text[64];
    uint64_t value = NO_LIMIT, quota;
    if (millis > 0 && !__builtin_mul_overflow(millis, (uint64_t)CPU_PERIOD_US / 1000, &quota) &&
        quota < INT64_MAX / 1000)
        value = MAX(quota, (uint64_t)CPU_QUOTA_MIN_US);
    if (g->fd[GROUP_CPU_MAX] < 0 || value == g->s.cpu)
        return g->fd[GROUP_CPU_MAX] >= 0;
    bool ok;
    if (g->version == 1 || value == NO_LIMIT) {
        ok = write_limit(g, GROUP_CPU_MAX, value);
    } else {
        snprintf(text, sizeof text, "%llu %d", (unsigned long long)value, CPU_PERIOD_US);
        ok = write_text(g, GROUP_CPU_MAX, text);
    }
    g->s.cpu = ok ? value : UNKNOWN;
    return ok;
}

static bool set_pids(struct group *g, uint64_t processes, uint64_t others)
{
    /* The kernel takes no more than it could ever count: PID_MAX_LIMIT. */
    uint64_t value = processes > 0 && processes < 4000000 ? processes + others : NO_LIMIT;
    if (g->fd[GROUP_PIDS_MAX] < 0 || value == g->s.pids)
        return g->fd[GROUP_PIDS_MAX] >= 0;
    bool ok = write_limit(g, GROUP_PIDS_MAX, value);
    g->s.pids = ok ? value : UNKNOWN;
    return ok;
}

uint64_t group_begin(struct group *g, const struct tw_limits *limits)
{
    uint64_t layers = 0;
    if (!g)
        return 0;
    g->looks = 0;
    g->s.oom_kills_before = g->s.oom_kills;
    g->s.hits_before = g->s.pids_hits;
    g->s.base = 0;
    if (read_number(g, GROUP_MEMORY_CURRENT, &g->s.base) && g->s.first_base == UNKNOWN)
        g->s.first_base = g->s.base;
    /* Before Linux 6.12 version 2 has no way to begin anew: then only a peak higher than ever is this task's. */
    g->s.peak = UNKNOWN;
    if (!write_text(g, GROUP_MEMORY_PEAK, "0") && !read_number(g, GROUP_MEMORY_PEAK, &g->s.peak))
        g->s.peak = NO_LIMIT;
    if (!read_cpu(g, &g->s.user_us, &g->s.system_us))
        g->s.user_us = g->s.system_us = 0;
    if (set_memory(g, limits->memory_bytes))
        layers |= UINT64_C(1) << TW_LAYER_CGROUP_MEMORY;
    if (set_cpu(g, limits->cpu_millis))
        layers |= UINT64_C(1) << TW_LAYER_CGROUP_CPU;
    if (set_pids(g, limits->processes, OWN_PROCESSES + OTHER_PROCESSES))
        layers |= UINT64_C(1) << TW_LAYER_CGROUP_PIDS;
    return layers;
}

void group_go(struct group *g, const struct tw_limits *limits)
{
    if (g)
        (void)set_pids(g, limits->processes, OWN_PROCESSES);
}

bool group_usage(const struct group *g, struct tw_usage *usage)
{
    uint64_t peak, user, system;
    bool known = false;
    if (!g)
        return false;
    if (g->s.peak != NO_LIMIT && read_number(g, GROUP_MEMORY_PEAK, &peak) &&
        (g->s.peak == UNKNOWN || peak > g->s.peak)) {
        usage->peak_memory_bytes = peak > g->s.base ? peak - g->s.base : 0;
        known = true;
    }
    if (read_cpu(g, &user, &system)) {
        usage->user_us = user > g->s.user_us ? user - g->s.user_us : 0;
        usage->system_us = system > g->s.system_us ? system - g->s.system_us : 0;
        known = true;
    }
    return known;
}

enum tw_reason group_verdict(struct group *g)
{
    if (!g)
        return TW_REASON_NONE;
    read_counters(g);
    return g->s.oom_kills > g->s.oom_kills_before ? TW_REASON_OOM
        : g->s.pids_hits > g->s.hits_before       ? TW_REASON_PIDS_LIMIT
                                                  : TW_REASON_NONE;
}
