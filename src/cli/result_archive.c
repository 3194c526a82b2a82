/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/result_archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "cli/files.h"
#include "package/result.h"

struct writing {
    struct cli *cli;
    const Taskworker__Task *task;
    const char *path;
    struct package_result *zip;
    struct tw_error error;
    uint64_t n;
};

static int report(struct writing *w)
{
    cli_error(w->cli, w->error.code, "%s: %s", w->path, w->error.message);
    return EXIT_TROUBLE;
}

/* A file without a name beside the archive: what comes from the node is as large as it likes. -1 with errno. */
static int scratch_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    CLEANUP_FREE char *folder = slash == path ? strdup("/")
        : slash                               ? strndup(path, (size_t)(slash - path))
                                              : strdup(".");
    int fd = folder ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
    if (fd >= 0 || !folder || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
        return fd;
    FILE *file = tmpfile(); /* file systems that know no such files */
    fd = file ? fcntl(fileno(file), F_DUPFD_CLOEXEC, 3) : -1;
    if (file)
        fclose(file);
    return fd;
}

static int open_scratch(struct writing *w)
{
    int fd = scratch_file(w->path);
    if (fd < 0)
        error_set_errno(&w->error, errno, "a temporary file");
    return fd;
}

static int add_scratch(struct writing *w, const char *name, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return error_set_errno(&w->error, errno, "a temporary file");
    return package_result_add_file(w->zip, name, fd, (uint64_t)st.st_size, false, &w->error);
}

/* --- what it left --- */

static int add_output(struct writing *w, Taskworker__File *file, const char *name)
{
    Taskworker__FileRequest which = TASKWORKER__FILE_REQUEST__INIT;
    CLEANUP_FD int fd = open_scratch(w);
    if (fd < 0)
        return report(w);
    which.file_id = file->file_id;
    which.user_id = file->user_id;
    int code = files_get_to(w->cli, &which, fd);
    if (code)
        return code;
    int r = add_scratch(w, name, fd);
    if (r < 0 && w->error.code != TW_ALREADY_EXISTS && w->error.code != TW_INVALID_ARGUMENT)
        return report(w);
    if (r < 0)
        cli_note(w->cli, "left out: %s", w->error.message);
    w->n += r == 0;
    return 0;
}

static int add_outputs(struct writing *w)
{
    Taskworker__ListFilesRequest request = TASKWORKER__LIST_FILES_REQUEST__INIT;
    CLEANUP_FREE char *prefix = NULL, *token = NULL;
    int code = 0;
    if (asprintf(&prefix, "%s/", w->task->task_id) < 0)
        prefix = NULL;
    request.prefix = prefix;
    request.user_id = w->task->owner;
    request.page_size = 1000;
    do {
        CLEANUP_MESSAGE Taskworker__ListFilesResponse *page = NULL;
        request.page_token = token ? token : (char *)"";
        code = cli_call(
            w->cli, FILES_METHOD("ListFiles"), &request.base, &taskworker__list_files_response__descriptor, 0, &page);
        for (size_t i = 0; !code && i < page->n_files; i++) {
            const char *name = page->files[i]->filename;
            bool below = prefix && !strncmp(name, prefix, strlen(prefix));
            code = add_output(w, page->files[i], below ? name + strlen(prefix) : "");
        }
        free(token);
        token = !code && *page->next_page_token ? strdup(page->next_page_token) : NULL;
    } while (token);
    return code;
}

/* --- what it printed --- */

struct reading {
    int fd, error;
    bool done;
    struct tw_error status;
};

static void on_log(struct rpc_client_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct reading *r = ctx;
    Taskworker__StreamLogsResponse *m = taskworker__stream_logs_response__unpack(NULL, len, msg);
    if (!m)
        r->error = EBADMSG;
    else if (!r->error)
        r->error = -fd_write_all(r->fd, m->data.data, m->data.len);
    taskworker__stream_logs_response__free_unpacked(m, NULL);
    if (r->error)
        rpc_client_cancel(call);
}

static void on_log_done(struct rpc_client_call *call UNUSED, const struct tw_error *status, void *ctx)
{
    struct reading *r = ctx;
    r->status = *status;
    r->done = true;
}

static ssize_t read_scratch(void *arg, void *to, size_t max)
{
    return fd_read_all(*(int *)arg, to, max);
}

static int add_log(struct writing *w)
{
    static const struct rpc_client_callbacks callbacks = {.on_message = on_log, .on_done = on_log_done};
    Taskworker__StreamLogsRequest request = TASKWORKER__STREAM_LOGS_REQUEST__INIT;
    char method[80];
    CLEANUP_FD int fd = open_scratch(w);
    struct reading r = {.fd = fd};
    if (fd < 0)
        return report(w);
    request.task_id = w->task->task_id;
    if (!rpc_client_start(w->cli->client, cli_method("StreamLogs", method), &request.base, 0, &callbacks, &r)) {
        error_oom(&w->error);
        return report(w);
    }
    while (!r.done)
        uv_run(&w->cli->loop, UV_RUN_ONCE);
    if (r.error) {
        error_set_errno(&w->error, r.error, "the task's output");
        return report(w);
    }
    if (r.status.code != TW_OK)
        return cli_report(w->cli, &r.status);
    (void)lseek(fd, 0, SEEK_SET); /* cannot fail on a file of ours */
    return package_result_add_source(w->zip, PACKAGE_TASK_LOGS, read_scratch, &fd, &w->error) < 0 ? report(w) : 0;
}

/* --- what the node says of it --- */

static int add_story(struct writing *w)
{
    const Taskworker__Task *t = w->task;
    char reason[32];
    CLEANUP_BUF struct buf text = BUF_INIT(64 * 1024);
    struct package_execution e = {.task_id = t->task_id,
        .node = w->cli->server,
        .status = task_state_name(t->state),
        .reason = task_reason_name(t->reason, reason),
        .message = t->message,
        .exit_code = t->exit_code,
        .signal = t->signal,
        .attempt = t->attempt,
        .started_us = (uint64_t)t->started_us,
        .finished_us = (uint64_t)t->finished_us};
#define X(name) e.usage.name = t->usage ? t->usage->name : 0;
    TW_USAGE(X)
#undef X
    if (package_execution_log(&e, &text) < 0) {
        error_oom(&w->error);
        return report(w);
    }
    bool stopped = t->state == TASKWORKER__TASK__STATE__STOPPED;
    if (package_result_add_text(w->zip, PACKAGE_EXECUTION_LOG, text.data, text.len, &w->error) < 0 ||
        (stopped &&
            package_result_add_text(w->zip, PACKAGE_TASK_STOPPED, t->message, strlen(t->message), &w->error) < 0))
        return report(w);
    return 0;
}

static int write_all(struct writing *w, int fd)
{
    if (package_result_new(&w->zip, fd, 0, &w->error) < 0)
        return report(w);
    int code = add_outputs(w);
    code = code ? code : add_log(w);
    code = code ? code : add_story(w);
    if (!code && package_result_end(w->zip, NULL, &w->error) < 0)
        code = report(w);
    w->zip = package_result_free(w->zip);
    return code;
}

int result_archive_write(struct cli *cli, const Taskworker__Task *task, const char *path)
{
    struct writing w = {.cli = cli, .task = task, .path = path};
    CLEANUP_FREE char *aside = NULL;
    if (asprintf(&aside, "%s.part-%d", path, (int)getpid()) < 0)
        aside = NULL;
    CLEANUP_FD int fd = aside ? open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666) : -1;
    if (fd < 0) {
        cli_error(cli, TW_INVALID_ARGUMENT, "cannot write to %s: %s", path, strerror(aside ? errno : ENOMEM));
        return EXIT_USAGE;
    }
    int code = write_all(&w, fd);
    if (!code && (fsync(fd) < 0 || rename(aside, path) < 0)) {
        cli_error(cli, TW_INVALID_ARGUMENT, "cannot write to %s: %s", path, strerror(errno));
        code = EXIT_USAGE;
    }
    if (code)
        (void)unlink(aside);
    else
        cli_note(cli, "%s: %llu %s that the task left, its output, and how it went", path, (unsigned long long)w.n,
            w.n == 1 ? "file" : "files");
    return code;
}
