/* SPDX-License-Identifier: Apache-2.0 */
#include "task/outputs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/glob.h"

int outputs_check(const struct engine *engine, const struct tw_task_spec *spec, struct tw_error *error)
{
    if (spec->n_outputs == 0)
        return 0;
    if (!engine->options.files.keep)
        return error_set(error, TW_FAILED_PRECONDITION, "this node keeps no files, so a task can have no outputs");
    if (spec->n_outputs > TW_OUTPUTS_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "%zu patterns of outputs are too many: at most %d",
            spec->n_outputs, TW_OUTPUTS_MAX);
    if (!strcmp(spec->type, "function") && engine->options.runtime->ops->file_kept == NULL)
        return error_set(error, TW_INVALID_ARGUMENT, "functions of this node have no workspace, and so no outputs");
    for (size_t i = 0; i < spec->n_outputs; i++) {
        const char *pattern = spec->outputs[i] ? spec->outputs[i] : "";
        size_t len = strnlen(pattern, TW_OUTPUT_PATTERN_MAX + 1);
        const char *flaw = len > TW_OUTPUT_PATTERN_MAX ? "has more than 1024 bytes" : glob_flaw(pattern);
        if (flaw)
            return error_set(error, TW_INVALID_ARGUMENT,
                "pattern %zu of outputs %s: it has to name paths below the task's workspace, like result.csv or "
                "out/*.png",
                i + 1, flaw);
    }
    return 0;
}

int outputs_copy(const struct tw_task_spec *from, struct store_spec *to)
{
    to->outputs = from->n_outputs ? calloc(from->n_outputs, sizeof *to->outputs) : NULL;
    if (from->n_outputs && !to->outputs)
        return -ENOMEM;
    for (; to->n_outputs < from->n_outputs; to->n_outputs++) {
        char *copy = strdup(from->outputs[to->n_outputs]);
        if (!copy)
            return -ENOMEM;
        to->outputs[to->n_outputs] = copy;
    }
    return 0;
}

/* --- one file --- */

struct keeping {
    struct attempt *a;
    uint64_t size;
    char path[];
};

static void fail(struct attempt *a, const char *path, const char *why)
{
    if (!a->outputs.lost)
        error_set(&a->outputs.why, TW_UNAVAILABLE, "its output %.200s could not be kept: %s", path, why);
    a->outputs.lost = true;
}

static void dealt_with(struct attempt *a)
{
    a->run->rt->ops->file_kept(a->run);
}

static void on_kept(void *ctx, const struct tw_error *error)
{
    struct keeping *k = ctx;
    struct attempt *a = k->a;
    if (error) {
        fail(a, k->path, error->message);
    } else {
        a->outputs.n++;
        a->outputs.bytes += k->size;
    }
    free(k);
    if (a->run)
        dealt_with(a);
    attempt_unref(a);
}

void outputs_on_file(void *ctx, const struct run_file *file)
{
    struct attempt *a = ctx;
    const struct engine_files *files = &a->task->engine->options.files;
    const struct tw_task_info *info = &a->task->record.info;
    if (!a->outputs.begun) {
        a->outputs.begun = true;
        uv_timer_stop(&a->timer);
        task_set_message(a->task, "has ended; its outputs are being kept");
    }
    struct keeping *k = files->keep ? calloc(1, sizeof *k + strlen(file->path) + 1) : NULL;
    if (!k) {
        close(file->fd);
        fail(a, file->path, files->keep ? "out of memory" : "this node keeps no files");
        dealt_with(a);
        return;
    }
    k->a = a;
    a->refs++;
    k->size = file->size;
    memcpy(k->path, file->path, strlen(file->path) + 1);
    files->keep(files->ctx, info->owner, info->id, file, on_kept, k);
}

/* --- all of them --- */

/* Beside what there is to say of the end. */
static void remark(struct attempt *a, const struct run_outcome *outcome)
{
    struct attempt_outputs *o = &a->outputs;
    if (o->lost)
        return;
    if (outcome->files_left) {
        error_set(&o->why, TW_RESOURCE_EXHAUSTED,
            "%u of its outputs could not be kept: each needs a name in UTF-8 without control characters, and they can "
            "be "
            "too many",
            (unsigned)outcome->files_left);
        o->lost = true;
    } else if (o->n == 0) {
        error_set(&o->why, TW_NOT_FOUND, "no file is one of its outputs");
    }
}

void outputs_settle(struct attempt *a, const struct run_outcome *outcome, struct verdict *v)
{
    if (a->task->record.spec.n_outputs == 0 || outcome->end == RUN_LOST || outcome->end == RUN_SANDBOX_ERROR ||
        outcome->end == RUN_BAD_INPUT)
        return;
    remark(a, outcome);
    v->usage.outputs = a->outputs.n;
    v->usage.output_bytes = a->outputs.bytes;
    if (a->outputs.lost && v->reason == TW_REASON_NONE)
        v->reason = TW_REASON_STORAGE_ERROR;
}
