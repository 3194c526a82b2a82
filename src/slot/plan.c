/* SPDX-License-Identifier: Apache-2.0 */
#include "slot/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/glob.h"

#define PLAN_MAGIC 0x686d706cu
enum { PLAN_VERSION = 3 };

const char *plan_error_to_string(enum plan_error error)
{
    static const char *const texts[] = {
        [PLAN_OK] = "ok",
        [PLAN_NO_PLAN] = "not a plan",
        [PLAN_CUT] = "cut short",
        [PLAN_TRAILING] = "bytes behind its end",
        [PLAN_TOO_LARGE] = "too many or too long arguments or environment variables",
        [PLAN_BAD_KIND] = "unknown kind of task",
        [PLAN_BAD_STRING] = "a NUL byte inside a string",
        [PLAN_BAD_NAME] = "not a name for an environment variable",
        [PLAN_BAD_LIMIT] = "a limit out of range",
        [PLAN_BAD_PATTERN] = "not a pattern for outputs",
        [PLAN_NO_MEMORY] = "out of memory",
    };
    return (unsigned)error < ARRAY_LEN(texts) ? texts[error] : "?";
}

bool plan_name_ok(const char *name)
{
    if (*name >= '0' && *name <= '9')
        return false;
    size_t len = 0;
    for (; len <= PLAN_NAME_MAX && name[len]; len++) {
        char c = name[len];
        if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_')
            return false;
    }
    return len > 0 && len <= PLAN_NAME_MAX;
}

/* The sizes become tmpfs options and rlimits, where 0 would mean "no limit". */
static bool limits_ok(const struct plan_limits *l)
{
    const uint64_t max = UINT64_C(1) << 50;
    return l->file_bytes - 1 < max && l->open_files >= 16 && l->open_files <= 1024 * 1024 &&
        l->processes - 1 < 4 * 1024 * 1024 && l->cpu_seconds < max;
}

static enum plan_error encode_string(struct buf *out, const char *s, size_t max)
{
    size_t len = strlen(s);
    if (len > max)
        return PLAN_TOO_LARGE;
    buf_append_u32le(out, (uint32_t)len);
    buf_append(out, s, len);
    return PLAN_OK;
}

static enum plan_error encode_lists(const struct plan *plan, struct buf *out)
{
    enum plan_error e = encode_string(out, plan->task_id, PLAN_TASK_ID_MAX);
    if (plan->n_args > PLAN_ARGS_MAX || plan->n_env > PLAN_ENV_MAX)
        return PLAN_TOO_LARGE;
    buf_append_u32le(out, (uint32_t)plan->n_args);
    for (size_t i = 0; i < plan->n_args && !e; i++)
        e = encode_string(out, plan->args[i], PLAN_STRING_MAX);
    buf_append_u32le(out, (uint32_t)plan->n_env);
    for (size_t i = 0; i < plan->n_env && !e; i++) {
        e = plan_name_ok(plan->env[i].name) ? encode_string(out, plan->env[i].name, PLAN_NAME_MAX) : PLAN_BAD_NAME;
        if (!e)
            e = encode_string(out, plan->env[i].value, PLAN_STRING_MAX);
    }
    if (plan->n_outputs > PLAN_OUTPUTS_MAX)
        return PLAN_TOO_LARGE;
    buf_append_u32le(out, (uint32_t)plan->n_outputs);
    for (size_t i = 0; i < plan->n_outputs && !e; i++)
        e = glob_flaw(plan->outputs[i]) ? PLAN_BAD_PATTERN : encode_string(out, plan->outputs[i], PLAN_PATTERN_MAX);
    return e;
}

enum plan_error plan_encode(const struct plan *plan, struct buf *out)
{
    if (plan->kind <= 0 || plan->kind >= PLAN_KIND_MAX)
        return PLAN_BAD_KIND;
    if (!limits_ok(&plan->limits))
        return PLAN_BAD_LIMIT;
    size_t before = out->len;
    buf_append_u32le(out, PLAN_MAGIC);
    buf_append_u32le(out, PLAN_VERSION);
    buf_append_u32le(out, plan->kind);
#define X(name) buf_append_u64le(out, plan->limits.name);
    PLAN_LIMITS(X)
#undef X
    enum plan_error e = encode_lists(plan, out);
    if (e)
        return e;
    if (out->error)
        return out->error == -E2BIG ? PLAN_TOO_LARGE : PLAN_NO_MEMORY;
    return out->len - before > PLAN_BYTES_MAX ? PLAN_TOO_LARGE : PLAN_OK;
}

/* The decoded strings with their NULs: together never more than the encoding is long, since each length field made room. */
struct arena {
    char *next;
};

static enum plan_error decode_string(struct cursor *c, struct arena *arena, size_t max, const char **ret)
{
    uint32_t len;
    const uint8_t *raw;
    if (!cursor_u32le(c, &len))
        return PLAN_CUT;
    if (len > max)
        return PLAN_TOO_LARGE;
    if (!cursor_bytes(c, len, &raw))
        return PLAN_CUT;
    if (memchr(raw, 0, len))
        return PLAN_BAD_STRING;
    memcpy(arena->next, raw, len);
    arena->next[len] = '\0';
    *ret = arena->next;
    arena->next += len + 1;
    return PLAN_OK;
}

static enum plan_error decode_outputs(struct cursor *c, struct arena *arena, struct plan *ret)
{
    uint32_t n;
    const char **outputs = (const char **)ret->outputs;
    if (!cursor_u32le(c, &n))
        return PLAN_CUT;
    if (n > PLAN_OUTPUTS_MAX)
        return PLAN_TOO_LARGE;
    for (; ret->n_outputs < n; ret->n_outputs++) {
        enum plan_error e = decode_string(c, arena, PLAN_PATTERN_MAX, &outputs[ret->n_outputs]);
        if (e)
            return e;
        if (glob_flaw(outputs[ret->n_outputs]))
            return PLAN_BAD_PATTERN;
    }
    return PLAN_OK;
}

static enum plan_error decode_lists(struct cursor *c, struct arena *arena, struct plan *ret)
{
    uint32_t n;
    const char **args = (const char **)ret->args;
    struct plan_env *env = (struct plan_env *)ret->env;
    enum plan_error e = decode_string(c, arena, PLAN_TASK_ID_MAX, &ret->task_id);
    if (e)
        return e;
    if (!cursor_u32le(c, &n))
        return PLAN_CUT;
    if (n > PLAN_ARGS_MAX)
        return PLAN_TOO_LARGE;
    for (; ret->n_args < n; ret->n_args++) {
        e = decode_string(c, arena, PLAN_STRING_MAX, &args[ret->n_args]);
        if (e)
            return e;
    }
    if (!cursor_u32le(c, &n))
        return PLAN_CUT;
    if (n > PLAN_ENV_MAX)
        return PLAN_TOO_LARGE;
    for (; ret->n_env < n; ret->n_env++) {
        struct plan_env *v = &env[ret->n_env];
        e = decode_string(c, arena, PLAN_NAME_MAX, &v->name);
        if (e)
            return e;
        if (!plan_name_ok(v->name))
            return PLAN_BAD_NAME;
        e = decode_string(c, arena, PLAN_STRING_MAX, &v->value);
        if (e)
            return e;
    }
    return decode_outputs(c, arena, ret);
}

enum plan_error plan_decode(const void *data, size_t len, struct plan *ret)
{
    *ret = (struct plan){0};
    if (len > PLAN_BYTES_MAX)
        return PLAN_TOO_LARGE;
    struct cursor c = cursor_of(data, len);
    uint32_t magic, version, kind;
    if (!cursor_u32le(&c, &magic) || !cursor_u32le(&c, &version) || !cursor_u32le(&c, &kind))
        return PLAN_CUT;
    if (magic != PLAN_MAGIC || version != PLAN_VERSION)
        return PLAN_NO_PLAN;
    if (kind == 0 || kind >= PLAN_KIND_MAX)
        return PLAN_BAD_KIND;
    ret->kind = (enum plan_kind)kind;
#define X(name)                               \
    if (!cursor_u64le(&c, &ret->limits.name)) \
        return PLAN_CUT;
    PLAN_LIMITS(X)
#undef X
    if (!limits_ok(&ret->limits))
        return PLAN_BAD_LIMIT;

    /* One block: the three tables at their largest, then the strings. */
    size_t args_size = PLAN_ARGS_MAX * sizeof(char *), env_size = PLAN_ENV_MAX * sizeof(struct plan_env),
           outputs_size = PLAN_OUTPUTS_MAX * sizeof(char *);
    char *memory = malloc(args_size + env_size + outputs_size + len + 1);
    if (!memory)
        return PLAN_NO_MEMORY;
    ret->memory = memory;
    ret->args = (const char *const *)memory;
    ret->env = (const struct plan_env *)(memory + args_size);
    ret->outputs = (const char *const *)(memory + args_size + env_size);
    struct arena arena = {.next = memory + args_size + env_size + outputs_size};
    enum plan_error e = decode_lists(&c, &arena, ret);
    if (e)
        return e;
    return c.left ? PLAN_TRAILING : PLAN_OK;
}

void plan_done(struct plan *plan)
{
    free(plan->memory);
    *plan = (struct plan){0};
}
