/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/receipt.h"

#include <ctype.h>
#include <string.h>

#include <taskworker/task.h>

#include "base/util.h"
#include "cli/output.h"

enum { LINE_WIDTH = 100 };

/* --- JSON --- */

static json_t *json_number(uint64_t v)
{
    return json_integer((json_int_t)MIN(v, (uint64_t)INT64_MAX));
}

json_t *json_usage(const Taskworker__Usage *usage)
{
    static const Taskworker__Usage none = TASKWORKER__USAGE__INIT;
    json_t *object = json_object();
    int failed = !object;
    usage = usage ? usage : &none;
#define X(name) failed |= json_object_set_new(object, #name, json_number(usage->name));
    TW_USAGE(X)
#undef X
    if (!failed)
        return object;
    json_decref(object);
    return NULL;
}

json_t *json_limits(const Taskworker__Limits *limits)
{
    static const Taskworker__Limits none = TASKWORKER__LIMITS__INIT;
    json_t *object = json_object();
    int failed = !object;
    limits = limits ? limits : &none;
#define X(name) failed |= json_object_set_new(object, #name, json_number(limits->name));
    TW_LIMITS(X)
#undef X
    if (!failed)
        return object;
    json_decref(object);
    return NULL;
}

/* The name in lower case, without a prefix that it may have; "?" for a number that this program does not know. */
static const char *name_of(const ProtobufCEnumDescriptor *names, int value, const char *prefix, char out[32])
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(names, value);
    const char *name = v ? v->name : "?";
    size_t skip = strlen(prefix);
    snprintf(out, 32, "%s", name + (strncmp(name, prefix, skip) ? 0 : skip));
    for (char *p = out; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return out;
}

static const char *layer_name(Taskworker__Receipt__Layer layer, char out[32])
{
    return name_of(&taskworker__receipt__layer__descriptor, (int)layer, "", out);
}

static const char *network_name(Taskworker__Network network, char out[32])
{
    return name_of(&taskworker__network__descriptor, (int)network, "NETWORK_", out);
}

static json_t *json_layers(const Taskworker__Receipt__Layer *layers, size_t n)
{
    char name[32];
    json_t *array = json_array();
    for (size_t i = 0; array && i < n; i++) {
        if (json_array_append_new(array, json_string(layer_name(layers[i], name))) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *json_gpus(const Taskworker__Receipt *r)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < r->n_gpus; i++)
        json_array_append_new(array, json_integer(r->gpus[i]));
    return array;
}

json_t *json_receipt(const Taskworker__Receipt *r)
{
    char runtime[32], network[32];
    if (!r)
        return json_null();
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "runtime",
        name_of(&taskworker__receipt__runtime__descriptor, (int)r->runtime, "RUNTIME_", runtime), "network",
        network_name(r->network, network), "layers", json_layers(r->layers, r->n_layers), "missing",
        json_layers(r->missing, r->n_missing), "limits", json_limits(r->limits), "denied", json_number(r->denied),
        "denied_calls", json_text(r->denied_calls), "gpus", json_gpus(r));
}

/* --- for a person --- */

/* Begins a line; the rest of it is the caller's. */
static void print_label(const char *label)
{
    printf("%-*s ", LABEL_WIDTH, label);
}

/* Texts with commas between them, over several lines where one is too short. */
struct list_printer {
    size_t column;
};

static void list_begin(struct list_printer *l, const char *label)
{
    print_label(label);
    l->column = LABEL_WIDTH + 1;
}

static void list_add(struct list_printer *l, const char *text)
{
    size_t len = strlen(text);
    bool first = l->column == LABEL_WIDTH + 1;
    if (!first && l->column + 2 + len > LINE_WIDTH) {
        printf(",\n%*s", LABEL_WIDTH + 1, "");
        l->column = LABEL_WIDTH + 1;
    } else if (!first) {
        fputs(", ", stdout);
        l->column += 2;
    }
    fputs(text, stdout);
    l->column += len;
}

uint64_t usage_memory(const Taskworker__Usage *usage)
{
    return MAX(usage->peak_memory_bytes, usage->max_rss_bytes);
}

uint64_t usage_cpu(const Taskworker__Usage *usage)
{
    return usage->user_us + usage->system_us;
}

void usage_print(const Taskworker__Usage *u, bool has_ended)
{
    char a[32], b[32], c[32];
    if (!u || !u->wall_us)
        return;
    print_label(has_ended ? "used" : "used so far");
    printf("%s wall, %s user, %s system\n", format_span(u->wall_us, a), format_span(u->user_us, b),
        format_span(u->system_us, c));
    print_label("memory");
    if (u->peak_memory_bytes)
        printf("%s at most, ", format_bytes(u->peak_memory_bytes, a));
    printf("%s in its largest process, page faults: %llu minor, %llu major\n", format_bytes(u->max_rss_bytes, b),
        (unsigned long long)u->minor_faults, (unsigned long long)u->major_faults);
    if (u->read_bytes || u->written_bytes) {
        print_label("read, written");
        printf("%s, %s\n", format_bytes(u->read_bytes, a), format_bytes(u->written_bytes, b));
    }
    if (u->workspace_bytes) {
        print_label("workspace");
        printf("%s at most\n", format_bytes(u->workspace_bytes, a));
    }
    if (u->outputs) {
        print_label("kept");
        printf("%llu %s, %s\n", (unsigned long long)u->outputs, u->outputs == 1 ? "file" : "files",
            format_bytes(u->output_bytes, a));
    }
    if (!u->processes)
        return;
    print_label("processes");
    printf("%llu started, which waited %llu times and were interrupted %llu times\n", (unsigned long long)u->processes,
        (unsigned long long)u->waits, (unsigned long long)u->preemptions);
}

static void add_bytes(struct list_printer *l, uint64_t bytes, const char *what)
{
    char text[80], size[32];
    if (!bytes)
        return;
    snprintf(text, sizeof text, "%s %s", format_bytes(bytes, size), what);
    list_add(l, text);
}

static void add_count(struct list_printer *l, uint64_t count, const char *what)
{
    char text[80];
    if (!count)
        return;
    snprintf(text, sizeof text, "%llu %s", (unsigned long long)count, what);
    list_add(l, text);
}

static void add_limits(struct list_printer *l, const Taskworker__Limits *limits)
{
    char text[80], span[32];
    add_bytes(l, limits->memory_bytes, "memory");
    if (limits->cpu_millis) {
        snprintf(text, sizeof text, "%.12g processors", (double)limits->cpu_millis / 1000);
        list_add(l, text);
    }
    if (limits->cpu_time_us) {
        snprintf(text, sizeof text, "%s processor time", format_span(limits->cpu_time_us, span));
        list_add(l, text);
    }
    add_count(l, limits->processes, "processes");
    add_count(l, limits->open_files, "open files");
    add_bytes(l, limits->file_bytes, "a file");
    add_bytes(l, limits->workspace_bytes, "workspace");
    add_bytes(l, limits->tmp_bytes, "/tmp");
    add_bytes(l, limits->output_bytes, "output");
}

static void print_inputs(const Taskworker__Task *t)
{
    for (size_t i = 0; i < t->n_inputs; i++) {
        const Taskworker__TaskInput *input = t->inputs[i];
        printf("%-*s ", LABEL_WIDTH, i ? "" : "inputs");
        output_text(stdout, input->name);
        if (strcmp(input->name, input->path) != 0) {
            fputs(" as ", stdout);
            output_text(stdout, input->path);
        }
        printf(" (%s)\n", input->file_id);
    }
}

static void print_outputs(const Taskworker__Task *t)
{
    for (size_t i = 0; i < t->n_outputs; i++) {
        printf("%-*s ", LABEL_WIDTH, i ? "" : "outputs");
        output_text(stdout, t->outputs[i]);
        putchar('\n');
    }
}

void asked_print(const Taskworker__Task *t)
{
    static const char *const networks[] = {[TASKWORKER__NETWORK__NETWORK_NONE] = "no network",
        [TASKWORKER__NETWORK__NETWORK_LOOPBACK] = "a loopback network",
        [TASKWORKER__NETWORK__NETWORK_HOST] = "the host's network"};
    static const Taskworker__Limits none = TASKWORKER__LIMITS__INIT;
    struct list_printer l;
    char text[80], span[32];
    bool names_network = t->network > 0 && (size_t)t->network < ARRAY_LEN(networks);
    size_t size = t->limits ? protobuf_c_message_get_packed_size(&t->limits->base) : 0;
    if (t->n_inputs)
        print_inputs(t);
    print_outputs(t);
    if (!size && !names_network && !t->gpus && !t->gpu_memory_bytes && !t->grace_ms)
        return;
    list_begin(&l, "asked for");
    add_limits(&l, t->limits ? t->limits : &none);
    add_count(&l, t->gpus, t->gpus == 1 ? "GPU" : "GPUs");
    add_bytes(&l, t->gpu_memory_bytes, "of a GPU");
    if (names_network)
        list_add(&l, networks[t->network]);
    if (t->grace_ms > 0) {
        snprintf(text, sizeof text, "%s of grace", format_span((uint64_t)t->grace_ms * 1000, span));
        list_add(&l, text);
    }
    putchar('\n');
}

static void print_limits(const Taskworker__Limits *limits)
{
    struct list_printer l;
    list_begin(&l, "limits");
    add_limits(&l, limits);
    if (l.column == LABEL_WIDTH + 1)
        fputs("none", stdout);
    putchar('\n');
}

static void print_layers(const char *label, const Taskworker__Receipt__Layer *layers, size_t n)
{
    struct list_printer l;
    char name[32];
    list_begin(&l, label);
    for (size_t i = 0; i < n; i++)
        list_add(&l, layer_name(layers[i], name));
    fputs(n ? "\n" : "nothing\n", stdout);
}

static const char *runtime_text(Taskworker__Receipt__Runtime runtime)
{
    switch (runtime) {
    case TASKWORKER__RECEIPT__RUNTIME__PYTHON_WARM:
        return "python, a fork of a warm interpreter";
    case TASKWORKER__RECEIPT__RUNTIME__PYTHON_FRESH:
        return "python, an interpreter of its own";
    case TASKWORKER__RECEIPT__RUNTIME__SHELL:
        return "a shell script";
    default:
        return "?";
    }
}

static void print_denied(const Taskworker__Receipt *r)
{
    bool watched = false;
    for (size_t i = 0; i < r->n_layers; i++)
        watched |= r->layers[i] == TASKWORKER__RECEIPT__LAYER__SECCOMP_WATCHED;
    print_label("refused calls");
    if (r->denied) {
        printf("%llu: ", (unsigned long long)r->denied);
        output_text(stdout, r->denied_calls);
    } else {
        fputs(watched ? "none" : "not counted", stdout);
    }
    putchar('\n');
}

static void print_gpus(const Taskworker__Receipt *r)
{
    print_label("GPUs");
    for (size_t i = 0; i < r->n_gpus; i++)
        printf("%s%u", i ? ", " : "", r->gpus[i]);
    putchar('\n');
}

void receipt_print(const Taskworker__Receipt *r)
{
    char network[32];
    if (!r)
        return;
    print_label("ran as");
    printf("%s, network: %s\n", runtime_text(r->runtime), network_name(r->network, network));
    if (r->limits)
        print_limits(r->limits);
    print_layers("isolation", r->layers, r->n_layers);
    if (r->n_gpus)
        print_gpus(r);
    if (r->n_missing)
        print_layers("missing here", r->missing, r->n_missing);
    print_denied(r);
}
