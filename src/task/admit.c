/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission: the one door for tasks. A spec is checked against every bound, copied, hashed, and handed to the store. The
 * store decides whether the id is new (the database is the arbiter, so two callers at once are no special case), and only
 * when the admission is on disk does the task become live and the caller hear of it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <sodium.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "task/task.h"

static const uint64_t timeout_max_us = 365ull * 86400 * 1000000;

struct admission {
    struct engine *engine;
    struct store_task record;
    size_t bytes;            /* what it holds in memory, its data included */
    struct tw_error refusal; /* there is no room for it */
    engine_admit_cb cb;
    void *ctx;
};

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
    RULE(memory_bytes, "TASK_MEMORY", 16 << 20, 1ull << 60),
    RULE(cpu_millis, "TASK_CPUS", 10, 65536 * 1000),
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

/* The most that a task may use here; 0: no limit. */
static struct tw_limits node_limits(const struct engine *engine)
{
    struct tw_limits limits = engine->options.task_limits;
    limits.output_bytes = engine->options.max_log_size;
    return limits;
}

static int limits_check(const struct engine *engine, const struct tw_limits *asked, struct tw_error *error)
{
    struct tw_limits most = node_limits(engine);
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
    struct tw_limits most = node_limits(engine);
    /* The node's own may have come down since the task was admitted. */
#define X(name)                                                   \
    ret_limits->name = spec->limits.name == 0 ? most.name         \
        : most.name == 0                      ? spec->limits.name \
                                              : MIN(spec->limits.name, most.name);
    TW_LIMITS(X)
#undef X
    *ret_network = spec->network == TW_NETWORK_DEFAULT ? o->task_network : spec->network;
    *ret_network = MIN(*ret_network, o->max_task_network);
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
    if (spec->not_before_us > clock_wall_us() + 10 * timeout_max_us)
        return error_set(error, TW_INVALID_ARGUMENT,
            "not_before_us is more than ten years from now: it counts microseconds since 1970");
    return 0;
}

int spec_check(const struct engine *engine, const struct tw_task_spec *spec, struct tw_error *error)
{
    const struct engine_options *o = &engine->options;
    if (spec->id && *spec->id && tw_task_id_check(spec->id, strlen(spec->id), error) < 0)
        return error_wrap(error, "task_id");
    if (!spec->type || !*spec->type)
        return error_set(error, TW_INVALID_ARGUMENT, "task_type is missing: \"python\" or \"shell\"");
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
    if (schedule_check(spec, error) < 0)
        return -1;
    if (spec->retries > ENGINE_MAX_RETRIES)
        return error_set(
            error, TW_INVALID_ARGUMENT, "%u retries are too many: at most %d", spec->retries, ENGINE_MAX_RETRIES);
    if (limits_check(engine, &spec->limits, error) < 0 || network_check(engine, spec->network, error) < 0)
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

/* Everything that makes two submissions the same task: not the id, not the node's defaults. */
static void spec_digest(const struct tw_task_spec *spec, uint8_t out[STORE_DIGEST_LEN])
{
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, STORE_DIGEST_LEN);
    hash_text(&h, spec->type);
    hash_text(&h, spec->owner);
    hash_bytes(&h, spec->data, spec->data_len);
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
    crypto_generichash_final(&h, out, STORE_DIGEST_LEN);
}

/*
 * 20 characters that survive being read aloud (Crockford's base 32, lower case): 45 bits of milliseconds, so that ids sort
 * by time and the database's index grows at its end, then 55 random bits.
 */
static char *make_id(void)
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
    enum { TIME_DIGITS = 9, DIGITS = 20 };
    uint8_t raw[DIGITS];
    char *id = malloc(DIGITS + 1);
    if (!id || getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw) {
        free(id);
        return NULL;
    }
    uint64_t ms = clock_wall_us() / 1000;
    for (int i = TIME_DIGITS - 1; i >= 0; i--, ms >>= 5)
        raw[i] = (uint8_t)(ms & 31);
    for (size_t i = 0; i < DIGITS; i++)
        id[i] = digits[raw[i] & 31];
    id[DIGITS] = '\0';
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

static int record_init(
    struct store_task *record, const struct engine *engine, const struct tw_task_spec *spec, void **take_data)
{
    struct tw_task_info *info = &record->info;
    info->id = spec->id && *spec->id ? strdup(spec->id) : make_id();
    info->type = strdup(spec->type);
    info->owner = strdup(spec->owner ? spec->owner : "");
    info->message = strdup("waits for its turn");
    info->error = strdup("");
    info->state = TW_TASK_QUEUED;
    info->retries = spec->retries;
    info->timeout_us = spec->timeout_us ? spec->timeout_us : engine->options.default_timeout_us;
    info->priority = spec->priority;
    info->not_before_us = spec->not_before_us;
    info->queue_timeout_us = spec->queue_timeout_us ? spec->queue_timeout_us : engine->options.default_queue_timeout_us;
    info->created_us = clock_wall_us();
    record->spec.data = *take_data ? STEAL(*take_data) : (void *)text_dup(spec->data, spec->data_len);
    record->spec.data_len = spec->data_len;
    record->spec.limits = spec->limits;
    record->spec.network = spec->network;
    record->spec.fresh_interpreter = spec->fresh_interpreter;
    spec_digest(spec, record->digest);
    if (!info->id || !info->type || !info->owner || !info->message || !info->error || !record->spec.data)
        return -ENOMEM;
    return copy_strings(spec, &record->spec);
}

/* NOLINTBEGIN(clang-analyzer-core.NonNullParamChecker): copy_strings() left no NULL in the lists, or failed */
size_t spec_bytes(const struct store_spec *spec)
{
    size_t bytes = sizeof(struct task) + 256;
    for (size_t i = 0; i < spec->n_args; i++)
        bytes += strlen(spec->args[i]) + 32;
    for (size_t i = 0; i < spec->n_env; i++)
        bytes += strlen(spec->env[i].name) + strlen(spec->env[i].value) + 64;
    return bytes;
}
/* NOLINTEND(clang-analyzer-core.NonNullParamChecker) */

/* The end of every admission. With neither `existing` nor error the task is new, and on disk. */
static void admission_answer(struct admission *a, const struct store_task *existing, const struct tw_error *error)
{
    struct engine *engine = a->engine;
    engine->admitting--;
    engine->admitting_bytes -= a->bytes;
    if (error) {
        a->cb(a->ctx, NULL, false, error);
    } else if (existing) {
        struct task *live = engine_find(engine, existing->info.id);
        a->cb(a->ctx, live ? task_info(live) : &existing->info, true, NULL);
    } else {
        struct task *task = task_new(engine, &a->record);
        engine->accepted++;
        if (task) {
            engine_enqueue(task, false);
            a->cb(a->ctx, &task->record.info, false, NULL);
            engine_schedule(engine);
        } else {
            /* It is on disk and will run after a restart; the promise holds. */
            log_error("out of memory: task %s waits on disk for the next start", a->record.info.id);
            a->cb(a->ctx, &a->record.info, false, NULL);
        }
    }
    store_task_done(&a->record);
    free(a);
    engine_check_drained(engine);
}

static void on_admitted(void *ctx, const struct store_task *existing, const struct tw_error *error)
{
    admission_answer(ctx, existing, error);
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

/* Whether one more fits. What it says no to may still be a task that was handed in before. */
static int check_room(const struct engine *engine, const struct admission *a, struct tw_error *error)
{
    const struct engine_options *o = &engine->options;
    unsigned free_slots = o->max_running > engine->running ? o->max_running - engine->running : 0;
    if (engine->draining)
        return error_set(error, TW_UNAVAILABLE, "the node is shutting down and takes no new tasks");
    if (engine->queue.len + engine->admitting >= o->max_queued + free_slots)
        return refuse_for_now(engine, error, "the queue is full (MAX_QUEUED_TASKS is %u)", o->max_queued);
    if (engine->queue_bytes + spec_bytes(&a->record.spec) > ENGINE_MAX_QUEUE_BYTES)
        return refuse_for_now(engine, error, "the queue holds its limit of %d MiB", ENGINE_MAX_QUEUE_BYTES >> 20);
    if (engine->admitting && engine->admitting_bytes + a->bytes > ENGINE_MAX_ADMITTING_BYTES)
        return refuse_for_now(
            engine, error, "%d MiB of tasks are on their way to disk already", ENGINE_MAX_ADMITTING_BYTES >> 20);
    return 0;
}

/* There is no room, but what was handed in before gets the same answer again. */
static void on_looked_up(void *ctx, const struct store_task *known, const struct tw_error *error UNUSED)
{
    struct admission *a = ctx;
    struct tw_error other;
    if (!known) {
        admission_answer(a, NULL, &a->refusal);
    } else if (!memcmp(known->digest, a->record.digest, STORE_DIGEST_LEN)) {
        admission_answer(a, known, NULL);
    } else {
        error_set(&other, TW_ALREADY_EXISTS, "task %s exists already, with other content", known->info.id);
        admission_answer(a, NULL, &other);
    }
}

void engine_admit(
    struct engine *engine, const struct tw_task_spec *spec, void *take_data, engine_admit_cb cb, void *ctx)
{
    struct tw_error error = {.code = TW_OK};
    struct admission *a = spec_check(engine, spec, &error) == 0 ? calloc(1, sizeof *a) : NULL;
    if (a && record_init(&a->record, engine, spec, &take_data) < 0) {
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
    a->bytes = spec_bytes(&a->record.spec) + a->record.spec.data_len;
    bool room = check_room(engine, a, &a->refusal) == 0;
    engine->admitting++;
    engine->admitting_bytes += a->bytes;
    if (room)
        store_admit(engine->options.store, &a->record, on_admitted, a);
    else if (spec->id && *spec->id && !engine->drained)
        store_get(engine->options.store, a->record.info.id, on_looked_up, a);
    else
        admission_answer(a, NULL, &a->refusal);
}
