/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/follow.h"
#include "cli/options.h"

int verb_logs(struct cli *cli, int argc, char **argv)
{
    struct follow_options follow = {0};
    const struct option options[] = {
        {.name = "follow",
            .letter = 'f',
            .kind = OPTION_FLAG,
            .target = &follow.follow,
            .help = "go on until the task has ended"},
        {.name = "raw",
            .kind = OPTION_FLAG,
            .target = &follow.raw,
            .help = "let control characters of the task through to the terminal"},
        {.name = "timeout",
            .kind = OPTION_DURATION,
            .target = &cli->timeout_us,
            .min = 1000,
            .metavar = "TIME",
            .help = "how long it may take; without -f [no limit]"},
    };
    const struct syntax syntax = {
        .verb = "logs",
        .usage = "[OPTION]... ID",
        .text = "Prints what a task has printed: its standard output to standard output, its standard error to "
                "standard error.\n"
                "Bytes go out as they are; on a terminal control characters other than newline, tab and carriage "
                "return are\n"
                "replaced, since a task could otherwise write to the terminal whatever it likes.",
        .example = "  hivemind logs task_001\n"
                   "  hivemind logs -f task_001 2>errors.txt",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .min_words = 1,
        .max_words = 1,
    };
    struct arguments args;
    struct follow_seen seen;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        follow.id = args.words.items[0];
        code = follow_logs(cli, &follow, &seen);
    }
    arguments_done(&args);
    return code;
}
