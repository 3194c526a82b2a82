/* SPDX-License-Identifier: Apache-2.0 */
#include "package/result.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "package/zip.h"

enum { VALUE_MAX = 1024 };

struct package_result {
    struct zip *zip;
};

int package_result_new(struct package_result **ret, int out_fd, uint64_t max_bytes, struct tw_error *error)
{
    CLEANUP_PACKAGE_RESULT struct package_result *result = calloc(1, sizeof *result);
    if (!result)
        return error_oom(error);
    if (zip_open(&result->zip, out_fd, max_bytes, error) < 0)
        return -1;
    *ret = STEAL(result);
    return 0;
}

struct package_result *package_result_free(struct package_result *result)
{
    if (result)
        (void)zip_free(result->zip);
    free(result);
    return NULL;
}

bool package_result_is_own(const char *path)
{
    return strcmp(path, PACKAGE_EXECUTION_LOG) == 0 || strcmp(path, PACKAGE_TASK_LOGS) == 0 ||
        strcmp(path, PACKAGE_TASK_STOPPED) == 0;
}

static int refuse_own(const char *path, struct tw_error *error)
{
    return package_result_is_own(path)
        ? error_set(error, TW_ALREADY_EXISTS, "%s of the workspace is left out: the node has one of its own", path)
        : 0;
}

int package_result_add_file(
    struct package_result *result, const char *path, int fd, uint64_t size, bool executable, struct tw_error *error)
{
    const struct zip_file file = {.path = path, .executable = executable};
    return refuse_own(path, error) < 0 ? -1 : zip_add_file(result->zip, &file, fd, size, error);
}

int package_result_add_folder(struct package_result *result, const char *path, struct tw_error *error)
{
    return refuse_own(path, error) < 0 ? -1 : zip_add_folder(result->zip, path, error);
}

int package_result_add_text(
    struct package_result *result, const char *path, const void *data, size_t len, struct tw_error *error)
{
    return zip_add_bytes(result->zip, path, data, len, error);
}

int package_result_add_source(
    struct package_result *result, const char *path, package_source source, void *arg, struct tw_error *error)
{
    return zip_add_stream(result->zip, path, source, arg, error);
}

int package_result_end(struct package_result *result, uint64_t *ret_bytes, struct tw_error *error)
{
    return zip_finish(result->zip, ret_bytes, error);
}

/* --- execution_log.txt --- */

static void put_text(struct buf *out, const char *key, const char *value)
{
    CLEANUP_FREE char *line = value ? text_line(value, strlen(value), VALUE_MAX) : NULL;
    if (value && !line)
        out->error = -ENOMEM;
    (void)buf_printf(out, "%s:%s%s\n", key, line && *line ? " " : "", line ? line : "");
}

static void put_number(struct buf *out, const char *key, int64_t value)
{
    (void)buf_printf(out, "%s: %" PRId64 "\n", key, value);
}

static void put_time(struct buf *out, const char *key, uint64_t wall_us)
{
    char text[CLOCK_TEXT_MAX];
    put_text(out, key, clock_format(wall_us, text));
}

int package_execution_log(const struct package_execution *e, struct buf *out)
{
    put_text(out, "task_id", e->task_id);
    put_text(out, "node", e->node);
    put_text(out, "status", e->status);
    put_text(out, "reason", e->reason);
    put_text(out, "message", e->message);
    put_number(out, "exit_code", e->exit_code);
    put_number(out, "signal", e->signal);
    put_number(out, "attempt", e->attempt);
    put_time(out, "started", e->started_us);
    put_time(out, "finished", e->finished_us);
#define X(name) (void)buf_printf(out, #name ": %" PRIu64 "\n", e->usage.name);
    TW_USAGE(X)
#undef X
    return out->error;
}
