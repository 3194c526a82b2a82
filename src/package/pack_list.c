/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk. Folders that are still to be read wait in the list itself: each is read when its turn comes, so nothing here calls
 * itself and one folder is open at a time.
 */
#include "package/pack_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "package/ignore.h"
#include "package/zip.h"

enum { SHOWN_BYTES = 200 };

struct walk {
    int folder_fd;
    struct pack_list *list;
    struct ignore ignore;
    uint64_t max_entries, max_bytes;
    struct entry_search top, below; /* below: of the only folder of the top, if that is all there is */
};

void pack_list_done(struct pack_list *list)
{
    for (size_t i = 0; i < list->n_items; i++) {
        free(list->items[i].path);
        free(list->items[i].target);
    }
    free(list->items);
    *list = (struct pack_list){0};
}

/* An error that begins with the path. */
static int refuse(struct tw_error *error, enum tw_code code, const char *path, const char *why)
{
    CLEANUP_FREE char *shown = text_line(path, strlen(path), SHOWN_BYTES);
    return error_set(error, code, "%s %s", shown ? shown : "?", why);
}

static int cannot_read(struct tw_error *error, const char *path, int err)
{
    CLEANUP_FREE char *shown = text_line(path, strlen(path), SHOWN_BYTES);
    return error_set_errno(error, err, "cannot read %s", shown ? shown : "?");
}

/* --- links --- */

/* Whether a link of this path with this target stays below the top, as far as the text tells. */
static bool text_stays_inside(const char *path, const char *target)
{
    size_t depth = 0;
    if (*target == '/')
        return false;
    for (const char *p = path; (p = strchr(p, '/')); p++)
        depth++;
    for (const char *part = target; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL) {
        size_t n = strcspn(part, "/");
        if (n == 2 && memcmp(part, "..", 2) == 0) {
            if (depth-- == 0)
                return false;
        } else if (n > 0 && !(n == 1 && *part == '.')) {
            depth++;
        }
    }
    return true;
}

/* The same by the kernel, which sees where other links on its way lead. One that leads nowhere stays inside. */
static bool leads_out(int folder_fd, const char *path)
{
    const struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    CLEANUP_FD int fd = (int)syscall(SYS_openat2, folder_fd, path, &how, sizeof how);
    return fd < 0 && errno == EXDEV;
}

static int read_link(const struct walk *w, struct pack_item *item, struct tw_error *error)
{
    char target[ZIP_PATH_MAX + 1];
    ssize_t n = readlinkat(w->folder_fd, item->path, target, sizeof target);
    if (n < 0)
        return cannot_read(error, item->path, errno);
    if ((size_t)n == sizeof target)
        return refuse(error, TW_INVALID_ARGUMENT, item->path, "is a link with a target that is too long");
    target[n] = '\0';
    if (!text_is_utf8(target, (size_t)n))
        return refuse(error, TW_INVALID_ARGUMENT, item->path, "is a link with a target that is not UTF-8");
    if (!text_stays_inside(item->path, target) || leads_out(w->folder_fd, item->path))
        return refuse(error, TW_INVALID_ARGUMENT, item->path,
            "is a link that leads out of the folder; copy what it leads to, or leave it out by " IGNORE_FILE);
    item->target = text_dup(target, (size_t)n);
    return item->target ? 0 : error_oom(error);
}

/* --- one name --- */

static const char *kind_of(mode_t mode)
{
    return S_ISSOCK(mode) ? "is a socket" : S_ISFIFO(mode) ? "is a pipe" : "is a device";
}

static int count_file(struct walk *w, const struct pack_item *item, struct tw_error *error)
{
    struct package_packed *found = &w->list->found;
    found->files++;
    if (!__builtin_add_overflow(found->bytes, item->size, &found->bytes) &&
        (w->max_bytes == 0 || found->bytes <= w->max_bytes))
        return 0;
    CLEANUP_FREE char *shown = text_line(item->path, strlen(item->path), SHOWN_BYTES);
    return error_set(error, TW_RESOURCE_EXHAUSTED,
        "the files have more than %" PRIu64 " bytes, with %s; leave out what is not needed by " IGNORE_FILE,
        w->max_bytes, shown ? shown : "?");
}

/* What a name is. The item has its path already, and is in the list. */
static int describe(struct walk *w, struct pack_item *item, const struct stat *st, struct tw_error *error)
{
    struct package_packed *found = &w->list->found;
    if (S_ISLNK(st->st_mode)) {
        found->links++;
        return read_link(w, item, error);
    }
    if (S_ISDIR(st->st_mode)) {
        found->folders++;
        item->folder = true;
        return 0;
    }
    if (!S_ISREG(st->st_mode)) {
        char why[128];
        (void)snprintf(
            why, sizeof why, "%s, which cannot be packed; leave it out by " IGNORE_FILE, kind_of(st->st_mode));
        return refuse(error, TW_INVALID_ARGUMENT, item->path, why);
    }
    item->size = (uint64_t)st->st_size;
    item->mtime_us = st->st_mtime > 0 ? (uint64_t)st->st_mtime * 1000000 : 0;
    item->executable = st->st_mode & 0111;
    return count_file(w, item, error);
}

/* A new item at the end of the list; NULL: no memory. It stays where it is until the next. */
static struct pack_item *append(struct pack_list *list, const char *folder, const char *name)
{
    if (list->n_items == list->cap) {
        size_t cap = MAX(2 * list->cap, (size_t)64);
        struct pack_item *items = realloc(list->items, cap * sizeof *items);
        if (!items)
            return NULL;
        list->items = items;
        list->cap = cap;
    }
    struct pack_item *item = &list->items[list->n_items];
    *item = (struct pack_item){0};
    if (asprintf(&item->path, "%s%s%s", folder, *folder ? "/" : "", name) < 0)
        return NULL;
    list->n_items++;
    return item;
}

static enum entry_type entry_type_of(const struct stat *st)
{
    return S_ISREG(st->st_mode) ? ENTRY_FILE : S_ISDIR(st->st_mode) ? ENTRY_FOLDER : ENTRY_OTHER;
}

static size_t depth_of(const char *path)
{
    size_t depth = 1;
    for (; *path; path++)
        depth += *path == '/';
    return depth;
}

static int add_name(
    struct walk *w, const char *folder, const char *name, struct entry_search *search, struct tw_error *error)
{
    struct stat st;
    struct pack_item *item = append(w->list, folder, name);
    if (!item)
        return error_oom(error);
    if (fstatat(w->folder_fd, item->path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return cannot_read(error, item->path, errno);
    if (ignore_matches(&w->ignore, item->path, S_ISDIR(st.st_mode))) {
        free(item->path);
        w->list->n_items--;
        w->list->found.ignored++;
        return 0;
    }
    if (!zip_path_is_valid(item->path))
        return refuse(error, TW_INVALID_ARGUMENT, item->path, "has a name that is not UTF-8, or too long; rename it");
    if (depth_of(item->path) > PACK_DEPTH_MAX)
        return refuse(error, TW_INVALID_ARGUMENT, item->path, "lies more than 64 folders deep");
    if (w->list->n_items > w->max_entries)
        return error_set(error, TW_RESOURCE_EXHAUSTED,
            "the folder has more than %" PRIu64 " files and folders; leave out what is not needed by " IGNORE_FILE,
            w->max_entries);
    if (search)
        entry_search_offer(search, name, entry_type_of(&st));
    return describe(w, item, &st, error);
}

/* --- folders --- */

static void close_folder(DIR **dir)
{
    if (*dir)
        (void)closedir(*dir);
    *dir = NULL;
}

/* Reads one folder into the list; "" is the top. */
static int read_folder(struct walk *w, const char *folder, struct entry_search *search, struct tw_error *error)
{
    const char *path = *folder ? folder : ".";
    CLEANUP_FD int fd = openat(w->folder_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    CLEANUP(close_folder) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return cannot_read(error, path, errno);
    (void)fd_steal(&fd);
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (!e && errno)
            return cannot_read(error, path, errno);
        if (!e)
            return 0;
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            add_name(w, folder, e->d_name, search, error) < 0)
            return -1;
    }
}

static int read_rules(struct walk *w, struct tw_error *error)
{
    struct stat st;
    if (ignore_read(&w->ignore, IGNORE_DEFAULTS, strlen(IGNORE_DEFAULTS), error) < 0)
        return -1;
    CLEANUP_FD int fd = openat(w->folder_fd, IGNORE_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return cannot_read(error, IGNORE_FILE, errno);
    if (!S_ISREG(st.st_mode))
        return refuse(error, TW_INVALID_ARGUMENT, IGNORE_FILE, "is no file");
    CLEANUP_FREE char *text = malloc(IGNORE_BYTES_MAX + 1);
    if (!text)
        return error_oom(error);
    ssize_t len = fd_read_all(fd, text, IGNORE_BYTES_MAX + 1); /* one more than is taken */
    return len < 0 ? cannot_read(error, IGNORE_FILE, (int)len) : ignore_read(&w->ignore, text, (size_t)len, error);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct pack_item *)a)->path, ((const struct pack_item *)b)->path);
}

static int walk_all(struct walk *w, struct tw_error *error)
{
    struct pack_list *list = w->list;
    if (read_rules(w, error) < 0 || read_folder(w, "", &w->top, error) < 0)
        return -1;
    const char *only = entry_search_only_folder(&w->top);
    for (size_t i = 0; i < list->n_items; i++) { /* which grows meanwhile */
        const char *path = list->items[i].path;
        bool searched = only && strcmp(path, only) == 0;
        if (list->items[i].folder && read_folder(w, path, searched ? &w->below : NULL, error) < 0)
            return -1;
    }
    qsort(list->items, list->n_items, sizeof *list->items, by_path);
    return entry_search_result(only ? &w->below : &w->top, only ? only : "", &list->found.entry, error);
}

int pack_list_make(
    struct pack_list *list, int folder_fd, const struct package_pack_options *options, struct tw_error *error)
{
    struct walk w = {.folder_fd = folder_fd, .list = list, .max_bytes = options->max_bytes};
    bool bounded = options->max_entries > 0 && options->max_entries < PACK_ENTRIES_MAX;
    w.max_entries = bounded ? options->max_entries : PACK_ENTRIES_MAX;
    int r = walk_all(&w, error);
    ignore_done(&w.ignore);
    return r;
}
