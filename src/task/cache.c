/* SPDX-License-Identifier: Apache-2.0 */
#include "task/cache.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"

enum { KEY_BYTES = 32 };

struct cache_entry {
    char key[2 * KEY_BYTES + 1];
    struct task *live; /* NULL: none */
    bool under_way;    /* somebody looks for it, or admits it */
    struct list waiters;
};

int cache_check(const struct tw_task_spec *spec, struct tw_error *error)
{
    if (spec->cache == TW_CACHE_OFF)
        return 0;
    if (spec->cache != TW_CACHE_USE && spec->cache != TW_CACHE_REFRESH)
        return error_set(error, TW_INVALID_ARGUMENT, "cache is %d, which is none", (int)spec->cache);
    if ((spec->id && *spec->id) || spec->n_after || spec->for_caller || spec->retry_of)
        return error_set(error, TW_INVALID_ARGUMENT,
            "a result from the cache is that of another task: it cannot have an id of its own, or come after others");
    return 0;
}

/* --- the key --- */

/* Each with its length, so that no two things run into each other. */
static void add(crypto_generichash_state *h, const void *data, size_t len)
{
    uint64_t n = len;
    crypto_generichash_update(h, (const unsigned char *)&n, sizeof n);
    if (len > 0)
        crypto_generichash_update(h, data, len);
}

static void add_text(crypto_generichash_state *h, const char *s)
{
    add(h, s, strlen(s));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct store_env *)a)->name, ((const struct store_env *)b)->name);
}

/* In whichever order it came. */
static int add_env(crypto_generichash_state *h, const struct store_spec *spec)
{
    CLEANUP_FREE struct store_env *sorted = calloc(spec->n_env + 1, sizeof *sorted);
    if (!sorted)
        return -1;
    for (size_t i = 0; i < spec->n_env; i++)
        sorted[i] = spec->env[i];
    qsort(sorted, spec->n_env, sizeof *sorted, by_name);
    add(h, &spec->n_env, sizeof spec->n_env);
    for (size_t i = 0; i < spec->n_env; i++) {
        add_text(h, sorted[i].name);
        add_text(h, sorted[i].value);
    }
    return 0;
}

char *cache_key(const struct engine *engine, const struct store_task *record)
{
    const struct store_spec *spec = &record->spec;
    crypto_generichash_state h;
    uint8_t key[KEY_BYTES];
    crypto_generichash_init(&h, NULL, 0, sizeof key);
    add_text(&h, engine->options.runtime_version);
    add_text(&h, record->info.owner);
    add_text(&h, record->info.type);
    add(&h, spec->data, spec->data_len);
    add(&h, &spec->n_args, sizeof spec->n_args);
    for (size_t i = 0; i < spec->n_args; i++)
        add_text(&h, spec->args[i]);
    if (add_env(&h, spec) < 0)
        return NULL;
    add(&h, spec->inputs_digest, sizeof spec->inputs_digest);
    add(&h, &spec->n_outputs, sizeof spec->n_outputs);
    for (size_t i = 0; i < spec->n_outputs; i++)
        add_text(&h, spec->outputs[i]);
    const uint64_t numbers[] = {
#define X(name) spec->limits.name,
        TW_LIMITS(X)
#undef X
            (uint64_t) spec->network,
        spec->gpus, spec->gpu_memory_bytes};
    add(&h, numbers, sizeof numbers);
    crypto_generichash_final(&h, key, sizeof key);
    char *text = malloc(2 * sizeof key + 1);
    if (text)
        text_hex(key, sizeof key, text);
    return text;
}

/* --- what is under way --- */

static struct cache_entry *get(struct engine *engine, const char *key)
{
    struct cache_entry *e = map_get(&engine->cache, key);
    if (e)
        return e;
    e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    list_init(&e->waiters);
    memcpy(e->key, key, strnlen(key, sizeof e->key - 1));
    if (map_put(&engine->cache, e->key, e) == 0)
        return e;
    free(e);
    return NULL;
}

static void drop_if_idle(struct engine *engine, struct cache_entry *e)
{
    if (e->live || e->under_way || !list_empty(&e->waiters))
        return;
    (void)map_remove(&engine->cache, e->key);
    free(e);
}

bool cache_enter(struct engine *engine, const char *key, struct cache_waiter *waiter, struct task **ret_known)
{
    struct cache_entry *e = get(engine, key);
    *ret_known = e ? e->live : NULL;
    if (!e)
        return true; /* without memory each for itself */
    if (e->live)
        return false;
    if (e->under_way) {
        list_push(&e->waiters, &waiter->link);
        return false;
    }
    e->under_way = true;
    return true;
}

void cache_settle(struct engine *engine, const char *key, const struct tw_task_info *known)
{
    struct cache_entry *e = map_get(&engine->cache, key);
    if (!e || !e->under_way)
        return;
    e->under_way = false;
    while (!list_empty(&e->waiters)) {
        struct cache_waiter *waiter = LIST_FIRST(&e->waiters, struct cache_waiter, link);
        list_remove(&waiter->link);
        e->under_way = !known; /* then the first of them tries, and the others wait for it */
        waiter->answer(waiter, known);
        if (!known)
            return;
    }
    drop_if_idle(engine, e);
}

void cache_note(struct engine *engine, struct task *task)
{
    struct cache_entry *e = task->record.cache_key ? get(engine, task->record.cache_key) : NULL;
    if (e)
        e->live = task;
}

void cache_forget(struct engine *engine, const struct task *task)
{
    struct cache_entry *e = task->record.cache_key ? map_get(&engine->cache, task->record.cache_key) : NULL;
    if (!e || e->live != task)
        return;
    e->live = NULL;
    drop_if_idle(engine, e);
}
