/* SPDX-License-Identifier: Apache-2.0 */
/* What all verbs of the program share: see main.c. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <uv.h>

#include "base/util.h"
#include "cli/reader.h"
#include "rpc/client.h"

/* Exit codes beside the task's own (run, result, wait). */
enum {
    EXIT_USAGE = 2,       /* the command line is wrong, or a file that it names */
    EXIT_NOT_FOUND = 123, /* what was named is not there */
    EXIT_TIMED_OUT = 124, /* the task ran into its time-out, or waiting took too long */
    EXIT_TROUBLE = 125,   /* the node, the way to it or this program failed */
    EXIT_SIGNAL = 128,    /* plus the signal that ended the task */
};

#define CLI_DEFAULT_SERVER "127.0.0.1:50053"

struct cli {
    const char *server; /* without scheme, once cli_connect was called */
    bool tls;
    struct rpc_client_tls tls_options;
    uint64_t connect_timeout_us; /* 0: the client's default */
    uint64_t timeout_us;         /* of one call; 0: CLI_CALL_TIMEOUT_US */
    const char *token;           /* in place of all others; NULL: they count */
    const char *token_file;      /* NULL: the token is looked for where else one may be */
    bool insecure_token;         /* it may go anywhere in plain text */
    bool has_token;              /* one was found and is sent */
    bool json;
    bool color;       /* on standard output */
    bool fail_fast;   /* what is not there now is not waited for */
    bool mid_line[2]; /* what a task wrote to standard output and error did not end in a newline (output_left) */
    uv_loop_t loop;
    bool loop_open;
    int connect_code;          /* what to exit with after cli_connect failed */
    struct rpc_client *client; /* made by the first call */
    struct cli_reader reader;  /* of standard output */
};

#define CLI_CALL_TIMEOUT_US UINT64_C(30000000)
#define CLI_NO_TIMEOUT UINT64_MAX

void cli_init(struct cli *cli);
void cli_done(struct cli *cli);

/* The client, or NULL after a message; then cli->connect_code is the exit code. */
struct rpc_client *cli_connect(struct cli *cli);

/*
 * token.c: the token for cli->server (wipe and free it) from --token-file, $HIVEMIND_TOKEN, $HIVEMIND_TOKEN_FILE or the file of
 * credentials; NULL: there is none. -1: what was given cannot be used, or must not be sent there.
 */
int cli_find_token(struct cli *cli, char **ret, struct tw_error *error);

/* Whether a secret may go to cli->server, as which it stands after cli_connect(): not in plain text beyond loopback. `what`: "password" */
int cli_check_secret(const struct cli *cli, const char *what, struct tw_error *error);
/* What cli_connect() makes of cli->server, for who needs the address alone. */
void cli_choose_server(struct cli *cli);

/*
 * One call; `method` is the name alone ("GetTask"), or with its service ("/taskworker.FileService/ListFiles"). On failure the message is printed and the exit code returned; 0 is
 * success. timeout_us: 0 for the usual one, CLI_NO_TIMEOUT for none. *ret: protobuf_c_message_free_unpacked() it.
 */
int cli_call(struct cli *cli, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *descriptor, uint64_t timeout_us, void *ret);
/* The full name for rpc_client_start. */
const char *cli_method(const char *method, char out[80]);
/* Prints what a failed call says, naming the server if that is what is not there. Returns the exit code. */
int cli_report(struct cli *cli, const struct tw_error *error);
/*
 * Whether to try again after this failure: the node was there, is away, and has been so for less than a minute. Lets the
 * loop run for a while then. *away_since_us: 0 whenever the node has shown itself.
 */
bool cli_try_again(struct cli *cli, const struct tw_error *error, bool was_there, uint64_t *away_since_us);
/* A message to standard error, harmless to show, as text or with --json as {"error":{"code":...,"message":...}}. */
void cli_error(struct cli *cli, enum tw_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Something worth knowing, to standard error; nothing with --json. */
void cli_note(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The node broke the contract (a reply without a task). Returns the exit code. */
int cli_bad_reply(struct cli *cli, const char *method);

/* Frees an unpacked message by scope. */
static inline void cli_free_message(void *p)
{
    ProtobufCMessage *message = *(ProtobufCMessage **)p;
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}
#define CLEANUP_MESSAGE CLEANUP(cli_free_message)

/* The verbs: each parses its part of the command line and returns the exit code. */
#define CLI_VERBS(X)                                         \
    X(submit, "hand a task in and print its id")             \
    X(run, "hand a task in, follow it, and exit as it does") \
    X(ps, "list tasks")                                      \
    X(show, "everything about one task")                     \
    X(call, "call a function of the node")                   \
    X(logs, "what a task printed")                           \
    X(result, "the result of a task")                        \
    X(wait, "wait until tasks have ended")                   \
    X(stop, "end tasks")                                     \
    X(pause, "hold tasks")                                   \
    X(resume, "let paused tasks go on")                      \
    X(retry, "hand in once more what failed")                \
    X(events, "what happens to tasks")                       \
    X(top, "the node and its tasks, live")                   \
    X(status, "the node")                                    \
    X(drain, "end the node in order")                        \
    X(storage, "the files that the node keeps")              \
    X(login, "get a token of a node, and keep it")           \
    X(logout, "forget it")                                   \
    X(whoami, "who you are there")                           \
    X(token, "your tokens, and those of others")             \
    X(user, "who may use the node")                          \
    X(audit, "who did what on the node")                     \
    X(tls, "certificates for nodes and clients")             \
    X(doctor, "what this machine offers to a node")
#define X(name, summary) int verb_##name(struct cli *cli, int argc, char **argv);
CLI_VERBS(X)
#undef X

#endif
