/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "cli/credentials.h"
#include "cli/fields.h"
#include "cli/output.h"

/* So soon people hear that there is no node; a far one may need some round trips. */
#define CONNECT_TIMEOUT_US UINT64_C(2000000)

/* How long a node that was there may be away before we give up, and how often we look. */
#define AWAY_MAX_US UINT64_C(60000000)
enum { AWAY_RETRY_MS = 500 };

/* NULL where it is empty. */
static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

void cli_init(struct cli *cli)
{
    const char *server = environment("HIVEMIND_SERVER"), *no_color = getenv("NO_COLOR");
    *cli = (struct cli){
        .server = server ? server : CLI_DEFAULT_SERVER,
        .connect_timeout_us = CONNECT_TIMEOUT_US,
        .connect_code = EXIT_TROUBLE,
        .tls_options = {.ca = environment("HIVEMIND_CA"),
            .cert = environment("HIVEMIND_CERT"),
            .key = environment("HIVEMIND_KEY"),
            .pin = environment("HIVEMIND_PIN")},
        .color = isatty(STDOUT_FILENO) && !(no_color && *no_color),
    };
}

void cli_done(struct cli *cli)
{
    rpc_client_free(cli->client);
    cli->client = NULL;
    if (!cli->loop_open)
        return;
    /* What is being closed needs some rounds. */
    for (int i = 0; i < 100 && uv_run(&cli->loop, UV_RUN_NOWAIT); i++)
        ;
    (void)uv_loop_close(&cli->loop);
    cli->loop_open = false;
}

static void print_error(struct cli *cli, enum tw_code code, const char *text)
{
    if (cli->json) {
        output_json(
            stderr, json_pack("{s:{s:s, s:o}}", "error", "code", error_code_name(code), "message", json_text(text)));
        return;
    }
    output_begin_line(cli, stderr);
    fputs("hivemind: ", stderr);
    output_text(stderr, text);
    fputc('\n', stderr);
}

void cli_error(struct cli *cli, enum tw_code code, const char *fmt, ...)
{
    CLEANUP_FREE char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    print_error(cli, code, text ? text : "out of memory");
}

void cli_note(struct cli *cli, const char *fmt, ...)
{
    CLEANUP_FREE char *text = NULL;
    va_list ap;
    if (cli->json)
        return;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    print_error(cli, TW_OK, text ? text : "out of memory");
}

/* Whatever says whom to believe asks for TLS: it must never be ignored. */
void cli_choose_server(struct cli *cli)
{
    const struct rpc_client_tls *o = &cli->tls_options;
    static const char scheme[] = "tls://";
    if (!strncmp(cli->server, scheme, sizeof scheme - 1)) {
        cli->tls = true;
        cli->server += sizeof scheme - 1;
    }
    cli->tls = cli->tls || o->ca || o->cert || o->key || o->pin;
}

struct rpc_client *cli_connect(struct cli *cli)
{
    struct tw_error error = {0};
    if (cli->client)
        return cli->client;
    const char *given = cli->server;
    cli_choose_server(cli);
    if (!cli->loop_open) {
        int r = uv_loop_init(&cli->loop);
        if (r < 0) {
            cli_error(cli, TW_INTERNAL, "cannot make an event loop: %s", uv_strerror(r));
            return NULL;
        }
        cli->loop_open = true;
    }
    CLEANUP_TOKEN_TEXT char *token = NULL;
    if (cli_find_token(cli, &token, &error) < 0) {
        cli_error(cli, error.code, "%s", error.message);
        cli->connect_code = EXIT_USAGE;
        return NULL;
    }
    cli->has_token = token;
    const struct rpc_client_options options = {.target = cli->server,
        .token = token,
        .tls = cli->tls ? &cli->tls_options : NULL,
        .connect_timeout_us = cli->connect_timeout_us,
        .fail_fast = cli->fail_fast};
    if (rpc_client_new(&cli->loop, &options, &cli->client, &error) < 0) {
        cli->client = NULL;
        bool target = strstr(error.message, "is not the address of a server");
        cli_error(cli, error.code, "%s%s",
            !target                                  ? ""
                : given == getenv("HIVEMIND_SERVER") ? "$HIVEMIND_SERVER: "
                                                     : "--server: ",
            error.message);
        /* Files and pins that are wrong came from the command line, or the environment, as well. */
        if (target || cli->tls)
            cli->connect_code = EXIT_USAGE;
    }
    return cli->client;
}

const char *cli_method(const char *method, char out[80])
{
    snprintf(out, 80, "%s%s", *method == '/' ? "" : "/taskworker.TaskWorkerService/", method);
    return out;
}

/* The client's words for "there was no connection", without which the cause would be told twice; else NULL. */
static const char *connect_failure(const struct tw_error *error)
{
    static const char words[] = "cannot connect to ";
    if (error->code != TW_UNAVAILABLE || strncmp(error->message, words, sizeof words - 1) != 0)
        return NULL;
    const char *colon = strstr(error->message, ": ");
    return colon ? colon + 2 : error->message;
}

static void report_answer(struct cli *cli, const struct tw_error *error)
{
    CLEANUP_FREE char *text = error->code == TW_INVALID_ARGUMENT ? fields_to_options(error->message) : NULL;
    const char *message = text ? text : error->message;
    message = *message ? message : error_code_name(error->code);
    /* Not what the client says of the node's certificate. */
    bool refused = error->code == TW_UNAUTHENTICATED && cli->client && rpc_client_connections(cli->client) > 0;
    if (refused && cli->has_token)
        cli_error(cli, error->code, "%s; the token came from %s", message,
            cli->token_file                          ? "--token-file"
                : environment("HIVEMIND_TOKEN")      ? "$HIVEMIND_TOKEN"
                : environment("HIVEMIND_TOKEN_FILE") ? "$HIVEMIND_TOKEN_FILE"
                                                     : "the file of credentials");
    else if (refused)
        cli_error(cli, error->code,
            "%s; log in (hivemind login), or give your token by --token-file=FILE or $HIVEMIND_TOKEN (a new node has "
            "its "
            "administrator's in the file first-token of its storage folder)",
            message);
    else
        cli_error(cli, error->code, "%s", message);
}

int cli_report(struct cli *cli, const struct tw_error *error)
{
    const char *why = connect_failure(error);
    if (why)
        cli_error(cli, error->code,
            "cannot reach the node at %s: %s; is hivemind-worker running, and on this port? Start it with "
            "\"hivemind-worker\" (to try it out: \"hivemind-worker --dev\"), or name another node with "
            "--server=HOST:PORT",
            cli->server, why);
    else if (error->code == TW_DEADLINE_EXCEEDED)
        cli_error(cli, error->code,
            "the node at %s has not answered in time: it is overloaded, or the time-out is short", cli->server);
    else
        report_answer(cli, error);
    /* What the node finds wrong with a request came from the command line. */
    return error->code == TW_INVALID_ARGUMENT ? EXIT_USAGE
        : error->code == TW_NOT_FOUND         ? EXIT_NOT_FOUND
                                              : EXIT_TROUBLE;
}

static void on_pause_over(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Lets the loop run for a while (a signal may come meanwhile). */
static void pause_loop(struct cli *cli, uint64_t ms)
{
    bool over = false;
    uv_timer_t timer;
    uv_timer_init(&cli->loop, &timer);
    timer.data = &over;
    uv_timer_start(&timer, on_pause_over, ms, 0);
    while (!over)
        uv_run(&cli->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&cli->loop, UV_RUN_NOWAIT);
}

bool cli_try_again(struct cli *cli, const struct tw_error *error, bool was_there, uint64_t *away_since_us)
{
    uint64_t now = clock_monotonic_us();
    /* Anything but a failure to connect comes from a node that is there. */
    was_there = was_there || *away_since_us || !connect_failure(error);
    if (error->code != TW_UNAVAILABLE || !was_there || (*away_since_us && now - *away_since_us > AWAY_MAX_US))
        return false;
    if (!*away_since_us) {
        *away_since_us = now;
        cli_note(cli, "the connection to %s is lost; trying for a minute to get it back", cli->server);
    }
    pause_loop(cli, AWAY_RETRY_MS);
    return true;
}

int cli_call(struct cli *cli, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *descriptor, uint64_t timeout_us, void *ret)
{
    char name[80];
    struct tw_error error = {0};
    struct rpc_client *client = cli_connect(cli);
    if (!client)
        return cli->connect_code;
    if (timeout_us == 0)
        timeout_us = cli->timeout_us ? cli->timeout_us : CLI_CALL_TIMEOUT_US;
    else if (timeout_us == CLI_NO_TIMEOUT)
        timeout_us = 0;
    int r = rpc_client_unary(client, cli_method(method, name), request, descriptor, timeout_us, ret, &error);
    return r < 0 ? cli_report(cli, &error) : 0;
}

int cli_bad_reply(struct cli *cli, const char *method)
{
    cli_error(cli, TW_INTERNAL, "the node at %s answered %s with a message that lacks what it must have", cli->server,
        method);
    return EXIT_TROUBLE;
}
