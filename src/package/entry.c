/* SPDX-License-Identifier: Apache-2.0 */
#include "package/entry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

/* By their rank, the best first. */
static const char *const entry_names[] = {"run_task.sh", "main.py", "task_script.py", "run.py", "app.py", "script.py"};

enum { RANK_SHELL = 1, RANK_ANY = ARRAY_LEN(entry_names) + 1, SHOWN_BYTES = 28 };

static void copy_name(char to[PACKAGE_NAME_SIZE], const char *name)
{
    size_t len = strnlen(name, PACKAGE_NAME_SIZE - 1);
    memcpy(to, name, len);
    to[len] = '\0';
}

/* 0: none at all. */
static unsigned rank_of(const char *name)
{
    size_t len = strlen(name);
    for (unsigned i = 0; i < ARRAY_LEN(entry_names); i++) {
        if (strcmp(name, entry_names[i]) == 0)
            return i + 1;
    }
    bool python = len > 3 && strcmp(name + len - 3, ".py") == 0 && *name != '.' && !text_has_control(name, len);
    return python ? RANK_ANY : 0;
}

/* The few that come first in order, by insertion. */
static void show(struct entry_search *s, const char *name)
{
    size_t n = MIN(s->n_names, (size_t)ENTRY_SHOWN_MAX), i = n;
    while (i > 0 && strcmp(name, s->shown[i - 1]) < 0)
        i--;
    if (i == ENTRY_SHOWN_MAX)
        return;
    if (n == ENTRY_SHOWN_MAX)
        n--; /* the last one goes */
    memmove(s->shown[i + 1], s->shown[i], (n - i) * sizeof s->shown[0]);
    copy_name(s->shown[i], name);
}

void entry_search_offer(struct entry_search *s, const char *name, enum entry_type type)
{
    if (strlen(name) >= PACKAGE_NAME_SIZE || (type == ENTRY_FOLDER && strcmp(name, "__MACOSX") == 0))
        return;
    show(s, name);
    s->n_names++;
    if (type == ENTRY_FOLDER) {
        s->n_folders++;
        copy_name(s->folder, name);
    }
    unsigned rank = type == ENTRY_FILE ? rank_of(name) : 0;
    bool better = rank > 0 && (s->rank == 0 || rank < s->rank || (rank == s->rank && strcmp(name, s->file) < 0));
    if (!better)
        return;
    s->rank = rank;
    copy_name(s->file, name);
}

const char *entry_search_only_folder(const struct entry_search *s)
{
    return s->n_names == 1 && s->n_folders == 1 ? s->folder : NULL;
}

static int none_found(const struct entry_search *s, const char *folder, struct tw_error *error)
{
    CLEANUP_BUF struct buf there = BUF_INIT((size_t)PACKAGE_NAME_SIZE * ENTRY_SHOWN_MAX);
    CLEANUP_FREE char *where = text_line(folder, strlen(folder), SHOWN_BYTES);
    for (size_t i = 0; i < MIN(s->n_names, (size_t)ENTRY_SHOWN_MAX); i++) {
        CLEANUP_FREE char *name = text_line(s->shown[i], strlen(s->shown[i]), SHOWN_BYTES);
        (void)buf_printf(&there, "%s%s", i ? ", " : "", name ? name : "?");
    }
    if (s->n_names > ENTRY_SHOWN_MAX)
        (void)buf_printf(&there, " and %zu more", s->n_names - ENTRY_SHOWN_MAX);
    (void)buf_append_u8(&there, '\0');
    if (there.error || !where)
        return error_oom(error);
    return error_set(error, TW_NOT_FOUND,
        "the package has no entry point: no run_task.sh, main.py, task_script.py, run.py, app.py, script.py or other "
        "*.py "
        "file in its %s%s; %s%s",
        *folder ? "folder " : "top folder", where, s->n_names ? "there is " : "it is empty", (const char *)there.data);
}

int entry_search_result(
    const struct entry_search *s, const char *folder, struct package_entry *ret, struct tw_error *error)
{
    if (s->rank == 0)
        return none_found(s, folder, error);
    *ret = (struct package_entry){.kind = s->rank == RANK_SHELL ? PACKAGE_SHELL : PACKAGE_PYTHON};
    copy_name(ret->folder, folder);
    copy_name(ret->file, s->file);
    return 0;
}

/* --- a folder on disk --- */

static void close_folder(DIR **dir)
{
    if (*dir)
        (void)closedir(*dir);
    *dir = NULL;
}

static enum entry_type type_of(int folder_fd, const char *name)
{
    struct stat st;
    if (fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return ENTRY_OTHER;
    return S_ISREG(st.st_mode) ? ENTRY_FILE : S_ISDIR(st.st_mode) ? ENTRY_FOLDER : ENTRY_OTHER;
}

/* 0 or -errno. Opened anew: two that read one open folder would take names away from each other. */
static int search(int parent_fd, const char *name, struct entry_search *s)
{
    CLEANUP_FD int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    CLEANUP(close_folder) DIR *dir = fdopendir(fd);
    if (!dir)
        return -errno;
    (void)fd_steal(&fd);
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (!e)
            return -errno;
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            entry_search_offer(s, e->d_name, type_of(dirfd(dir), e->d_name));
    }
}

int package_find_entry(int folder_fd, struct package_entry *ret, struct tw_error *error)
{
    struct entry_search top = {0}, below = {0};
    int r = search(folder_fd, ".", &top);
    if (r < 0)
        return error_set_errno(error, r, "cannot read the folder of the package");
    const char *folder = entry_search_only_folder(&top);
    if (!folder)
        return entry_search_result(&top, "", ret, error);
    r = search(folder_fd, folder, &below);
    if (r < 0)
        return error_set_errno(error, r, "cannot read the only folder of the package");
    return entry_search_result(&below, folder, ret, error);
}
