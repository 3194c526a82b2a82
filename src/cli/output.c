/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/text.h"
#include "cli/receipt.h"

int output_finish(struct cli *cli, int code)
{
    int failed = ferror(stdout);
    errno = 0;
    if (fflush(stdout) == 0 && !failed)
        return code;
    cli_error(cli, TW_INTERNAL, "cannot write to standard output: %s", errno ? strerror(errno) : "output error");
    return EXIT_TROUBLE;
}

static bool is_one_place(void)
{
    struct stat out, err;
    return fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &err) == 0 && out.st_dev == err.st_dev &&
        out.st_ino == err.st_ino;
}

void output_left(struct cli *cli, FILE *out, bool mid_line)
{
    if (is_one_place())
        cli->mid_line[0] = cli->mid_line[1] = mid_line;
    else
        cli->mid_line[out == stderr] = mid_line;
}

void output_begin_line(struct cli *cli, FILE *out)
{
    if (cli->mid_line[out == stderr])
        fputc('\n', out);
    output_left(cli, out, false);
}

void output_text(FILE *out, const char *text)
{
    CLEANUP_FREE char *safe = text_printable(text, strlen(text), SIZE_MAX, false);
    for (char *p = safe; p && *p; p++) {
        if (*p == '\n' || *p == '\t')
            *p = ' ';
    }
    fputs(safe ? safe : "?", out);
}

void output_block(FILE *out, const char *text, const char *indent)
{
    CLEANUP_FREE char *safe = text_printable(text, strlen(text), SIZE_MAX, false);
    for (const char *p = safe; p && *p;) {
        size_t n = strcspn(p, "\n");
        fprintf(out, "%s%.*s\n", indent, (int)n, p);
        p += n + (p[n] == '\n');
    }
}

/* --- bytes of tasks --- */

static const char replacement[] = "\xef\xbf\xbd";

void output_stream_init(struct output_stream *s, FILE *out, bool raw)
{
    *s = (struct output_stream){.out = out, .safe = !raw && isatty(fileno(out))};
}

/* Whether the bytes at p are the beginning of a character that more bytes could complete. */
static bool is_partial(const uint8_t *p, size_t len)
{
    size_t want = p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
    if (p[0] >= 0xf5 || len >= want)
        return false;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return false;
    }
    return true;
}

/* Writes the character at p; returns how long it is, 0 if its end is missing. */
static size_t put_safe(struct output_stream *s, const uint8_t *p, const uint8_t *end)
{
    uint32_t c = 0;
    size_t n = text_decode_utf8(p, end, &c);
    if (n == 0 && is_partial(p, (size_t)(end - p)))
        return 0;
    if (n == 0 || (text_is_control(c) && c != '\n' && c != '\t' && c != '\r'))
        fputs(replacement, s->out);
    else
        fwrite(p, 1, n, s->out);
    return n ? n : 1;
}

static void write_safe(struct output_stream *s, const uint8_t *p, const uint8_t *end)
{
    while (s->n_held > 0 && p < end) {
        s->held[s->n_held++] = *p++;
        size_t n = put_safe(s, s->held, s->held + s->n_held);
        if (n == 0)
            continue;
        /* A broken beginning: what follows it stands for itself. */
        s->n_held -= n;
        memmove(s->held, s->held + n, s->n_held);
        while (s->n_held > 0 && (n = put_safe(s, s->held, s->held + s->n_held)) > 0) {
            s->n_held -= n;
            memmove(s->held, s->held + n, s->n_held);
        }
    }
    while (p < end) {
        size_t n = put_safe(s, p, end);
        if (n == 0) {
            s->n_held = (size_t)(end - p);
            memcpy(s->held, p, s->n_held);
            return;
        }
        p += n;
    }
}

void output_stream_write(struct output_stream *s, const void *data, size_t len)
{
    if (len == 0)
        return;
    s->mid_line = ((const uint8_t *)data)[len - 1] != '\n';
    if (s->safe)
        write_safe(s, data, (const uint8_t *)data + len);
    else
        fwrite(data, 1, len, s->out);
}

int output_stream_flush(struct output_stream *s)
{
    if (s->n_held > 0)
        fputs(replacement, s->out);
    s->n_held = 0;
    return fflush(s->out) == 0 && !ferror(s->out) ? 0 : -1;
}

/* --- JSON --- */

int output_json(FILE *out, json_t *object)
{
    int r = object ? json_dumpf(object, out, JSON_COMPACT) : -1;
    json_decref(object);
    return r < 0 || fputc('\n', out) == EOF ? -1 : 0;
}

/* Numbers of any length and precision go through unchanged, hence no detour over jansson's values. */
int output_json_result(FILE *out, json_t *object, const ProtobufCBinaryData *result, bool json)
{
    if (!json || !json_is_valid(result->data, result->len)) {
        if (json_set_bytes(object, "result", result->data, result->len) < 0) {
            json_decref(object);
            return -1;
        }
        return output_json(out, object);
    }
    CLEANUP_FREE char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    size_t len = text ? strlen(text) : 0;
    if (len < 3 || text[len - 1] != '}')
        return -1;
    fprintf(out, "%.*s,\"result\":", (int)(len - 1), text);
    for (size_t i = 0; i < result->len; i++) {
        char c = (char)result->data[i];
        /* Line breaks stand between the parts of a JSON text only, never in one. */
        putc(c == '\n' || c == '\r' ? ' ' : c, out);
    }
    return fputs("}\n", out) == EOF ? -1 : 0;
}

json_t *json_text(const char *s)
{
    if (!text_is_utf8(s, strlen(s))) {
        CLEANUP_FREE char *safe = text_printable(s, strlen(s), SIZE_MAX, false);
        return json_string(safe ? safe : "");
    }
    return json_string(s);
}

static char *base64(const uint8_t *p, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc((len + 2) / 3 * 4 + 1), *out = text;
    for (size_t i = 0; text && i < len; i += 3) {
        size_t left = len - i;
        uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0u);
        *out++ = digits[v >> 18];
        *out++ = digits[v >> 12 & 63];
        *out++ = left > 1 ? digits[v >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[v & 63] : '=';
    }
    if (text)
        *out = '\0';
    return text;
}

int json_set_bytes(json_t *object, const char *key, const void *data, size_t len)
{
    if (text_is_utf8(data, len))
        return json_object_set_new(object, key, json_stringn(len ? data : "", len));
    char name[64];
    snprintf(name, sizeof name, "%s_base64", key);
    char *text = base64(data, len);
    json_t *value = text ? json_string(text) : NULL;
    free(text);
    return json_object_set_new(object, name, value);
}

static json_t *json_labels(const Taskworker__Task *t)
{
    json_t *object = json_object();
    for (size_t i = 0; object && i < t->n_labels; i++)
        json_object_set_new(object, t->labels[i]->key, json_text(t->labels[i]->value));
    return object;
}

static json_t *json_after(const Taskworker__Task *t)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < t->n_after; i++)
        json_array_append_new(array,
            json_pack("{s:o, s:s}", "task_id", json_text(t->after[i]->task_id), "state",
                task_state_name(t->after[i]->state)));
    return array;
}

/* What a task has beyond its run. */
static int json_add_life(json_t *object, const Taskworker__Task *t)
{
    json_t *more = json_pack("{s:o, s:o, s:b, s:o, s:I}", "labels", json_labels(t), "after", json_after(t), "paused",
        (int)t->paused, "retry_of", json_text(t->retry_of), "retry_delay_ms", (json_int_t)t->retry_delay_ms);
    int r = more ? json_object_update(object, more) : -1;
    json_decref(more);
    return r;
}

json_t *json_attempt(const Taskworker__Attempt *a)
{
    char reason[32];
    return json_pack("{s:I, s:s, s:o, s:o, s:i, s:i, s:I, s:I, s:o, s:o}", "attempt", (json_int_t)a->attempt, "reason",
        task_reason_name(a->reason, reason), "message", json_text(a->message), "error", json_text(a->error),
        "exit_code", (int)a->exit_code, "signal", (int)a->signal, "started_us", (json_int_t)a->started_us,
        "finished_us", (json_int_t)a->finished_us, "usage", json_usage(a->usage), "receipt", json_receipt(a->receipt));
}

json_t *json_task(const Taskworker__Task *t)
{
    char reason[32];
    json_t *object =
        json_pack("{s:o, s:o, s:o, s:s, s:s, s:o, s:o, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o, "
                  "s:o, s:i, s:I, s:I}",
            "task_id", json_text(t->task_id), "task_type", json_text(t->task_type), "owner", json_text(t->owner),
            "state", task_state_name(t->state), "reason", task_reason_name(t->reason, reason), "message",
            json_text(t->message), "error", json_text(t->error), "exit_code", (int)t->exit_code, "signal",
            (int)t->signal, "attempt", (json_int_t)t->attempt, "retries", (json_int_t)t->retries, "timeout_ms",
            (json_int_t)t->timeout_ms, "created_us", (json_int_t)t->created_us, "started_us", (json_int_t)t->started_us,
            "finished_us", (json_int_t)t->finished_us, "result_size", (json_int_t)t->result_size, "log_size",
            (json_int_t)t->log_size, "log_truncated", (int)t->log_truncated, "usage", json_usage(t->usage), "receipt",
            json_receipt(t->receipt), "priority", (int)t->priority, "not_before_us", (json_int_t)t->not_before_us,
            "queue_timeout_ms", (json_int_t)t->queue_timeout_ms);
    if (object && json_add_life(object, t) < 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* --- tasks --- */

const char *task_state_name(Taskworker__Task__State state)
{
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value(&taskworker__task__state__descriptor, (int)state);
    return v ? v->name : "?";
}

const char *task_reason_name(Taskworker__Task__Reason reason, char out[32])
{
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value(&taskworker__task__reason__descriptor, (int)reason);
    snprintf(out, 32, "%s", v ? v->name : "?");
    for (char *p = out; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return out;
}

bool task_has_ended(const Taskworker__Task *task)
{
    return task->state >= TASKWORKER__TASK__STATE__COMPLETED;
}

int task_exit_code(const Taskworker__Task *task)
{
    int own = task->exit_code > 0 && task->exit_code < 256 ? task->exit_code : 0;
    int by_signal = task->signal > 0 && task->signal < 128 ? EXIT_SIGNAL + task->signal : 0;
    if (task->state == TASKWORKER__TASK__STATE__COMPLETED)
        return 0;
    switch (task->reason) {
    case TASKWORKER__TASK__REASON__TIMEOUT_QUEUE:
    case TASKWORKER__TASK__REASON__TIMEOUT_WALL:
    case TASKWORKER__TASK__REASON__TIMEOUT_CPU:
        return EXIT_TIMED_OUT;
    case TASKWORKER__TASK__REASON__OOM:
        return EXIT_SIGNAL + 9;
    case TASKWORKER__TASK__REASON__STOPPED_BY_USER:
    case TASKWORKER__TASK__REASON__SHUTDOWN:
        return EXIT_SIGNAL + 15;
    case TASKWORKER__TASK__REASON__LOST:
    case TASKWORKER__TASK__REASON__IMAGE_ERROR:
    case TASKWORKER__TASK__REASON__ENVIRONMENT_ERROR:
    case TASKWORKER__TASK__REASON__SANDBOX_ERROR:
    case TASKWORKER__TASK__REASON__STORAGE_ERROR:
        return EXIT_TROUBLE;
    case TASKWORKER__TASK__REASON__SIGNAL:
        return by_signal ? by_signal : 1;
    default:
        return own ? own : by_signal ? by_signal : 1;
    }
}

const char *color_of_state(const struct cli *cli, Taskworker__Task__State state)
{
    if (!cli->color)
        return "";
    switch (state) {
    case TASKWORKER__TASK__STATE__COMPLETED:
        return "\033[32m";
    case TASKWORKER__TASK__STATE__FAILED:
        return "\033[31m";
    case TASKWORKER__TASK__STATE__STOPPED:
        return "\033[33m";
    case TASKWORKER__TASK__STATE__RUNNING:
        return "\033[36m";
    default:
        return "\033[2m";
    }
}

const char *color_off(const struct cli *cli)
{
    return cli->color ? "\033[0m" : "";
}

const char *format_span(uint64_t us, char out[32])
{
    uint64_t s = us / 1000000;
    if (us < 1000000)
        snprintf(out, 32, "%llums", (unsigned long long)(us / 1000));
    else if (s < 60)
        snprintf(out, 32, "%llu.%llus", (unsigned long long)s, (unsigned long long)(us % 1000000 / 100000));
    else if (s < 3600)
        snprintf(out, 32, "%llum%02llus", (unsigned long long)(s / 60), (unsigned long long)(s % 60));
    else if (s < 86400)
        snprintf(out, 32, "%lluh%02llum", (unsigned long long)(s / 3600), (unsigned long long)(s / 60 % 60));
    else
        snprintf(out, 32, "%llud%02lluh", (unsigned long long)(s / 86400), (unsigned long long)(s / 3600 % 24));
    return out;
}

const char *format_bytes(uint64_t bytes, char out[32])
{
    static const char units[] = "KMGTPE";
    double v = (double)bytes / 1024;
    size_t unit = 0;
    for (; v >= 1024 && unit < sizeof units - 2; unit++)
        v /= 1024;
    if (bytes < 1024)
        snprintf(out, 32, "%llu B", (unsigned long long)bytes);
    else
        snprintf(out, 32, "%.1f %ciB", v, units[unit]);
    return out;
}
