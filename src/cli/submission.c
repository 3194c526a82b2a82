/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/submission.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/parse.h"
#include "cli/output.h"
#include "cli/packing.h"
#include "cli/when.h"

/* What a node may be told to accept at most; it has its own, usually lower bound. */
enum { SOURCE_MAX = 1 << 30 };

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n > m && !memcmp(s + n - m, end, m);
}

/* The program that the #! line means: the last part of its path, of what follows if that is env. */
static size_t shebang_program(const char *data, size_t len, char out[64])
{
    const char *end = memchr(data, '\n', len), *p = data + 2;
    end = end ? end : data + len;
    size_t n = 0;
    while (p < end) {
        while (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
            p++;
        const char *word = p;
        while (p < end && *p != ' ' && *p != '\t' && *p != '\r')
            p++;
        const char *slash = memrchr(word, '/', (size_t)(p - word));
        word = slash ? slash + 1 : word;
        n = MIN((size_t)(p - word), (size_t)63);
        memcpy(out, word, n);
        out[n] = '\0';
        /* env, its options and its variables stand before the program. */
        if (strcmp(out, "env") != 0 && out[0] != '-' && !memchr(out, '=', n))
            break;
    }
    return n;
}

const char *submission_guess_type(const char *name, const char *data, size_t len)
{
    char program[64] = "";
    if (packing_is_package(data, len))
        return "package";
    if (ends_with(name, ".py"))
        return "python";
    if (ends_with(name, ".sh"))
        return "shell";
    if (len > 2 && !memcmp(data, "#!", 2) && shebang_program(data, len, program) > 0) {
        if (!strncmp(program, "python", 6))
            return "python";
        static const char *const shells[] = {"sh", "bash", "dash", "ash", "ksh", "busybox"};
        for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
            if (!strcmp(program, shells[i]))
                return "shell";
        }
        return NULL;
    }
    return strcmp(name, "-") ? NULL : "python";
}

char *submission_quote(char *const *words, size_t n, size_t *ret_len)
{
    CLEANUP_BUF struct buf out = BUF_INIT(SOURCE_MAX);
    buf_append_str(&out, "exec");
    for (size_t i = 0; i < n; i++) {
        buf_append_str(&out, " '");
        for (const char *p = words[i]; *p; p++) {
            if (*p == '\'')
                buf_append_str(&out, "'\\''");
            else
                buf_append_u8(&out, (uint8_t)*p);
        }
        buf_append_u8(&out, '\'');
    }
    buf_append_u8(&out, '\n');
    return out.error ? NULL : buf_steal(&out, ret_len);
}

static int out_of_memory(struct cli *cli)
{
    cli_error(cli, TW_RESOURCE_EXHAUSTED, "out of memory");
    return EXIT_TROUBLE;
}

static int read_source(struct cli *cli, struct submission *s, const char *name)
{
    CLEANUP_BUF struct buf data = BUF_INIT(SOURCE_MAX);
    if (packing_is_folder(name))
        return packing_pack(cli, name, &s->data, &s->data_len);
    bool is_stdin = !strcmp(name, "-");
    CLEANUP_FD int fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(name, O_RDONLY | O_CLOEXEC);
    const char *shown = is_stdin ? "standard input" : name;
    int failed = fd < 0 ? errno : 0;
    while (!failed) {
        uint8_t *to = buf_reserve(&data, MIN(MAX(data.cap - data.len, (size_t)65536), SOURCE_MAX - data.len + 1));
        ssize_t n = to ? fd_read_all(fd, to, MAX(data.cap - data.len, (size_t)1)) : data.error;
        if (n <= 0) {
            failed = (int)-n;
            break;
        }
        data.len += (size_t)n;
    }
    if (failed == E2BIG) {
        cli_error(cli, TW_INVALID_ARGUMENT, "%s is longer than 1 GiB, which no node accepts", shown);
        return EXIT_USAGE;
    }
    if (failed == ENOMEM)
        return out_of_memory(cli);
    if (failed) {
        bool command = failed == ENOENT && s->or_command;
        cli_error(cli, TW_INVALID_ARGUMENT, "cannot read %s: %s%s%s", shown, strerror(failed),
            command ? "; to run a command put -- before it: hivemind run -- " : "", command ? shown : "");
        return EXIT_USAGE;
    }
    if (data.len == 0) {
        cli_error(cli, TW_INVALID_ARGUMENT, "%s is empty: there is nothing to run", shown);
        return EXIT_USAGE;
    }
    s->data = buf_steal(&data, &s->data_len);
    return 0;
}

static int make_env(struct cli *cli, struct submission *s)
{
    size_t n = s->env.n;
    s->entries = calloc(n + 1, sizeof *s->entries);
    s->entry_pointers = calloc(n + 1, sizeof(void *));
    s->names = calloc(n + 1, sizeof(void *));
    if (!s->entries || !s->entry_pointers || !s->names)
        return out_of_memory(cli);
    for (size_t i = 0; i < n; i++) {
        const char *given = s->env.items[i], *equals = strchr(given, '=');
        size_t len = equals ? (size_t)(equals - given) : strlen(given);
        char *name = s->names[i] = strndup(given, len);
        if (!name)
            return out_of_memory(cli);
        s->n_env++;
        char *value = equals ? (char *)equals + 1 : getenv(name);
        if (len == 0) {
            cli_error(cli, TW_INVALID_ARGUMENT, "--env \"%.60s\" has no name; write NAME=VALUE", given);
            return EXIT_USAGE;
        }
        if (!value) {
            cli_error(cli, TW_INVALID_ARGUMENT, "--env %s: there is no such variable here to copy; write %s=VALUE",
                name, name);
            return EXIT_USAGE;
        }
        s->entries[i] = (Taskworker__ExecuteTaskRequest__EnvEntry)TASKWORKER__EXECUTE_TASK_REQUEST__ENV_ENTRY__INIT;
        s->entries[i].key = name;
        s->entries[i].value = value;
        s->entry_pointers[i] = &s->entries[i];
    }
    return 0;
}

static int find_network(const char *name, Taskworker__Network *ret)
{
    static const char *const names[TW_NETWORK_MAX] = {
#define X(network, number, text) [number] = (text),
        TW_NETWORKS(X)
#undef X
    };
    for (int n = TW_NETWORK_NONE; n < TW_NETWORK_MAX; n++) {
        if (!strcasecmp(name, names[n])) {
            *ret = (Taskworker__Network)n;
            return 0;
        }
    }
    return -EINVAL;
}

static void fill_limits(struct submission *s)
{
    uint64_t any = 0;
    taskworker__limits__init(&s->limits_message);
#define X(name)                              \
    s->limits_message.name = s->limits.name; \
    any |= s->limits.name;
    TW_LIMITS(X)
#undef X
    s->request.limits = any ? &s->limits_message : NULL;
}

static int fill_schedule(struct cli *cli, struct submission *s)
{
    int64_t priority = 0;
    uint64_t at_us = 0, now = clock_wall_us();
    if (s->priority && parse_i64(s->priority, TW_PRIORITY_MIN, TW_PRIORITY_MAX, &priority) < 0) {
        cli_error(cli, TW_INVALID_ARGUMENT, "--priority is \"%.60s\", but has to be a number from %d to %d",
            s->priority, TW_PRIORITY_MIN, TW_PRIORITY_MAX);
        return EXIT_USAGE;
    }
    if (s->at && s->delay_us) {
        cli_error(cli, TW_INVALID_ARGUMENT, "--at and --delay both say when: give one of them");
        return EXIT_USAGE;
    }
    if (s->at && when_parse(s->at, now, &at_us) < 0) {
        cli_error(cli, TW_INVALID_ARGUMENT,
            "--at is \"%.60s\", but has to be a time like 18:30, 2030-01-31 18:30, 2030-01-31T18:30Z or @SECONDS",
            s->at);
        return EXIT_USAGE;
    }
    s->request.priority = (int32_t)priority;
    s->request.not_before_us = (int64_t)at_us;
    s->request.delay_ms = (int64_t)((s->delay_us + 999) / 1000);
    s->request.queue_timeout_ms = (int64_t)((s->queue_timeout_us + 999) / 1000);
    return 0;
}

static int fill_labels(struct cli *cli, struct submission *s)
{
    int code = labels_parse(cli, &s->labels);
    if (code)
        return code;
    size_t n = s->labels.n;
    s->label_entries = calloc(n + 1, sizeof *s->label_entries);
    s->label_list = calloc(n + 1, sizeof(void *));
    if (!s->label_entries || !s->label_list)
        return out_of_memory(cli);
    for (size_t i = 0; i < n; i++) {
        taskworker__execute_task_request__labels_entry__init(&s->label_entries[i]);
        s->label_entries[i].key = s->labels.keys[i];
        s->label_entries[i].value = s->labels.values[i];
        s->label_list[i] = &s->label_entries[i];
    }
    s->request.labels = s->label_list;
    s->request.n_labels = n;
    return 0;
}

static int fill_life(struct cli *cli, struct submission *s)
{
    if (s->after_any && s->after.n == 0) {
        cli_error(cli, TW_INVALID_ARGUMENT, "--after-any says how the tasks of --after may end: give --after too");
        return EXIT_USAGE;
    }
    s->request.retry_delay_ms = (int64_t)((s->retry_delay_us + 999) / 1000);
    s->request.grace_ms = (int64_t)((s->grace_us + 999) / 1000);
    s->request.after = (char **)s->after.items;
    s->request.n_after = s->after.n;
    s->request.after_any = s->after_any;
    return fill_labels(cli, s);
}

/* "2": GPUs; "8G": a share of one. */
static int fill_gpus(struct cli *cli, struct submission *s)
{
    uint64_t number = 0;
    if (!s->gpu)
        return 0;
    bool whole = parse_u64(s->gpu, 1, 16, &number) == 0;
    if (!whole && (s->gpu[strspn(s->gpu, "0123456789")] == '\0' || parse_size(s->gpu, &number) < 0 || number == 0)) {
        cli_error(cli, TW_INVALID_ARGUMENT,
            "--gpu is \"%.60s\", but has to be a number of GPUs from 1 to 16, or a size like 8G of one's memory",
            s->gpu);
        return EXIT_USAGE;
    }
    s->request.gpus = whole ? (uint32_t)number : 0;
    s->request.gpu_memory_bytes = whole ? 0 : number;
    return 0;
}

/* "NAME", "NAME=PATH", and with "@" and an id for the name. The words are cut in place. */
static int fill_inputs(struct cli *cli, struct submission *s)
{
    size_t n = s->inputs.n;
    if (n == 0)
        return 0;
    s->input_entries = calloc(n, sizeof *s->input_entries);
    s->input_list = calloc(n, sizeof *s->input_list);
    if (!s->input_entries || !s->input_list)
        return out_of_memory(cli);
    for (size_t i = 0; i < n; i++) {
        Taskworker__TaskInput *input = s->input_list[i] = &s->input_entries[i];
        char *word = (char *)s->inputs.items[i], *path = strchr(word, '=');
        taskworker__task_input__init(input);
        if (path) {
            *path++ = '\0';
            input->path = path;
        }
        bool by_id = *word == '@' && strspn(word + 1, "0123456789abcdef") == 32 && !word[33];
        *(by_id ? &input->file_id : &input->name) = by_id ? word + 1 : word;
        if (!*word || (path && !*path)) {
            cli_error(
                cli, TW_INVALID_ARGUMENT, "--input needs a file's name, or @ID, and behind a '=' where it is to be");
            return EXIT_USAGE;
        }
    }
    s->request.inputs = s->input_list;
    s->request.n_inputs = n;
    return 0;
}

static int fill_cache(struct cli *cli, struct submission *s)
{
    static const char *const names[] = {"off", "use", "refresh"};
    for (size_t i = 0; s->cache && i < ARRAY_LEN(names); i++) {
        if (strcmp(s->cache, names[i]) != 0)
            continue;
        s->request.cache = (Taskworker__Cache)i;
        return 0;
    }
    if (!s->cache)
        return 0;
    cli_error(cli, TW_INVALID_ARGUMENT, "--cache is \"%.60s\", but has to be use, refresh or off", s->cache);
    return EXIT_USAGE;
}

/* The fields that do not depend on where the source comes from. */
static int fill_request(struct cli *cli, struct submission *s, const char *type, char **args, size_t n_args)
{
    int code = make_env(cli, s);
    if (code)
        return code;
    Taskworker__Network network = TASKWORKER__NETWORK__NETWORK_DEFAULT;
    if (s->network && find_network(s->network, &network) < 0) {
        cli_error(cli, TW_INVALID_ARGUMENT, "--network is \"%.60s\", but has to be none, loopback or host", s->network);
        return EXIT_USAGE;
    }
    s->request = (Taskworker__ExecuteTaskRequest)TASKWORKER__EXECUTE_TASK_REQUEST__INIT;
    if (s->id)
        s->request.task_id = (char *)s->id;
    s->request.task_type = (char *)type;
    s->request.task_data = (ProtobufCBinaryData){.data = (uint8_t *)s->data, .len = s->data_len};
    s->request.timeout_ms = (int64_t)((s->timeout_us + 999) / 1000);
    s->request.args = args;
    s->request.n_args = n_args;
    s->request.env = s->entry_pointers;
    s->request.n_env = s->n_env;
    s->request.retries = (uint32_t)s->retries;
    fill_limits(s);
    s->request.network = network;
    s->request.fresh_interpreter = s->fresh;
    s->request.outputs = (char **)s->outputs.items;
    s->request.n_outputs = s->outputs.n;
    code = fill_life(cli, s);
    code = code ? code : fill_gpus(cli, s);
    code = code ? code : fill_inputs(cli, s);
    code = code ? code : fill_cache(cli, s);
    return code ? code : fill_schedule(cli, s);
}

/* A script that asks for another shell may mean something else to this one, or nothing. */
static void warn_of_shebang(struct cli *cli, const char *name, const char *type, const struct submission *s)
{
    char program[64] = "";
    if (strcmp(type, "shell") != 0 || s->data_len < 3 || memcmp(s->data, "#!", 2) != 0 ||
        shebang_program(s->data, s->data_len, program) == 0 || !strcmp(program, "sh") || !strcmp(program, "dash"))
        return;
    cli_note(cli,
        "warning: the first line of %s asks for %s, but a shell task is run by /bin/sh; to have %s run it, hand in a "
        "script that calls it",
        name, program, program);
}

int submission_make(struct cli *cli, struct submission *s, const struct arguments *args)
{
    const char *name = args->words.items[0];
    int code = read_source(cli, s, name);
    if (code)
        return code;
    const char *type = s->type ? s->type : submission_guess_type(name, s->data, s->data_len);
    if (!type) {
        cli_error(cli, TW_INVALID_ARGUMENT,
            "cannot tell the type of %s: its name ends in neither .py nor .sh, its first line names neither Python nor "
            "a shell, and it is no package "
            "(.zip, .tar.gz, .tar.zst); say --type=python, shell or package",
            name);
        return EXIT_USAGE;
    }
    warn_of_shebang(cli, name, type, s);
    return fill_request(cli, s, type, args->rest, args->n_rest);
}

int submission_make_command(struct cli *cli, struct submission *s, char **words, size_t n)
{
    if (s->type && strcmp(s->type, "shell") != 0) {
        cli_error(cli, TW_INVALID_ARGUMENT, "a command is a task of type shell, not %.60s", s->type);
        return EXIT_USAGE;
    }
    s->data = submission_quote(words, n, &s->data_len);
    return s->data ? fill_request(cli, s, "shell", NULL, 0) : out_of_memory(cli);
}

int submission_send_array(struct cli *cli, struct submission *s, const char *batch_id, uint64_t first, uint64_t count,
    Taskworker__ExecuteBatchResponse **ret)
{
    Taskworker__ExecuteBatchRequest batch = TASKWORKER__EXECUTE_BATCH_REQUEST__INIT;
    Taskworker__ExecuteTaskRequest *one = &s->request;
    batch.batch_id = (char *)(batch_id ? batch_id : "");
    batch.tasks = &one;
    batch.n_tasks = 1;
    batch.array_first = (uint32_t)first;
    batch.array_count = (uint32_t)count;
    return cli_call(cli, "ExecuteBatch", &batch.base, &taskworker__execute_batch_response__descriptor, 0, ret);
}

/* The server refuses a message by its size before it knows what is in it. */
static int report_size(struct cli *cli, const struct submission *s)
{
    CLEANUP_MESSAGE Taskworker__GetStatusResponse *status = NULL;
    Taskworker__GetStatusRequest request = TASKWORKER__GET_STATUS_REQUEST__INIT;
    char size[32], limit[32];
    int code = cli_call(cli, "GetStatus", &request.base, &taskworker__get_status_response__descriptor, 0, &status);
    if (code)
        return code;
    cli_error(cli, TW_RESOURCE_EXHAUSTED,
        "the task is too large: its source is %s, and this node takes at most %s (MAX_TASK_SIZE)",
        format_bytes(s->data_len, size), format_bytes(status->max_task_size, limit));
    return EXIT_USAGE;
}

int submission_send(struct cli *cli, const struct submission *s, Taskworker__ExecuteTaskResponse **ret)
{
    struct tw_error error = {0};
    char method[80];
    struct rpc_client *client = cli_connect(cli);
    if (!client)
        return cli->connect_code;
    if (rpc_client_unary(client, cli_method("ExecuteTask", method), &s->request.base,
            &taskworker__execute_task_response__descriptor, CLI_CALL_TIMEOUT_US, (ProtobufCMessage **)ret, &error) == 0)
        return 0;
    if (error.code == TW_RESOURCE_EXHAUSTED && !strncmp(error.message, "the message is larger", 21))
        return report_size(cli, s);
    return cli_report(cli, &error);
}

void submission_done(struct submission *s)
{
    for (size_t i = 0; s->names && i < s->n_env; i++)
        free(s->names[i]);
    free(s->names);
    free(s->entries);
    free(s->entry_pointers);
    free(s->data);
    words_done(&s->env);
    words_done(&s->after);
    free(s->label_entries);
    free(s->label_list);
    free(s->input_entries);
    free(s->inputs.items);
    free(s->outputs.items);
    free(s->input_list);
    labels_done(&s->labels);
}
