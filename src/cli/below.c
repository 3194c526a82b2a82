/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/below.h"

#include <string.h>

#include "base/suggest.h"
#include "cli/options.h"
#include "cli/output.h"

enum { BELOW_MAX = 16 };

static int print_help(
    struct cli *cli, const char *verb, const char *about, const struct below *below, size_t n, bool asked)
{
    FILE *out = asked ? stdout : stderr;
    fprintf(out, "Usage: hivemind %s VERB [OPTION]... [ARGUMENT]...\n%s\n\nVerbs\n", verb, about);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "  %-8s %s\n", below[i].name, below[i].summary);
    fprintf(out, "\nhivemind %s VERB --help tells more of each.\n", verb);
    return asked ? output_finish(cli, 0) : EXIT_USAGE;
}

int below_run(
    struct cli *cli, const char *verb, const char *about, const struct below *below, size_t n, int argc, char **argv)
{
    const char *names[BELOW_MAX];
    int at = 1;
    for (; at < argc; at++) {
        int taken = options_take_common(cli, argc, argv, &at);
        if (taken < 0)
            return EXIT_USAGE;
        if (taken == 0)
            break;
    }
    if (at >= argc || !strcmp(argv[at], "--help") || !strcmp(argv[at], "-h"))
        return print_help(cli, verb, about, below, n, at < argc);
    for (size_t i = 0; i < n && i < BELOW_MAX; i++) {
        names[i] = below[i].name;
        if (!strcmp(argv[at], names[i]))
            return below[i].run(cli, argc - at, argv + at);
    }
    const char *near = suggest_nearest(argv[at], names, n);
    cli_error(cli, TW_INVALID_ARGUMENT, "there is no \"%s %.60s\"%s%s%s; see hivemind %s --help", verb, argv[at],
        near ? " (did you mean " : "", near ? near : "", near ? "?)" : "", verb);
    return EXIT_USAGE;
}
