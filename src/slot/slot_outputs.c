/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a task leaves: once nothing of it runs any more, its workspace is walked through, and each regular file that one of the plan's patterns
 * covers goes to the daemon as a descriptor. Links are not followed and say nothing; nothing can change meanwhile. The daemon makes the
 * slot wait where it cannot keep up. The plan came from a client, and so did the names: the slot that has looked at
 * them runs no other task.
 */
#include "slot/slot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/glob.h"
#include "slot/channel.h"

enum { DEPTH_MAX = 64, OUTPUTS_SENT_MAX = 65536 };

struct walk {
    const struct slot *slot;
    uint64_t serial;
    struct plan plan;
    struct slot_outputs *count;
    char path[PROTOCOL_PATH_MAX]; /* of where we are, without a slash at its end */
};

static bool is_wanted(const struct walk *w)
{
    for (size_t i = 0; i < w->plan.n_outputs; i++) {
        if (glob_covers(w->plan.outputs[i], w->path))
            return true;
    }
    return false;
}

/* Negative: the daemon has gone. */
static int send_file(struct walk *w, int folder, const char *name)
{
    struct stat st;
    struct slot_output m = {.header = {SLOT_MAGIC, PROTOCOL_VERSION, SLOT_OUTPUT}, .serial = w->serial};
    CLEANUP_FD int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !slot_output_path_ok(w->path) ||
        w->count->sent == OUTPUTS_SENT_MAX) {
        w->count->left++;
        return 0;
    }
    m.size = (uint64_t)st.st_size;
    m.executable = (st.st_mode & S_IXUSR) != 0;
    memcpy(m.path, w->path, strlen(w->path) + 1);
    int r = channel_send(w->slot->control, &m, sizeof m, &fd, 1);
    w->count->sent += r == 0;
    return r;
}

static int walk_folder(struct walk *w, int *folder, unsigned depth);

static int visit(struct walk *w, int folder, const char *name, unsigned depth)
{
    struct stat st;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (S_ISREG(st.st_mode))
        return is_wanted(w) ? send_file(w, folder, name) : 0;
    if (!S_ISDIR(st.st_mode))
        return 0;
    CLEANUP_FD int below = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (below < 0 || depth == DEPTH_MAX) {
        w->count->left++;
        return 0;
    }
    return walk_folder(w, &below, depth);
}

/* Takes the folder over. */
static int walk_folder(struct walk *w, int *folder, unsigned depth)
{
    size_t len = strlen(w->path);
    DIR *dir = fdopendir(*folder);
    if (!dir)
        return 0;
    int fd = fd_steal(folder), r = 0;
    for (struct dirent *entry; r == 0 && (entry = readdir(dir));) {
        size_t name_len = strlen(entry->d_name);
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (len + 1 + name_len >= sizeof w->path) {
            w->count->left++;
            continue;
        }
        if (len)
            w->path[len] = '/';
        memcpy(w->path + len + (len > 0), entry->d_name, name_len + 1);
        r = visit(w, fd, entry->d_name, depth + 1);
        w->path[len] = '\0';
    }
    closedir(dir);
    return r;
}

static int read_patterns(int plan_fd, struct plan *ret)
{
    struct stat st;
    if (fstat(plan_fd, &st) < 0 || st.st_size <= 0 || st.st_size > PLAN_BYTES_MAX)
        return -EINVAL;
    void *raw = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, plan_fd, 0);
    if (raw == MAP_FAILED)
        return -errno;
    enum plan_error bad = plan_decode(raw, (size_t)st.st_size, ret);
    munmap(raw, (size_t)st.st_size);
    return bad ? -EINVAL : 0;
}

int slot_outputs_send(const struct slot *slot, uint64_t serial, int plan_fd, int *workspace, struct slot_outputs *ret)
{
    struct walk w = {.slot = slot, .serial = serial, .count = ret};
    int r = read_patterns(plan_fd, &w.plan);
    if (r == 0 && w.plan.n_outputs > 0)
        r = walk_folder(&w, workspace, 0);
    plan_done(&w.plan);
    return r;
}
