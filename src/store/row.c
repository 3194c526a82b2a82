/* SPDX-License-Identifier: Apache-2.0 */
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

int row_encode_spec(const struct store_spec *spec, char **ret_args, char **ret_env, struct tw_error *error)
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

static int decode(
    const struct db_query *q, int column, int (*each)(const json_t *, struct store_spec *), struct store_spec *spec)
{
    if (db_is_null(q, column))
        return 0;
    size_t len;
    const char *text = db_blob(q, column, &len);
    json_t *array = text ? json_loadb(text, len, 0, NULL) : NULL;
    int r = json_is_array(array) ? each(array, spec) : -1;
    json_decref(array);
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
        !tw_reason_to_string(task.info.reason) ||
        (with_spec &&
            (decode(q, STORE_INFO_COLUMNS_COUNT, decode_args, &task.spec) < 0 ||
                decode(q, STORE_INFO_COLUMNS_COUNT + 1, decode_env, &task.spec) < 0))) {
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
