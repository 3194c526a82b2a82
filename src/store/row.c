/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <jansson.h>

#include "base/text.h"
#include "store/internal.h"

/* --- args and env as JSON, so that an operator reads them with the sqlite3 shell --- */

static int encode_string(json_t *array, const char *s, const char *what, size_t i, struct tw_error *error)
{
    size_t len = strlen(s);
    if (!text_is_utf8(s, len))
        return error_set(error, TW_INVALID_ARGUMENT, "%s %zu is not valid UTF-8", what, i + 1);
    return json_array_append_new(array, json_stringn_nocheck(s, len)) < 0 ? error_oom(error) : 0;
}

static int encode_env(json_t *array, const struct store_env *env, size_t i, struct tw_error *error)
{
    json_t *pair = json_array();
    if (!pair || json_array_append_new(array, pair) < 0) /* takes the pair over, also when it fails */
        return error_oom(error);
    if (encode_string(pair, env->name, "the name of environment variable", i, error) < 0)
        return -1;
    return encode_string(pair, env->value, "the value of environment variable", i, error);
}

static int encode_number(json_t *object, const char *key, uint64_t value, struct tw_error *error)
{
    if (value == 0)
        return 0;
    if (value > INT64_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "%s is %" PRIu64 ", which is beyond what can be kept", key, value);
    return json_object_set_new(object, key, json_integer((json_int_t)value)) < 0 ? error_oom(error) : 0;
}

static int encode_outputs(json_t *object, const struct store_spec *spec, struct tw_error *error)
{
    json_t *list = spec->n_outputs ? json_array() : NULL;
    int r = spec->n_outputs && !list ? error_oom(error) : 0;
    for (size_t i = 0; r == 0 && i < spec->n_outputs; i++)
        r = encode_string(list, spec->outputs[i], "output", i, error);
    if (r == 0 && list)
        return json_object_set_new(object, "outputs", list) < 0 ? error_oom(error) : 0;
    json_decref(list);
    return r;
}

static int encode_inputs(json_t *object, const struct store_spec *spec, struct tw_error *error)
{
    json_t *list = spec->n_inputs ? json_array() : NULL;
    int r = spec->n_inputs && !list ? error_oom(error) : 0;
    for (size_t i = 0; r == 0 && i < spec->n_inputs; i++) {
        const struct tw_input *input = &spec->inputs[i];
        json_t *one = json_pack("[s, s, s]", input->file_id, input->name, input->path);
        if (!one || json_array_append_new(list, one) < 0)
            r = error_oom(error);
    }
    if (r == 0 && list)
        return json_object_set_new(object, "inputs", list) < 0 ? error_oom(error) : 0;
    json_decref(list);
    return r;
}

/* Only what was asked for: most tasks ask for nothing and have no options at all. */
static int encode_options(const struct store_spec *spec, char **ret, struct tw_error *error)
{
    json_t *object = json_object();
    int r = object ? 0 : error_oom(error);
#define X(name) \
    if (r == 0) \
        r = encode_number(object, #name, spec->limits.name, error);
    TW_LIMITS(X)
#undef X
    if (r == 0)
        r = encode_number(object, "network", (uint64_t)spec->network, error);
    if (r == 0)
        r = encode_number(object, "fresh_interpreter", spec->fresh_interpreter, error);
    if (r == 0)
        r = encode_number(object, "grace_us", spec->grace_us, error);
    if (r == 0)
        r = encode_number(object, "after_any", spec->after_any, error);
    if (r == 0)
        r = encode_number(object, "for_caller", spec->for_caller, error);
    if (r == 0)
        r = encode_number(object, "gpus", spec->gpus, error);
    if (r == 0)
        r = encode_number(object, "gpu_memory_bytes", spec->gpu_memory_bytes, error);
    if (r == 0)
        r = encode_number(object, "inputs_set", spec->inputs_set, error);
    if (r == 0)
        r = encode_inputs(object, spec, error);
    if (r == 0)
        r = encode_outputs(object, spec, error);
    if (r == 0 && json_object_size(object) > 0 && !(*ret = json_dumps(object, JSON_COMPACT)))
        r = error_oom(error);
    json_decref(object);
    return r;
}

void spec_texts_done(struct spec_texts *texts)
{
    free(texts->args);
    free(texts->env);
    free(texts->options);
    *texts = (struct spec_texts){0};
}

static int encode_lists(const struct store_spec *spec, char **ret_args, char **ret_env, struct tw_error *error)
{
    if (spec->n_args == 0 && spec->n_env == 0)
        return 0;
    json_t *args = json_array(), *env = json_array();
    int r = args && env ? 0 : error_oom(error);
    for (size_t i = 0; r == 0 && i < spec->n_args; i++)
        r = encode_string(args, spec->args[i], "argument", i, error);
    for (size_t i = 0; r == 0 && i < spec->n_env; i++)
        r = encode_env(env, &spec->env[i], i, error);
    char *args_text = r == 0 && spec->n_args > 0 ? json_dumps(args, JSON_COMPACT) : NULL;
    char *env_text = r == 0 && spec->n_env > 0 ? json_dumps(env, JSON_COMPACT) : NULL;
    json_decref(args);
    json_decref(env);
    if (r == 0 && ((spec->n_args > 0 && !args_text) || (spec->n_env > 0 && !env_text)))
        r = error_oom(error);
    if (r < 0) {
        free(args_text);
        free(env_text);
        return -1;
    }
    *ret_args = args_text;
    *ret_env = env_text;
    return 0;
}

int row_encode_spec(const struct store_spec *spec, struct spec_texts *ret, struct tw_error *error)
{
    struct spec_texts texts = {0};
    if (encode_lists(spec, &texts.args, &texts.env, error) < 0 || encode_options(spec, &texts.options, error) < 0) {
        spec_texts_done(&texts);
        return -1;
    }
    *ret = texts;
    return 0;
}

/* What follows returns -EINVAL for values that cannot be, and -ENOMEM. */
static int decode_string(const json_t *value, char **ret)
{
    if (!json_is_string(value))
        return -EINVAL;
    *ret = text_dup(json_string_value(value), json_string_length(value));
    return *ret ? 0 : -ENOMEM;
}

static int decode_pair(const json_t *pair, char **ret_first, char **ret_second)
{
    int r = decode_string(json_array_get(pair, 0), ret_first);
    return r < 0 ? r : decode_string(json_array_get(pair, 1), ret_second);
}

static int decode_args(const json_t *array, struct store_spec *spec)
{
    size_t n = json_array_size(array);
    spec->args = calloc(n ? n : 1, sizeof *spec->args);
    int r = spec->args ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = decode_string(json_array_get(array, i), &spec->args[i]);
        spec->n_args += r == 0;
    }
    return r;
}

static int decode_env(const json_t *array, struct store_spec *spec)
{
    size_t n = json_array_size(array);
    spec->env = calloc(n ? n : 1, sizeof *spec->env);
    int r = spec->env ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct store_env *env = &spec->env[spec->n_env++]; /* counted first: a half-read pair is freed too */
        r = decode_pair(json_array_get(array, i), &env->name, &env->value);
    }
    return r;
}

static int decode_outputs(const json_t *list, struct store_spec *spec)
{
    size_t n = json_array_size(list);
    spec->outputs = calloc(n ? n : 1, sizeof *spec->outputs);
    int r = spec->outputs ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = decode_string(json_array_get(list, i), &spec->outputs[i]);
        spec->n_outputs += r == 0;
    }
    return r;
}

static int decode_inputs(const json_t *list, struct store_spec *spec)
{
    size_t n = json_array_size(list);
    spec->inputs = calloc(n ? n : 1, sizeof *spec->inputs);
    int r = spec->inputs ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct tw_input *input = &spec->inputs[spec->n_inputs++]; /* counted first: half of it is freed too */
        char *texts[3] = {NULL, NULL, NULL};
        for (size_t k = 0; r == 0 && k < ARRAY_LEN(texts); k++)
            r = decode_string(json_array_get(json_array_get(list, i), k), &texts[k]);
        *input = (struct tw_input){texts[0], texts[1], texts[2]};
    }
    return r;
}

/* Every key is known, every value a number above 0; but for the inputs and outputs. */
static int decode_options(const json_t *object, struct store_spec *spec)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        json_int_t number = json_integer_value(value);
        if (!strcmp(key, "inputs") || !strcmp(key, "outputs")) {
            int r = *key == 'i' ? decode_inputs(value, spec) : decode_outputs(value, spec);
            if (r < 0)
                return r;
            continue;
        }
        if (!json_is_integer(value) || number <= 0)
            return -EINVAL;
        bool known = false;
#define X(name)                               \
    if (!strcmp(key, #name)) {                \
        spec->limits.name = (uint64_t)number; \
        known = true;                         \
    }
        TW_LIMITS(X)
#undef X
        if (!strcmp(key, "network") && number < TW_NETWORK_MAX) {
            spec->network = (enum tw_network)number;
            known = true;
        } else if (!strcmp(key, "fresh_interpreter") && number == 1) {
            known = spec->fresh_interpreter = true;
        } else if (!strcmp(key, "after_any") && number == 1) {
            known = spec->after_any = true;
        } else if (!strcmp(key, "for_caller") && number == 1) {
            known = spec->for_caller = true;
        } else if (!strcmp(key, "grace_us")) {
            spec->grace_us = (uint64_t)number;
            known = true;
        } else if (!strcmp(key, "gpus") && number <= UINT32_MAX) {
            spec->gpus = (uint32_t)number;
            known = true;
        } else if (!strcmp(key, "inputs_set")) {
            spec->inputs_set = (uint64_t)number;
            known = true;
        } else if (!strcmp(key, "gpu_memory_bytes")) {
            spec->gpu_memory_bytes = (uint64_t)number;
            known = true;
        }
        if (!known)
            return -EINVAL;
    }
    return 0;
}

static int parse_json(const struct db_query *q, int column, json_t **ret)
{
    size_t len;
    const char *text = db_blob(q, column, &len);
    json_error_t why = {0};
    *ret = text ? json_loadb(text, len, JSON_REJECT_DUPLICATES, &why) : NULL;
    if (*ret)
        return 0;
    return text && json_error_code(&why) == json_error_out_of_memory ? -ENOMEM : -EINVAL;
}

static int decode(
    const struct db_query *q, int column, int (*each)(const json_t *, struct store_spec *), struct store_spec *spec)
{
    json_t *value;
    if (db_is_null(q, column))
        return 0;
    int r = parse_json(q, column, &value);
    bool right = each == decode_options ? json_is_object(value) : json_is_array(value);
    if (r == 0)
        r = right ? each(value, spec) : -EINVAL;
    json_decref(value);
    return r;
}

/* --- labels and dependencies, which SQLite puts together as arrays of pairs --- */

char *row_encode_labels(const struct tw_label *labels, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < n; i++) {
        json_t *pair = json_pack("[ss]", labels[i].key, labels[i].value);
        if (json_array_append_new(array, pair) < 0) {
            json_decref(array);
            array = NULL;
        }
    }
    char *text = array ? json_dumps(array, JSON_COMPACT) : NULL;
    json_decref(array);
    return text;
}

static int decode_labels(const json_t *pairs, struct tw_task_info *info)
{
    size_t n = json_array_size(pairs);
    info->labels = n ? calloc(n, sizeof *info->labels) : NULL;
    int r = n && !info->labels ? -ENOMEM : 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        char *key = NULL, *value = NULL;
        r = decode_pair(json_array_get(pairs, i), &key, &value);
        info->labels[info->n_labels++] = (struct tw_label){.key = key, .value = value}; /* also a half: it is freed */
    }
    return r;
}

static int decode_after(const json_t *pairs, struct tw_task_info *info)
{
    size_t n = json_array_size(pairs);
    info->after = n ? calloc(n, sizeof *info->after) : NULL;
    int r = n && !info->after ? -ENOMEM : 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        const json_t *pair = json_array_get(pairs, i);
        struct tw_after *after = &info->after[info->n_after++];
        after->state = (enum tw_task_state)json_integer_value(json_array_get(pair, 1));
        r = decode_string(json_array_get(pair, 0), &after->id);
        if (r == 0 && !tw_task_state_to_string(after->state))
            r = -EINVAL;
    }
    return r;
}

static int load_pairs(
    const struct db_query *q, int column, int (*each)(const json_t *, struct tw_task_info *), struct tw_task_info *info)
{
    json_t *pairs;
    int r = parse_json(q, column, &pairs);
    if (r == 0)
        r = json_is_array(pairs) ? each(pairs, info) : -EINVAL;
    json_decref(pairs);
    return r;
}

/* --- rows --- */

static int load_text(const struct db_query *q, struct tw_task_info *info)
{
    info->id = db_text(q, 1);
    info->type = db_text(q, 2);
    info->owner = db_text(q, 3);
    info->message = db_text(q, 6);
    info->error = db_text(q, 7);
    info->retry_of = db_text(q, 29);
    return info->id && info->type && info->owner && info->message && info->error && info->retry_of ? 0 : -ENOMEM;
}

static void load_numbers(const struct db_query *q, struct tw_task_info *info)
{
    info->state = (enum tw_task_state)db_int(q, 4);
    info->reason = (enum tw_reason)db_int(q, 5);
    info->exit_code = (int32_t)db_int(q, 8);
    info->signal = (int32_t)db_int(q, 9);
    info->attempt = (uint32_t)db_int(q, 10);
    info->retries = (uint32_t)db_int(q, 11);
    info->timeout_us = db_u64(q, 12);
    info->created_us = db_u64(q, 13);
    info->started_us = db_u64(q, 14);
    info->finished_us = db_u64(q, 15);
    info->result_size = db_u64(q, 16);
    info->log_size = db_u64(q, 17);
    info->log_truncated = db_int(q, 18) != 0;
    info->usage.wall_us = db_u64(q, 19);
    info->usage.user_us = db_u64(q, 20);
    info->usage.system_us = db_u64(q, 21);
    info->usage.max_rss_bytes = db_u64(q, 22);
    info->priority = (int32_t)db_int(q, 24);
    info->not_before_us = db_u64(q, 25);
    info->queue_timeout_us = db_u64(q, 26);
    info->retry_delay_us = db_u64(q, 27);
    info->paused = db_int(q, 28) != 0;
    info->stopping = db_int(q, 30) != 0;
}

/* The rest of the usage, and the receipt, from a column on. */
static int load_receipt(const struct db_query *q, int at, struct tw_usage *usage, struct tw_receipt *r)
{
    if (db_is_null(q, at))
        return 0;
    r->runtime = (enum tw_runtime)db_int(q, at);
    r->network = (enum tw_network)db_int(q, at + 1);
    r->layers = db_u64(q, at + 2);
    r->missing = db_u64(q, at + 3);
    r->denied = db_u64(q, at + 4);
    size_t len;
    const void *calls = db_blob(q, at + 5, &len);
    if (!tw_runtime_to_string(r->runtime) || !tw_network_to_string(r->network) ||
        (r->layers | r->missing) >> TW_LAYER_MAX || len >= sizeof r->denied_calls || !text_is_utf8(calls, len))
        return -EINVAL;
    if (len > 0)
        memcpy(r->denied_calls, calls, len);
    r->gpus = (uint32_t)db_int(q, at + 6);
    at += 7;
#define X(name) usage->name = db_u64(q, at++);
    STORE_RECEIPT_USAGE(X)
#undef X
#define X(name) r->limits.name = db_u64(q, at++);
    TW_LIMITS(X)
#undef X
    return 0;
}

/* Which the columns of the tasks table have; before the spec's. */
static int load_info(const struct db_query *q, struct tw_task_info *info)
{
    int r = load_text(q, info);
    load_numbers(q, info);
    if (r == 0 &&
        (!tw_task_state_to_string(info->state) || !tw_reason_to_string(info->reason) ||
            info->priority < TW_PRIORITY_MIN || info->priority > TW_PRIORITY_MAX))
        r = -EINVAL;
    if (r == 0)
        r = load_receipt(q, STORE_RECEIPT_COLUMN, &info->usage, &info->receipt);
    return r < 0 ? r : load_pairs(q, 31, decode_labels, info);
}

static int load_spec(const struct db_query *q, struct store_task *task)
{
    int r = decode(q, STORE_INFO_COLUMNS_COUNT, decode_args, &task->spec);
    if (r == 0)
        r = decode(q, STORE_INFO_COLUMNS_COUNT + 1, decode_env, &task->spec);
    if (r == 0)
        r = decode(q, STORE_INFO_COLUMNS_COUNT + 2, decode_options, &task->spec);
    if (r == 0 && !db_is_null(q, STORE_INFO_COLUMNS_COUNT + 4))
        r = (task->cache_key = db_text(q, STORE_INFO_COLUMNS_COUNT + 4)) ? 0 : -ENOMEM;
    return r < 0 ? r : load_pairs(q, STORE_INFO_COLUMNS_COUNT + 3, decode_after, &task->info);
}

static int fail_values(const struct db_query *q, uint64_t seq, struct tw_error *error)
{
    return error_set(error, TW_DATA_LOSS, "%s holds values for task %llu that cannot be: restore it from a backup",
        q->db->path, (unsigned long long)seq);
}

int row_load_attempt(const struct db_query *q, uint64_t seq, struct tw_attempt_info *ret, struct tw_error *error)
{
    struct tw_attempt_info a = {.attempt = (uint32_t)db_int(q, 0), .reason = (enum tw_reason)db_int(q, 1)};
    a.message = db_text(q, 2);
    a.error = db_text(q, 3);
    a.exit_code = (int32_t)db_int(q, 4);
    a.signal = (int32_t)db_int(q, 5);
    a.started_us = db_u64(q, 6);
    a.finished_us = db_u64(q, 7);
    a.usage.wall_us = db_u64(q, 8);
    a.usage.user_us = db_u64(q, 9);
    a.usage.system_us = db_u64(q, 10);
    a.usage.max_rss_bytes = db_u64(q, 11);
    int r = !a.message || !a.error ? error_oom(error) : 0;
    if (r == 0 && (!tw_reason_to_string(a.reason) || load_receipt(q, 12, &a.usage, &a.receipt) < 0))
        r = fail_values(q, seq, error);
    if (r < 0)
        tw_attempt_info_done(&a);
    else
        *ret = a;
    return r;
}

static int load_digest(const struct db_query *q, uint8_t digest[STORE_DIGEST_LEN])
{
    size_t len;
    const void *value = db_blob(q, 23, &len);
    if (!value || len != STORE_DIGEST_LEN)
        return -EINVAL;
    memcpy(digest, value, STORE_DIGEST_LEN);
    return 0;
}

int row_load(struct db_query *q, bool with_spec, struct store_task *ret, struct tw_error *error)
{
    struct store_task task = {.seq = db_u64(q, 0)};
    int r = load_digest(q, task.digest);
    if (r == 0)
        r = load_info(q, &task.info);
    if (r == 0 && with_spec)
        r = load_spec(q, &task);
    if (r < 0) {
        uint64_t seq = task.seq;
        store_task_done(&task);
        return r == -ENOMEM ? error_oom(error) : fail_values(q, seq, error);
    }
    *ret = task;
    return 0;
}
