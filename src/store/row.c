/* SPDX-License-Identifier: Apache-2.0 */
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

static int decode_string(const json_t *value, char **ret)
{
    if (!json_is_string(value))
        return -1;
    *ret = text_dup(json_string_value(value), json_string_length(value));
    return *ret ? 0 : -1;
}

static int decode_args(const json_t *array, struct store_spec *spec)
{
    size_t n = json_array_size(array);
    spec->args = calloc(n ? n : 1, sizeof *spec->args);
    for (size_t i = 0; spec->args && i < n; i++) {
        if (decode_string(json_array_get(array, i), &spec->args[i]) < 0)
            return -1;
        spec->n_args++;
    }
    return spec->args ? 0 : -1;
}

static int decode_env(const json_t *array, struct store_spec *spec)
{
    size_t n = json_array_size(array);
    spec->env = calloc(n ? n : 1, sizeof *spec->env);
    for (size_t i = 0; spec->env && i < n; i++) {
        const json_t *pair = json_array_get(array, i);
        struct store_env *env = &spec->env[spec->n_env++]; /* counted first: a half-read pair is freed too */
        if (decode_string(json_array_get(pair, 0), &env->name) < 0 ||
            decode_string(json_array_get(pair, 1), &env->value) < 0)
            return -1;
    }
    return spec->env ? 0 : -1;
}

/* Every key is known, every value a number above 0. */
static int decode_options(const json_t *object, struct store_spec *spec)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        json_int_t number = json_integer_value(value);
        if (!json_is_integer(value) || number <= 0)
            return -1;
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
            spec->fresh_interpreter = true;
            known = true;
        }
        if (!known)
            return -1;
    }
    return 0;
}

static int decode(
    const struct db_query *q, int column, int (*each)(const json_t *, struct store_spec *), struct store_spec *spec)
{
    if (db_is_null(q, column))
        return 0;
    size_t len;
    const char *text = db_blob(q, column, &len);
    json_t *value = text ? json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    bool right = each == decode_options ? json_is_object(value) : json_is_array(value);
    int r = right ? each(value, spec) : -1;
    json_decref(value);
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
    return info->id && info->type && info->owner && info->message && info->error ? 0 : -1;
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
}

/* The rest of the usage, and the receipt; -1 for values that cannot be. */
static int load_receipt(const struct db_query *q, struct tw_task_info *info)
{
    struct tw_receipt *r = &info->receipt;
    int at = STORE_RECEIPT_COLUMN;
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
        return -1;
    if (len > 0)
        memcpy(r->denied_calls, calls, len);
    at = STORE_RECEIPT_USAGE_COLUMN;
#define X(name) info->usage.name = db_u64(q, at++);
    STORE_RECEIPT_USAGE(X)
#undef X
#define X(name) r->limits.name = db_u64(q, at++);
    TW_LIMITS(X)
#undef X
    return 0;
}

static int load_spec(const struct db_query *q, struct store_spec *spec)
{
    if (decode(q, STORE_INFO_COLUMNS_COUNT, decode_args, spec) < 0 ||
        decode(q, STORE_INFO_COLUMNS_COUNT + 1, decode_env, spec) < 0)
        return -1;
    return decode(q, STORE_INFO_COLUMNS_COUNT + 2, decode_options, spec);
}

int row_load(struct db_query *q, bool with_spec, struct store_task *ret, struct tw_error *error)
{
    struct store_task task = {.seq = db_u64(q, 0)};
    load_numbers(q, &task.info);
    size_t len;
    const void *digest = db_blob(q, 23, &len);
    int r = 0;
    if (load_text(q, &task.info) < 0) {
        r = error_oom(error);
    } else if (!digest || len != STORE_DIGEST_LEN || !tw_task_state_to_string(task.info.state) ||
        !tw_reason_to_string(task.info.reason) || task.info.priority < TW_PRIORITY_MIN ||
        task.info.priority > TW_PRIORITY_MAX || load_receipt(q, &task.info) < 0 ||
        (with_spec && load_spec(q, &task.spec) < 0)) {
        r = error_set(error, TW_DATA_LOSS, "%s holds values for task %llu that cannot be: restore it from a backup",
            q->db->path, (unsigned long long)task.seq);
    } else {
        memcpy(task.digest, digest, STORE_DIGEST_LEN);
    }
    if (r < 0) {
        store_task_done(&task);
        return -1;
    }
    *ret = task;
    return 0;
}
