/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/PID/task/TID/children lists the children of each thread; from one process on, the tree is walked with a list of
 * those still to be looked at. Processes come and go meanwhile: what has vanished is passed over, and the sum is of about
 * now. It is bounded, whatever a task forks.
 */
#include "exec/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"

/* More than a task has under any sensible limit of processes, threads among them. */
enum { TREE_MAX = 32 * 1024, THREADS_MAX = 64 * 1024, STAT_MAX = 1024, CHILDREN_MAX = 256 * 1024 };

/* The fields of /proc/PID/stat, counted from the state, which is the first behind the name. */
enum { STAT_UTIME = 11, STAT_STIME, STAT_CUTIME, STAT_CSTIME, STAT_RSS = 21 };

struct walk {
    pid_t pids[TREE_MAX];
    size_t n;
    size_t threads; /* of all of them, that were looked at */
    char text[CHILDREN_MAX];
};

static ssize_t read_proc(const char *path, char *text, size_t cap)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : fd_read_all(fd, text, cap - 1);
    text[MAX(n, (ssize_t)0)] = '\0';
    return n;
}

static void add_children(struct walk *w, const char *path)
{
    char *save = NULL;
    if (read_proc(path, w->text, sizeof w->text) <= 0)
        return;
    for (char *word = strtok_r(w->text, " ", &save); word && w->n < TREE_MAX; word = strtok_r(NULL, " ", &save)) {
        uint64_t pid;
        if (parse_u64(word, 2, INT32_MAX, &pid) == 0)
            w->pids[w->n++] = (pid_t)pid;
    }
}

static void add_all_children(struct walk *w, pid_t pid)
{
    char path[64], file[128];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && w->threads < THREADS_MAX && (e = readdir(d))) {
        uint64_t tid;
        if (parse_u64(e->d_name, 1, INT32_MAX, &tid) < 0)
            continue;
        snprintf(file, sizeof file, "%s/%u/children", path, (unsigned)tid);
        add_children(w, file);
        w->threads++;
    }
    if (d)
        closedir(d);
}

static bool add_stat(pid_t pid, uint64_t tick_us, uint64_t page, struct tw_usage *usage)
{
    char path[64], text[STAT_MAX], *save = NULL;
    uint64_t field[STAT_RSS + 1] = {0};
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (read_proc(path, text, sizeof text) <= 0)
        return false;
    char *p = strrchr(text, ')'); /* the name is the task's to choose, and may hold anything */
    p = p ? strtok_r(p + 1, " ", &save) : NULL;
    for (size_t i = 0; p && i <= STAT_RSS; i++, p = strtok_r(NULL, " ", &save))
        (void)parse_u64(p, 0, UINT64_MAX, &field[i]);
    usage->user_us += (field[STAT_UTIME] + field[STAT_CUTIME]) * tick_us;
    usage->system_us += (field[STAT_STIME] + field[STAT_CSTIME]) * tick_us;
    usage->max_rss_bytes = MAX(usage->max_rss_bytes, field[STAT_RSS] * page);
    return true;
}

bool tree_usage(pid_t root, struct tw_usage *usage)
{
    struct walk *w = malloc(sizeof *w); /* of which little is touched */
    struct tw_usage sum = {0};
    uint64_t tick_us = 1000000 / (uint64_t)MAX(sysconf(_SC_CLK_TCK), 1L),
             page = (uint64_t)MAX(sysconf(_SC_PAGESIZE), 1L);
    bool any = false;
    if (!w)
        return false;
    w->n = w->threads = 0;
    add_all_children(w, root);
    for (size_t i = 0; i < w->n; i++) {
        any |= add_stat(w->pids[i], tick_us, page, &sum);
        add_all_children(w, w->pids[i]);
    }
    free(w);
    if (!any)
        return false;
    usage->user_us = sum.user_us;
    usage->system_us = sum.system_us;
    usage->max_rss_bytes = sum.max_rss_bytes;
    return true;
}
