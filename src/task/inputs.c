/* SPDX-License-Identifier: Apache-2.0 */
#include "task/inputs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

static bool is_given(const char *s)
{
    return s && *s;
}

int inputs_check(const struct engine *engine, const struct tw_task_spec *spec, struct tw_error *error)
{
    if (spec->n_inputs == 0)
        return 0;
    if (!engine->options.files.gather)
        return error_set(error, TW_FAILED_PRECONDITION, "this node keeps no files, so a task can have no inputs");
    if (spec->n_inputs > TW_INPUTS_MAX)
        return error_set(
            error, TW_INVALID_ARGUMENT, "%zu inputs are too many: at most %d", spec->n_inputs, TW_INPUTS_MAX);
    for (size_t i = 0; i < spec->n_inputs; i++) {
        const struct tw_input *input = &spec->inputs[i];
        const char *const texts[] = {input->file_id, input->name, input->path};
        if (is_given(input->file_id) == is_given(input->name))
            return error_set(error, TW_INVALID_ARGUMENT, "input %zu: either file_id or name says which file it is", i);
        for (size_t t = 0; t < ARRAY_LEN(texts); t++) {
            size_t len = texts[t] ? strlen(texts[t]) : 0;
            if (len > TW_INPUT_NAME_MAX || (len && !text_is_utf8(texts[t], len)))
                return error_set(error, TW_INVALID_ARGUMENT,
                    "input %zu: a name or path has to be at most %d bytes of UTF-8", i, TW_INPUT_NAME_MAX);
        }
    }
    return 0;
}

static void input_free(struct tw_input *input)
{
    free((char *)input->file_id);
    free((char *)input->name);
    free((char *)input->path);
    *input = (struct tw_input){0};
}

static char *copy_text(const char *s)
{
    return strdup(s ? s : "");
}

int inputs_copy(const struct tw_input *from, size_t n, struct store_spec *to)
{
    to->inputs = n ? calloc(n, sizeof *to->inputs) : NULL;
    if (n && !to->inputs)
        return -ENOMEM;
    for (; to->n_inputs < n; to->n_inputs++) {
        const struct tw_input *one = &from[to->n_inputs];
        struct tw_input copy = {copy_text(one->file_id), copy_text(one->name), copy_text(one->path)};
        if (!copy.file_id || !copy.name || !copy.path) {
            input_free(&copy);
            return -ENOMEM;
        }
        to->inputs[to->n_inputs] = copy;
    }
    return 0;
}

int inputs_share(const struct store_spec *from, struct store_spec *to)
{
    for (size_t i = 0; i < to->n_inputs; i++)
        input_free(&to->inputs[i]);
    free(STEAL(to->inputs));
    to->n_inputs = 0;
    if (inputs_copy(from->inputs, from->n_inputs, to) < 0)
        return -ENOMEM;
    to->inputs_set = from->inputs_set;
    return 0;
}

void inputs_gather(
    struct engine *engine, struct store_spec *spec, const char *owner, engine_gathered_cb done, void *ctx)
{
    const struct engine_files *of = &engine->options.files;
    of->gather(of->ctx, owner, spec->inputs, spec->n_inputs,
        (struct engine_gathered){&spec->inputs_set, spec->inputs_digest}, done, ctx);
}

void inputs_give_up(struct engine *engine, struct store_spec *spec)
{
    if (spec->inputs_set && engine->options.files.release)
        engine->options.files.release(engine->options.files.ctx, spec->inputs_set);
    spec->inputs_set = 0;
}

/* --- who has them --- */

struct input_set {
    size_t n; /* live tasks */
    char key[17];
};

static struct input_set *find_set(const struct engine *engine, uint64_t set)
{
    char key[17];
    snprintf(key, sizeof key, "%016" PRIx64, set);
    return map_get(&engine->input_sets, key);
}

bool engine_has_inputs(const struct engine *engine, uint64_t set)
{
    return find_set(engine, set);
}

int inputs_hold(struct engine *engine, uint64_t set)
{
    struct input_set *s = set ? find_set(engine, set) : NULL;
    if (set == 0)
        return 0;
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s)
            return -ENOMEM;
        snprintf(s->key, sizeof s->key, "%016" PRIx64, set);
        if (map_put(&engine->input_sets, s->key, s) < 0) {
            free(s);
            return -ENOMEM;
        }
    }
    s->n++;
    return 0;
}

void inputs_drop(struct engine *engine, uint64_t set, bool ended)
{
    struct input_set *s = set ? find_set(engine, set) : NULL;
    if (!s || --s->n > 0)
        return;
    (void)map_remove(&engine->input_sets, s->key);
    free(s);
    if (ended && engine->options.files.release)
        engine->options.files.release(engine->options.files.ctx, set);
}

void engine_set_files(struct engine *engine, const struct engine_files *files)
{
    engine->options.files = *files;
}
