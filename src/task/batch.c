/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks that are handed in by others than one request with one task: batches and arrays, and tasks that are tried once more. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "task/task.h"

struct batch {
    struct engine *engine;
    char *id;
    struct store_task *records;
    char **ids;
    struct admitting size; /* n: records that are filled in */
    struct queue_owner *owner;
    engine_batch_cb cb;
    void *ctx;
};

static void batch_free(struct batch *b)
{
    for (size_t i = 0; i < b->size.n; i++) {
        store_task_done(&b->records[i]);
        free(b->ids[i]);
    }
    free(b->records);
    free(b->ids);
    free(b->id);
    free(b);
}

/* --- one of them --- */

/* What is given to one task beyond its spec. */
struct addition {
    char id[160], index[16];
    struct tw_label *labels;
    struct tw_env *env;
};

static void addition_done(struct addition *add)
{
    free(add->labels);
    free(add->env);
}

/* Fills in the spec of the task in place n; the strings are the addition's. */
static int add_to_spec(
    const struct batch *b, const struct engine_batch *asked, size_t n, struct tw_task_spec *spec, struct addition *add)
{
    bool array = asked->array_count > 0;
    snprintf(add->index, sizeof add->index, "%zu", array ? asked->array_first + n : n);
    add->labels = calloc(spec->n_labels + 2, sizeof *add->labels);
    add->env = calloc(spec->n_env + 1, sizeof *add->env);
    if (!add->labels || !add->env)
        return -ENOMEM;
    for (size_t i = 0; i < spec->n_labels; i++)
        add->labels[i] = spec->labels[i];
    add->labels[spec->n_labels++] = (struct tw_label){.key = TW_LABEL_BATCH, .value = b->id};
    add->labels[spec->n_labels++] = (struct tw_label){.key = TW_LABEL_INDEX, .value = add->index};
    spec->labels = add->labels;
    if (array) {
        for (size_t i = 0; i < spec->n_env; i++)
            add->env[i] = spec->env[i];
        add->env[spec->n_env++] = (struct tw_env){.name = "HIVEMIND_ARRAY_INDEX", .value = add->index};
        spec->env = add->env;
    }
    if (array || !spec->id || !*spec->id) {
        snprintf(add->id, sizeof add->id, "%s-%s", b->id, add->index);
        spec->id = add->id;
    }
    return 0;
}

static int make_record(struct batch *b, const struct engine_batch *asked, size_t n, struct tw_error *error)
{
    struct tw_task_spec spec = asked->specs[asked->array_count ? 0 : n];
    CLEANUP(addition_done) struct addition add = {0};
    void *no_data = NULL;
    /* As it came, once, since what is added to it may have the node's own labels; then with that, for the bounds. */
    if ((n == 0 || !asked->array_count) && spec_check(b->engine, &spec, true, error) < 0)
        return -1;
    if (add_to_spec(b, asked, n, &spec, &add) < 0)
        return error_oom(error);
    if (spec_check(b->engine, &spec, false, error) < 0)
        return -1;
    struct store_task *record = &b->records[b->size.n];
    int r = spec_record(b->engine, &spec, &no_data, record);
    char *id = b->ids[b->size.n++] = record->info.id ? strdup(record->info.id) : NULL; /* counted: it is freed */
    if (r < 0 || !id)
        return error_oom(error);
    size_t bytes = record_bytes(record);
    b->size.queue_bytes += bytes;
    b->size.bytes += bytes + record->spec.data_len;
    return 0;
}

static int fail_large(struct tw_error *error)
{
    return error_set(error, TW_INVALID_ARGUMENT, "the batch is larger than the %d MiB that are taken at once",
        ENGINE_MAX_ADMITTING_BYTES >> 20);
}

static int make_records(struct batch *b, const struct engine_batch *asked, size_t n, struct tw_error *error)
{
    for (size_t i = 0; i < n; i++) {
        if (make_record(b, asked, i, error) < 0) {
            struct tw_error cause = *error;
            return cause.code == TW_RESOURCE_EXHAUSTED
                ? -1
                : error_set(error, cause.code, "task %zu of the batch: %s", i + 1, cause.message);
        }
        if (b->size.bytes > ENGINE_MAX_ADMITTING_BYTES)
            return fail_large(error);
    }
    return 0;
}

/* --- all of them --- */

static int batch_check(const struct engine_batch *asked, size_t n, struct tw_error *error)
{
    if (asked->batch_id && *asked->batch_id && tw_task_id_check(asked->batch_id, strlen(asked->batch_id), error) < 0)
        return error_wrap(error, "batch_id");
    if (n == 0)
        return error_set(error, TW_INVALID_ARGUMENT, "the batch is empty");
    if (n > ENGINE_MAX_BATCH)
        return error_set(error, TW_INVALID_ARGUMENT, "the batch has %zu tasks: at most %d", n, ENGINE_MAX_BATCH);
    if (asked->array_count && asked->n_specs != 1)
        return error_set(error, TW_INVALID_ARGUMENT, "an array is made of one task: the batch has %zu", asked->n_specs);
    if ((uint64_t)asked->array_first + n > INT32_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "array_first is %u, which is too large", asked->array_first);
    return 0;
}

static void batch_answer(struct batch *b, const struct tw_error *error)
{
    struct engine *engine = b->engine;
    b->cb(b->ctx, error ? NULL : b->id, error ? NULL : (const char *const *)b->ids, error ? 0 : b->size.n, error);
    batch_free(b);
    engine_check_drained(engine);
}

static void on_batch_admitted(void *ctx, const bool *existing, const struct tw_error *error)
{
    struct batch *b = ctx;
    struct engine *engine = b->engine;
    admit_leave(engine, b->owner, &b->size);
    for (size_t i = 0; !error && i < b->size.n; i++) {
        if (!existing[i])
            (void)admit_live(engine, &b->records[i]);
    }
    batch_answer(b, error);
    engine_schedule(engine);
}

static struct batch *batch_new(struct engine *engine, const struct engine_batch *asked, size_t n)
{
    struct batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->engine = engine;
    b->id = asked->batch_id && *asked->batch_id ? strdup(asked->batch_id) : spec_make_id();
    b->records = calloc(n, sizeof *b->records);
    b->ids = calloc(n, sizeof *b->ids);
    if (b->id && b->records && b->ids)
        return b;
    batch_free(b);
    return NULL;
}

/* What is known before anything is copied: what will be refused shall cost nothing. */
static int check_room_ahead(
    const struct engine *engine, const struct engine_batch *asked, size_t n, struct tw_error *error)
{
    const char *owner = asked->specs[0].owner;
    struct admitting size = {.n = n};
    for (size_t i = 0; i < n && size.bytes <= ENGINE_MAX_ADMITTING_BYTES; i++)
        size.bytes += asked->specs[asked->array_count ? 0 : i].data_len;
    if (size.bytes > ENGINE_MAX_ADMITTING_BYTES)
        return fail_large(error);
    return admit_check_room(engine, owner ? owner : "", &size, error);
}

void engine_admit_batch(struct engine *engine, const struct engine_batch *asked, engine_batch_cb cb, void *ctx)
{
    size_t n = asked->array_count ? asked->array_count : asked->n_specs;
    struct tw_error error = {.code = TW_OK};
    struct batch *b = NULL;
    if (batch_check(asked, n, &error) < 0 || check_room_ahead(engine, asked, n, &error) < 0 ||
        !(b = batch_new(engine, asked, n))) {
        if (error.code == TW_OK)
            error_oom(&error);
        cb(ctx, NULL, NULL, 0, &error);
        return;
    }
    b->cb = cb;
    b->ctx = ctx;
    if (make_records(b, asked, n, &error) < 0 ||
        admit_check_room(engine, b->records[0].info.owner, &b->size, &error) < 0) {
        batch_answer(b, &error);
        return;
    }
    b->owner = admit_enter(engine, b->records[0].info.owner, &b->size);
    store_admit_batch(engine->options.store, b->records, n, on_batch_admitted, b);
}

/* --- once more --- */

struct again {
    struct engine *engine;
    char *id, *new_id;
    void *data;
    size_t len;
    engine_admit_cb cb;
    void *ctx;
};

static void again_free(struct again *a)
{
    free(a->id);
    free(a->new_id);
    free(a->data);
    free(a);
}

static void again_fail(struct again *a, const struct tw_error *error)
{
    a->cb(a->ctx, NULL, false, error);
    again_free(a);
}

/* What it was, but for what has passed: its start time, and those that it came after. */
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
    struct tw_error oom;
    if (!env) {
        error_oom(&oom);
        again_fail(a, &oom);
        return;
    }
    for (size_t i = 0; i < old->n_env; i++)
        env[i] = (struct tw_env){.name = old->env[i].name, .value = old->env[i].value};
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
    }
    if (error)
        again_fail(a, error);
    else
        store_load_input(a->engine->options.store, seq, on_old_input, a);
}

void engine_retry(struct engine *engine, const char *id, const char *new_id, engine_admit_cb cb, void *ctx)
{
    struct again *a = calloc(1, sizeof *a);
    bool named = new_id && *new_id;
    if (a)
        *a = (struct again){
            .engine = engine, .cb = cb, .ctx = ctx, .id = strdup(id), .new_id = named ? strdup(new_id) : NULL};
    if (!a || !a->id || (named && !a->new_id)) {
        struct tw_error error;
        if (a)
            again_free(a);
        error_oom(&error);
        cb(ctx, NULL, false, &error);
        return;
    }
    engine_get(engine, id, on_old_task, a);
}
