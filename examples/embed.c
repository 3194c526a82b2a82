/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task worker and a storage manager in a program of one's own. Keeps a file, runs a Python task and a function of this program,
 * prints what came of it, and serves both to gRPC clients meanwhile.
 *
 *     cc embed.c -o embed $(pkg-config --cflags --libs taskworker) -lpthread
 *     ./embed FOLDER [LIBEXEC_DIR]
 *
 * FOLDER is for everything that has to survive; it is made if it is not there.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <taskworker/taskworker.h>

static int fail(const char *doing, const struct tw_error *error)
{
    fprintf(stderr, "%s: %s\n", doing, error->message);
    return 1;
}

/* Clients call it as "greet" (hivemind call greet); here a task of the type "function" does. */
static int greet(void *ctx, const struct tw_function_call *call, char **ret_result, struct tw_error *error)
{
    (void)ctx;
    (void)error;
    if (asprintf(ret_result, "{\"greeted\": %s}", call->args) < 0)
        *ret_result = NULL; /* null, then */
    return 0;
}

static void *run(void *worker)
{
    tw_worker_run(worker);
    return NULL;
}

static int keep_a_file(struct tw_storage *storage, struct tw_error *error)
{
    static const char text[] = "what this program wants to keep\n";
    const struct tw_put_options options = {
        .size = sizeof options, .owner = "embed", .name = "notes/first.txt", .length = strlen(text)};
    struct tw_upload *upload;
    struct tw_file_info info;
    if (tw_storage_put(storage, &options, &upload, error) < 0)
        return -1;
    if (tw_upload_write(upload, text, strlen(text), error) < 0) {
        tw_upload_abort(upload);
        return -1;
    }
    if (tw_upload_commit(upload, &info, error) < 0)
        return -1;
    printf("kept %s, version %llu, %llu bytes\n", info.name, (unsigned long long)info.version,
        (unsigned long long)info.size);
    tw_file_info_done(&info);
    return 0;
}

static int run_a_task(struct tw_worker *worker, const char *type, const char *data, struct tw_error *error)
{
    const struct tw_task_spec spec = {
        .size = sizeof spec, .type = type, .owner = "embed", .data = data, .data_len = strlen(data)};
    struct tw_task_info info;
    char *id = NULL, *result = NULL;
    size_t len = 0;
    if (tw_worker_submit(worker, &spec, &id, error) < 0)
        return -1;
    int r = tw_worker_wait(worker, id, 0, &info, &result, &len, error);
    if (r == 0) {
        printf("%s task: %s, result %.*s\n", type, tw_task_state_to_string(info.state), (int)len, result ? result : "");
        tw_task_info_done(&info);
    }
    free(result);
    free(id);
    return r;
}

static int work(struct tw_worker *worker, struct tw_storage *storage)
{
    struct tw_error error;
    const struct tw_rpc_options rpc = {.size = sizeof rpc}; /* loopback, any free port */
    pthread_t thread;
    tw_worker_set_storage(worker, storage);
    if (tw_worker_register_function(worker, "greet", greet, NULL, &error) < 0)
        return fail("the function", &error);
    if (tw_worker_listen(worker, &rpc, &error) < 0)
        return fail("listening", &error);
    fprintf(stderr, "clients find it at 127.0.0.1:%u\n", (unsigned)tw_worker_rpc_port(worker));
    if (pthread_create(&thread, NULL, run, worker) != 0)
        return 1;
    int r = keep_a_file(storage, &error);
    if (r == 0)
        r = run_a_task(worker, "python", "result = sum(range(10))", &error);
    if (r == 0)
        r = run_a_task(worker, "function", "{\"function\": \"greet\", \"args\": [\"world\"]}", &error);
    tw_worker_shutdown(worker, TW_SHUTDOWN_DRAIN);
    pthread_join(thread, NULL);
    return r < 0 ? fail("working", &error) : 0;
}

int main(int argc, char **argv)
{
    struct tw_error error;
    char tasks[4096], files[4096];
    struct tw_launcher *launcher = NULL;
    struct tw_worker *worker = NULL;
    struct tw_storage *storage = NULL;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s FOLDER [LIBEXEC_DIR]\n", argv[0]);
        return 2;
    }
    (void)mkdir(argv[1], 0700);
    snprintf(tasks, sizeof tasks, "%s/tasks", argv[1]);
    snprintf(files, sizeof files, "%s/files", argv[1]);

    const struct tw_storage_options of_files = {.size = sizeof of_files, .path = files};
    const struct tw_launcher_options of_launcher = {
        .size = sizeof of_launcher, .libexec_dir = argc > 2 ? argv[2] : NULL};
    struct tw_worker_options of_tasks = {.size = sizeof of_tasks, .storage_path = tasks, .max_concurrent_tasks = 8};
    if (tw_storage_open(&of_files, &storage, &error) < 0)
        return fail("the storage", &error);
    if (tw_launcher_start(&of_launcher, &launcher, &error) < 0) {
        tw_storage_close(storage);
        return fail("the launcher", &error);
    }
    of_tasks.launcher = launcher;
    if (tw_worker_new(&of_tasks, &worker, &error) < 0) {
        tw_storage_close(storage);
        return fail("the worker", &error);
    }
    int code = work(worker, storage);
    tw_worker_free(worker);
    tw_storage_close(storage); /* after the worker that serves it */
    return code;
}
