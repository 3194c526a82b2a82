/* SPDX-License-Identifier: Apache-2.0 */
#include "package/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "package/pack_list.h"
#include "package/requirements.h"
#include "package/zip.h"

enum { SHOWN_BYTES = 200 };

struct pack {
    int folder_fd;
    const struct package_pack_options *options;
    const struct package_packed *all;
    uint64_t files, bytes;
};

static void tell(const struct pack *p)
{
    if (p->options->progress)
        p->options->progress(p->options->arg, p->files, p->all->files, p->bytes, p->all->bytes);
}

static void wrote(void *arg, size_t n)
{
    struct pack *p = arg;
    p->bytes += n;
    tell(p);
}

/* A file that was listed, and still is one. */
static int open_file(int folder_fd, const char *path, struct tw_error *error)
{
    struct stat st;
    CLEANUP_FREE char *shown = text_line(path, strlen(path), SHOWN_BYTES);
    CLEANUP_FD int fd = openat(folder_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set_errno(error, errno, "cannot read %s", shown ? shown : "?");
    if (!S_ISREG(st.st_mode))
        return error_set(error, TW_ABORTED, "%s was changed while it was packed", shown ? shown : "?");
    return fd_steal(&fd);
}

static int add(struct pack *p, struct zip *zip, const struct pack_item *item, struct tw_error *error)
{
    if (item->folder)
        return zip_add_folder(zip, item->path, error);
    if (item->target)
        return zip_add_link(zip, item->path, item->target, error);
    CLEANUP_FD int fd = open_file(p->folder_fd, item->path, error);
    if (fd < 0)
        return -1;
    const struct zip_file file = {.path = item->path,
        .mtime_us = p->options->keep_times ? item->mtime_us : 0,
        .executable = item->executable,
        .wrote = wrote,
        .arg = p};
    if (zip_add_file(zip, &file, fd, item->size, error) < 0)
        return -1;
    p->files++;
    tell(p);
    return 0;
}

/* The requirements beside the entry point: a node would refuse them too, but only after the package has been sent. */
static int check_requirements(const struct pack_list *list, int folder_fd, struct tw_error *error)
{
    char path[PACKAGE_NAME_SIZE + sizeof "/requirements.txt"];
    CLEANUP_REQUIREMENTS struct requirements requirements = {0};
    const char *folder = list->found.entry.folder;
    const struct pack_item *found = NULL;
    (void)snprintf(path, sizeof path, "%s%srequirements.txt", folder, *folder ? "/" : "");
    for (size_t i = 0; i < list->n_items && !found; i++) {
        if (strcmp(list->items[i].path, path) == 0 && !list->items[i].folder && !list->items[i].target)
            found = &list->items[i];
    }
    if (!found)
        return 0;
    CLEANUP_FREE char *text = malloc(REQUIREMENTS_BYTES_MAX + 1);
    CLEANUP_FD int fd = open_file(folder_fd, path, error);
    if (fd < 0)
        return -1;
    if (!text)
        return error_oom(error);
    ssize_t len = fd_read_all(fd, text, REQUIREMENTS_BYTES_MAX + 1); /* one more than is taken */
    if (len < 0)
        return error_set_errno(error, (int)len, "cannot read requirements.txt");
    return requirements_read(text, (size_t)len, &requirements, error);
}

int package_pack(int folder_fd, const struct package_pack_options *options, int out_fd, struct package_packed *ret,
    struct tw_error *error)
{
    static const struct package_pack_options defaults;
    CLEANUP_PACK_LIST struct pack_list list = {0};
    CLEANUP_ZIP struct zip *zip = NULL;
    struct pack p = {.folder_fd = folder_fd, .options = options ? options : &defaults, .all = &list.found};
    if (pack_list_make(&list, folder_fd, p.options, error) < 0 || check_requirements(&list, folder_fd, error) < 0)
        return -1;
    if (zip_open(&zip, out_fd, p.options->max_packed, error) < 0)
        return -1;
    tell(&p);
    for (size_t i = 0; i < list.n_items; i++) {
        if (add(&p, zip, &list.items[i], error) < 0)
            return -1;
    }
    if (zip_finish(zip, &list.found.packed, error) < 0)
        return -1;
    *ret = list.found;
    return 0;
}
