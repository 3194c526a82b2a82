/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission: the one door for tasks. A spec is checked against every bound, copied, hashed, and handed to the store. The
 * store decides whether the id is new (the database is the arbiter, so two callers at once are no special case), and only
 * when the admission is on disk does the task become live and the caller hear of it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "task/cache.h"
#include "task/inputs.h"

struct admission {
    struct engine *engine;
    struct store_task record;
    struct admitting size;
    struct queue_owner *owner;
    struct tw_error refusal; /* there is no room for it */
    enum tw_cache cache;
    struct cache_waiter waiter;
    char key[STORE_DIGEST_LEN * 2 + 1];
    bool leads; /* others wait for what comes of it */
    engine_admit_cb cb;
    void *ctx;
};

const struct tw_task_info *admit_live(struct engine *engine, struct store_task *record)
{
    struct task *task = task_new(engine, record);
    engine->accepted++;
    if (task) {
        task_begin_waiting(task);
        return &task->record.info;
    }
    /* It is on disk and will run after a restart; the promise holds. */
    log_error("out of memory: task %s waits on disk for the next start", record->info.id);
    return &record->info;
}

/* The end of every admission. With neither `existing` nor error the task is new, and on disk. */
static void admission_answer(struct admission *a, const struct tw_task_info *existing, const struct tw_error *error)
{
    struct engine *engine = a->engine;
    const struct tw_task_info *info = NULL;
    admit_leave(engine, a->owner, &a->size);
    if (error || existing)
        inputs_give_up(engine, &a->record.spec);
    if (existing) {
        struct task *live = engine_find(engine, existing->id);
        info = live ? task_info(live) : existing;
    } else if (!error) {
        info = admit_live(engine, &a->record);
    }
    a->cb(a->ctx, info, existing, error);
    if (a->leads)
        cache_settle(engine, a->key, info);
    if (info && !existing)
        engine_schedule(engine);
    store_task_done(&a->record);
    free(a);
    engine_check_drained(engine);
}

static void on_admitted(void *ctx, const struct store_task *existing, const struct tw_error *error)
{
    admission_answer(ctx, existing ? &existing->info : NULL, error);
}

static void to_store(struct admission *a)
{
    store_admit(a->engine->options.store, &a->record, on_admitted, a);
}

/* --- those whose result may be there --- */

static void hit(struct admission *a, const struct tw_task_info *known)
{
    a->engine->cache_hits++;
    admission_answer(a, known, NULL);
}

static void on_found(void *ctx, const struct store_task *stored, const struct tw_error *error UNUSED)
{
    struct admission *a = ctx;
    if (stored) {
        hit(a, &stored->info);
        return;
    }
    a->engine->cache_misses++;
    to_store(a);
}

static void look_in_store(struct admission *a)
{
    a->leads = true;
    store_find_cached(a->engine->options.store, a->key, on_found, a);
}

static void on_waited(struct cache_waiter *waiter, const struct tw_task_info *known)
{
    struct admission *a = CONTAINER_OF(waiter, struct admission, waiter);
    if (known)
        hit(a, known);
    else
        look_in_store(a);
}

/* All is known that decides the result. */
static void look_or_admit(struct admission *a)
{
    struct task *live = NULL;
    struct tw_error oom;
    if (a->cache == TW_CACHE_OFF) {
        to_store(a);
        return;
    }
    a->record.cache_key = cache_key(a->engine, &a->record);
    if (!a->record.cache_key) {
        error_oom(&oom);
        admission_answer(a, NULL, &oom);
        return;
    }
    snprintf(a->key, sizeof a->key, "%s", a->record.cache_key);
    a->waiter.answer = on_waited;
    if (a->cache == TW_CACHE_REFRESH)
        to_store(a);
    else if (cache_enter(a->engine, a->key, &a->waiter, &live))
        look_in_store(a);
    else if (live)
        hit(a, task_info(live));
}

/* No room now, with a word about when to try again. */
static int PRINTF_LIKE(3, 4) refuse_for_now(const struct engine *engine, struct tw_error *error, const char *fmt, ...)
{
    char what[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    uint32_t retry_ms = schedule_retry_ms(engine);
    error_set(error, TW_RESOURCE_EXHAUSTED, "%s: try again in %.1f s", what, retry_ms / 1000.0);
    error->retry_ms = retry_ms;
    return -1;
}

int admit_check_room(
    const struct engine *engine, const char *owner, const struct admitting *more, struct tw_error *error)
{
    const struct engine_options *o = &engine->options;
    const struct admitting *on_way = &engine->admitting;
    unsigned free_slots = o->max_running > engine->running ? o->max_running - engine->running : 0;
    /* Those that sleep or are held wait also where slots are free. */
    size_t ready = engine->queue.len - engine->queue.n_asleep + on_way->n + more->n;
    size_t waiting = engine->queue.n_asleep + engine->held + (ready > free_slots ? ready - free_slots : 0);
    if (engine->draining)
        return error_set(error, TW_UNAVAILABLE, "the node is shutting down and takes no new tasks");
    if (more->n > o->max_queued)
        return error_set(error, TW_INVALID_ARGUMENT,
            "%zu tasks are more than this node lets wait (MAX_QUEUED_TASKS is %u)", more->n, o->max_queued);
    if (waiting > o->max_queued)
        return refuse_for_now(engine, error, "the queue is full (MAX_QUEUED_TASKS is %u)", o->max_queued);
    if (o->max_queued_per_owner && queue_owner_waiting(&engine->queue, owner) + more->n > o->max_queued_per_owner)
        return refuse_for_now(engine, error,
            "its owner has as many tasks waiting as it may (MAX_QUEUED_PER_OWNER is %u)", o->max_queued_per_owner);
    if (engine->queue_bytes + on_way->queue_bytes + more->queue_bytes > ENGINE_MAX_QUEUE_BYTES)
        return refuse_for_now(engine, error, "the queue holds its limit of %d MiB", ENGINE_MAX_QUEUE_BYTES >> 20);
    if (on_way->n && on_way->bytes + more->bytes > ENGINE_MAX_ADMITTING_BYTES)
        return refuse_for_now(
            engine, error, "%d MiB of tasks are on their way to disk already", ENGINE_MAX_ADMITTING_BYTES >> 20);
    return 0;
}

struct queue_owner *admit_enter(struct engine *engine, const char *owner, const struct admitting *these)
{
    engine->admitting.n += these->n;
    engine->admitting.queue_bytes += these->queue_bytes;
    engine->admitting.bytes += these->bytes;
    return queue_owner_get_many(&engine->queue, owner, these->n);
}

void admit_leave(struct engine *engine, struct queue_owner *owner, const struct admitting *these)
{
    engine->admitting.n -= these->n;
    engine->admitting.queue_bytes -= these->queue_bytes;
    engine->admitting.bytes -= these->bytes;
    if (owner)
        queue_owner_put_many(&engine->queue, owner, these->n);
}

/* There is no room, but what was handed in before gets the same answer again. */
static void on_looked_up(void *ctx, const struct store_task *known, const struct tw_error *error UNUSED)
{
    struct admission *a = ctx;
    struct tw_error other;
    if (!known) {
        admission_answer(a, NULL, &a->refusal);
    } else if (!memcmp(known->digest, a->record.digest, STORE_DIGEST_LEN)) {
        admission_answer(a, &known->info, NULL);
    } else {
        error_set(&other, TW_ALREADY_EXISTS, "task %s exists already, with other content", known->info.id);
        admission_answer(a, NULL, &other);
    }
}

static void on_gathered(void *ctx, const struct tw_error *error)
{
    struct admission *a = ctx;
    if (error)
        admission_answer(a, NULL, error);
    else
        look_or_admit(a);
}

void admit_task(struct engine *engine, const struct tw_task_spec *spec, void *take_data, bool from_outside,
    engine_admit_cb cb, void *ctx)
{
    struct tw_error error = {.code = TW_OK};
    struct admission *a = spec_check(engine, spec, from_outside, &error) == 0 ? calloc(1, sizeof *a) : NULL;
    if (a && spec_record(engine, spec, NULL, &take_data, &a->record) < 0) {
        store_task_done(&a->record);
        free(STEAL(a));
        error_oom(&error);
    } else if (!a && error.code == TW_OK) {
        error_oom(&error);
    }
    free(take_data);
    if (!a) {
        cb(ctx, NULL, false, &error);
        return;
    }
    a->engine = engine;
    a->cb = cb;
    a->ctx = ctx;
    a->cache = spec->cache;
    size_t bytes = record_bytes(&a->record);
    a->size = (struct admitting){.n = 1, .queue_bytes = bytes, .bytes = bytes + a->record.spec.data_len};
    /* What there is no room for may still be a task that was handed in before. */
    bool room = admit_check_room(engine, a->record.info.owner, &a->size, &a->refusal) == 0;
    a->owner = admit_enter(engine, a->record.info.owner, &a->size);
    if (room && a->record.spec.n_inputs)
        inputs_gather(engine, &a->record.spec, a->record.info.owner, on_gathered, a);
    else if (room)
        look_or_admit(a);
    else if (spec->id && *spec->id && !engine->drained)
        store_get(engine->options.store, a->record.info.id, on_looked_up, a);
    else
        admission_answer(a, NULL, &a->refusal);
}

void engine_admit(
    struct engine *engine, const struct tw_task_spec *spec, void *take_data, engine_admit_cb cb, void *ctx)
{
    admit_task(engine, spec, take_data, true, cb, ctx);
}
