/* SPDX-License-Identifier: Apache-2.0 */
/* What tasks see of a correct world: results, tracebacks, exit codes, arguments, environment, output. */
#include "harness.h"

#include <signal.h>
#include <string.h>

static struct world world;

struct python_case {
    const char *source;
    int exit_code;
    const char *result; /* NULL: none */
    const char *out;    /* exactly; NULL: anything */
    const char *err;    /* contained; NULL: empty */
};

static const struct python_case python_cases[] = {
    {"result = 42", 0, "42", "", NULL},
    {"pass", 0, "null", "", NULL},
    {"result = None", 0, "null", "", NULL},
    {"result = True", 0, "true", "", NULL},
    {"result = {'a': [1, 2.5, 'x'], 'b': None}", 0, "{\"a\":[1,2.5,\"x\"],\"b\":null}", "", NULL},
    {"result = 'gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x9d'", 0, "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x9d\"", "", NULL},
    {"result = '\\ud800'", 0, "\"\\ud800\"", "", NULL},
    {"result = {1: 2}", 0, "{\"1\":2}", "", NULL},
    {"print('h\xc3\xa9llo'); result = 1", 0, "1", "h\xc3\xa9llo\n", NULL},
    {"# -*- coding: latin-1 -*-\nresult = '\xe4'", 0, "\"\xc3\xa4\"", "", NULL},
    /* results that are none */
    {"result = object()", 1, NULL, "",
        "TypeError: the global `result` cannot be written as JSON: Object of type object"},
    {"result = float('nan')", 1, NULL, "", "ValueError: the global `result` cannot be written as JSON"},
    {"result = []; result.append(result)", 1, NULL, "", "Circular reference"},
    {"result = {(1, 2): 3}", 1, NULL, "", "keys must be str"},
    /* ends */
    {"import sys; result = 1; sys.exit(7)", 7, "1", "", NULL},
    {"import sys; sys.exit()", 0, "null", "", NULL},
    {"import sys; sys.exit(None)", 0, "null", "", NULL},
    {"import sys; sys.exit('my reason')", 1, NULL, "", "my reason\n"},
    {"import os; os._exit(9)", 9, "null", "", NULL},
    {"raise SystemExit(3)", 3, NULL, "", NULL},
    {"import atexit; atexit.register(print, 'bye'); print('hi')", 0, "null", "hi\nbye\n", NULL},
    {"import atexit, sys; atexit.register(print, 'bye'); sys.exit(4)", 4, NULL, "bye\n", NULL},
    {"import threading, time\ndef f():\n    global result\n    time.sleep(0.05)\n    result = 5\n"
     "threading.Thread(target=f).start()",
        0, "5", "", NULL},
    {"print('no newline', end='')", 0, "null", "no newline", NULL},
    /* errors */
    {"def f():\n    return 1 / 0\nf()", 1, NULL, "",
        "Traceback (most recent call last):\n  File \"/workspace/task.py\", line 3, in <module>\n    f()\n"
        "  File \"/workspace/task.py\", line 2, in f\n    return 1 / 0\n"},
    {"x = (", 1, NULL, "",
        "  File \"/workspace/task.py\", line 1\n    x = (\n        ^\nSyntaxError: '(' was never closed"},
    {"x = '\xff'", 1, NULL, "", "SyntaxError: (unicode error)"},
    {"raise KeyboardInterrupt", 1, NULL, "", "KeyboardInterrupt"},
    {"raise ValueError('a') from KeyError('b')", 1, NULL, "", "direct cause"},
    {"class E(Exception):\n    def __str__(self):\n        raise self\nraise E", 1, NULL, "", "E"},
    {"import sys; sys.excepthook = lambda *a: print('mine', file=sys.stderr)\n1/0", 1, NULL, "", "mine"},
    {"import sys; sys.stderr.close(); sys.stdout.close(); result = 6", 0, "6", "", NULL},
    {"import os; os.close(4); result = 6", 0, "null", "", NULL},
    /* a real __main__ */
    {"if __name__ == '__main__':\n    result = __file__", 0, "\"/workspace/task.py\"", "", NULL},
    {"import pickle\nclass C:\n    x = 3\nresult = pickle.loads(pickle.dumps(C())).x", 0, "3", "", NULL},
    {"import sys; result = [sys.argv, sys.modules['__main__'].__dict__ is globals()]", 0,
        "[[\"/workspace/task.py\"],true]", "", NULL},
    {"import inspect\ndef f(): pass\nresult = inspect.getsource(f)", 0, "\"def f(): pass\\n\"", "", NULL},
    {"import multiprocessing as m\ndef f(x): return x * x\nwith m.Pool(2) as p: result = p.map(f, [1, 2, 3])", 0,
        "[1,4,9]", "", NULL},
    {"import os\nresult = 1\nif os.fork() == 0:\n    result = 2\nelse:\n    os.wait()", 0, "1", "", NULL},
    {"import subprocess as s; result = s.run(['sh', '-c', 'echo $0 a; exit 3'], capture_output=True, text=True).stdout",
        0, "\"sh a\\n\"", "", NULL},
    {"open('/workspace/helper.py', 'w').write('x = 8')\nimport helper; result = helper.x", 0, "8", "", NULL},
    {"import sys; result = [sys.executable, sys.flags.isolated]", 0, "[\"/usr/bin/python3\",1]", "", NULL},
};

static void test_python(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(python_cases); i++) {
        const struct python_case *c = &python_cases[i];
        struct job j = {0};
        job_run(&world, &j, "python", c->source);
        bool same = j.end == RUN_EXITED && j.exit_code == c->exit_code && (!c->out || !strcmp(job_out(&j), c->out)) &&
            (c->err ? strstr(job_err(&j), c->err) != NULL : *job_err(&j) == '\0');
        if (c->result)
            same = same && j.result && !strcmp(j.result, c->result);
        if (c->err && j.exit_code == 1) /* what went wrong is told twice: to stderr and as the error */
            same = same && j.error && (strstr(c->source, "excepthook") || strstr(job_err(&j), j.error));
        if (!same)
            fail_msg("%s\nend %d, code %d, message %s, result %s\nout: %s\nerr: %s\nerror: %s", c->source, j.end,
                j.exit_code, j.message, j.result ? j.result : "-", job_out(&j), job_err(&j), j.error ? j.error : "-");
        assert_null(strstr(job_err(&j), "<string>")); /* no frame of the bootstrap */
        job_done(&j);
    }
}

static void test_nul_in_source(void **state)
{
    (void)state;
    struct job j = {0};
    struct run_spec spec = {.task_id = "x", .type = "python", .data = "x = 1\0y", .data_len = 7, .max_result = 100};
    job_start_spec(&world, &j, &spec);
    world_wait(&world, &j.ended, 30);
    assert_int_equal(j.end, RUN_EXITED);
    assert_int_equal(j.exit_code, 1);
    assert_non_null(strstr(j.error, "null bytes"));
    job_done(&j);
}

static void test_python_large(void **state)
{
    (void)state;
    struct job j = {0};
    job_run(&world, &j, "python",
        "import sys\nfor i in range(200000): sys.stdout.write('x' * 99 + '\\n')\nresult = 'y' * 1000000");
    assert_int_equal(j.end, RUN_EXITED);
    assert_int_equal(j.out.len, 20000000);
    assert_int_equal(j.result_len, 1000002);
    assert_false(j.result_too_large);
    job_done(&j);
    job_run(&world, &j, "python", "result = 'y' * 5000000");
    assert_int_equal(j.end, RUN_EXITED);
    assert_int_equal(j.exit_code, 0);
    assert_true(j.result_too_large);
    assert_null(j.result);
    job_done(&j);
    /* A source that fills no pipe and no argument list. */
    char *source = malloc(6000000);
    memset(source, '#', 6000000);
    memcpy(source + 5999980, "\nresult = 'end'", 16);
    job_run(&world, &j, "python", source);
    assert_string_equal(j.result, "\"end\"");
    job_done(&j);
    free(source);
}

static void test_forged_result(void **state)
{
    (void)state;
    struct job j = {0};
    job_run(&world, &j, "python", "import os; os.write(4, b'R' + (3).to_bytes(8, 'little') + b'xyz'); os._exit(0)");
    assert_int_equal(j.end, RUN_EXITED);
    assert_null(j.result);
    assert_non_null(strstr(j.message, "it is not JSON"));
    assert_non_null(j.error);
    job_done(&j);
    /* Junk without end neither stops the task nor fills the node's memory. */
    job_run(&world, &j, "python", "import os\nfor i in range(20000): os.write(4, b'junk' * 1000)\nos._exit(3)");
    assert_int_equal(j.end, RUN_EXITED);
    assert_int_equal(j.exit_code, 3);
    assert_non_null(strstr(j.message, "something else wrote"));
    job_done(&j);
}

static void test_shell(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        int code;
        const char *out, *err;
    } cases[] = {
        {"echo hello", 0, "hello\n", ""},
        {"exit 5", 5, "", ""},
        {"echo out; echo err >&2; false", 1, "out\n", "err\n"},
        {"echo again > /dev/stdout; echo too > /dev/stderr", 0, "again\n", "too\n"},
        {"cat; echo end", 0, "end\n", ""},
        {"no-such-program", 127, "", "/dev/fd/3: 1: no-such-program: not found\n"},
        {"( exit 3 ); echo $?", 0, "3\n", ""},
        {"pwd; echo $HOME $TMPDIR $LANG $TASK_ID", 0, "/workspace\n/workspace /tmp C.UTF-8 test-1\n", ""},
        {"umask; ulimit -c", 0, "0022\n0\n", ""},
        {"echo x > /workspace/a && echo y > /tmp/b && echo z > /dev/shm/c && cat /workspace/a /tmp/b /dev/shm/c", 0,
            "x\ny\nz\n", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct job j = {0};
        job_run(&world, &j, "shell", cases[i].source);
        assert_int_equal(j.end, RUN_EXITED);
        assert_string_equal(job_out(&j), cases[i].out);
        assert_string_equal(job_err(&j), cases[i].err);
        assert_int_equal(j.exit_code, cases[i].code);
        assert_string_equal(j.result, cases[i].out); /* all of it fits */
        assert_null(j.error);
        job_done(&j);
    }
}

static void test_shell_tail(void **state)
{
    (void)state;
    struct job j = {0};
    job_run(&world, &j, "shell", "i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done");
    assert_int_equal(j.result_len, 64 * 1024);
    assert_string_equal(j.result, job_out(&j) + j.out.len - 64 * 1024);
    job_done(&j);
    /* A bound smaller than that, in the middle of a character. */
    const char source[] = "printf '%s' \xc3\xa4\xc3\xb6\xc3\xbc";
    struct run_spec spec = {
        .task_id = "x", .type = "shell", .data = source, .data_len = sizeof source - 1, .max_result = 3};
    job_start_spec(&world, &j, &spec);
    world_wait(&world, &j.ended, 30);
    assert_string_equal(j.result, "\xc3\xbc");
    assert_int_equal(j.out.len, 6);
    job_done(&j);
}

static void test_arguments_and_environment(void **state)
{
    (void)state;
    static const char *const args[] = {"one two", "", "-c", "\xc3\xa4'\"$x"};
    static const struct run_env env[] = {
        {"FOO", "a=b c"}, {"PATH", "/usr/bin"}, {"TASK_ID", "forged"}, {"FOO", "last"}};
    struct job j = {0};
    const char python[] = "import sys, os; result = [sys.argv[1:], dict(os.environ)]";
    struct run_spec spec = {
        .task_id = "t\xc3\xa4sk",
        .type = "python",
        .data = python,
        .data_len = sizeof python - 1,
        .args = args,
        .n_args = ARRAY_LEN(args),
        .env = env,
        .n_env = ARRAY_LEN(env),
        .max_result = 10000,
    };
    job_start_spec(&world, &j, &spec);
    world_wait(&world, &j.ended, 30);
    assert_string_equal(j.result,
        "[[\"one "
        "two\",\"\",\"-c\",\"\xc3\xa4'\\\"$x\"],{\"PATH\":\"/usr/bin\",\"HOME\":\"/workspace\",\"LANG\":\"C.UTF-8\","
        "\"TMPDIR\":\"/tmp\",\"FOO\":\"last\",\"TASK_ID\":\"t\xc3\xa4sk\"}]");
    job_done(&j);
    const char shell[] = "for a; do echo \"<$a>\"; done; echo $FOO";
    spec.type = "shell";
    spec.data = shell;
    spec.data_len = sizeof shell - 1;
    job_start_spec(&world, &j, &spec);
    world_wait(&world, &j.ended, 30);
    assert_string_equal(job_out(&j), "<one two>\n<>\n<-c>\n<\xc3\xa4'\"$x>\nlast\n");
    job_done(&j);
}

static void test_bad_input(void **state)
{
    (void)state;
    static const struct run_env bad_env[] = {{"A B", "x"}};
    struct run_spec specs[] = {
        {.task_id = "x", .type = "perl", .data = "1", .data_len = 1},
        {.task_id = "x", .type = "python", .data = "1", .data_len = 1, .env = bad_env, .n_env = 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        struct job j = {0};
        job_start_spec(&world, &j, &specs[i]);
        world_wait(&world, &j.ended, 30);
        assert_int_equal(j.end, RUN_BAD_INPUT);
        assert_false(j.was_ready);
        assert_string_not_equal(j.message, "");
        job_done(&j);
    }
    assert_true(world.rt->ops->serves(world.rt, "python"));
    assert_true(world.rt->ops->serves(world.rt, "shell"));
    assert_false(world.rt->ops->serves(world.rt, "docker"));
}

static void test_signal_and_usage(void **state)
{
    (void)state;
    struct job j = {0};
    job_run(&world, &j, "shell", "kill -SEGV $$");
    assert_int_equal(j.end, RUN_SIGNALED);
    assert_int_equal(j.signal, SIGSEGV);
    assert_null(j.result);
    job_done(&j);
    /* The work is done by a grandchild that nobody waits for: counted all the same. */
    job_run(&world, &j, "python",
        "import os, time\nr, w = os.pipe()\nif os.fork() == 0:\n  if os.fork() == 0:\n    x = bytearray(50 << 20)\n"
        "    while time.process_time() < 0.3: pass\n    os.write(w, b'x')\n    time.sleep(60)\n  os._exit(0)\n"
        "os.read(r, 1)");
    assert_int_equal(j.end, RUN_EXITED);
    assert_in_range(j.usage.user_us + j.usage.system_us, 300000, 3000000);
    assert_in_range(j.usage.wall_us, 200000, 30000000);
    assert_in_range(j.usage.max_rss_bytes, 50 << 20, 200 << 20);
    job_done(&j);
}

static int open_world(void **state)
{
    (void)state;
    world_open(&world, 2);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

static int tests(void)
{
    const struct CMUnitTest list[] = {
        cmocka_unit_test(test_python),
        cmocka_unit_test(test_nul_in_source),
        cmocka_unit_test(test_python_large),
        cmocka_unit_test(test_forged_result),
        cmocka_unit_test(test_shell),
        cmocka_unit_test(test_shell_tail),
        cmocka_unit_test(test_arguments_and_environment),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_signal_and_usage),
    };
    return cmocka_run_group_tests(list, open_world, close_world);
}

int main(int argc, char **argv)
{
    (void)argc;
    return run_as_both(argv, tests);
}
