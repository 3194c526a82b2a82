/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/submission.h"

static void types_are_guessed(void **state)
{
    (void)state;
    static const struct {
        const char *name, *data, *type;
    } cases[] = {
        {"a.py", "echo", "python"},
        {"a.sh", "print()", "shell"},
        {"dir.py/a", "x", NULL},
        {".py", "x", NULL},
        {"a", "#!/usr/bin/python3\nx", "python"},
        {"a", "#!/usr/bin/env python3.11\nx", "python"},
        {"a", "#! /usr/bin/env -S A=1 bash -e\n", "shell"},
        {"a", "#!/bin/sh", "shell"},
        {"a", "#!/bin/sh\r\n", "shell"},
        {"a", "#!/usr/bin/perl\n", NULL},
        {"a", "#!\n", NULL},
        {"a", "#!/usr/bin/env\npython", NULL},
        {"a", "x", NULL},
        {"-", "x", "python"},
        {"-", "#!/bin/bash\n", "shell"},
        {"-", "#!/usr/bin/perl\n", NULL},
        {"a", "#!/opt/sh/perl\n", NULL},
        {"a", "#", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *type = submission_guess_type(cases[i].name, cases[i].data, strlen(cases[i].data));
        if (!type != !cases[i].type || (type && strcmp(type, cases[i].type) != 0))
            fail_msg("%s with \"%s\" is taken for %s", cases[i].name, cases[i].data, type ? type : "nothing");
    }
}

/* What a real shell makes of it. */
static void commands_are_quoted(void **state)
{
    (void)state;
    char *words[] = {(char *)"printf", (char *)"<%s>", (char *)"a b", (char *)"it's", (char *)"$HOME `id` \\ \"",
        (char *)"", (char *)"*\n;", (char *)"-n"};
    size_t len = 0;
    char *script = submission_quote(words, ARRAY_LEN(words), &len);
    assert_non_null(script);
    assert_int_equal(strlen(script), len);
    char name[] = "/tmp/test_submission.XXXXXX", command[64], got[200] = "";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, script, len), 0);
    fd_close(&fd);
    free(script);
    snprintf(command, sizeof command, "/bin/sh %s", name);
    FILE *out = popen(command, "re");
    assert_non_null(out);
    size_t n = fread(got, 1, sizeof got - 1, out);
    assert_int_equal(pclose(out), 0);
    unlink(name);
    got[n] = '\0';
    assert_string_equal(got, "<a b><it's><$HOME `id` \\ \"><><*\n;><-n>");
}

static void a_request_from_a_file(void **state)
{
    (void)state;
    char name[] = "/tmp/test_submission.XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, "#!/bin/sh\n\0x", 12), 0);
    fd_close(&fd);
    struct cli cli;
    cli_init(&cli);
    setenv("TEST_SUBMISSION", "from here", 1);
    const char *env[] = {"A=1=2", "TEST_SUBMISSION", "B="}, *files[] = {name};
    const char **list = malloc(sizeof env);
    assert_non_null(list);
    memcpy(list, env, sizeof env);
    char *rest[] = {(char *)"x"};
    struct submission s = {.id = "t1", .timeout_us = 1500, .retries = 2, .env = {.items = list, .n = ARRAY_LEN(env)}};
    struct arguments args = {.words = {.items = files, .n = 1}, .rest = rest, .n_rest = 1, .has_rest = true};
    assert_int_equal(submission_make(&cli, &s, &args), 0);
    unlink(name);
    assert_string_equal(s.request.task_type, "shell");
    assert_string_equal(s.request.task_id, "t1");
    assert_int_equal(s.request.task_data.len, 12);
    assert_int_equal(s.request.timeout_ms, 2); /* never less than what was asked for */
    assert_int_equal(s.request.retries, 2);
    assert_int_equal(s.request.n_args, 1);
    assert_int_equal(s.request.n_env, 3);
    assert_string_equal(s.request.env[0]->key, "A");
    assert_string_equal(s.request.env[0]->value, "1=2");
    assert_string_equal(s.request.env[1]->value, "from here");
    assert_string_equal(s.request.env[2]->value, "");
    submission_done(&s);
    cli_done(&cli);
}

static void a_request_with_limits(void **state)
{
    (void)state;
    struct cli cli;
    cli_init(&cli);
    char *words[] = {(char *)"true"};
    struct submission s = {
        .limits = {.memory_bytes = 1 << 30, .output_bytes = 5}, .network = "Loopback", .fresh = true};
    assert_int_equal(submission_make_command(&cli, &s, words, 1), 0);
    assert_int_equal(s.request.limits->memory_bytes, 1 << 30);
    assert_int_equal(s.request.limits->output_bytes, 5);
    assert_int_equal(s.request.limits->processes, 0);
    assert_int_equal(s.request.network, TASKWORKER__NETWORK__NETWORK_LOOPBACK);
    assert_true(s.request.fresh_interpreter);
    submission_done(&s);
    struct submission plain = {.id = NULL};
    assert_int_equal(submission_make_command(&cli, &plain, words, 1), 0);
    assert_null(plain.request.limits);
    assert_int_equal(plain.request.network, TASKWORKER__NETWORK__NETWORK_DEFAULT);
    submission_done(&plain);
    struct submission wrong = {.network = "internet"};
    assert_int_equal(submission_make_command(&cli, &wrong, words, 1), EXIT_USAGE);
    submission_done(&wrong);
    cli_done(&cli);
}

static void a_request_with_a_schedule(void **state)
{
    (void)state;
    struct cli cli;
    cli_init(&cli);
    char *words[] = {(char *)"true"};
    struct submission s = {.priority = "-100", .at = "@1900000000", .queue_timeout_us = 1001};
    assert_int_equal(submission_make_command(&cli, &s, words, 1), 0);
    assert_int_equal(s.request.priority, -100);
    assert_int_equal(s.request.not_before_us, INT64_C(1900000000000000));
    assert_int_equal(s.request.queue_timeout_ms, 2);
    submission_done(&s);
    struct submission delayed = {.delay_us = 60000000};
    assert_int_equal(submission_make_command(&cli, &delayed, words, 1), 0);
    assert_int_equal(delayed.request.not_before_us, 0);
    assert_int_equal(delayed.request.delay_ms, 60000);
    submission_done(&delayed);
    struct submission wrong[] = {{.priority = "101"}, {.priority = "-101"}, {.priority = "high"}, {.priority = "1.5"},
        {.at = "tomorrow"}, {.at = "18:30", .delay_us = 1}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(submission_make_command(&cli, &wrong[i], words, 1), EXIT_USAGE);
        submission_done(&wrong[i]);
    }
    cli_done(&cli);
}

static void what_cannot_be_submitted(void **state)
{
    (void)state;
    struct cli cli;
    cli_init(&cli);
    const char *const names[] = {"/nonexistent/a.py", "/dev/null", "/tmp"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct submission s = {.id = NULL};
        const char *files[] = {names[i]};
        struct arguments args = {.words = {.items = files, .n = 1}};
        assert_int_equal(submission_make(&cli, &s, &args), EXIT_USAGE);
        submission_done(&s);
    }
    struct submission s = {.type = "python"};
    char *words[] = {(char *)"true"};
    assert_int_equal(submission_make_command(&cli, &s, words, 1), EXIT_USAGE);
    submission_done(&s);
    cli_done(&cli);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_are_guessed),
        cmocka_unit_test(commands_are_quoted),
        cmocka_unit_test(a_request_from_a_file),
        cmocka_unit_test(a_request_with_limits),
        cmocka_unit_test(a_request_with_a_schedule),
        cmocka_unit_test(what_cannot_be_submitted),
    };
    return cmocka_run_group_tests_name("cli_submission", tests, NULL, NULL);
}
