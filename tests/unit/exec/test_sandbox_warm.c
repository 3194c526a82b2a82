/* SPDX-License-Identifier: Apache-2.0 */
/* What is particular to tasks that are forks of their slot's interpreter. */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

/* Runs a task of an owner on the only slot; the result, valid until the next call. */
static const char *result_of(struct world *w, const char *owner, const char *type, const char *source)
{
    static char result[200];
    struct job job = {0};
    struct run_spec spec = {
        .task_id = "test-1",
        .type = type,
        .owner = owner,
        .data = source,
        .data_len = strlen(source),
        .max_result = 1 << 20,
    };
    job_start_spec(w, &job, &spec);
    world_wait(w, &job.ended, 60);
    if (job.end != RUN_EXITED || job.exit_code != 0)
        fail_msg("ended with %d, %d: %s", job.end, job.exit_code, job.error ? job.error : job_err(&job));
    snprintf(result, sizeof result, "%s", job.result ? job.result : "");
    job_done(&job);
    return result;
}

static const char seed[] = "result = hash('which interpreter is this a fork of?')";

static void test_owners_do_not_share_an_interpreter(void **state UNUSED)
{
    struct world w;
    world_open(&w, 1);
    char ann[200], bob[200];
    snprintf(ann, sizeof ann, "%s", result_of(&w, "ann", "python", seed));
    assert_string_equal(ann, result_of(&w, "ann", "python", seed)); /* warm: the same */
    snprintf(bob, sizeof bob, "%s", result_of(&w, "bob", "python", seed));
    assert_string_not_equal(ann, bob);
    assert_string_not_equal(ann, result_of(&w, "ann", "python", seed)); /* nor is the old one kept for her */
    world_close(&w);
}

static void test_a_slot_does_not_serve_for_ever(void **state UNUSED)
{
    struct world w;
    world_open(&w, 1);
    char first[200];
    snprintf(first, sizeof first, "%s", result_of(&w, "", "python", seed));
    for (int i = 0; i < 500; i++)
        (void)result_of(&w, "", "shell", "true");
    assert_string_not_equal(first, result_of(&w, "", "python", seed));
    world_close(&w);
}

static void test_cold_tasks_share_nothing(void **state UNUSED)
{
    struct world w;
    struct launcher_options options = {.python_cold = true};
    world_open_with(&w, 1, &options);
    char first[200];
    snprintf(first, sizeof first, "%s", result_of(&w, "", "python", seed));
    assert_string_not_equal(first, result_of(&w, "", "python", seed));
    world_close(&w);
}

static void test_random_numbers_differ(void **state UNUSED)
{
    struct world w;
    world_open(&w, 1);
    static const char random[] = "import random, uuid, os\n"
                                 "result = [random.random(), str(uuid.uuid4()), os.urandom(8).hex()]";
    char first[200];
    snprintf(first, sizeof first, "%s", result_of(&w, "", "python", random));
    const char *second = result_of(&w, "", "python", random);
    assert_int_not_equal(strncmp(first, second, 12), 0);
    assert_string_not_equal(first, second);
    world_close(&w);
}

static void test_nothing_stays_behind_in_the_interpreter(void **state UNUSED)
{
    struct world w;
    world_open(&w, 1);
    (void)result_of(&w, "", "python",
        "import sys, os, json, builtins\n"
        "json.dumps = None; builtins.print = None; os.environ['LEFT'] = 'x'; sys.path.append('/left')\n"
        "sys.modules['left'] = json; os.chdir('/tmp'); os.umask(0)\n");
    assert_string_equal(
        result_of(&w, "", "python",
            "import sys, os, json, builtins\n"
            "result = [json.dumps is None, builtins.print is None, 'LEFT' in os.environ, '/left' in sys.path,\n"
            "          'left' in sys.modules, os.getcwd(), os.umask(0o22)]"),
        "[false,false,false,false,false,\"/workspace\",18]");
    world_close(&w);
}

static void test_it_looks_like_an_interpreter_of_its_own(void **state UNUSED)
{
    struct world w;
    world_open(&w, 1);
    assert_string_equal(result_of(&w, "", "python",
                            "import os, signal, sys\n"
                            "result = [sorted(os.environ), sys.argv, sys.flags.isolated, __name__, sys.stdin.read(),\n"
                            "          signal.getsignal(signal.SIGINT) is signal.default_int_handler,\n"
                            "          signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN, sys.stdout.encoding,\n"
                            "          'threading' in sys.modules]"),
        "[[\"HOME\",\"LANG\",\"PATH\",\"TASK_ID\",\"TMPDIR\"],[\"/workspace/"
        "task.py\"],1,\"__main__\",\"\",true,true,\"utf-8\",false]");
    world_close(&w);
}

static void test_threads_and_processes_of_a_task(void **state UNUSED)
{
    struct world w;
    world_open(&w, 1);
    assert_string_equal(
        result_of(&w, "", "python",
            "import subprocess, sys, threading\n"
            "from concurrent.futures import ThreadPoolExecutor, ProcessPoolExecutor\n"
            "with ThreadPoolExecutor(4) as pool:\n"
            "    a = sum(pool.map(abs, range(-5, 5)))\n"
            "with ProcessPoolExecutor(2) as pool:\n"
            "    b = sum(pool.map(abs, range(-5, 5)))\n"
            "c = subprocess.run([sys.executable, '-c', 'print(6*7)'], capture_output=True, text=True).stdout\n"
            "result = [a, b, c]"),
        "[25,25,\"42\\n\"]");
    world_close(&w);
}

static int tests(void)
{
    const struct CMUnitTest list[] = {
        cmocka_unit_test(test_owners_do_not_share_an_interpreter),
        cmocka_unit_test(test_a_slot_does_not_serve_for_ever),
        cmocka_unit_test(test_cold_tasks_share_nothing),
        cmocka_unit_test(test_random_numbers_differ),
        cmocka_unit_test(test_nothing_stays_behind_in_the_interpreter),
        cmocka_unit_test(test_it_looks_like_an_interpreter_of_its_own),
        cmocka_unit_test(test_threads_and_processes_of_a_task),
    };
    return cmocka_run_group_tests(list, NULL, NULL);
}

int main(int argc UNUSED, char **argv)
{
    return run_as_both(argv, tests);
}
