/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hivemind storage get FOLDER/: every file whose name begins with that, under the rest of its name below a folder here. The names are a
 * server's word: none may lead out of that folder, and nothing is written through a link.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "cli/files.h"

static bool leads_nowhere_else(const char *path)
{
    if (!*path || text_has_control(path, strlen(path)))
        return false;
    for (;;) {
        size_t len = strcspn(path, "/");
        if (len == 0 || (len == 1 && *path == '.') || (len == 2 && !memcmp(path, "..", 2)))
            return false;
        if (!path[len])
            return true;
        path += len + 1;
    }
}

/* Makes the folders on the way to path below top, and says with the last one where it is to be written. -errno. */
static int make_folders(const char *top, const char *path)
{
    if (mkdir(top, 0777) < 0 && errno != EEXIST)
        return -errno;
    CLEANUP_FD int fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (const char *slash; fd >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
        CLEANUP_FREE char *part = text_dup(path, (size_t)(slash - path));
        if (!part)
            return -ENOMEM;
        if (mkdirat(fd, part, 0777) < 0 && errno != EEXIST)
            return -errno;
        int next = openat(fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int err = errno;
        fd_close(&fd);
        fd = next;
        errno = err;
    }
    return fd < 0 ? -errno : 0;
}

static int get_one(struct cli *cli, const Taskworker__File *file, const char *rest, const char *top)
{
    CLEANUP_FREE char *path = NULL;
    Taskworker__FileRequest which = TASKWORKER__FILE_REQUEST__INIT;
    if (!leads_nowhere_else(rest)) {
        cli_error(cli, TW_INTERNAL, "the node has sent a name that cannot be one: %.200s", rest);
        return EXIT_TROUBLE;
    }
    int r = make_folders(top, rest);
    if (r < 0 || asprintf(&path, "%s/%s", top, rest) < 0) {
        cli_error(cli, TW_INVALID_ARGUMENT, "cannot make the folders for %s/%s: %s", top, rest,
            strerror(r < 0 ? -r : ENOMEM));
        return EXIT_USAGE;
    }
    which.file_id = file->file_id;
    which.user_id = file->user_id;
    return files_get_one(cli, &which, path);
}

int files_get_all(struct cli *cli, const char *prefix, const char *owner, const char *top)
{
    Taskworker__ListFilesRequest request = TASKWORKER__LIST_FILES_REQUEST__INIT;
    CLEANUP_FREE char *token = NULL;
    uint64_t n = 0, bytes = 0;
    int code = 0;
    request.user_id = (char *)owner;
    request.prefix = (char *)prefix;
    request.page_size = 1000;
    do {
        CLEANUP_MESSAGE Taskworker__ListFilesResponse *page = NULL;
        request.page_token = token ? token : (char *)"";
        code = cli_call(
            cli, FILES_METHOD("ListFiles"), &request.base, &taskworker__list_files_response__descriptor, 0, &page);
        for (size_t i = 0; !code && i < page->n_files; i++) {
            const char *name = page->files[i]->filename;
            bool below = !strncmp(name, prefix, strlen(prefix));
            code = get_one(cli, page->files[i], below ? name + strlen(prefix) : "", top);
            bytes += page->files[i]->size;
            n++;
        }
        free(token);
        token = !code && *page->next_page_token ? strdup(page->next_page_token) : NULL;
    } while (token);
    char size[32];
    if (!code && n == 0) {
        cli_error(
            cli, TW_NOT_FOUND, "there is no file whose name begins with %s; `hivemind storage ls` lists them", prefix);
        return EXIT_NOT_FOUND;
    }
    if (!code && !cli->json)
        cli_note(cli, "%llu %s, %s, in %s", (unsigned long long)n, n == 1 ? "file" : "files", format_bytes(bytes, size),
            top);
    return code;
}
