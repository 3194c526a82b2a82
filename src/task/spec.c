/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task as it is asked for: checked against every bound, hashed, and copied into the record that the store keeps.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <sodium.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "task/cache.h"
#include "task/inputs.h"
#include "task/outputs.h"

static const uint64_t timeout_max_us = 365ull * 86400 * 1000000;

static int check_text(const char *s, const char *what, size_t index, size_t *total, struct tw_error *error)
{
    size_t len = strlen(s);
    if (!text_is_utf8(s, len))
        return error_set(error, TW_INVALID_ARGUMENT, "%s %zu is not valid UTF-8", what, index);
    *total += len + 1;
    return 0;
}

static int check_env_name(const char *name, size_t index, struct tw_error *error)
{
    static const char head[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    if (!*name || !strchr(head, *name) ||
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") != strlen(name)) {
        CLEANUP_FREE char *shown = text_line(name, strlen(name), 60);
        return error_set(error, TW_INVALID_ARGUMENT,
            "environment variable %zu has the illegal name \"%s\": letters, digits and '_' only, not starting with a "
            "digit",
            index, shown ? shown : "");
    }
    return 0;
}

static int check_strings(const struct tw_task_spec *spec, struct tw_error *error)
{
    size_t total = 0;
    if (spec->n_args > ENGINE_MAX_ARGS)
        return error_set(
            error, TW_INVALID_ARGUMENT, "%zu arguments are too many: at most %d", spec->n_args, ENGINE_MAX_ARGS);
    if (spec->n_env > ENGINE_MAX_ENV)
        return error_set(error, TW_INVALID_ARGUMENT, "%zu environment variables are too many: at most %d", spec->n_env,
            ENGINE_MAX_ENV);
    for (size_t i = 0; i < spec->n_args; i++) {
        if (check_text(spec->args[i], "argument", i, &total, error) < 0)
            return -1;
    }
    for (size_t i = 0; i < spec->n_env; i++) {
        if (check_env_name(spec->env[i].name, i, error) < 0 ||
            check_text(spec->env[i].value, "the value of environment variable", i, &total, error) < 0)
            return -1;
        total += strlen(spec->env[i].name) + 1;
    }
    if (total > ENGINE_MAX_ARGS_BYTES)
        return error_set(error, TW_INVALID_ARGUMENT, "arguments and environment together are %zu bytes: at most %d",
            total, ENGINE_MAX_ARGS_BYTES);
    return 0;
}

/* --- limits --- */

/* Below `min` no task gets as far as its first instruction; above `max` somebody has mistaken the unit. */
static const struct limit_rule {
    size_t offset; /* in struct tw_limits */
    const char *name, *setting;
    uint64_t min, max;
} limit_rules[] = {
#define RULE(field, key, low, high)                               \
    {                                                             \
        offsetof(struct tw_limits, field), #field, key, low, high \
    }
    RULE(memory_bytes, "MAX_MEMORY_GB", 16 << 20, 1ull << 60),
    RULE(cpu_millis, "MAX_CPU_CORES", 10, 65536 * 1000),
    RULE(cpu_time_us, "TASK_CPU_TIME", 1000, 3650ull * 86400 * 1000000),
    RULE(processes, "TASK_PROCESSES", 2, 1 << 22),
    RULE(open_files, "TASK_OPEN_FILES", 16, 1 << 20),
    RULE(file_bytes, "TASK_FILE_SIZE", 4096, 1ull << 60),
    RULE(workspace_bytes, "TASK_WORKSPACE_SIZE", 64 << 10, 1ull << 60),
    RULE(tmp_bytes, "TASK_TMP_SIZE", 64 << 10, 1ull << 60),
    RULE(output_bytes, "MAX_LOG_SIZE", 1, 1ull << 60),
#undef RULE
};
#define COUNT(name) +1
_Static_assert(ARRAY_LEN(limit_rules) == 0 TW_LIMITS(COUNT), "a rule for every limit");
#undef COUNT

static uint64_t limit_get(const struct tw_limits *limits, const struct limit_rule *rule)
{
    uint64_t value;
    memcpy(&value, (const char *)limits + rule->offset, sizeof value);
    return value;
}

static int limit_check(const struct tw_limits *limits, const struct limit_rule *rule, struct tw_error *error)
{
    uint64_t value = limit_get(limits, rule);
    if (value == 0 || (value >= rule->min && value <= rule->max))
        return 0;
    bool low = value < rule->min;
    return error_set(error, TW_INVALID_ARGUMENT, "limits.%s is %" PRIu64 ": it has to be at %s %" PRIu64 "%s (%s)",
        rule->name, value, low ? "least" : "most", low ? rule->min : rule->max,
        low ? ", or 0 for what the node gives" : "", rule->setting);
}

int engine_check_limits(const struct tw_limits *limits, struct tw_error *error)
{
    for (size_t i = 0; i < ARRAY_LEN(limit_rules); i++) {
        if (limit_check(limits, &limit_rules[i], error) < 0)
            return -1;
    }
    return 0;
}

/* What a task gets that asks for nothing; 0: no limit. */
static struct tw_limits node_limits(const struct engine *engine)
{
    struct tw_limits limits = engine->options.task_limits;
    limits.output_bytes = engine->options.max_log_size;
    return limits;
}

/* The most that one may ask for: the same, but for what is shared out among those that run. There it is all there is. */
static struct tw_limits most_limits(const struct engine *engine)
{
    struct tw_limits limits = node_limits(engine);
    if (engine->options.cpu_millis)
        limits.cpu_millis = engine->options.cpu_millis;
    if (engine->options.memory_bytes)
        limits.memory_bytes = engine->options.memory_bytes;
    return limits;
}

static int limits_check(const struct engine *engine, const struct tw_limits *asked, struct tw_error *error)
{
    struct tw_limits most = most_limits(engine);
    for (size_t i = 0; i < ARRAY_LEN(limit_rules); i++) {
        const struct limit_rule *rule = &limit_rules[i];
        uint64_t value = limit_get(asked, rule), bound = limit_get(&most, rule);
        if (limit_check(asked, rule, error) < 0)
            return -1;
        if (bound && value > bound)
            return error_set(error, TW_INVALID_ARGUMENT,
                "limits.%s is %" PRIu64 ": this node gives a task at most %" PRIu64 " (%s)", rule->name, value, bound,
                rule->setting);
    }
    return 0;
}

static int network_check(const struct engine *engine, enum tw_network network, struct tw_error *error)
{
    const char *name = tw_network_to_string(network);
    if (!name)
        return error_set(
            error, TW_INVALID_ARGUMENT, "network is %d, which is none: default, none, loopback or host", (int)network);
    if (network > engine->options.max_task_network) /* they are numbered from the least to the most */
        return error_set(error, TW_INVALID_ARGUMENT,
            "network is \"%s\": this node gives a task at most \"%s\" (MAX_TASK_NETWORK)", name,
            tw_network_to_string(engine->options.max_task_network));
    return 0;
}

void spec_resolve(const struct engine *engine, const struct store_spec *spec, struct tw_limits *ret_limits,
    enum tw_network *ret_network)
{
    const struct engine_options *o = &engine->options;
    struct tw_limits usual = node_limits(engine), most = most_limits(engine);
    /* The node's own may have come down since the task was admitted. */
#define X(name)                                                   \
    ret_limits->name = spec->limits.name == 0 ? usual.name        \
        : most.name == 0                      ? spec->limits.name \
                                              : MIN(spec->limits.name, most.name);
    TW_LIMITS(X)
#undef X
    *ret_network = spec->network == TW_NETWORK_DEFAULT ? o->task_network : spec->network;
    *ret_network = MIN(*ret_network, o->max_task_network);
}

/* --- labels and dependencies --- */

static const char label_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./";
enum { LABEL_KEY_MAX = 63, LABEL_VALUE_MAX = 255 };

static int label_check(const struct tw_label *label, bool from_outside, struct tw_error *error)
{
    size_t len = strlen(label->key), value_len = strlen(label->value);
    CLEANUP_FREE char *shown = text_line(label->key, len, 70);
    if (len == 0 || len > LABEL_KEY_MAX || strspn(label->key, label_chars) != len)
        return error_set(error, TW_INVALID_ARGUMENT,
            "\"%s\" cannot be the key of a label: 1 to %d letters, digits, '-', '_', '.' or '/'", shown ? shown : "",
            LABEL_KEY_MAX);
    if (from_outside && !strncmp(label->key, "hivemind.", 9))
        return error_set(error, TW_INVALID_ARGUMENT,
            "label \"%s\": keys that begin with \"hivemind.\" are the node's own", label->key);
    if (value_len > LABEL_VALUE_MAX || !text_is_utf8(label->value, value_len) ||
        text_has_control(label->value, value_len))
        return error_set(error, TW_INVALID_ARGUMENT,
            "the value of label \"%s\" has to be at most %d bytes of UTF-8 without control characters", label->key,
            LABEL_VALUE_MAX);
    return 0;
}

static int labels_check(const struct tw_task_spec *spec, bool from_outside, struct tw_error *error)
{
    if (spec->n_labels > TW_LABELS_MAX)
        return error_set(
            error, TW_INVALID_ARGUMENT, "%zu labels are too many: at most %d", spec->n_labels, TW_LABELS_MAX);
    for (size_t i = 0; i < spec->n_labels; i++) {
        if (label_check(&spec->labels[i], from_outside, error) < 0)
            return -1;
        for (size_t j = 0; j < i; j++) {
            if (!strcmp(spec->labels[i].key, spec->labels[j].key))
                return error_set(error, TW_INVALID_ARGUMENT, "label \"%s\" is given twice", spec->labels[i].key);
        }
    }
    return 0;
}

static int after_check(const struct tw_task_spec *spec, struct tw_error *error)
{
    if (spec->n_after > TW_AFTER_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "it comes after %zu tasks, which are too many: at most %d",
            spec->n_after, TW_AFTER_MAX);
    for (size_t i = 0; i < spec->n_after; i++) {
        if (tw_task_id_check(spec->after[i], strlen(spec->after[i]), error) < 0)
            return error_wrap(error, "after");
        if (spec->id && !strcmp(spec->id, spec->after[i]))
            return error_set(error, TW_INVALID_ARGUMENT, "task '%s' cannot come after itself", spec->id);
    }
    return 0;
}

/* --- the spec --- */

/* Nobody means a start in ten years' time: that is a time in other units. */
static int schedule_check(const struct tw_task_spec *spec, struct tw_error *error)
{
    if (spec->priority < TW_PRIORITY_MIN || spec->priority > TW_PRIORITY_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "priority is %d: it goes from %d to %d", (int)spec->priority,
            TW_PRIORITY_MIN, TW_PRIORITY_MAX);
    if (spec->queue_timeout_us > timeout_max_us)
        return error_set(error, TW_INVALID_ARGUMENT, "the queue time-out is longer than a year");
    if (spec->not_before_us && spec->delay_us)
        return error_set(error, TW_INVALID_ARGUMENT, "not_before_us and delay_ms both say when: give one of them");
    if (spec->delay_us > timeout_max_us)
        return error_set(error, TW_INVALID_ARGUMENT, "the delay is longer than a year");
    if (spec->not_before_us > clock_wall_us() + 10 * timeout_max_us)
        return error_set(error, TW_INVALID_ARGUMENT,
            "not_before_us is more than ten years from now: it counts microseconds since 1970");
    return 0;
}

static int gpus_check(const struct engine *engine, const struct tw_task_spec *spec, struct tw_error *error)
{
    const struct gpus *g = &engine->queue.gpus;
    uint64_t most = 0;
    for (size_t i = 0; i < g->n; i++)
        most = MAX(most, g->device[i].memory_bytes);
    if (spec->gpus && spec->gpu_memory_bytes)
        return error_set(error, TW_INVALID_ARGUMENT, "gpus and gpu_memory_bytes: one of them");
    if (spec->gpus > g->n || (spec->gpu_memory_bytes && g->n == 0))
        return error_set(error, TW_INVALID_ARGUMENT, "the task asks for %s: this node has %zu%s",
            spec->gpus > 1 ? "GPUs" : "a GPU", g->n, g->n == 0 ? " (hivemind doctor says why)" : "");
    if (spec->gpu_memory_bytes > most)
        return error_set(error, TW_INVALID_ARGUMENT,
            "gpu_memory_bytes is %" PRIu64 ": this node's largest GPU has %" PRIu64, spec->gpu_memory_bytes, most);
    return 0;
}

int spec_check(const struct engine *engine, const struct tw_task_spec *spec, bool from_outside, struct tw_error *error)
{
    const struct engine_options *o = &engine->options;
    if (spec->id && *spec->id && tw_task_id_check(spec->id, strlen(spec->id), error) < 0)
        return error_wrap(error, "task_id");
    if (!spec->type || !*spec->type)
        return error_set(error, TW_INVALID_ARGUMENT, "task_type is missing: \"python\" or \"shell\"");
    if (!strcmp(spec->type, "function") && !o->runtime->ops->serves(o->runtime, spec->type))
        return error_set(error, TW_INVALID_ARGUMENT, "this node has no functions (FUNCTIONS)");
    if (!o->runtime->ops->serves(o->runtime, spec->type)) {
        CLEANUP_FREE char *shown = text_line(spec->type, strlen(spec->type), 40);
        return error_set(error, TW_INVALID_ARGUMENT, "task_type \"%s\" is unknown here: \"python\" or \"shell\"",
            shown ? shown : "");
    }
    if (!spec->data || spec->data_len == 0)
        return error_set(error, TW_INVALID_ARGUMENT, "task_data is empty: there is nothing to run");
    if (spec->data_len > o->max_task_size)
        return error_set(error, TW_INVALID_ARGUMENT,
            "task_data is %zu bytes: this node takes at most %llu (MAX_TASK_SIZE)", spec->data_len,
            (unsigned long long)o->max_task_size);
    if (spec->timeout_us > timeout_max_us)
        return error_set(error, TW_INVALID_ARGUMENT, "the time-out is longer than a year");
    if (spec->grace_us > timeout_max_us || spec->retry_delay_us > timeout_max_us)
        return error_set(error, TW_INVALID_ARGUMENT, "the %s is longer than a year",
            spec->grace_us > timeout_max_us ? "grace" : "delay before a retry");
    if (schedule_check(spec, error) < 0 || labels_check(spec, from_outside, error) < 0 || after_check(spec, error) < 0)
        return -1;
    if (spec->retries > ENGINE_MAX_RETRIES)
        return error_set(
            error, TW_INVALID_ARGUMENT, "%u retries are too many: at most %d", spec->retries, ENGINE_MAX_RETRIES);
    if (limits_check(engine, &spec->limits, error) < 0 || network_check(engine, spec->network, error) < 0 ||
        gpus_check(engine, spec, error) < 0 || inputs_check(engine, spec, error) < 0 ||
        outputs_check(engine, spec, error) < 0 || cache_check(spec, error) < 0)
        return -1;
    return check_strings(spec, error);
}

static void hash_bytes(crypto_generichash_state *h, const void *data, size_t len)
{
    uint64_t n = len; /* length first, so that no two specs run into each other */
    crypto_generichash_update(h, (const unsigned char *)&n, sizeof n);
    crypto_generichash_update(h, data ? data : "", len);
}

static void hash_text(crypto_generichash_state *h, const char *s)
{
    hash_bytes(h, s, s ? strlen(s) : 0);
}

void spec_begin_digest(const struct tw_task_spec *spec, struct spec_digest *ret)
{
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, STORE_DIGEST_LEN);
    hash_text(&h, spec->type);
    hash_text(&h, spec->owner);
    hash_bytes(&h, spec->data, spec->data_len);
    memcpy(ret->state, &h, sizeof h);
}

/* Everything that makes two submissions the same task: not the id, not the node's defaults. */
static void spec_digest(const struct tw_task_spec *spec, const struct spec_digest *begun, const struct tw_label *labels,
    uint8_t out[STORE_DIGEST_LEN])
{
    crypto_generichash_state h;
    memcpy(&h, begun->state, sizeof h);
    uint64_t numbers[] = {spec->timeout_us, spec->retries, spec->n_args, spec->n_env};
    hash_bytes(&h, numbers, sizeof numbers);
    for (size_t i = 0; i < spec->n_args; i++)
        hash_text(&h, spec->args[i]);
    for (size_t i = 0; i < spec->n_env; i++) {
        hash_text(&h, spec->env[i].name);
        hash_text(&h, spec->env[i].value);
    }
    /* Only where one is used: an id that was handed in before there were any of these still has to match. */
    uint64_t options[] = {
#define X(name) spec->limits.name,
        TW_LIMITS(X)
#undef X
            (uint64_t) spec->network,
        spec->fresh_interpreter,
    };
    uint64_t schedule[] = {(uint64_t)(int64_t)spec->priority, spec->not_before_us, spec->queue_timeout_us};
    uint64_t any = 0;
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        any |= options[i];
    if (any)
        hash_bytes(&h, options, sizeof options);
    if (schedule[0] || schedule[1] || schedule[2])
        hash_bytes(&h, schedule, sizeof schedule);
    if (spec->delay_us) /* as it was asked for: the start that follows from it is another at each try */
        hash_bytes(&h, &spec->delay_us, sizeof spec->delay_us);
    uint64_t gpus[] = {spec->gpus, spec->gpu_memory_bytes};
    if (gpus[0] || gpus[1])
        hash_bytes(&h, gpus, sizeof gpus);
    uint64_t life[] = {spec->retry_delay_us, spec->grace_us, spec->after_any, spec->n_labels, spec->n_after};
    if (life[0] || life[1] || life[2] || life[3] || life[4])
        hash_bytes(&h, life, sizeof life);
    for (size_t i = 0; i < spec->n_labels; i++) {
        hash_text(&h, labels[i].key);
        hash_text(&h, labels[i].value);
    }
    for (size_t i = 0; i < spec->n_after; i++)
        hash_text(&h, spec->after[i]);
    if (spec->n_inputs)
        hash_bytes(&h, &spec->n_inputs, sizeof spec->n_inputs);
    for (size_t i = 0; i < spec->n_inputs; i++) {
        hash_text(&h, spec->inputs[i].file_id);
        hash_text(&h, spec->inputs[i].name);
        hash_text(&h, spec->inputs[i].path);
    }
    if (spec->n_outputs)
        hash_bytes(&h, &spec->n_outputs, sizeof spec->n_outputs);
    for (size_t i = 0; i < spec->n_outputs; i++)
        hash_text(&h, spec->outputs[i]);
    crypto_generichash_final(&h, out, STORE_DIGEST_LEN);
}

/*
 * 20 characters that survive being read aloud (Crockford's base 32, lower case): 45 bits of milliseconds, so that ids sort
 * by time and the database's index grows at its end, then 55 random bits.
 */
char *spec_make_id(void)
{
    enum { TIME_DIGITS = 9 };
    uint8_t raw[SPEC_ID_LEN];
    if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
        return NULL;
    uint64_t ms = clock_wall_us() / 1000;
    for (int i = TIME_DIGITS - 1; i >= 0; i--, ms >>= 5)
        raw[i] = (uint8_t)(ms & 31);
    return spec_id_of(raw);
}

char *spec_id_of(const uint8_t raw[SPEC_ID_LEN])
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
    char *id = malloc(SPEC_ID_LEN + 1);
    for (size_t i = 0; id && i < SPEC_ID_LEN; i++)
        id[i] = digits[raw[i] & 31];
    if (id)
        id[SPEC_ID_LEN] = '\0';
    return id;
}

static int copy_strings(const struct tw_task_spec *from, struct store_spec *to)
{
    to->args = calloc(from->n_args + 1, sizeof *to->args);
    to->env = calloc(from->n_env + 1, sizeof *to->env);
    if (!to->args || !to->env)
        return -ENOMEM;
    for (; to->n_args < from->n_args; to->n_args++) {
        if (!(to->args[to->n_args] = strdup(from->args[to->n_args])))
            return -ENOMEM;
    }
    for (; to->n_env < from->n_env; to->n_env++) {
        struct store_env *env = &to->env[to->n_env];
        env->name = strdup(from->env[to->n_env].name);
        env->value = strdup(from->env[to->n_env].value);
        if (!env->name || !env->value) {
            free(env->name);
            free(env->value);
            return -ENOMEM;
        }
    }
    return 0;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct tw_label *)a)->key, ((const struct tw_label *)b)->key);
}

static int copy_labels(const struct tw_task_spec *from, struct tw_task_info *to)
{
    to->labels = from->n_labels ? calloc(from->n_labels, sizeof *to->labels) : NULL;
    if (from->n_labels && !to->labels)
        return -ENOMEM;
    for (; to->n_labels < from->n_labels; to->n_labels++) {
        struct tw_label *label = &to->labels[to->n_labels];
        label->key = strdup(from->labels[to->n_labels].key);
        label->value = strdup(from->labels[to->n_labels].value);
        if (!label->key || !label->value) {
            free((char *)label->key);
            free((char *)label->value);
            return -ENOMEM;
        }
    }
    if (to->labels && to->n_labels > 1)
        qsort(to->labels, to->n_labels, sizeof *to->labels, by_key);
    return 0;
}

static int copy_after(const struct tw_task_spec *from, struct tw_task_info *to)
{
    to->after = from->n_after ? calloc(from->n_after, sizeof *to->after) : NULL;
    if (from->n_after && !to->after)
        return -ENOMEM;
    for (; to->n_after < from->n_after; to->n_after++) {
        if (!(to->after[to->n_after].id = strdup(from->after[to->n_after])))
            return -ENOMEM;
    }
    return 0;
}

int spec_record(const struct engine *engine, const struct tw_task_spec *spec, const struct spec_digest *begun,
    void **take_data, struct store_task *record)
{
    struct spec_digest own;
    struct tw_task_info *info = &record->info;
    info->id = spec->id && *spec->id ? strdup(spec->id) : spec_make_id();
    info->type = strdup(spec->type);
    info->owner = strdup(spec->owner ? spec->owner : "");
    info->message = strdup("waits for its turn");
    info->error = strdup("");
    info->state = TW_TASK_QUEUED;
    info->retries = spec->retries;
    info->timeout_us = spec->timeout_us ? spec->timeout_us : engine->options.default_timeout_us;
    info->priority = spec->priority;
    info->queue_timeout_us = spec->queue_timeout_us ? spec->queue_timeout_us : engine->options.default_queue_timeout_us;
    info->created_us = clock_wall_us();
    info->not_before_us = spec->delay_us ? info->created_us + spec->delay_us : spec->not_before_us;
    record->spec.data = *take_data ? STEAL(*take_data) : (void *)text_dup(spec->data, spec->data_len);
    record->spec.data_len = spec->data_len;
    record->spec.limits = spec->limits;
    record->spec.network = spec->network;
    record->spec.fresh_interpreter = spec->fresh_interpreter;
    record->spec.grace_us = spec->grace_us;
    record->spec.after_any = spec->after_any;
    record->spec.after_own = spec->after_own;
    record->spec.for_caller = spec->for_caller;
    record->spec.gpus = spec->gpus;
    record->spec.gpu_memory_bytes = spec->gpu_memory_bytes;
    info->retry_of = strdup(spec->retry_of ? spec->retry_of : "");
    info->retry_delay_us = spec->retry_delay_us ? spec->retry_delay_us : engine->options.retry_delay_us;
    if (!info->id || !info->type || !info->owner || !info->message || !info->error || !info->retry_of ||
        !record->spec.data || copy_labels(spec, info) < 0 || copy_after(spec, info) < 0 ||
        inputs_copy(spec->inputs, spec->n_inputs, &record->spec) < 0 || outputs_copy(spec, &record->spec) < 0)
        return -ENOMEM;
    if (!begun)
        spec_begin_digest(spec, &own);
    spec_digest(spec, begun ? begun : &own, info->labels, record->digest);
    return copy_strings(spec, &record->spec);
}

/* NOLINTBEGIN(clang-analyzer-core.NonNullParamChecker): copy_strings() left no NULL in the lists, or failed */
size_t record_bytes(const struct store_task *record)
{
    const struct store_spec *spec = &record->spec;
    size_t bytes = sizeof(struct task) + 256;
    for (size_t i = 0; i < record->info.n_labels; i++)
        bytes += strlen(record->info.labels[i].key) + strlen(record->info.labels[i].value) + 64;
    for (size_t i = 0; i < record->info.n_after; i++)
        bytes += strlen(record->info.after[i].id) + 128;
    for (size_t i = 0; i < spec->n_args; i++)
        bytes += strlen(spec->args[i]) + 32;
    for (size_t i = 0; i < spec->n_env; i++)
        bytes += strlen(spec->env[i].name) + strlen(spec->env[i].value) + 64;
    for (size_t i = 0; i < spec->n_inputs; i++)
        bytes += strlen(spec->inputs[i].name) + strlen(spec->inputs[i].path) + 128;
    for (size_t i = 0; i < spec->n_outputs; i++)
        bytes += strlen(spec->outputs[i]) + 32;
    return bytes;
}
/* NOLINTEND(clang-analyzer-core.NonNullParamChecker) */
