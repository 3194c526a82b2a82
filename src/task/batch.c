/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches and arrays: many tasks in one request.
 *
 * A batch is made record by record, a few in each round of the loop. Data that would not stay in memory once its task is queued is
 * never copied: the records borrow it from the specs until they are on disk.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/map.h"
#include "base/text.h"
#include "base/timer.h"
#include "task/inputs.h"

enum { RECORDS_AT_ONCE = 250 };

struct batch {
    struct engine *engine;
    struct engine_batch asked; /* the caller's, until the callback */
    size_t n;                  /* tasks in it */
    char *id;
    struct store_task *records;
    char **ids;
    struct admitting size;     /* of the records that are filled in; n of them */
    struct admitting entered;  /* what counts of it for the engine */
    size_t bytes_ahead;        /* of data, as it was announced */
    struct queue_owner *owner; /* while it counts */
    struct spec_digest begun;  /* of an array */
    size_t gathered;           /* of so many the inputs are there */
    bool only_known;           /* there is no room for it: it has to be there already, */
    struct tw_error refusal;   /* or else it hears this */
    uv_timer_t *next;          /* the next round */
    engine_batch_cb cb;
    void *ctx;
};

static const struct tw_task_spec *spec_at(const struct batch *b, size_t n)
{
    return &b->asked.specs[b->asked.array_count ? 0 : n];
}

/* Those that are not copied. */
static void forget_borrowed_data(struct batch *b, size_t n)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a batch has specs, see batch_check() */
    if (b->records[n].spec.data == spec_at(b, n)->data)
        b->records[n].spec.data = NULL;
}

static void batch_free(struct batch *b)
{
    for (size_t i = 0; i < b->size.n; i++) {
        store_task_done(&b->records[i]);
        free(b->ids[i]);
    }
    timer_free(&b->next);
    free(b->records);
    free(b->ids);
    free(b->id);
    free(b);
}

static void batch_enter(struct batch *b, const struct admitting *size)
{
    const char *owner = b->asked.specs[0].owner;
    b->entered = *size;
    b->owner = admit_enter(b->engine, owner ? owner : "", &b->entered);
}

static void batch_leave(struct batch *b)
{
    admit_leave(b->engine, STEAL(b->owner), &b->entered);
    b->entered = (struct admitting){0};
}

static void batch_answer(struct batch *b, const struct tw_error *error)
{
    struct engine *engine = b->engine;
    for (size_t i = 0; i < b->size.n; i++) /* the specs may go with the callback */
        forget_borrowed_data(b, i);
    b->cb(b->ctx, error ? NULL : b->id, error ? NULL : (const char *const *)b->ids, error ? 0 : b->size.n, error);
    batch_free(b);
    engine_check_drained(engine);
}

static void batch_fail(struct batch *b, const struct tw_error *error)
{
    if (b->entered.n)
        batch_leave(b);
    batch_answer(b, error);
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
static int add_to_spec(const struct batch *b, size_t n, struct tw_task_spec *spec, struct addition *add)
{
    bool array = b->asked.array_count > 0;
    snprintf(add->index, sizeof add->index, "%zu", array ? b->asked.array_first + n : n);
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

static int make_record(struct batch *b, size_t n, struct tw_error *error)
{
    struct tw_task_spec spec = *spec_at(b, n);
    CLEANUP(addition_done) struct addition add = {0};
    bool array = b->asked.array_count > 0;
    /* As it came, once, since what is added to it may have the node's own labels; then with that, for the bounds. */
    if ((n == 0 || !array) && spec_check(b->engine, &spec, true, error) < 0)
        return -1;
    if (n == 0 && array)
        spec_begin_digest(&spec, &b->begun);
    if (add_to_spec(b, n, &spec, &add) < 0)
        return error_oom(error);
    if (spec_check(b->engine, &spec, false, error) < 0)
        return -1;
    void *data = spec.data_len > QUEUED_DATA_MAX ? (void *)(uintptr_t)spec.data : NULL;
    struct store_task *record = &b->records[b->size.n];
    int r = spec_record(b->engine, &spec, array ? &b->begun : NULL, &data, record);
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

/* The records of one round. */
static int make_records(struct batch *b, struct tw_error *error)
{
    for (size_t end = MIN(b->n, b->size.n + RECORDS_AT_ONCE); b->size.n < end;) {
        size_t n = b->size.n;
        if (make_record(b, n, error) < 0) {
            struct tw_error cause = *error;
            return cause.code == TW_RESOURCE_EXHAUSTED
                ? -1
                : error_set(error, cause.code, "task %zu of the batch: %s", n + 1, cause.message);
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

/* An array has one set. */
static void give_up_inputs(struct batch *b, size_t n)
{
    if (n == 0 || !b->asked.array_count)
        inputs_give_up(b->engine, &b->records[n].spec);
}

static void on_batch_admitted(void *ctx, const bool *existing, const struct tw_error *error)
{
    struct batch *b = ctx;
    struct engine *engine = b->engine;
    batch_leave(b);
    for (size_t i = 0; error && i < b->size.n; i++)
        give_up_inputs(b, i);
    for (size_t i = 0; !error && i < b->size.n; i++) {
        if (existing[i]) {
            give_up_inputs(b, i);
            continue;
        }
        forget_borrowed_data(b, i);
        (void)admit_live(engine, &b->records[i]);
    }
    batch_answer(b, b->only_known && error && error->code == TW_NOT_FOUND ? &b->refusal : error);
    engine_schedule(engine);
}

/* Whether the same batch would have the same ids when it is handed in again. */
static bool has_fixed_ids(const struct engine_batch *asked)
{
    if (asked->batch_id && *asked->batch_id)
        return true;
    for (size_t i = 0; i < asked->n_specs; i++) {
        if (!asked->specs[i].id || !*asked->specs[i].id)
            return false;
    }
    return asked->array_count == 0;
}

/* One that comes again after it was accepted cannot be refused for want of room. */
static bool may_be_known(const struct batch *b, const struct tw_error *error)
{
    return (error->code == TW_RESOURCE_EXHAUSTED || error->code == TW_UNAVAILABLE) && !b->engine->drained &&
        has_fixed_ids(&b->asked);
}

/* What counts of it grows with what has been made, so that many at once are bounded as well. -1: there is no room. */
static int batch_recount(struct batch *b, struct tw_error *error)
{
    struct engine *engine = b->engine;
    struct admitting size = {
        .n = b->n, .queue_bytes = b->size.queue_bytes, .bytes = MAX(b->bytes_ahead, b->size.bytes)};
    const struct admitting looking = {.n = 1, .bytes = b->size.bytes};
    batch_leave(b);
    if (!b->only_known && admit_check_room(engine, b->records[0].info.owner, &size, error) < 0) {
        b->only_known = may_be_known(b, error);
        b->refusal = *error;
        if (!b->only_known)
            return -1;
    }
    if (b->only_known && engine->admitting.bytes + looking.bytes > ENGINE_MAX_ADMITTING_BYTES) {
        *error = b->refusal;
        return -1;
    }
    batch_enter(b, b->only_known ? &looking : &size);
    error->code = TW_OK;
    return 0;
}

/* Its tasks have different ids, and come after others only in that order; the store would say it in words that mislead. */
static int check_order(const struct batch *b, struct map *places, struct tw_error *error)
{
    for (size_t i = 0; i < b->n; i++) {
        void *place = (void *)(uintptr_t)(i + 1);
        int r = map_put(places, b->ids[i], place);
        if (r == -EEXIST)
            return error_set(error, TW_INVALID_ARGUMENT, "task %zu of the batch has the id of task %zu: '%s'", i + 1,
                (size_t)(uintptr_t)map_get(places, b->ids[i]), b->ids[i]);
        if (r < 0)
            return error_oom(error);
    }
    for (size_t i = 0; i < b->n; i++) {
        const struct tw_task_info *info = &b->records[i].info;
        for (size_t k = 0; k < info->n_after; k++) {
            size_t place = (size_t)(uintptr_t)map_get(places, info->after[k].id);
            if (place > i)
                return error_set(error, TW_INVALID_ARGUMENT,
                    "task %zu of the batch comes after '%s', which is its task %zu: those that others come after stand "
                    "before them",
                    i + 1, info->after[k].id, place);
        }
    }
    return 0;
}

static void gather_next(struct batch *b);

static void on_gathered(void *ctx, const struct tw_error *error)
{
    struct batch *b = ctx;
    struct tw_error cause;
    if (!error) {
        b->gathered++;
        gather_next(b);
        return;
    }
    error_set(&cause, error->code, "task %zu of the batch: %s", b->gathered + 1, error->message);
    for (size_t i = 0; i < b->gathered; i++)
        give_up_inputs(b, i);
    batch_fail(b, &cause);
}

/* Has the inputs of one after the other gathered, those of an array once; then the batch goes to the store. */
static void gather_next(struct batch *b)
{
    bool array = b->asked.array_count > 0;
    struct tw_error oom;
    for (; b->gathered < b->n; b->gathered++) {
        struct store_task *record = &b->records[b->gathered];
        if (record->spec.n_inputs == 0)
            continue;
        if (!array || b->gathered == 0) {
            inputs_gather(b->engine, &record->spec, record->info.owner, on_gathered, b);
            return;
        }
        if (inputs_share(&b->records[0].spec, &record->spec) < 0) {
            error_oom(&oom);
            on_gathered(b, &oom);
            return;
        }
    }
    store_admit_batch(b->engine->options.store, b->records, b->n, on_batch_admitted, b);
}

/* All records are there. */
static void batch_made(struct batch *b)
{
    struct store *store = b->engine->options.store;
    struct tw_error error;
    struct map places;
    map_init(&places);
    int r = check_order(b, &places, &error);
    map_done(&places);
    if (r < 0)
        batch_fail(b, &error);
    else if (b->only_known)
        store_check_batch(store, b->records, b->n, on_batch_admitted, b);
    else
        gather_next(b);
}

static void go_on_making(struct batch *b);

static void on_next_round(uv_timer_t *timer)
{
    go_on_making(timer->data);
}

static void go_on_making(struct batch *b)
{
    struct tw_error error = {.code = TW_OK};
    if (!b->records) {
        b->records = calloc(b->n, sizeof *b->records);
        b->ids = calloc(b->n, sizeof *b->ids);
        b->next = timer_new(b->engine->options.loop, b);
    }
    if (!b->records || !b->ids || !b->next)
        error_oom(&error);
    else if (make_records(b, &error) == 0)
        (void)batch_recount(b, &error);
    if (error.code != TW_OK)
        batch_fail(b, &error);
    else if (b->size.n < b->n)
        uv_timer_start(b->next, on_next_round, TIMER_NEXT_ROUND_MS, 0);
    else
        batch_made(b);
}

/* There is no room. One look at the first of them costs little, and says whether it is worth to look at all. */
static void on_first_looked_up(void *ctx, const struct store_task *known, const struct tw_error *error UNUSED)
{
    struct batch *b = ctx;
    if (known)
        go_on_making(b);
    else
        batch_fail(b, &b->refusal);
}

static void look_up_first(struct batch *b)
{
    char made[160];
    const char *id = spec_at(b, 0)->id;
    if (b->asked.array_count || !id || !*id) {
        snprintf(made, sizeof made, "%s-%u", b->id, b->asked.array_count ? b->asked.array_first : 0);
        id = made;
    }
    const struct admitting looking = {.n = 1};
    batch_enter(b, &looking);
    store_get(b->engine->options.store, id, on_first_looked_up, b);
}

/*
 * The id that it asks for, or a new one; but where each task has its own id theirs follows from these: the same tasks handed in
 * again are the same batch.
 */
static char *make_batch_id(const struct engine_batch *asked)
{
    uint8_t raw[SPEC_ID_LEN];
    if (asked->batch_id && *asked->batch_id)
        return strdup(asked->batch_id);
    if (!has_fixed_ids(asked))
        return spec_make_id();
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, sizeof raw);
    for (size_t i = 0; i < asked->n_specs; i++) /* with the NUL, so that no two run into each other */
        crypto_generichash_update(&h, (const uint8_t *)asked->specs[i].id, strlen(asked->specs[i].id) + 1);
    crypto_generichash_final(&h, raw, sizeof raw);
    return spec_id_of(raw);
}

static struct batch *batch_new(struct engine *engine, const struct engine_batch *asked, size_t n)
{
    struct batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->engine = engine;
    b->asked = *asked;
    b->n = n;
    b->id = make_batch_id(asked);
    if (b->id)
        return b;
    batch_free(b);
    return NULL;
}

/* What is known before anything is made: what will be refused shall cost nothing. */
static int check_room_ahead(const struct batch *b, struct admitting *ret_size, struct tw_error *error)
{
    const char *owner = b->asked.specs[0].owner;
    struct admitting size = {.n = b->n};
    for (size_t i = 0; i < b->n && size.bytes <= ENGINE_MAX_ADMITTING_BYTES; i++)
        size.bytes += spec_at(b, i)->data_len;
    if (size.bytes > ENGINE_MAX_ADMITTING_BYTES)
        return fail_large(error);
    *ret_size = size;
    return admit_check_room(b->engine, owner ? owner : "", &size, error);
}

void engine_admit_batch(struct engine *engine, const struct engine_batch *asked, engine_batch_cb cb, void *ctx)
{
    size_t n = asked->array_count ? asked->array_count : asked->n_specs;
    struct tw_error error = {.code = TW_OK};
    struct admitting size = {0};
    struct batch *b = NULL;
    if (batch_check(asked, n, &error) < 0 || !(b = batch_new(engine, asked, n))) {
        if (error.code == TW_OK)
            error_oom(&error);
        cb(ctx, NULL, NULL, 0, &error);
        return;
    }
    b->cb = cb;
    b->ctx = ctx;
    if (check_room_ahead(b, &size, &error) == 0) {
        b->bytes_ahead = size.bytes;
        batch_enter(b, &size);
        go_on_making(b);
    } else if (may_be_known(b, &error)) {
        b->only_known = true;
        b->refusal = error;
        look_up_first(b);
    } else {
        batch_answer(b, &error);
    }
}
