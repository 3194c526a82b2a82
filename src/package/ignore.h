/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .hivemindignore: what of a folder is left out when it is packed. The rules are those of gitignore(5), one a line:
 *
 *   # at its beginning   a comment, as is an empty line; "\#" and "\!" begin a rule with that character
 *   !rule                what an earlier rule has left out is taken again; the last rule that fits decides
 *   rule/                folders alone
 *   a/b, /a              a '/' anywhere but at the end: the path from the top; else a name in any folder
 *   *  ?                 any bytes, one byte, but no '/'
 *   [a-z] [!a-z] [^a-z]  one byte of these, or none of these; ']' first is one of them; never a '/'
 *   **'/'a, a/'**'/b, a/'**'  (without the quotes) in any folder; any number of folders between; everything below a
 *   \c                   the character c itself; also keeps a space at the end of a rule, where spaces are dropped
 *
 * Of what is left out nothing below is looked at, so a rule cannot take back what is in it. Other than in gitignore(5): a '['
 * that is not closed, a class like [:alpha:] and a '\' at the end are mistakes, not rules that fit nothing; a CR before the end
 * of a line is dropped.
 *
 * The rules below stand in front of the file's own, which may take back what they leave out: a line "!venv" does.
 * Matching takes time in proportion to the length of the path times that of the rules, whatever they are.
 */
#ifndef PACKAGE_IGNORE_H
#define PACKAGE_IGNORE_H

#include <stdbool.h>
#include <stddef.h>

#include <taskworker/error.h>

#include "base/util.h"

#define IGNORE_FILE ".hivemindignore"
#define IGNORE_DEFAULTS \
    ".git\n"            \
    ".hg/\n"            \
    ".svn/\n"           \
    "__pycache__/\n"    \
    "*.pyc\n"           \
    ".venv/\n"          \
    "venv/\n"           \
    "node_modules/\n"   \
    ".DS_Store\n"       \
    "/" IGNORE_FILE "\n"

enum { IGNORE_BYTES_MAX = 64 * 1024, IGNORE_RULES_MAX = 1000, IGNORE_RULE_MAX = 1024, IGNORE_PATH_MAX = 4095 };

/* The sentence follows ".hivemindignore, line N: ". */
#define IGNORE_RESULTS(X)                                                               \
    X(OK, "is as it should be")                                                         \
    X(NO_MEMORY, "there is no memory to read it")                                       \
    X(TOO_LARGE, "the file is larger than 64 KiB")                                      \
    X(TOO_MANY, "there are more than 1000 rules")                                       \
    X(TOO_LONG, "the rule is longer than 1024 bytes")                                   \
    X(BAD_BYTE, "there is a NUL byte")                                                  \
    X(EMPTY, "there is no rule behind the '!' or '/'")                                  \
    X(BRACKET, "a '[' is not closed by a ']'; write \\[ for the character itself")      \
    X(CLASS, "classes like [:alpha:] are not known; write the characters, as in [a-z]") \
    X(ESCAPE, "there is nothing behind the '\\' at the end; write \\\\ for the character itself")

enum ignore_result {
#define X(name, sentence) IGNORE_##name,
    IGNORE_RESULTS(X)
#undef X
        IGNORE_RESULT_MAX
};

/* The sentence, never NULL. */
const char *ignore_result_to_string(enum ignore_result result);

struct ignore_rule;

/* All zero is one without rules. */
struct ignore {
    struct ignore_rule *rules;
    size_t n_rules;
};

/* Adds the rules of a text (data may be NULL where len is 0). On a mistake nothing is added, and *ret_line is its line, or 0. */
enum ignore_result ignore_add(struct ignore *ignore, const void *data, size_t len, unsigned *ret_line);
/* The same, with the mistake as an error of INVALID_ARGUMENT (or RESOURCE_EXHAUSTED, without memory). */
int ignore_read(struct ignore *ignore, const void *data, size_t len, struct tw_error *error);

void ignore_done(struct ignore *ignore);
#define CLEANUP_IGNORE CLEANUP(ignore_done)

/*
 * Whether this is left out: a path from the top, with one '/' between its parts and none in front or behind, of at most
 * IGNORE_PATH_MAX bytes (a longer one is not). Who walks the tree asks for each folder before what is in it.
 */
bool ignore_matches(const struct ignore *ignore, const char *path, bool folder);

#endif
