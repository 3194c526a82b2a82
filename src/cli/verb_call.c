/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "cli/output.h"

struct function_call {
    struct words kwargs; /* NAME=VALUE */
    const char *user;
    bool json_args;
    Taskworker__CallFunctionRequest__KwargsEntry *entries, **pointers;
    char **names;
};

static int take_kwargs(struct cli *cli, struct function_call *c, Taskworker__CallFunctionRequest *request)
{
    size_t n = c->kwargs.n;
    c->entries = calloc(n + 1, sizeof *c->entries);
    c->pointers = calloc(n + 1, sizeof(void *));
    c->names = calloc(n + 1, sizeof(void *));
    if (!c->entries || !c->pointers || !c->names) {
        cli_error(cli, TW_RESOURCE_EXHAUSTED, "out of memory");
        return EXIT_TROUBLE;
    }
    for (size_t i = 0; i < n; i++) {
        const char *given = c->kwargs.items[i], *equals = strchr(given, '=');
        if (!equals || equals == given) {
            cli_error(cli, TW_INVALID_ARGUMENT, "--kwarg \"%.60s\": write NAME=VALUE", given);
            return EXIT_USAGE;
        }
        c->entries[i] =
            (Taskworker__CallFunctionRequest__KwargsEntry)TASKWORKER__CALL_FUNCTION_REQUEST__KWARGS_ENTRY__INIT;
        c->entries[i].key = c->names[i] = strndup(given, (size_t)(equals - given));
        c->entries[i].value = (char *)equals + 1;
        c->pointers[i] = &c->entries[i];
    }
    request->kwargs = c->pointers;
    request->n_kwargs = n;
    return 0;
}

static void call_done(struct function_call *c)
{
    for (size_t i = 0; c->names && i < c->kwargs.n; i++)
        free(c->names[i]);
    free(c->names);
    free(c->pointers);
    free(c->entries);
    words_done(&c->kwargs);
}

static void print_result(const char *result)
{
    struct output_stream s;
    output_stream_init(&s, stdout, false);
    output_stream_write(&s, result, strlen(result));
    (void)output_stream_flush(&s);
    putchar('\n');
}

static int code_of(const Taskworker__CallFunctionResponse *r)
{
    return r->status ? 0 : r->exit_code == EXIT_NOT_FOUND ? EXIT_NOT_FOUND : 1;
}

static int print_answer(struct cli *cli, const Taskworker__CallFunctionResponse *r)
{
    if (cli->json) {
        const char *text = r->status ? r->result : "null";
        const ProtobufCBinaryData result = {.data = (uint8_t *)text, .len = strlen(text)};
        output_json_result(stdout,
            json_pack(
                "{s:b, s:o, s:o}", "status", r->status, "error", json_text(r->error), "task_id", json_text(r->task_id)),
            &result, true);
        return code_of(r);
    }
    if (r->status) {
        print_result(r->result);
        return 0;
    }
    output_block(stderr, r->error, "");
    if (*r->task_id)
        cli_note(cli, "what it printed: hivemind logs %s; all about it: hivemind show %s", r->task_id, r->task_id);
    return code_of(r);
}

static int call(struct cli *cli, struct function_call *c, const struct words *words)
{
    Taskworker__CallFunctionRequest request = TASKWORKER__CALL_FUNCTION_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__CallFunctionResponse *response = NULL;
    struct tw_error error = {0};
    struct rpc_client *client;
    request.function_name = (char *)words->items[0];
    request.args = (char **)words->items + 1;
    request.n_args = words->n - 1;
    request.json_args = c->json_args;
    if (c->user)
        request.user_id = (char *)c->user;
    int code = take_kwargs(cli, c, &request);
    if (code)
        return code;
    if (!(client = cli_connect(cli)))
        return cli->connect_code;
    if (rpc_client_unary(client, "/taskworker.RPCService/CallFunction", &request.base,
            &taskworker__call_function_response__descriptor, cli->timeout_us, (ProtobufCMessage **)&response,
            &error) < 0) {
        if (error.code != TW_DEADLINE_EXCEEDED)
            return cli_report(cli, &error);
        cli_error(cli, error.code, "%s has not come to an end within --timeout, and was stopped", words->items[0]);
        return EXIT_TIMED_OUT;
    }
    return print_answer(cli, response);
}

int verb_call(struct cli *cli, int argc, char **argv)
{
    struct function_call c = {0};
    const struct option options[] = {
        {.name = "kwarg",
            .letter = 'k',
            .kind = OPTION_LIST,
            .target = &c.kwargs,
            .metavar = "NAME=VALUE",
            .help = "an argument by its name; may be repeated"},
        {.name = "json-args",
            .letter = 'j',
            .kind = OPTION_FLAG,
            .target = &c.json_args,
            .help = "the arguments are JSON: 1 is a number, \"1\" a string [strings]"},
        {.name = "user",
            .kind = OPTION_TEXT,
            .target = &c.user,
            .metavar = "ID",
            .help = "for whom [nobody in particular]"},
        {.name = "timeout",
            .kind = OPTION_DURATION,
            .target = &cli->timeout_us,
            .min = 1000,
            .metavar = "TIME",
            .help = "give up, and stop it, after this time [the node's own time-out of tasks]"},
    };
    const struct syntax syntax = {
        .verb = "call",
        .usage = "[OPTION]... NAME [ARG]...",
        .text = "Calls a function that the operator of the node has put there (FUNCTIONS), as a task of its own, and "
                "prints "
                "what it\n"
                "returns, as JSON. Exits with 1 where it raises something, which goes to standard error, and with 123\n"
                "where there is none of this name: then it is told which there are.",
        .example = "  hivemind call add 1 2\n"
                   "  hivemind call -j add 1 2\n"
                   "  hivemind call greet -k name=Ada",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "NAME",
        .min_words = 1,
        .max_words = SIZE_MAX,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, call(cli, &c, &args.words));
    call_done(&c);
    arguments_done(&args);
    return code;
}
