/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of one verb. Options stand anywhere before "--": --name=value, --name value, -x value, -xvalue, and
 * several one-letter flags in one word. What follows "--" is never looked at.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"

enum option_kind {
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char * */
    OPTION_COUNT,    /* uint64_t, min to max */
    OPTION_DURATION, /* uint64_t, microseconds, at least min */
    OPTION_SIZE,     /* uint64_t, bytes, at least min */
    OPTION_CPUS,     /* uint64_t, thousandths, at least min */
    OPTION_LIST,     /* struct words; may be repeated */
};

struct words {
    const char **items; /* of argv */
    size_t n;
};

struct option {
    const char *name; /* without dashes */
    char letter;      /* 0: none */
    enum option_kind kind;
    void *target;
    uint64_t min, max; /* of a duration or a size: max 0 is none */
    const char *metavar;
    const char *help;
};

struct syntax {
    const char *verb;
    const char *usage;   /* behind the verb: "[OPTION]... ID" */
    const char *text;    /* what it does, some lines */
    const char *example; /* some lines */
    const struct option *options;
    size_t n_options;
    const char *missing;         /* what to say is missing when there are fewer than min_words: "ID" */
    size_t min_words, max_words; /* positional arguments before "--" */
    bool takes_rest;             /* something may follow "--" as such, else it counts as positional */
};

struct arguments {
    struct words words;
    char **rest; /* behind "--" */
    size_t n_rest;
    bool has_rest;
};

/*
 * Returns true to go on; false when the verb is to return *ret_code at once: help was asked for, or the line is wrong and
 * that was said. Release *ret and lists with words_done / arguments_done in either case.
 */
bool options_parse(
    struct cli *cli, const struct syntax *syntax, int argc, char **argv, struct arguments *ret, int *ret_code);
void arguments_done(struct arguments *args);
void words_done(struct words *words);

/* An option of every verb that argv[*at] may be (for those before the verb). 1: taken, 0: not one, -1: wrong, and said. */
int options_take_common(struct cli *cli, int argc, char **argv, int *at);

#endif
