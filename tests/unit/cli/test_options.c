/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/options.h"

/* One command line, read by a verb with one option of each kind. */
struct line {
    struct cli cli;
    bool flag, other;
    const char *text;
    uint64_t count, duration, size, cpus;
    struct words list;
    struct arguments args;
    int code;
    bool go_on;
};

static void read_line_of(struct line *l, bool takes_rest, char **argv)
{
    const struct option options[] = {
        {.name = "flag", .letter = 'f', .kind = OPTION_FLAG, .target = &l->flag, .help = "h"},
        {.name = "other", .letter = 'o', .kind = OPTION_FLAG, .target = &l->other, .help = "h"},
        {.name = "text", .letter = 't', .kind = OPTION_TEXT, .target = &l->text, .metavar = "T", .help = "h"},
        {.name = "count",
            .letter = 'n',
            .kind = OPTION_COUNT,
            .target = &l->count,
            .min = 1,
            .max = 9,
            .metavar = "N",
            .help = "h"},
        {.name = "duration", .kind = OPTION_DURATION, .target = &l->duration, .min = 1000, .metavar = "D", .help = "h"},
        {.name = "size",
            .kind = OPTION_SIZE,
            .target = &l->size,
            .min = 1,
            .max = 1 << 20,
            .metavar = "S",
            .help = "h"},
        {.name = "cpus", .kind = OPTION_CPUS, .target = &l->cpus, .min = 1, .metavar = "N", .help = "h"},
        {.name = "list", .kind = OPTION_LIST, .target = &l->list, .metavar = "L", .help = "h"},
    };
    const struct syntax syntax = {.verb = "test",
        .usage = "A [B]",
        .text = "t",
        .example = "e",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "A",
        .min_words = 1,
        .max_words = 2,
        .takes_rest = takes_rest};
    int argc = 0;
    while (argv[argc])
        argc++;
    *l = (struct line){.code = -1};
    cli_init(&l->cli);
    l->go_on = options_parse(&l->cli, &syntax, argc, argv, &l->args, &l->code);
}

static void line_done(struct line *l)
{
    arguments_done(&l->args);
    words_done(&l->list);
    cli_done(&l->cli);
}

/* argv is never written to. */
#define WORDS(...) ((char **)(const char *const[]){"test", __VA_ARGS__, NULL})

static void every_kind_in_every_form(void **state)
{
    (void)state;
    struct line l;
    read_line_of(&l, false,
        WORDS("a", "--flag", "--text=x=y", "--count", "3", "--list", "p", "b", "--list=q", "--duration=250ms",
            "--size=64K", "--cpus=1.5", "--json", "--server", "h:1"));
    assert_true(l.go_on);
    assert_true(l.flag);
    assert_false(l.other);
    assert_string_equal(l.text, "x=y");
    assert_int_equal(l.count, 3);
    assert_int_equal(l.duration, 250000);
    assert_int_equal(l.size, 65536);
    assert_int_equal(l.cpus, 1500);
    assert_int_equal(l.list.n, 2);
    assert_string_equal(l.list.items[1], "q");
    assert_int_equal(l.args.words.n, 2);
    assert_string_equal(l.args.words.items[0], "a");
    assert_string_equal(l.args.words.items[1], "b");
    assert_true(l.cli.json);
    assert_string_equal(l.cli.server, "h:1");
    line_done(&l);
}

static void letters(void **state)
{
    (void)state;
    struct line l;
    read_line_of(&l, false, WORDS("-fo", "-n5", "-t", "-x", "-"));
    assert_true(l.go_on);
    assert_true(l.flag && l.other);
    assert_int_equal(l.count, 5);
    assert_string_equal(l.text, "-x");
    assert_string_equal(l.args.words.items[0], "-");
    line_done(&l);
    read_line_of(&l, false, WORDS("-fon7", "a"));
    assert_true(l.go_on);
    assert_int_equal(l.count, 7);
    line_done(&l);
}

static void behind_two_dashes(void **state)
{
    (void)state;
    struct line l;
    read_line_of(&l, true, WORDS("a", "--", "--flag", "--"));
    assert_true(l.go_on);
    assert_false(l.flag);
    assert_int_equal(l.args.n_rest, 2);
    assert_string_equal(l.args.rest[1], "--");
    line_done(&l);
    read_line_of(&l, true, WORDS("--", "c"));
    assert_true(l.go_on);
    assert_int_equal(l.args.words.n, 0);
    line_done(&l);
    /* Where nothing is to be passed on, they only end the options: an id may begin with a dash. */
    read_line_of(&l, false, WORDS("--", "-f"));
    assert_true(l.go_on);
    assert_string_equal(l.args.words.items[0], "-f");
    line_done(&l);
}

static void expect_usage_error(const char *part, char **argv)
{
    struct line l;
    char text[1000] = "";
    int fds[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(fds), 0);
    dup2(fds[1], STDERR_FILENO);
    read_line_of(&l, false, argv);
    dup2(saved, STDERR_FILENO);
    close(fds[1]);
    close(saved);
    assert_true(fd_read_all(fds[0], text, sizeof text - 1) >= 0);
    close(fds[0]);
    assert_false(l.go_on);
    assert_int_equal(l.code, EXIT_USAGE);
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in: %s", part, text);
    line_done(&l);
}

static void mistakes(void **state)
{
    (void)state;
    expect_usage_error("A is missing", WORDS("--flag"));
    expect_usage_error("an argument is empty", WORDS("a", ""));
    expect_usage_error("\"c\" is one word too many", WORDS("a", "b", "c"));
    expect_usage_error("did you mean --count?", WORDS("a", "--cuont=3"));
    expect_usage_error("there is no option -z", WORDS("a", "-fz"));
    expect_usage_error("whole number from 1 to 9", WORDS("a", "--count=10"));
    expect_usage_error("-n needs a value", WORDS("a", "-n"));
    expect_usage_error("--text needs a value", WORDS("a", "--text"));
    expect_usage_error("--flag takes no value", WORDS("a", "--flag=1"));
    expect_usage_error("such as 30 (seconds)", WORDS("a", "--duration=soon"));
    expect_usage_error("from 1ms to 3650d", WORDS("a", "--duration=0"));
    expect_usage_error("from 1ms to 3650d", WORDS("a", "--duration=3651d"));
    expect_usage_error("a size such as", WORDS("a", "--size=0"));
    expect_usage_error("a size such as", WORDS("a", "--size=2M"));
    expect_usage_error("a number of processors", WORDS("a", "--cpus=0.0"));
    expect_usage_error("a number of processors", WORDS("a", "--cpus=1.2345"));
    expect_usage_error("--text is empty", WORDS("a", "--text="));
    expect_usage_error("\"code\":\"INVALID_ARGUMENT\"", WORDS("--json", "a", "--nonsense-of-all-kinds"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_in_every_form),
        cmocka_unit_test(letters),
        cmocka_unit_test(behind_two_dashes),
        cmocka_unit_test(mistakes),
    };
    return cmocka_run_group_tests_name("cli_options", tests, NULL, NULL);
}
