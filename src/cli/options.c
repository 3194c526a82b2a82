/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/parse.h"
#include "base/suggest.h"
#include "cli/output.h"

enum { COMMON_OPTIONS = 11, OPTIONS_MAX = 64 };
#define DAY UINT64_C(86400000000)
#define DURATION_MAX (3650 * DAY) /* of parse_duration */

/* A command line being read. */
struct reader {
    struct cli *cli;
    const char *verb; /* NULL before the verb */
    const struct option *options[OPTIONS_MAX];
    size_t n;
    int argc;
    char **argv;
    int at; /* the word that is being read */
    bool help;
    bool before_rest; /* words were read, and "--" could stand behind them */
};

struct common {
    struct option options[COMMON_OPTIONS];
};

static void common_init(struct common *common, struct reader *r)
{
    struct rpc_client_tls *tls = &r->cli->tls_options;
    *common = (struct common){
        .options = {
            {.name = "server",
                .kind = OPTION_TEXT,
                .target = &r->cli->server,
                .metavar = "HOST:PORT",
                .help = "the node [$HIVEMIND_SERVER, else " CLI_DEFAULT_SERVER "]"},
            {.name = "connect-timeout",
                .kind = OPTION_DURATION,
                .min = 1000,
                .target = &r->cli->connect_timeout_us,
                .metavar = "TIME",
                .help = "how long to try to reach the node [2s]"},
            {.name = "tls",
                .kind = OPTION_FLAG,
                .target = &r->cli->tls,
                .help = "encrypted, as with --server=tls://HOST:PORT; the four below ask for it, too"},
            {.name = "ca",
                .kind = OPTION_TEXT,
                .target = &tls->ca,
                .metavar = "FILE",
                .help = "who has to have signed the node's certificate [$HIVEMIND_CA, else the CAs of this machine]"},
            {.name = "pin",
                .kind = OPTION_TEXT,
                .target = &tls->pin,
                .metavar = "sha256:HEX",
                .help = "the key that the node has to have; without --ca no signature counts then [$HIVEMIND_PIN]"},
            {.name = "cert",
                .kind = OPTION_TEXT,
                .target = &tls->cert,
                .metavar = "FILE",
                .help = "a certificate to show to the node [$HIVEMIND_CERT]"},
            {.name = "key",
                .kind = OPTION_TEXT,
                .target = &tls->key,
                .metavar = "FILE",
                .help = "its key [$HIVEMIND_KEY]"},
            {.name = "token-file",
                .kind = OPTION_TEXT,
                .target = &r->cli->token_file,
                .metavar = "FILE",
                .help = "a file with your token [$HIVEMIND_TOKEN, $HIVEMIND_TOKEN_FILE, else your credentials]"},
            {.name = "insecure-token",
                .kind = OPTION_FLAG,
                .target = &r->cli->insecure_token,
                .help = "send it in plain text to another machine, too"},
            {.name = "json", .kind = OPTION_FLAG, .target = &r->cli->json, .help = "print JSON, one object a line"},
            {.name = "help", .letter = 'h', .kind = OPTION_FLAG, .target = &r->help, .help = "print this"},
        }};
    for (size_t i = 0; i < COMMON_OPTIONS; i++)
        r->options[r->n++] = &common->options[i];
}

static int wrong(const struct reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int wrong(const struct reader *r, const char *fmt, ...)
{
    va_list ap;
    CLEANUP_FREE char *text = NULL;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    cli_error(r->cli, TW_INVALID_ARGUMENT, "%s; see hivemind %s%s--help", text ? text : "out of memory",
        r->verb ? r->verb : "", r->verb ? " " : "");
    return -1;
}

/* The likely mistake behind what stands too much. */
static const char *rest_hint(const struct reader *r)
{
    return r->before_rest ? " (put -- before a command or the arguments of a task)" : "";
}

static int words_add(struct words *words, const char *word)
{
    const char **items = realloc(words->items, (words->n + 1) * sizeof *items);
    if (!items)
        return -ENOMEM;
    words->items = items;
    items[words->n++] = word;
    return 0;
}

void words_done(struct words *words)
{
    free(words->items);
    *words = (struct words){0};
}

void arguments_done(struct arguments *args)
{
    words_done(&args->words);
}

static int set_amount(const struct reader *r, const struct option *o, const char *shown, const char *value,
    int (*parse)(const char *s, uint64_t *ret), const char *expected)
{
    uint64_t v, max = o->max ? o->max : INT64_MAX;
    if (parse(value, &v) < 0 || v < o->min || v > max)
        return wrong(r, "%s is \"%.60s\", but has to be %s, and not 0", shown, value, expected);
    *(uint64_t *)o->target = v;
    return 0;
}

static int set_option(struct reader *r, const struct option *o, const char *shown, const char *value)
{
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)o->target = true;
        return 0;
    case OPTION_TEXT:
        if (!*value)
            return wrong(r, "%s is empty", shown);
        *(const char **)o->target = value;
        return 0;
    case OPTION_COUNT:
        if (parse_u64(value, o->min, o->max, o->target) == 0)
            return 0;
        return wrong(r, "%s is \"%.60s\", but has to be a whole number from %llu to %llu", shown, value,
            (unsigned long long)o->min, (unsigned long long)o->max);
    case OPTION_DURATION: {
        uint64_t us;
        uint64_t max = o->max ? o->max : DURATION_MAX;
        if (parse_duration(value, &us) < 0 || us < o->min || us > max)
            return wrong(r,
                "%s is \"%.60s\", but has to be a time such as 30 (seconds), 250ms, 5m or 24h, from %llums to %llud",
                shown, value, (unsigned long long)o->min / 1000, (unsigned long long)(max / DAY));
        *(uint64_t *)o->target = us;
        return 0;
    }
    case OPTION_SIZE:
        return set_amount(r, o, shown, value, parse_size, "a size such as 512K, 100M or 1G");
    case OPTION_CPUS:
        return set_amount(r, o, shown, value, parse_millis, "a number of processors such as 2 or 0.5");
    case OPTION_LIST:
        return words_add(o->target, value) < 0 ? wrong(r, "out of memory") : 0;
    }
    return -1;
}

static int complain_of_option(const struct reader *r, const char *name, size_t len)
{
    const char *names[OPTIONS_MAX];
    char word[80];
    for (size_t i = 0; i < r->n; i++)
        names[i] = r->options[i]->name;
    snprintf(word, sizeof word, "%.*s", (int)MIN(len, sizeof word - 1), name);
    const char *near = suggest_nearest(word, names, r->n);
    return wrong(r, "there is no option --%s%s%s%s%s", word, near ? " (did you mean --" : "", near ? near : "",
        near ? "?)" : "", rest_hint(r));
}

/* argv[at] is "--name" or "--name=value". */
static int take_long(struct reader *r)
{
    const char *name = r->argv[r->at] + 2, *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const struct option *o = NULL;
    for (size_t i = 0; i < r->n && !o; i++) {
        if (strlen(r->options[i]->name) == len && !memcmp(r->options[i]->name, name, len))
            o = r->options[i];
    }
    if (!o)
        return complain_of_option(r, name, len);
    char shown[80];
    snprintf(shown, sizeof shown, "--%s", o->name);
    const char *value = equals ? equals + 1 : NULL;
    if (o->kind == OPTION_FLAG && value)
        return wrong(r, "%s takes no value", shown);
    if (o->kind != OPTION_FLAG && !value) {
        if (r->at + 1 >= r->argc)
            return wrong(r, "%s needs a value: %s=%s", shown, shown, o->metavar);
        value = r->argv[++r->at];
    }
    return set_option(r, o, shown, value);
}

/* argv[at] is "-x", "-xyz" or "-xvalue". */
static int take_short(struct reader *r)
{
    for (const char *p = r->argv[r->at] + 1; *p; p++) {
        const struct option *o = NULL;
        for (size_t i = 0; i < r->n && !o; i++) {
            if (r->options[i]->letter == *p)
                o = r->options[i];
        }
        if (!o)
            return wrong(r, "there is no option -%c%s", *p, rest_hint(r));
        char shown[] = {'-', *p, '\0'};
        if (o->kind == OPTION_FLAG) {
            set_option(r, o, shown, NULL);
            continue;
        }
        const char *value = p[1] ? p + 1 : r->at + 1 < r->argc ? r->argv[++r->at] : NULL;
        if (!value)
            return wrong(r, "%s needs a value: %s %s", shown, shown, o->metavar);
        return set_option(r, o, shown, value);
    }
    return 0;
}

/* 1: it was an option; 0: not; -1: wrong. */
static int take_option(struct reader *r)
{
    const char *word = r->argv[r->at];
    if (word[0] != '-' || word[1] == '\0')
        return 0;
    return (word[1] == '-' ? take_long(r) : take_short(r)) < 0 ? -1 : 1;
}

static int read_words(struct reader *r, const struct syntax *syntax, struct arguments *ret)
{
    for (r->at = 1; r->at < r->argc; r->at++) {
        if (!strcmp(r->argv[r->at], "--")) {
            ret->has_rest = true;
            ret->rest = r->argv + r->at + 1;
            ret->n_rest = (size_t)(r->argc - r->at - 1);
            break;
        }
        int taken = take_option(r);
        if (taken < 0)
            return -1;
        if (taken == 0 && words_add(&ret->words, r->argv[r->at]) < 0)
            return wrong(r, "out of memory");
        r->before_rest = syntax->takes_rest && ret->words.n;
    }
    if (r->help)
        return 0;
    for (size_t i = 0; !syntax->takes_rest && i < ret->n_rest; i++) {
        if (words_add(&ret->words, ret->rest[i]) < 0)
            return wrong(r, "out of memory");
    }
    if (ret->words.n < syntax->min_words && !(syntax->takes_rest && ret->has_rest))
        return wrong(r, "%s is missing: hivemind %s %s", syntax->missing, syntax->verb, syntax->usage);
    for (size_t i = 0; i < ret->words.n; i++) {
        if (!*ret->words.items[i])
            return wrong(r, "an argument is empty: hivemind %s %s", syntax->verb, syntax->usage);
    }
    if (ret->words.n > syntax->max_words)
        return wrong(r, "\"%.60s\" is one word too many%s: hivemind %s %s", ret->words.items[syntax->max_words],
            rest_hint(r), syntax->verb, syntax->usage);
    return 0;
}

static void print_option(const struct option *o)
{
    char left[64], letter[8] = "    ";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(left, sizeof left, "  %s--%s%s%s", letter, o->name, o->metavar ? "=" : "", o->metavar ? o->metavar : "");
    printf("%-32s %s\n", left, o->help);
}

static int print_help(const struct reader *r, const struct syntax *syntax)
{
    printf("Usage: hivemind %s %s\n\n%s\n\nOptions\n", syntax->verb, syntax->usage, syntax->text);
    for (size_t i = 0; i < r->n; i++)
        print_option(r->options[i]);
    printf("\nExamples\n%s\n", syntax->example);
    return output_finish(r->cli, 0);
}

bool options_parse(
    struct cli *cli, const struct syntax *syntax, int argc, char **argv, struct arguments *ret, int *ret_code)
{
    struct reader r = {.cli = cli, .verb = syntax->verb, .argc = argc, .argv = argv};
    struct common common;
    *ret = (struct arguments){0};
    assert(syntax->n_options <= OPTIONS_MAX - COMMON_OPTIONS);
    for (size_t i = 0; i < syntax->n_options && r.n < OPTIONS_MAX - COMMON_OPTIONS; i++)
        r.options[r.n++] = &syntax->options[i];
    common_init(&common, &r);
    if (read_words(&r, syntax, ret) < 0) {
        *ret_code = EXIT_USAGE;
        return false;
    }
    if (r.help) {
        *ret_code = print_help(&r, syntax);
        return false;
    }
    return true;
}

int options_take_common(struct cli *cli, int argc, char **argv, int *at)
{
    struct reader r = {.cli = cli, .argc = argc, .argv = argv, .at = *at};
    struct common common;
    common_init(&common, &r);
    r.n--; /* --help is the caller's here */
    int taken = take_option(&r);
    *at = r.at;
    return taken;
}
