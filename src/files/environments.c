/* SPDX-License-Identifier: Apache-2.0 */
#include "files/environments.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/parse.h"
#include "base/text.h"
#include "files/inputs.h"
#include "files/internal.h"

#define SUFFIX ".env"

enum { NAME_SIZE = 16 + sizeof SUFFIX, LABEL_SIZE = 128 };

static void label_name(uint64_t number, char ret[NAME_SIZE])
{
    snprintf(ret, NAME_SIZE, "%016" PRIx64 SUFFIX, number);
}

/* --- the file beside it --- */

static uint64_t time_us(const struct timespec *t)
{
    return t->tv_sec < 0 ? 0 : (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_nsec / 1000;
}

/* "KEY BYTES" and a newline. */
static int read_label(int at, const char *name, struct environment_info *ret)
{
    char text[LABEL_SIZE];
    struct stat st;
    CLEANUP_FD int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return -EINVAL;
    ssize_t n = fd_read_all(fd, text, sizeof text - 1);
    if (n < 0)
        return (int)n;
    text[n] = '\0';
    char *end = strchr(text, '\n'), *bytes = strchr(text, ' ');
    if (!end || end[1] || !bytes)
        return -EINVAL;
    *end = *bytes++ = '\0';
    if (name_sha_from_hex(text, ret->key) < 0 || parse_u64(bytes, 0, INT64_MAX, &ret->bytes) < 0)
        return -EINVAL;
    ret->used_us = time_us(&st.st_mtim);
    return 0;
}

static int write_label(int at, const char *name, const struct environment_info *info)
{
    char text[LABEL_SIZE], key[2 * ENVIRONMENT_KEY_BYTES + 1];
    text_hex(info->key, sizeof info->key, key);
    int n = snprintf(text, sizeof text, "%s %" PRIu64 "\n", key, info->bytes);
    CLEANUP_FD int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int r = fd_write_all(fd, text, (size_t)n);
    if (r == 0 && (fsync(fd) < 0 || fsync(at) < 0))
        r = -errno;
    return r;
}

/* --- all of them --- */

/* Folders first, and then what of these is whole: nothing is removed while it is looked through. */
static int list_numbers(int at, uint64_t **ret, size_t *ret_n)
{
    int copy = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    size_t cap = 0;
    int r = 0;
    if (!dir) {
        r = -errno;
        fd_close(&copy);
        return r;
    }
    for (struct dirent *e; r == 0 && (e = readdir(dir));) {
        char digits[17];
        uint64_t number;
        size_t len = strlen(e->d_name);
        bool named = len == 16 || (len == 16 + strlen(SUFFIX) && !strcmp(e->d_name + 16, SUFFIX));
        snprintf(digits, sizeof digits, "%.16s", e->d_name);
        if (!named || name_u64_from_hex(digits, &number) < 0 || !(number & ENVIRONMENTS_BIT))
            continue;
        if (*ret_n == cap) {
            cap = cap ? 2 * cap : 64;
            uint64_t *more = reallocarray(*ret, cap, sizeof *more);
            if (!more)
                r = -ENOMEM;
            else
                *ret = more;
        }
        if (r == 0)
            (*ret)[(*ret_n)++] = number;
    }
    closedir(dir);
    return r;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int environments_list(struct tw_storage *s, void (*found)(void *ctx, const struct environment_info *info), void *ctx)
{
    CLEANUP_FREE uint64_t *numbers = NULL;
    size_t n = 0;
    int r = list_numbers(s->root.inputs_fd, &numbers, &n);
    if (r < 0)
        return r;
    if (n > 0)
        qsort(numbers, n, sizeof *numbers, by_number);
    for (size_t i = 0; i < n; i++) {
        struct environment_info info = {.number = numbers[i]};
        char folder[INPUTS_NAME_SIZE], label[NAME_SIZE];
        struct stat st;
        if (i > 0 && numbers[i] == numbers[i - 1])
            continue; /* its folder, and its label */
        inputs_name(info.number, folder);
        label_name(info.number, label);
        bool has_folder = fstatat(s->root.inputs_fd, folder, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
        if (has_folder && read_label(s->root.inputs_fd, label, &info) == 0)
            found(ctx, &info);
        else
            (void)environment_remove(s, info.number, NULL);
    }
    return 0;
}

/* --- one --- */

int environment_begin(struct tw_storage *s, uint64_t number, struct tw_error *error)
{
    char name[INPUTS_NAME_SIZE];
    inputs_name(number, name);
    if (mkdirat(s->root.inputs_fd, name, 0755) < 0)
        return root_fail(&s->root, errno, "make", INPUTS_FOLDER, error);
    CLEANUP_FD int fd = openat(s->root.inputs_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, 0755) < 0)
        return root_fail(&s->root, errno, "open", INPUTS_FOLDER, error);
    return fd_steal(&fd);
}

static int copy(int from, int to, uint64_t *ret_bytes)
{
    CLEANUP_FREE char *block = malloc(CHUNK_BYTES);
    if (!block)
        return -ENOMEM;
    for (;;) {
        ssize_t n = read(from, block, CHUNK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        int r = fd_write_all(to, block, (size_t)n);
        if (r < 0)
            return r;
        *ret_bytes += (uint64_t)n;
    }
}

int environment_add(struct tw_storage *s, int folder, const char *path, int from, bool executable, uint64_t *ret_bytes,
    struct tw_error *error)
{
    const char *name = path;
    struct stat st;
    if (name_check(path, error) < 0)
        return -1;
    CLEANUP_FD int below = inputs_make_folders(&s->root, folder, path, false, &name, error);
    if (below < 0)
        return -1;
    CLEANUP_FD int to = openat(below, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = to < 0 ? -errno : copy(from, to, ret_bytes);
    if (r == 0 && (fstat(from, &st) < 0 || fchmod(to, executable ? 0555 : 0444) < 0))
        r = -errno;
    /* A compiled module says when its source was written. */
    if (r == 0 && futimens(to, (const struct timespec[]){st.st_mtim, st.st_mtim}) < 0)
        r = -errno;
    return r < 0 ? root_fail(&s->root, -r, "write", INPUTS_FOLDER, error) : 0;
}

int environment_finish(struct tw_storage *s, const struct environment_info *info, struct tw_error *error)
{
    char name[NAME_SIZE];
    label_name(info->number, name);
    /* Thousands of small files: one call for all of them. */
    int r = syncfs(s->root.inputs_fd) < 0 ? -errno : write_label(s->root.inputs_fd, name, info);
    if (r == 0)
        return 0;
    (void)unlinkat(s->root.inputs_fd, name, 0);
    return root_fail(&s->root, -r, "write", INPUTS_FOLDER, error);
}

void environment_used(struct tw_storage *s, uint64_t number)
{
    char name[NAME_SIZE];
    label_name(number, name);
    (void)utimensat(s->root.inputs_fd, name, NULL, AT_SYMLINK_NOFOLLOW);
}

int environment_remove(struct tw_storage *s, uint64_t number, struct tw_error *error)
{
    char name[NAME_SIZE];
    label_name(number, name);
    if (unlinkat(s->root.inputs_fd, name, 0) < 0 && errno != ENOENT)
        return root_fail(&s->root, errno, "remove", INPUTS_FOLDER, error);
    return inputs_remove(s, number, error);
}
