/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hivemind, the command line of a node: one file per verb (verb_NAME.c), each of which parses its options, makes one or a
 * few gRPC calls and prints what comes back. What tasks and nodes say is printed to standard output, raw where programs
 * read it and made harmless on terminals; what this program has to say goes to standard error. cli.h has the exit codes.
 */
#include <signal.h>
#include <string.h>

#include "base/fd.h"
#include "base/suggest.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/output.h"

struct verb {
    const char *name;
    const char *summary;
    int (*run)(struct cli *cli, int argc, char **argv);
};

static const struct verb verbs[] = {
#define X(name, summary) {#name, summary, verb_##name},
    CLI_VERBS(X)
#undef X
};

static int print_help(struct cli *cli)
{
    fputs("Usage: hivemind VERB [OPTION]... [ARGUMENT]...\n"
          "Talks to a HiveMind worker node: hands tasks in and looks after them.\n\nVerbs\n",
        stdout);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        printf("  %-8s %s\n", verbs[i].name, verbs[i].summary);
    fputs(
        "\nhivemind VERB --help tells the options of a verb, with examples. Those of all verbs:\n"
        "  --server=HOST:PORT        the node [$HIVEMIND_SERVER, else " CLI_DEFAULT_SERVER "]\n"
        "  --connect-timeout=TIME    how long to try to reach it [2s]\n"
        "  --tls, --ca=FILE, --pin=sha256:HEX, --cert=FILE, --key=FILE\n"
        "                            encrypted, and whom to believe [$HIVEMIND_CA, ..._PIN, ..._CERT, ..._KEY]\n"
        "  --token-file=FILE         who you are [$HIVEMIND_TOKEN, $HIVEMIND_TOKEN_FILE, else your credentials]\n"
        "  --insecure-token          send it in plain text to another machine, too\n"
        "  --json                    print JSON, one object a line; errors as well, to standard error\n"
        "  --version, --help\n\n"
        "Exit codes: 0 success; 2 the command line is wrong; 123 what is named is not there; 124 a time-out; 125 the\n"
        "node, the way to it or this program failed. run, result and wait exit with the code of the task: its own, 128 "
        "and the number of the\n"
        "signal that ended it (out of memory: 137, stopped: 143), 124 if it ran into its time-out. doctor exits\n"
        "with 1 where a node could not run tasks, storage fsck where something is damaged, call where the function\n"
        "fails.\n\n"
        "Try: hivemind run -- uname -a\n",
        stdout);
    return output_finish(cli, 0);
}

static const struct verb *find_verb(struct cli *cli, const char *name)
{
    const char *names[ARRAY_LEN(verbs)];
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        names[i] = verbs[i].name;
        if (!strcmp(name, names[i]))
            return &verbs[i];
    }
    const char *near = suggest_nearest(name, names, ARRAY_LEN(verbs));
    cli_error(cli, TW_INVALID_ARGUMENT, "there is no verb \"%.60s\"%s%s%s; see hivemind --help", name,
        near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    return NULL;
}

/* "hivemind help VERB" */
static int help_of(struct cli *cli, char *name)
{
    const struct verb *verb = find_verb(cli, name);
    char flag[] = "--help", *argv[] = {name, flag, NULL};
    return verb ? verb->run(cli, 2, argv) : EXIT_USAGE;
}

/* What comes before the verb, and the verb. */
static int dispatch(struct cli *cli, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool help = !strcmp(argv[i], "help");
        if (help && i + 1 < argc)
            return help_of(cli, argv[i + 1]);
        if (help || !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return print_help(cli);
        if (!strcmp(argv[i], "--version")) {
            printf("hivemind %s\n", HIVEMIND_VERSION);
            return output_finish(cli, 0);
        }
        int taken = options_take_common(cli, argc, argv, &i);
        if (taken < 0)
            return EXIT_USAGE;
        if (taken == 0) {
            const struct verb *verb = find_verb(cli, argv[i]);
            return verb ? verb->run(cli, argc - i, argv + i) : EXIT_USAGE;
        }
    }
    cli_error(cli, TW_INVALID_ARGUMENT, "what is to be done? See hivemind --help");
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct cli cli;
    (void)fd_occupy_standard();
    /* A reader that leaves is an error like any other, not a silent death. */
    (void)signal(SIGPIPE, SIG_IGN);
    cli_init(&cli);
    int code = dispatch(&cli, argc, argv);
    cli_done(&cli);
    return code;
}
