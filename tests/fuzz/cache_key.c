/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two tasks out of the input: they have the same key for the result cache if and only if they are the same in all that decides a result,
 * however their parts are cut.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "task/cache.h"
#include "task/task.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIST_MAX = 4 };

struct made {
    char *texts[4 + 4 * LIST_MAX];
    size_t n_texts;
    char *args[LIST_MAX], *outputs[LIST_MAX];
    struct store_env env[LIST_MAX];
    struct store_task task;
};

static uint8_t take_byte(const uint8_t **at, const uint8_t *end)
{
    return *at < end ? *(*at)++ : 0;
}

/* A byte says how long it is; NULs end it, as they would in a request. */
static char *take_text(struct made *m, const uint8_t **at, const uint8_t *end)
{
    size_t len = take_byte(at, end) % 8;
    len = len < (size_t)(end - *at) ? len : (size_t)(end - *at);
    char *text = text_dup(*at, len);
    assert(text);
    *at += len;
    m->texts[m->n_texts++] = text;
    return text;
}

static void make(struct made *m, const uint8_t **at, const uint8_t *end)
{
    struct store_spec *spec = &m->task.spec;
    *m = (struct made){0};
    m->task.info.owner = take_text(m, at, end);
    m->task.info.type = take_text(m, at, end);
    spec->data = (uint8_t *)take_text(m, at, end);
    spec->data_len = strlen((char *)spec->data);
    spec->n_args = take_byte(at, end) % (LIST_MAX + 1);
    for (size_t i = 0; i < spec->n_args; i++)
        m->args[i] = take_text(m, at, end);
    spec->n_env = take_byte(at, end) % (LIST_MAX + 1);
    for (size_t i = 0; i < spec->n_env; i++) {
        m->env[i].name = take_text(m, at, end);
        m->env[i].value = take_text(m, at, end);
    }
    spec->n_outputs = take_byte(at, end) % (LIST_MAX + 1);
    for (size_t i = 0; i < spec->n_outputs; i++)
        m->outputs[i] = take_text(m, at, end);
    spec->args = m->args;
    spec->env = m->env;
    spec->outputs = m->outputs;
    spec->gpus = take_byte(at, end) % 3;
    spec->limits.memory_bytes = take_byte(at, end) % 3;
    spec->inputs_digest[0] = take_byte(at, end) % 3;
}

static bool same_lists(char *const *a, size_t n, char *const *b, size_t m)
{
    bool same = n == m;
    for (size_t i = 0; same && i < n; i++)
        same = !strcmp(a[i], b[i]);
    return same;
}

/* Names come once in a task that was admitted. */
static bool names_once(const struct store_spec *s)
{
    for (size_t i = 0; i < s->n_env; i++) {
        for (size_t k = 0; k < i; k++) {
            if (!strcmp(s->env[i].name, s->env[k].name))
                return false;
        }
    }
    return true;
}

static bool same_env(const struct store_spec *a, const struct store_spec *b)
{
    size_t found = 0;
    for (size_t i = 0; i < a->n_env; i++) {
        for (size_t k = 0; k < b->n_env; k++)
            found += !strcmp(a->env[i].name, b->env[k].name) && !strcmp(a->env[i].value, b->env[k].value);
    }
    return a->n_env == b->n_env && found == a->n_env;
}

static bool same(const struct store_task *a, const struct store_task *b)
{
    const struct store_spec *s = &a->spec, *t = &b->spec;
    return !strcmp(a->info.owner, b->info.owner) && !strcmp(a->info.type, b->info.type) &&
        !strcmp((char *)s->data, (char *)t->data) && same_lists(s->args, s->n_args, t->args, t->n_args) &&
        same_env(s, t) && same_lists(s->outputs, s->n_outputs, t->outputs, t->n_outputs) && s->gpus == t->gpus &&
        s->limits.memory_bytes == t->limits.memory_bytes && s->inputs_digest[0] == t->inputs_digest[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *at = data, *end = data + size;
    const struct engine engine = {.options = {.runtime_version = "1"}};
    struct made a, b;
    make(&a, &at, end);
    make(&b, &at, end);
    if (names_once(&a.task.spec) && names_once(&b.task.spec)) {
        char *first = cache_key(&engine, &a.task), *second = cache_key(&engine, &b.task);
        assert(first && second && strlen(first) == 64);
        assert(!strcmp(first, second) == same(&a.task, &b.task));
        free(first);
        free(second);
    }
    for (size_t i = 0; i < a.n_texts; i++)
        free(a.texts[i]);
    for (size_t i = 0; i < b.n_texts; i++)
        free(b.texts[i]);
    return 0;
}
