/* SPDX-License-Identifier: Apache-2.0 */
/* hivemind audit: what the node's audit log says, and whether it is whole. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "cli/accounts.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/when.h"

struct audit {
    struct cli *cli;
    const char *user, *action, *object, *outcome, *since, *until;
    uint64_t limit;
    bool oldest;
    uint64_t shown;
    bool damaged, bad, done;
    struct rpc_client_call *call;
    struct tw_error status;
};

static const char *const outcomes[] = {"?", "ok", "denied", "error"};

static const char *outcome_name(Taskworker__AuditRecord__Outcome outcome)
{
    return (unsigned)outcome < ARRAY_LEN(outcomes) ? outcomes[outcome] : outcomes[0];
}

/* --- what is asked --- */

static int take_time(struct cli *cli, const char *option, const char *given, int64_t *ret)
{
    uint64_t us = 0;
    if (!given)
        return 0;
    if (when_parse_past(given, clock_wall_us(), &us) == 0) {
        *ret = (int64_t)us;
        return 0;
    }
    cli_error(cli, TW_INVALID_ARGUMENT, "%s is \"%.60s\", but has to be a span like 2h or a time like 2030-01-31 18:30",
        option, given);
    return EXIT_USAGE;
}

static int fill(struct cli *cli, const struct audit *a, Taskworker__QueryAuditRequest *request)
{
    int code = take_time(cli, "--since", a->since, &request->since_us);
    if (!code)
        code = take_time(cli, "--until", a->until, &request->until_us);
    request->user = (char *)(a->user ? a->user : "");
    request->action = (char *)(a->action ? a->action : "");
    request->object = (char *)(a->object ? a->object : "");
    request->limit = a->limit;
    request->oldest_first = a->oldest;
    for (unsigned i = 1; a->outcome && i < ARRAY_LEN(outcomes); i++) {
        if (!strcmp(a->outcome, outcomes[i]))
            request->outcome = (Taskworker__AuditRecord__Outcome)i;
    }
    if (code || !a->outcome || request->outcome)
        return code;
    cli_error(cli, TW_INVALID_ARGUMENT, "--outcome is \"%.60s\", but has to be ok, denied or error", a->outcome);
    return EXIT_USAGE;
}

/* --- what comes --- */

static void print_record(const struct cli *cli, const Taskworker__AuditRecord *r)
{
    char when[CLOCK_TEXT_MAX];
    if (cli->json) {
        output_json(stdout,
            json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o}", "seq", (json_int_t)r->seq, "time_us",
                (json_int_t)r->time_us, "user", json_text(r->user), "token_id", json_text(r->token_id), "from",
                json_text(r->from), "action", json_text(r->action), "object", json_text(r->object), "detail",
                json_text(r->detail), "outcome", outcome_name(r->outcome), "hash", json_text(r->hash)));
        return;
    }
    const char *const texts[] = {
        *r->user ? r->user : "-", r->action, *r->object ? r->object : "-", *r->from ? r->from : "-", r->detail};
    printf("%6llu %.19sZ %-6s", (unsigned long long)r->seq, clock_format((uint64_t)r->time_us, when),
        outcome_name(r->outcome));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (!*texts[i])
            continue;
        putchar(' ');
        output_text(stdout, texts[i]);
    }
    putchar('\n');
}

static void on_message(struct rpc_client_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct audit *a = ctx;
    CLEANUP_MESSAGE Taskworker__QueryAuditResponse *m = taskworker__query_audit_response__unpack(NULL, len, msg);
    bool full = ferror(stdout); /* which output_finish() tells */
    a->bad |= !m;
    if (!m || full) {
        rpc_client_cancel(call);
        return;
    }
    a->damaged |= m->damaged;
    if (!m->record)
        return;
    a->shown++;
    print_record(a->cli, m->record);
}

static void on_done(struct rpc_client_call *call UNUSED, const struct tw_error *status, void *ctx)
{
    struct audit *a = ctx;
    a->status = *status;
    a->done = true;
    a->call = NULL;
}

static int query(struct cli *cli, struct audit *a)
{
    static const struct rpc_client_callbacks callbacks = {.on_message = on_message, .on_done = on_done};
    Taskworker__QueryAuditRequest request = TASKWORKER__QUERY_AUDIT_REQUEST__INIT;
    int code = fill(cli, a, &request);
    if (code)
        return code;
    struct rpc_client *client = cli_connect(cli);
    if (!client)
        return cli->connect_code;
    a->call = rpc_client_start(client, ACCOUNTS_METHOD("QueryAudit"), &request.base, 0, &callbacks, a);
    if (!a->call) {
        cli_error(cli, TW_RESOURCE_EXHAUSTED, "out of memory");
        return EXIT_TROUBLE;
    }
    while (!a->done)
        uv_run(&cli->loop, UV_RUN_ONCE);
    if (a->bad)
        return cli_bad_reply(cli, "QueryAudit");
    if (a->status.code != TW_OK && !ferror(stdout))
        return cli_report(cli, &a->status);
    if (a->damaged)
        cli_note(cli, "there are lines in the log that are no records; hivemind audit verify says where");
    if (a->shown == 0)
        cli_note(cli, "there is no such record");
    else if (a->shown == a->limit)
        cli_note(
            cli, "these are the %s %llu; for more: -n", a->oldest ? "oldest" : "newest", (unsigned long long)a->limit);
    return 0;
}

/* --- verify --- */

static const char *problem_name(Taskworker__VerifyAuditResponse__Problem problem)
{
    static const char *const names[] = {"none", "changed", "removed", "inserted", "swapped", "cut", "head"};
    return (unsigned)problem < ARRAY_LEN(names) ? names[problem] : "?";
}

static void print_report(const struct cli *cli, const Taskworker__VerifyAuditResponse *r)
{
    if (cli->json) {
        output_json(stdout,
            json_pack("{s:b, s:I, s:I, s:I, s:I, s:o, s:s, s:o, s:I, s:o, s:I}", "ok", r->problem == 0, "files",
                (json_int_t)r->files, "records", (json_int_t)r->records, "first_seq", (json_int_t)r->first_seq,
                "last_seq", (json_int_t)r->last_seq, "last_hash", json_text(r->last_hash), "problem",
                problem_name(r->problem), "file", json_text(r->file), "line", (json_int_t)r->line, "message",
                json_text(r->message), "unfinished_bytes", (json_int_t)r->unfinished_bytes));
        return;
    }
    if (r->problem) {
        fputs("DAMAGED    ", stdout);
        output_text(stdout, r->message);
        printf(" (%s", problem_name(r->problem));
        if (*r->file) {
            fputs(", ", stdout);
            output_text(stdout, r->file);
            printf(" line %llu", (unsigned long long)r->line);
        }
        puts(")");
    }
    printf("%s %llu records in %llu files, %llu to %llu\n", r->problem ? "before that" : "whole     ",
        (unsigned long long)r->records, (unsigned long long)r->files, (unsigned long long)r->first_seq,
        (unsigned long long)r->last_seq);
    fputs("last hash  ", stdout);
    output_text(stdout, r->last_hash);
    putchar('\n');
}

static int verify(struct cli *cli)
{
    const Taskworker__VerifyAuditRequest request = TASKWORKER__VERIFY_AUDIT_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__VerifyAuditResponse *r = NULL;
    int code = cli_call(cli, ACCOUNTS_METHOD("VerifyAudit"), &request.base,
        &taskworker__verify_audit_response__descriptor, CLI_NO_TIMEOUT, &r);
    if (code)
        return code;
    print_report(cli, r);
    return r->problem ? 1 : 0;
}

static int audit_verify(struct cli *cli, int argc, char **argv)
{
    const struct syntax syntax = {
        .verb = "audit verify",
        .usage = "",
        .text =
            "Reads the whole audit log and checks that each record follows from the one before. Keep the number and\n"
            "hash of the last one elsewhere, from time to time: a history that was changed later does not lead to\n"
            "them. Exits with 1 where something is wrong.",
        .example = "  hivemind audit verify --json >> /mnt/elsewhere/audit-heads",
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, verify(cli));
    arguments_done(&args);
    return code;
}

/* --- the verb --- */

static int query_or_verify(struct cli *cli, struct audit *a, const struct words *words)
{
    if (!words->n)
        return query(cli, a);
    if (!strcmp(words->items[0], "verify"))
        return verify(cli);
    cli_error(cli, TW_INVALID_ARGUMENT, "there is no \"audit %.60s\", only \"audit verify\"; see hivemind audit --help",
        words->items[0]);
    return EXIT_USAGE;
}

static int audit_show(struct cli *cli, int argc, char **argv)
{
    struct audit a = {.cli = cli, .limit = 100};
    const struct option options[] = {
        {.name = "user",
            .letter = 'u',
            .kind = OPTION_TEXT,
            .target = &a.user,
            .metavar = "NAME",
            .help = "only what this one did"},
        {.name = "action",
            .kind = OPTION_TEXT,
            .target = &a.action,
            .metavar = "TEXT",
            .help = "only actions that begin so: task., user.add"},
        {.name = "object",
            .kind = OPTION_TEXT,
            .target = &a.object,
            .metavar = "ID",
            .help = "only what was done to this"},
        {.name = "outcome",
            .kind = OPTION_TEXT,
            .target = &a.outcome,
            .metavar = "ok|denied|error",
            .help = "only what ended like this"},
        {.name = "since",
            .kind = OPTION_TEXT,
            .target = &a.since,
            .metavar = "WHEN",
            .help = "only since then: 2h (ago), 18:30, or 2030-01-31 18:30"},
        {.name = "until", .kind = OPTION_TEXT, .target = &a.until, .metavar = "WHEN", .help = "only until then"},
        {.name = "limit",
            .letter = 'n',
            .kind = OPTION_COUNT,
            .target = &a.limit,
            .min = 0,
            .max = UINT32_MAX,
            .metavar = "N",
            .help = "at most so many; 0: all [100]"},
        {.name = "oldest", .kind = OPTION_FLAG, .target = &a.oldest, .help = "the oldest first [the newest]"},
    };
    const struct syntax syntax = {
        .verb = "audit",
        .usage = "[OPTION]... | verify",
        .text =
            "Who did what on the node, and what was refused to whom, the newest first: number, time, outcome, user,\n"
            "action, what it was done to, from where, and details. \"hivemind audit verify\" checks that nothing of\n"
            "it was changed. For administrators.",
        .example = "  hivemind audit --since 2h --outcome denied\n"
                   "  hivemind audit --user ann --action task. --json | jq -r .object",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .max_words = 1, /* "verify", behind options of all verbs */
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, query_or_verify(cli, &a, &args.words));
    arguments_done(&args);
    return code;
}

int verb_audit(struct cli *cli, int argc, char **argv)
{
    bool verb = argc > 1 && !strcmp(argv[1], "verify");
    return verb ? audit_verify(cli, argc - 1, argv + 1) : audit_show(cli, argc, argv);
}
