/* SPDX-License-Identifier: Apache-2.0 */
/* A task that is tried once more, as another one. */
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "task/task.h"

struct again {
    struct engine *engine;
    char *id, *new_id;
    char **after;
    size_t n_after;
    bool after_own;
    void *data;
    size_t len;
    engine_admit_cb cb;
    void *ctx;
};

static void again_free(struct again *a)
{
    free(a->id);
    free(a->new_id);
    for (size_t i = 0; i < a->n_after; i++)
        free(a->after[i]);
    free(a->after);
    free(a->data);
    free(a);
}

static void again_fail(struct again *a, const struct tw_error *error)
{
    a->cb(a->ctx, NULL, false, error);
    again_free(a);
}

/*
 * What it was, but for what has passed: its start time, and those that it came after, unless it never came to its turn or is given
 * others.
 */
static void on_old_spec(void *ctx, const struct store_task *stored, const struct tw_error *error)
{
    struct again *a = ctx;
    if (error) {
        again_fail(a, error);
        return;
    }
    const struct tw_task_info *info = &stored->info;
    const struct store_spec *old = &stored->spec;
    CLEANUP_FREE struct tw_env *env = calloc(old->n_env + 1, sizeof *env);
    CLEANUP_FREE const char **after = calloc(info->n_after + 1, sizeof *after);
    CLEANUP_FREE struct tw_input *inputs = calloc(old->n_inputs + 1, sizeof *inputs);
    struct tw_error oom;
    if (!env || !after || !inputs) {
        error_oom(&oom);
        again_fail(a, &oom);
        return;
    }
    for (size_t i = 0; i < old->n_env; i++)
        env[i] = (struct tw_env){.name = old->env[i].name, .value = old->env[i].value};
    for (size_t i = 0; i < info->n_after; i++)
        after[i] = info->after[i].id;
    for (size_t i = 0; i < old->n_inputs; i++) /* the same files, as they are now */
        inputs[i] = (struct tw_input){.file_id = old->inputs[i].file_id, .path = old->inputs[i].path};
    bool waited = info->attempt == 0 && !a->n_after;
    struct tw_task_spec spec = {
        .size = sizeof spec,
        .id = a->new_id,
        .type = info->type,
        .owner = info->owner,
        .data = a->data,
        .data_len = a->len,
        .args = (const char *const *)old->args,
        .n_args = old->n_args,
        .env = env,
        .n_env = old->n_env,
        .timeout_us = info->timeout_us,
        .retries = info->retries,
        .limits = old->limits,
        .network = old->network,
        .fresh_interpreter = old->fresh_interpreter,
        .priority = info->priority,
        .queue_timeout_us = info->queue_timeout_us,
        .retry_delay_us = info->retry_delay_us,
        .grace_us = old->grace_us,
        .labels = info->labels,
        .n_labels = info->n_labels,
        .retry_of = info->id,
        .after = a->n_after ? (const char *const *)a->after : after,
        .n_after = waited ? info->n_after : a->n_after,
        .after_any = old->after_any,
        .after_own = a->after_own && !waited,
        .gpus = old->gpus,
        .gpu_memory_bytes = old->gpu_memory_bytes,
        .inputs = inputs,
        .n_inputs = old->n_inputs,
        .outputs = (const char *const *)old->outputs,
        .n_outputs = old->n_outputs,
    };
    admit_task(a->engine, &spec, STEAL(a->data), false, a->cb, a->ctx);
    again_free(a);
}

static void on_old_input(void *ctx, const void *data, size_t len, const struct tw_error *error)
{
    struct again *a = ctx;
    struct tw_error oom;
    a->data = error ? NULL : text_dup(data, len);
    a->len = len;
    if (a->data) {
        store_get(a->engine->options.store, a->id, on_old_spec, a);
        return;
    }
    if (!error)
        error_oom(&oom);
    again_fail(a, error ? error : &oom);
}

static void on_old_task(void *ctx, const struct tw_task_info *info, uint64_t seq, const struct tw_error *error)
{
    struct again *a = ctx;
    struct tw_error refusal;
    if (!error && info->state != TW_TASK_FAILED && info->state != TW_TASK_STOPPED) {
        error_set(&refusal, TW_FAILED_PRECONDITION, "task %s is %s: only what failed or was stopped can be tried again",
            info->id, tw_task_state_to_string(info->state));
        error = &refusal;
    } else if (!error && info->reason == TW_REASON_DEPENDENCY && !a->n_after) {
        error_set(&refusal, TW_FAILED_PRECONDITION,
            "%s: say what task %s is to come after now (after), or try that one again", info->message, info->id);
        error = &refusal;
    }
    if (error)
        again_fail(a, error);
    else
        store_load_input(a->engine->options.store, seq, on_old_input, a);
}

static struct again *again_new(const char *id, const char *new_id, const char *const *after, size_t n_after)
{
    struct again *a = calloc(1, sizeof *a);
    bool named = new_id && *new_id;
    if (!a)
        return NULL;
    a->id = strdup(id);
    a->new_id = named ? strdup(new_id) : NULL;
    a->after = calloc(n_after + 1, sizeof *a->after);
    bool ok = a->id && a->after && (!named || a->new_id);
    for (; ok && a->n_after < n_after; a->n_after += ok)
        ok = (a->after[a->n_after] = strdup(after[a->n_after]));
    if (ok)
        return a;
    again_free(a);
    return NULL;
}

void engine_retry(struct engine *engine, const struct engine_again *asked, engine_admit_cb cb, void *ctx)
{
    struct again *a = again_new(asked->id, asked->new_id, asked->after, asked->n_after);
    if (!a) {
        struct tw_error error;
        error_oom(&error);
        cb(ctx, NULL, false, &error);
        return;
    }
    a->engine = engine;
    a->after_own = asked->after_own;
    a->cb = cb;
    a->ctx = ctx;
    engine_get(engine, asked->id, on_old_task, a);
}
