/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/parse.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/table.h"
#include "doctor/doctor.h"

enum { CANNOT_RUN = 1, NODE_NAME_MAX = 128 };

static const char *const colors[DOCTOR_STATUS_MAX] = {
    [DOCTOR_OK] = "\033[32m",
    [DOCTOR_DEGRADED] = "\033[33m",
    [DOCTOR_MISSING] = "\033[31m",
    [DOCTOR_UNKNOWN] = "\033[2m",
};

/* What a user sets for the node, where this program can see it; the verb's options go before. */
static bool number_from_environment(struct cli *cli, const char *name, uint64_t min, uint64_t max, uint64_t *ret)
{
    const char *text = getenv(name);
    if (!text || !*text || *ret != 0 || parse_u64(text, min, max, ret) == 0)
        return true;
    cli_error(cli, TW_INVALID_ARGUMENT, "%s in the environment must be a whole number from %llu to %llu, not \"%.60s\"",
        name, (unsigned long long)min, (unsigned long long)max, text);
    return false;
}

static const char *text_from_environment(const char *given, const char *name)
{
    const char *text = getenv(name);
    return given ? given : text && *text ? text : NULL;
}

static bool ask_node(void *ctx, uint16_t port, uint64_t timeout_us, char *ret_name)
{
    (void)ctx;
    char server[32];
    struct cli other;
    struct tw_error error = {0};
    CLEANUP_MESSAGE ProtobufCMessage *message = NULL;
    Taskworker__GetStatusRequest request = TASKWORKER__GET_STATUS_REQUEST__INIT;
    char method[80];
    if (timeout_us == 0) /* would mean no limit */
        return false;
    snprintf(server, sizeof server, "127.0.0.1:%u", port);
    cli_init(&other);
    other.server = server;
    other.connect_timeout_us = timeout_us;
    struct rpc_client *client = cli_connect(&other);
    bool is_node = client &&
        rpc_client_unary(client, cli_method("GetStatus", method), &request.base,
            &taskworker__get_status_response__descriptor, timeout_us, &message, &error) == 0;
    if (is_node)
        snprintf(ret_name, NODE_NAME_MAX, "%s", ((Taskworker__GetStatusResponse *)message)->node_id);
    cli_done(&other);
    return is_node;
}

static json_t *to_json(const struct doctor_report *r)
{
    json_t *checks = json_array();
    for (size_t i = 0; checks && i < r->n_checks; i++) {
        const struct doctor_check *c = &r->checks[i];
        json_array_append_new(checks,
            json_pack("{s:s, s:s, s:s, s:s, s:b, s:o, s:o, s:o}", "name", c->name, "title", c->title, "area",
                doctor_area_to_string(c->area), "status", doctor_status_to_string(c->status), "needed", (int)c->needed,
                "found", json_text(c->found), "cost", json_text(c->cost), "fix", json_text(c->fix)));
    }
    return json_pack("{s:s, s:I, s:o, s:b, s:o, s:o}", "version", HIVEMIND_VERSION, "uid", (json_int_t)r->uid, "user",
        json_text(r->user), "can_run", (int)r->can_run, "summary", json_text(r->summary), "checks", checks);
}

static void print_detail(const struct cli *cli, const char *what, const char *text)
{
    if (!*text)
        return;
    printf("      %s%s%s  ", cli->color ? "\033[2m" : "", what, color_off(cli));
    output_text(stdout, text);
    putchar('\n');
}

/* One line for a check. The columns are as wide in every area. */
static void print_check(const struct cli *cli, const struct doctor_check *c, size_t width, bool verbose)
{
    const char *status = doctor_status_to_string(c->status);
    printf("  %-*s  %s%-8s%s  ", (int)width, c->title, cli->color ? colors[c->status] : "", status, color_off(cli));
    output_text(stdout, c->found);
    putchar('\n');
    if (c->status == DOCTOR_OK && !verbose)
        return;
    print_detail(cli, "cost", c->cost);
    print_detail(cli, "fix ", c->fix);
}

static void print_report(const struct cli *cli, const struct doctor_report *r, bool verbose)
{
    size_t width = 0;
    for (size_t i = 0; i < r->n_checks; i++)
        width = MAX(width, strlen(r->checks[i].title));
    printf("hivemind %s looked as ", HIVEMIND_VERSION);
    output_text(stdout, r->user);
    printf(" (uid %u)%s\n", (unsigned)r->uid,
        r->uid ? "; root may have more, and a node started as root gives its tasks ids of their own" : "");
    for (size_t i = 0; i < r->n_checks; i++) {
        const struct doctor_check *c = &r->checks[i];
        if (i == 0 || c->area != r->checks[i - 1].area)
            printf("\n%s%s%s\n", cli->color ? "\033[1m" : "", doctor_area_to_string(c->area), color_off(cli));
        print_check(cli, c, width, verbose);
    }
    printf("\n%s", cli->color ? colors[r->can_run ? DOCTOR_OK : DOCTOR_MISSING] : "");
    output_text(stdout, r->summary);
    printf("%s\n", color_off(cli));
}

static int examine(struct cli *cli, struct doctor_options *o, uint64_t uid_base, uint64_t port, bool verbose)
{
    uint64_t web_port = 0;
    if (!number_from_environment(cli, "SLOT_UID_BASE", 100000, UINT32_MAX - 4096, &uid_base) ||
        !number_from_environment(cli, "GRPC_PORT", 0, UINT16_MAX, &port) ||
        !number_from_environment(cli, "WEB_PORT", 0, UINT16_MAX, &web_port))
        return EXIT_USAGE;
    o->libexec_dir = text_from_environment(o->libexec_dir, "LIBEXEC_DIR");
    o->storage_path = text_from_environment(o->storage_path, "STORAGE_PATH");
    o->python = text_from_environment(o->python, "HIVEMIND_PYTHON");
    o->docker_host = getenv("DOCKER_HOST");
    o->uid_base = (uint32_t)uid_base;
    o->grpc_port = (uint16_t)port;
    o->web_port = (uint16_t)web_port;
    o->ask_node = ask_node;
    CLEANUP_FREE struct doctor_report *report = malloc(sizeof *report);
    if (!report) {
        cli_error(cli, TW_RESOURCE_EXHAUSTED, "out of memory");
        return EXIT_TROUBLE;
    }
    doctor_run(o, report);
    if (cli->json)
        output_json(stdout, to_json(report));
    else
        print_report(cli, report, verbose);
    return output_finish(cli, report->can_run ? 0 : CANNOT_RUN);
}

int verb_doctor(struct cli *cli, int argc, char **argv)
{
    struct doctor_options o = {0};
    uint64_t uid_base = 0, port = 0;
    bool verbose = false;
    const struct option options[] = {
        {.name = "verbose",
            .letter = 'v',
            .kind = OPTION_FLAG,
            .target = &verbose,
            .help = "cost and fix of everything, not only of what is amiss"},
        {.name = "storage-path",
            .kind = OPTION_TEXT,
            .target = &o.storage_path,
            .metavar = "FOLDER",
            .help = "as of the node [$STORAGE_PATH, else the node's default]"},
        {.name = "libexec-dir",
            .kind = OPTION_TEXT,
            .target = &o.libexec_dir,
            .metavar = "FOLDER",
            .help = "as of the node [$LIBEXEC_DIR, else beside this program]"},
        {.name = "python",
            .kind = OPTION_TEXT,
            .target = &o.python,
            .metavar = "FILE",
            .help = "as of the node [$HIVEMIND_PYTHON, else /usr/bin/python3]"},
        {.name = "slot-uid-base",
            .kind = OPTION_COUNT,
            .target = &uid_base,
            .min = 100000,
            .max = UINT32_MAX - 4096,
            .metavar = "UID",
            .help = "as of the node [$SLOT_UID_BASE, else 1900000000]"},
        {.name = "grpc-port",
            .kind = OPTION_COUNT,
            .target = &port,
            .min = 1,
            .max = UINT16_MAX,
            .metavar = "PORT",
            .help = "as of the node [$GRPC_PORT, else 50053]"},
    };
    const struct syntax syntax = {
        .verb = "doctor",
        .usage = "[OPTION]...",
        .text = "Looks at this machine as a node started here by you would find it: what there is, what is missing, "
                "what that\n"
                "costs and how to fix it. Needs no node, changes nothing, takes some seconds at most. Exits with 1 if "
                "a node\n"
                "could not run tasks at all.",
        .example = "  hivemind doctor\n"
                   "  sudo hivemind doctor --verbose\n"
                   "  hivemind doctor --json | jq '.checks[] | select(.status != \"ok\")'",
        .options = options,
        .n_options = ARRAY_LEN(options),
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = examine(cli, &o, uid_base, port, verbose);
    arguments_done(&args);
    return code;
}
