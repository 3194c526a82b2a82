/* SPDX-License-Identifier: Apache-2.0 */
/* The small functions of the public headers that need nothing but the value itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <taskworker/task.h>

#include "base/error.h"
#include "base/text.h"
#include "store/store.h"

enum { ID_MAX = 128 };

const char *tw_code_to_string(enum tw_code code)
{
    return error_code_name(code);
}

const char *tw_task_state_to_string(enum tw_task_state state)
{
    switch (state) {
#define X(name, number)  \
    case TW_TASK_##name: \
        return #name;
        TW_TASK_STATES(X)
#undef X
    case TW_TASK_STATE_NONE:
    case TW_TASK_STATE_MAX:
        break;
    }
    return NULL;
}

const char *tw_reason_to_string(enum tw_reason reason)
{
    switch (reason) {
#define X(name, number, text) \
    case TW_REASON_##name:    \
        return text;
        TW_REASONS(X)
#undef X
    case TW_REASON_MAX:
        break;
    }
    return NULL;
}

#define TO_STRING(function, type, LIST)   \
    const char *function(enum type value) \
    {                                     \
        switch ((int)value) {             \
            LIST(X)                       \
        }                                 \
        return NULL;                      \
    }
#define X(name, number, text) \
    case number:              \
        return text;
TO_STRING(tw_network_to_string, tw_network, TW_NETWORKS)
TO_STRING(tw_runtime_to_string, tw_runtime, TW_RUNTIMES)
TO_STRING(tw_layer_to_string, tw_layer, TW_LAYERS)
TO_STRING(tw_event_to_string, tw_event_kind, TW_EVENTS)
#undef X

bool tw_reason_is_retried(enum tw_reason reason)
{
    switch (reason) {
    case TW_REASON_EXIT_CODE:
    case TW_REASON_SIGNAL:
    case TW_REASON_TIMEOUT_WALL:
    case TW_REASON_TIMEOUT_CPU:
    case TW_REASON_OOM:
    case TW_REASON_DISK_LIMIT:
    case TW_REASON_PIDS_LIMIT:
    case TW_REASON_SHUTDOWN:
    case TW_REASON_LOST:
    case TW_REASON_IMAGE_ERROR:
    case TW_REASON_ENVIRONMENT_ERROR:
    case TW_REASON_SANDBOX_ERROR:
    case TW_REASON_STORAGE_ERROR:
        return true;
    default:
        return false;
    }
}

void tw_attempt_info_done(struct tw_attempt_info *info)
{
    if (!info)
        return;
    free(info->message);
    free(info->error);
    *info = (struct tw_attempt_info){0};
}

void tw_task_info_done(struct tw_task_info *info)
{
    if (!info)
        return;
    free(info->id);
    free(info->type);
    free(info->owner);
    free(info->message);
    free(info->error);
    free(info->retry_of);
    for (size_t i = 0; i < info->n_labels; i++) {
        free((char *)info->labels[i].key);
        free((char *)info->labels[i].value);
    }
    for (size_t i = 0; i < info->n_after; i++)
        free(info->after[i].id);
    free(info->labels);
    free(info->after);
    *info = (struct tw_task_info){0};
}

static int copy_text(const char *from, char **to)
{
    *to = strdup(from ? from : "");
    return *to ? 0 : -ENOMEM;
}

static int copy_lists(const struct tw_task_info *from, struct tw_task_info *to)
{
    to->labels = from->n_labels ? calloc(from->n_labels, sizeof *to->labels) : NULL;
    to->after = from->n_after ? calloc(from->n_after, sizeof *to->after) : NULL;
    if ((from->n_labels && !to->labels) || (from->n_after && !to->after))
        return -ENOMEM;
    for (size_t i = 0; i < from->n_labels; i++) {
        char *key = NULL, *value = NULL;
        int r = copy_text(from->labels[i].key, &key) | copy_text(from->labels[i].value, &value);
        to->labels[to->n_labels++] = (struct tw_label){.key = key, .value = value};
        if (r < 0)
            return -ENOMEM;
    }
    for (size_t i = 0; i < from->n_after; i++) {
        to->after[to->n_after++].state = from->after[i].state;
        if (copy_text(from->after[i].id, &to->after[i].id) < 0)
            return -ENOMEM;
    }
    return 0;
}

int store_info_copy(const struct tw_task_info *from, struct tw_task_info *to)
{
    *to = *from;
    to->id = to->type = to->owner = to->message = to->error = to->retry_of = NULL;
    to->labels = NULL;
    to->after = NULL;
    to->asked = NULL;
    to->n_labels = to->n_after = 0;
    if (copy_text(from->id, &to->id) == 0 && copy_text(from->type, &to->type) == 0 &&
        copy_text(from->owner, &to->owner) == 0 && copy_text(from->message, &to->message) == 0 &&
        copy_text(from->error, &to->error) == 0 && copy_text(from->retry_of, &to->retry_of) == 0 &&
        copy_lists(from, to) == 0)
        return 0;
    tw_task_info_done(to);
    return -ENOMEM;
}

void store_spec_done(struct store_spec *spec)
{
    for (size_t i = 0; i < spec->n_args; i++)
        free(spec->args[i]);
    for (size_t i = 0; i < spec->n_env; i++) {
        free(spec->env[i].name);
        free(spec->env[i].value);
    }
    for (size_t i = 0; i < spec->n_outputs; i++)
        free(spec->outputs[i]);
    free(spec->outputs);
    for (size_t i = 0; i < spec->n_inputs; i++) {
        free((char *)spec->inputs[i].file_id);
        free((char *)spec->inputs[i].name);
        free((char *)spec->inputs[i].path);
    }
    free(spec->args);
    free(spec->env);
    free(spec->inputs);
    free(spec->data);
    *spec = (struct store_spec){0};
}

void store_task_done(struct store_task *task)
{
    tw_task_info_done(&task->info);
    store_spec_done(&task->spec);
    free(task->cache_key);
    *task = (struct store_task){0};
}

/* The code points that Unicode calls White_Space and text_is_control() does not cover. */
static bool is_space(uint32_t c)
{
    return c == ' ' || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x202f || c == 0x205f ||
        c == 0x3000;
}

int tw_task_id_check(const char *id, size_t len, struct tw_error *error)
{
    if (!id || len == 0)
        return error_set(error, TW_INVALID_ARGUMENT, "the task id is empty");
    if (len > ID_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "the task id has %zu bytes: at most %d are allowed", len, ID_MAX);
    if (id[0] == '-' || id[0] == '.')
        return error_set(error, TW_INVALID_ARGUMENT, "a task id must not start with '%c'", id[0]);
    const uint8_t *p = (const uint8_t *)id, *end = p + len;
    while (p < end) {
        uint32_t c;
        size_t n = text_decode_utf8(p, end, &c);
        if (n == 0)
            return error_set(error, TW_INVALID_ARGUMENT, "the task id is not valid UTF-8");
        if (c == '/' || c == '\\')
            return error_set(error, TW_INVALID_ARGUMENT, "a task id must not contain '%c'", (char)c);
        if (text_is_control(c) || is_space(c))
            return error_set(error, TW_INVALID_ARGUMENT,
                "a task id must not contain white space or control characters (U+%04X at byte %zu)", (unsigned)c,
                (size_t)(p - (const uint8_t *)id));
        p += n;
    }
    return 0;
}
