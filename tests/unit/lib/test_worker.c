/* SPDX-License-Identifier: Apache-2.0 */
/* The library as an embedding program sees it: public headers only, several threads, real sandboxes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <taskworker/taskworker.h>

struct node {
    char folder[64];
    struct tw_worker *worker;
    pthread_t thread;
    unsigned tasks; /* at once; 0: 2 */
};

static void *run_worker(void *worker)
{
    tw_worker_run(worker);
    return NULL;
}

static int open_worker(struct node *n, struct tw_error *error)
{
    struct tw_launcher_options launcher_options = {
        .size = sizeof launcher_options, .libexec_dir = getenv("TEST_LIBEXEC_DIR"), .max_slots = 8};
    struct tw_launcher *launcher;
    if (tw_launcher_start(&launcher_options, &launcher, error) < 0)
        return -1;
    struct tw_worker_options options = {.size = sizeof options,
        .launcher = launcher,
        .storage_path = n->folder,
        .max_concurrent_tasks = n->tasks ? n->tasks : 2};
    return tw_worker_new(&options, &n->worker, error);
}

/* --- functions of the program's own --- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static sem_t at_the_gate; /* one for each that has come */

static int echo(void *ctx, const struct tw_function_call *call, char **ret_result, struct tw_error *error)
{
    (void)error;
    return asprintf(ret_result, "{\"args\":%s,\"kwargs\":%s,\"owner\":\"%s\",\"ctx\":%d}", call->args, call->kwargs,
               call->owner, *(int *)ctx) < 0
        ? -1
        : 0;
}

static int complain(void *ctx, const struct tw_function_call *call, char **ret_result, struct tw_error *error)
{
    (void)ctx, (void)ret_result;
    error->code = TW_INVALID_ARGUMENT;
    snprintf(error->message, sizeof error->message, "%s does not like %s", call->name, call->args);
    return -1;
}

static int say(void *ctx, const struct tw_function_call *call, char **ret_result, struct tw_error *error)
{
    (void)call, (void)error;
    *ret_result = ctx ? strdup(ctx) : NULL;
    return 0;
}

static int wait_at_the_gate(void *ctx, const struct tw_function_call *call, char **ret_result, struct tw_error *error)
{
    (void)ctx, (void)call, (void)ret_result, (void)error;
    sem_post(&at_the_gate);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return 0;
}

static void register_functions(struct tw_worker *worker)
{
    static int number = 7;
    static char rubbish[] = "no JSON";
    struct tw_error error = {0};
    const struct {
        const char *name;
        tw_function *function;
        void *ctx;
    } all[] = {{"echo", echo, &number}, {"complain", complain, NULL}, {"rubbish", say, rubbish}, {"nothing", say, NULL},
        {"wait", wait_at_the_gate, NULL}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_int_equal(tw_worker_register_function(worker, all[i].name, all[i].function, all[i].ctx, &error), 0);
    assert_int_equal(tw_worker_register_function(worker, "echo", echo, NULL, &error), -1);
    assert_int_equal(error.code, TW_ALREADY_EXISTS);
    assert_int_equal(tw_worker_register_function(worker, "", echo, NULL, &error), -1);
    assert_int_equal(tw_worker_register_function(worker, "x", NULL, NULL, &error), -1);
}

static int setup_for(void **state, unsigned tasks)
{
    tw_log_set_level(TW_LOG_ERROR);
    struct node *n = calloc(1, sizeof *n);
    n->tasks = tasks;
    sem_init(&at_the_gate, 0, 0);
    snprintf(n->folder, sizeof n->folder, "/tmp/test-worker-XXXXXX");
    assert_non_null(mkdtemp(n->folder));
    struct tw_error error = {0};
    if (open_worker(n, &error) < 0)
        fail_msg("%s", error.message);
    register_functions(n->worker);
    struct tw_rpc_options rpc = {.size = sizeof rpc, .tls_cert = "/nowhere/node.crt", .tls_key = "/nowhere/node.key"};
    assert_int_equal(tw_worker_listen(n->worker, &rpc, &error), -1); /* not in plain text instead */
    assert_int_equal(error.code, TW_NOT_FOUND);
    rpc.tls_key = NULL;
    assert_int_equal(tw_worker_listen(n->worker, &rpc, &error), -1);
    rpc = (struct tw_rpc_options){.size = sizeof rpc, .tls_client_auth = TW_TLS_CLIENT_AUTH_REQUIRED};
    assert_int_equal(tw_worker_listen(n->worker, &rpc, &error), -1);
    rpc = (struct tw_rpc_options){.size = sizeof rpc};
    if (tw_worker_listen(n->worker, &rpc, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_not_equal(tw_worker_rpc_port(n->worker), 0);
    assert_int_equal(tw_worker_reload_tls(n->worker, &error), -1);
    assert_int_equal(error.code, TW_FAILED_PRECONDITION);
    assert_int_equal(pthread_create(&n->thread, NULL, run_worker, n->worker), 0);
    *state = n;
    return 0;
}

static int setup(void **state)
{
    return setup_for(state, 2);
}

static int setup_for_many(void **state)
{
    return setup_for(state, TW_FUNCTIONS_AT_ONCE + 2);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct node *n = *state;
    tw_worker_shutdown(n->worker, TW_SHUTDOWN_STOP);
    pthread_join(n->thread, NULL);
    tw_worker_free(n->worker);
    nftw(n->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    sem_destroy(&at_the_gate);
    free(n);
    return 0;
}

static struct tw_task_spec python(const char *source)
{
    return (struct tw_task_spec){
        .size = sizeof(struct tw_task_spec), .type = "python", .data = source, .data_len = strlen(source)};
}

static void test_submit_and_wait(void **state)
{
    struct node *n = *state;
    struct tw_error error = {0};
    struct tw_task_spec spec = python("import sys; print('hello'); result = [len(sys.argv), 6 * 7]");
    const char *args[] = {"one"};
    spec.args = args;
    spec.n_args = 1;
    char *id = NULL, *result = NULL;
    size_t len = 0;
    struct tw_task_info info;
    if (tw_worker_submit(n->worker, &spec, &id, &error) < 0 ||
        tw_worker_wait(n->worker, id, 30000000, &info, &result, &len, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(info.state, TW_TASK_COMPLETED);
    assert_string_equal(result, "[2,42]");
    assert_int_equal(len, 6);
    assert_int_equal(info.log_size, 6);
    assert_true(info.usage.wall_us > 0 && info.usage.max_rss_bytes > 0);
    tw_task_info_done(&info);
    free(result);
    free(id);
}

static struct tw_task_info call(struct node *n, const char *data, char **ret_result)
{
    struct tw_error error = {0};
    struct tw_task_spec spec = python(data);
    struct tw_task_info info = {0};
    char *id = NULL;
    spec.type = "function";
    spec.owner = "ada";
    if (tw_worker_submit(n->worker, &spec, &id, &error) < 0 ||
        tw_worker_wait(n->worker, id, 30000000, &info, ret_result, NULL, &error) < 0)
        fail_msg("%s", error.message);
    free(id);
    return info;
}

static void test_functions(void **state)
{
    struct node *n = *state;
    const struct {
        const char *data, *result, *says;
        enum tw_reason reason;
    } cases[] = {
        {"{\"function\": \"echo\", \"args\": [1, \"x\"], \"kwargs\": {\"k\": null}}",
            "{\"args\":[1, \"x\"],\"kwargs\":{\"k\": null},\"owner\":\"ada\",\"ctx\":7}", NULL, TW_REASON_NONE},
        {"{\"f\\u0075nction\": \"echo\", \"args\": [ 1e400, 99999999999999999999, \"a\\u0000\\ud800\"]}",
            "{\"args\":[ 1e400, 99999999999999999999, \"a\\u0000\\ud800\"],\"kwargs\":{},\"owner\":\"ada\",\"ctx\":7}",
            NULL, TW_REASON_NONE},
        {"{\"function\": \"echo\", \"args\": 3}", NULL, NULL, TW_REASON_BAD_INPUT},
        {"{\"function\": \"nothing\"}", "null", NULL, TW_REASON_NONE},
        {"{\"function\": \"complain\", \"args\": [3]}", NULL, "complain does not like [3]", TW_REASON_EXIT_CODE},
        {"{\"function\": \"rubbish\"}", NULL, NULL, TW_REASON_BAD_RESULT},
        {"{\"function\": \"unheard of\"}", NULL, NULL, TW_REASON_BAD_INPUT},
        {"not even JSON", NULL, NULL, TW_REASON_BAD_INPUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *result = NULL;
        struct tw_task_info info = call(n, cases[i].data, &result);
        assert_int_equal(info.reason, cases[i].reason);
        assert_int_equal(info.state, cases[i].reason ? TW_TASK_FAILED : TW_TASK_COMPLETED);
        if (cases[i].result)
            assert_string_equal(result, cases[i].result);
        if (cases[i].says)
            assert_string_equal(info.error, cases[i].says);
        free(result);
        tw_task_info_done(&info);
    }
}

static void *open_gate_when_stopping(void *ctx)
{
    struct node *n = ctx;
    struct tw_error error = {0};
    (void)tw_worker_stop_task(n->worker, "at-the-gate", &error);
    return NULL;
}

/* A stop waits for the function, which cannot be interrupted; what it returns then counts for nothing. */
static void test_a_function_that_is_stopped(void **state)
{
    struct node *n = *state;
    struct tw_error error = {0};
    struct tw_task_spec spec = python("{\"function\": \"wait\"}");
    struct tw_task_info info;
    pthread_t thread;
    spec.type = "function";
    spec.id = "at-the-gate";
    pthread_mutex_lock(&gate);
    assert_int_equal(tw_worker_submit(n->worker, &spec, NULL, &error), 0);
    assert_int_equal(tw_worker_wait(n->worker, spec.id, 50000, &info, NULL, NULL, &error), -1);
    assert_int_equal(error.code, TW_DEADLINE_EXCEEDED);
    assert_int_equal(pthread_create(&thread, NULL, open_gate_when_stopping, n), 0);
    assert_int_equal(tw_worker_wait(n->worker, spec.id, 50000, &info, NULL, NULL, &error), -1);
    pthread_mutex_unlock(&gate);
    pthread_join(thread, NULL);
    assert_int_equal(tw_worker_wait(n->worker, spec.id, 30000000, &info, NULL, NULL, &error), 0);
    assert_in_set(info.state, ((const unsigned long[]){TW_TASK_STOPPED, TW_TASK_COMPLETED}), 2);
    tw_task_info_done(&info);
}

static void wait_for_one_at_the_gate(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    assert_int_equal(sem_timedwait(&at_the_gate, &until), 0);
}

struct others {
    struct tw_worker *worker;
    const char *stopped; /* waits for a thread */
    char problem[400];
    sem_t over;
};

/* What has to work while no function returns. */
static void *do_something_else(void *arg)
{
    struct others *o = arg;
    struct tw_error error = {0};
    struct tw_task_spec spec = python("result = 1");
    struct tw_task_info info = {0};
    char *id = NULL;
    if (tw_worker_stop_task(o->worker, o->stopped, &error) < 0 || tw_worker_submit(o->worker, &spec, &id, &error) < 0 ||
        tw_worker_wait(o->worker, id, 60000000, &info, NULL, NULL, &error) < 0)
        snprintf(o->problem, sizeof o->problem, "%s", error.message);
    tw_task_info_done(&info);
    free(id);
    sem_post(&o->over);
    return NULL;
}

static void submit_waiting(struct tw_worker *worker, const char *id)
{
    struct tw_error error = {0};
    struct tw_task_spec spec = python("{\"function\": \"wait\"}");
    spec.type = "function";
    spec.id = id;
    if (tw_worker_submit(worker, &spec, NULL, &error) < 0)
        fail_msg("%s", error.message);
}

/* As many as can: the node takes tasks and runs them all the same, and one that waits for its thread can be stopped. */
static void test_functions_that_do_not_return(void **state)
{
    struct node *n = *state;
    struct others o = {.worker = n->worker, .stopped = "one-more"};
    struct tw_task_info info;
    struct tw_error error = {0};
    struct timespec until;
    pthread_t thread;
    sem_init(&o.over, 0, 0);
    pthread_mutex_lock(&gate);
    for (unsigned i = 0; i < TW_FUNCTIONS_AT_ONCE; i++) {
        char id[32];
        snprintf(id, sizeof id, "slow-%u", i);
        submit_waiting(n->worker, id);
        wait_for_one_at_the_gate();
    }
    submit_waiting(n->worker, o.stopped);
    assert_int_equal(pthread_create(&thread, NULL, do_something_else, &o), 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    int waited = sem_timedwait(&o.over, &until);
    pthread_mutex_unlock(&gate);
    pthread_join(thread, NULL);
    sem_destroy(&o.over);
    assert_int_equal(waited, 0);
    assert_string_equal(o.problem, "");
    assert_int_equal(tw_worker_wait(n->worker, o.stopped, 30000000, &info, NULL, NULL, &error), 0);
    assert_int_equal(info.state, TW_TASK_STOPPED);
    tw_task_info_done(&info);
    assert_int_equal(tw_worker_wait(n->worker, "slow-0", 30000000, &info, NULL, NULL, &error), 0);
    assert_int_equal(info.state, TW_TASK_COMPLETED);
    tw_task_info_done(&info);
    assert_int_equal(sem_trywait(&at_the_gate), -1); /* the one that was stopped was never called */
}

static void test_stop_and_time_out_of_a_wait(void **state)
{
    struct node *n = *state;
    struct tw_error error = {0};
    struct tw_task_spec spec = python("import time; time.sleep(600)");
    spec.id = "sleeper";
    assert_int_equal(tw_worker_submit(n->worker, &spec, NULL, &error), 0);
    assert_int_equal(tw_worker_wait(n->worker, "sleeper", 1000, NULL, NULL, NULL, &error), -1);
    assert_int_equal(error.code, TW_DEADLINE_EXCEEDED);
    if (tw_worker_stop_task(n->worker, "sleeper", &error) < 0)
        fail_msg("%s", error.message);
    struct tw_task_info info;
    assert_int_equal(tw_worker_wait(n->worker, "sleeper", 0, &info, NULL, NULL, &error), 0);
    assert_int_equal(info.state, TW_TASK_STOPPED);
    tw_task_info_done(&info);
}

static void test_errors_reach_the_caller(void **state)
{
    struct node *n = *state;
    struct tw_error error = {0};
    struct tw_task_spec spec = python("");
    assert_int_equal(tw_worker_submit(n->worker, &spec, NULL, &error), -1);
    assert_int_equal(error.code, TW_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "task_data is empty"));
    assert_int_equal(tw_worker_wait(n->worker, "nobody", 0, NULL, NULL, NULL, &error), -1);
    assert_int_equal(error.code, TW_NOT_FOUND);
    assert_int_equal(tw_worker_stop_task(n->worker, "nobody", &error), -1);
    assert_int_equal(error.code, TW_NOT_FOUND);
}

static void test_options_of_older_and_newer_callers(void **state)
{
    struct node *n = *state;
    struct tw_error error = {0};
    struct {
        struct tw_task_spec spec;
        char more[64];
    } newer = {.spec = python("result = 1")};
    newer.spec.size = sizeof newer;
    assert_int_equal(tw_worker_submit(n->worker, &newer.spec, NULL, &error), 0);
    newer.more[5] = 1;
    assert_int_equal(tw_worker_submit(n->worker, &newer.spec, NULL, &error), -1);
    assert_int_equal(error.code, TW_INVALID_ARGUMENT);
    struct tw_task_spec older = python("result = 1");
    older.retries = 100000; /* too many, but an older caller's struct ends in front of it */
    older.size = offsetof(struct tw_task_spec, retries);
    assert_int_equal(tw_worker_submit(n->worker, &older, NULL, &error), 0);
    older.size = 0;
    assert_int_equal(tw_worker_submit(n->worker, &older, NULL, &error), -1);
    assert_non_null(strstr(error.message, "size"));
}

/* What the node gives is known before anything runs; here only who says no. */
static void test_limits_of_a_task(void **state)
{
    struct node *n = *state;
    struct tw_error error = {0};
    struct tw_task_spec spec = python("result = 1");
    spec.limits.processes = 1025; /* the default is 1024 */
    assert_int_equal(tw_worker_submit(n->worker, &spec, NULL, &error), -1);
    assert_non_null(strstr(error.message, "1024 (TASK_PROCESSES)"));
    spec.limits.processes = 0;
    spec.limits.memory_bytes = UINT64_C(1) << 50;
    assert_int_equal(tw_worker_submit(n->worker, &spec, NULL, &error), -1);
    assert_non_null(strstr(error.message, "(MAX_MEMORY_GB)")); /* a share of what there is */
    spec.limits.memory_bytes = 0;
    spec.network = TW_NETWORK_HOST;
    assert_int_equal(tw_worker_submit(n->worker, &spec, NULL, &error), -1);
    assert_non_null(strstr(error.message, "(MAX_TASK_NETWORK)"));
    spec.network = TW_NETWORK_LOOPBACK;
    assert_int_equal(tw_worker_submit(n->worker, &spec, NULL, &error), 0);
}

static void test_options_that_contradict(void **state)
{
    (void)state;
    struct tw_error error = {0};
    struct tw_worker *worker = NULL;
    struct tw_worker_options options = {.size = sizeof options, .storage_path = "/nonexistent/storage"};
    options.task_network = TW_NETWORK_HOST;
    assert_int_equal(tw_worker_new(&options, &worker, &error), -1);
    assert_non_null(strstr(error.message, "max_task_network"));
    options.task_network = (enum tw_network)9;
    assert_int_equal(tw_worker_new(&options, &worker, &error), -1);
    assert_int_equal(error.code, TW_INVALID_ARGUMENT);
    options.task_network = TW_NETWORK_DEFAULT;
    options.task_limits.memory_bytes = 1;
    assert_int_equal(tw_worker_new(&options, &worker, &error), -1);
    assert_non_null(strstr(error.message, "memory_bytes"));
}

static void *submit_some(void *worker)
{
    for (int i = 0; i < 10; i++) {
        struct tw_error error = {0};
        struct tw_task_spec spec = python("result = 1");
        struct tw_task_info info;
        char *id = NULL;
        if (tw_worker_submit(worker, &spec, &id, &error) < 0 ||
            tw_worker_wait(worker, id, 60000000, &info, NULL, NULL, &error) < 0)
            return (void *)"an error";
        bool completed = info.state == TW_TASK_COMPLETED;
        tw_task_info_done(&info);
        free(id);
        if (!completed)
            return (void *)"not completed";
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    struct node *n = *state;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_some, n->worker), 0);
    for (size_t i = 0; i < 4; i++) {
        void *problem = NULL;
        pthread_join(threads[i], &problem);
        assert_null(problem);
    }
}

static void test_two_workers_do_not_share_a_folder(void **state)
{
    struct node *n = *state;
    struct node second = {0};
    struct tw_error error = {0};
    memcpy(second.folder, n->folder, sizeof second.folder);
    assert_int_equal(open_worker(&second, &error), -1);
    assert_int_equal(error.code, TW_FAILED_PRECONDITION);
    assert_non_null(strstr(error.message, n->folder));
}

static void test_a_worker_that_never_ran(void **state)
{
    (void)state;
    struct node n = {.folder = "/tmp/test-worker-XXXXXX"};
    struct tw_error error = {0};
    assert_non_null(mkdtemp(n.folder));
    if (open_worker(&n, &error) < 0)
        fail_msg("%s", error.message);
    tw_worker_free(n.worker);
    nftw(n.folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_submit_and_wait),
        TEST(test_functions),
        TEST(test_a_function_that_is_stopped),
        cmocka_unit_test_setup_teardown(test_functions_that_do_not_return, setup_for_many, teardown),
        TEST(test_stop_and_time_out_of_a_wait),
        TEST(test_errors_reach_the_caller),
        TEST(test_options_of_older_and_newer_callers),
        TEST(test_limits_of_a_task),
        cmocka_unit_test(test_options_that_contradict),
        TEST(test_many_threads),
        TEST(test_two_workers_do_not_share_a_folder),
        cmocka_unit_test(test_a_worker_that_never_ran),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
