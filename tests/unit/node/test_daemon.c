/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon around a library that only pretends, each time in a process of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "fake_library.h"
#include "node/daemon.h"
#include "node/privileges.h"

enum { DEADLINE_MS = 20000 };

struct node_process {
    char folder[64];
    char config_file[96];
    char storage[300]; /* as the library was told */
    pid_t pid;
    int events;  /* lines of the fake library */
    int manager; /* plays the service manager */
    char line[512];
};

/* The helpers as far as the daemon itself looks at them. */
static void make_helpers(const char *folder)
{
    static const char *const names[] = {"hivemind-launcher", "hivemind-slot"};
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        assert_int_equal(file_write_atomic(path, "", 0, 0755), 0);
        assert_int_equal(chmod(path, 0755), 0);
    }
}

static int set_up(void **state)
{
    struct node_process *p = calloc(1, sizeof *p);
    assert_non_null(p);
    snprintf(p->folder, sizeof p->folder, "/tmp/test_daemon.XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    assert_int_equal(chmod(p->folder, 0755), 0);
    make_helpers(p->folder);
    snprintf(p->config_file, sizeof p->config_file, "%s/worker.conf", p->folder);
    p->events = p->manager = -1;
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct node_process *p = *state;
    if (p->pid > 0) { /* a test failed half-way */
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
    }
    fd_close(&p->events);
    fd_close(&p->manager);
    storage_remove(p->folder);
    free(p);
    return 0;
}

static void write_config(struct node_process *p, const char *text)
{
    assert_int_equal(file_write_atomic(p->config_file, text, strlen(text), 0644), 0);
    assert_int_equal(chmod(p->config_file, 0644), 0); /* the umask may say otherwise */
}

static int run_node(char **argv, char **envp, const char *libexec)
{
    const struct config_input input = {
        .argc = 0, .argv = argv, .envp = envp, .root = geteuid() == 0, .libexec_dir = libexec};
    struct config_input counted = input;
    struct config config;
    struct config_errors errors;
    while (argv[counted.argc])
        counted.argc++;
    config_errors_init(&errors);
    int code = config_load(&counted, &config, &errors) < 0 ? 2 : daemon_run(&config, &counted);
    config_errors_done(&errors);
    config_done(&config);
    log_done();
    return code;
}

/* Starts a node with these flags beside --config (NULL at the end). */
static void start_node(struct node_process *p, struct fake_library fake, ...)
{
    char *argv[16] = {(char *)"hivemind-worker", (char *)"--config", p->config_file};
    char *envp[] = {(char *)"HOME=/nonexistent", NULL};
    int fds[2];
    size_t n = 3;
    va_list ap;
    va_start(ap, fake);
    for (char *flag; n < ARRAY_LEN(argv) - 1 && (flag = va_arg(ap, char *));)
        argv[n++] = flag;
    va_end(ap);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        CLEANUP_FD int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, STDERR_FILENO);
        close(fds[0]);
        fake_library = fake;
        fake_library.events_fd = fds[1];
        exit(run_node(argv, envp, p->folder)); /* with the checks of the sanitizers at exit */
    }
    close(fds[1]);
    p->events = fds[0];
}

/* The next line of the library, without its newline; "" at the end. */
static const char *next_event(struct node_process *p)
{
    uint64_t deadline = clock_monotonic_us() + DEADLINE_MS * 1000ull;
    size_t len = 0;
    for (;;) {
        struct pollfd fd = {.fd = p->events, .events = POLLIN};
        uint64_t now = clock_monotonic_us();
        if (now >= deadline || poll(&fd, 1, (int)((deadline - now) / 1000) + 1) == 0)
            fail_msg("the daemon did nothing for %d ms", DEADLINE_MS);
        ssize_t r = read(p->events, p->line + len, 1);
        if (r <= 0 || p->line[len] == '\n' || len + 2 == sizeof p->line)
            break;
        len++;
    }
    p->line[len] = '\0';
    return p->line;
}

/* What the library was told beside the main thing; looked at by the tests that are about it. */
static bool is_detail(const char *line)
{
    return !strncmp(line, "storage ", 8) || !strncmp(line, "limits ", 7) || !strncmp(line, "networks ", 9) ||
        !strncmp(line, "files ", 6);
}

static void expect_event(struct node_process *p, const char *expected)
{
    const char *line = next_event(p);
    for (; is_detail(line) && strcmp(line, expected) != 0; line = next_event(p)) {
        if (!strncmp(line, "storage ", 8))
            snprintf(p->storage, sizeof p->storage, "%s", line + 8);
    }
    assert_string_equal(line, expected);
}

/* Up to this line, whatever comes before. */
static void skip_to_event(struct node_process *p, const char *wanted)
{
    for (;;) {
        const char *line = next_event(p);
        if (!*line)
            fail_msg("the daemon ended without \"%s\"", wanted);
        if (!strncmp(line, "storage ", 8))
            snprintf(p->storage, sizeof p->storage, "%s", line + 8);
        if (!strcmp(line, wanted))
            return;
    }
}

static void expect_exit(struct node_process *p, int code)
{
    int status = -1;
    while (*next_event(p)) /* to the end of the pipe: the process is gone or going */
        ;
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    p->pid = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

static void expect_exit_without_events(struct node_process *p, int code)
{
    assert_string_equal(next_event(p), "");
    expect_exit(p, code);
}

static void listen_as_manager(struct node_process *p, char name[64])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(name, 64, "@test_daemon.%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, strlen(name + 1));
    p->manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(p->manager >= 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    assert_int_equal(bind(p->manager, (struct sockaddr *)&address, size), 0);
}

static void expect_told(struct node_process *p, const char *part)
{
    struct pollfd fd = {.fd = p->manager, .events = POLLIN};
    char text[600] = "";
    assert_int_equal(poll(&fd, 1, DEADLINE_MS), 1);
    assert_true(recv(p->manager, text, sizeof text - 1, 0) > 0);
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in: %s", part, text);
}

static void a_whole_life(void **state)
{
    struct node_process *p = *state;
    char name[64];
    write_config(p, "GRPC_PORT=0\nMAX_CONCURRENT_TASKS=3\nDEV=true\n");
    listen_as_manager(p, name);
    setenv("NOTIFY_SOCKET", name, 1);
    start_node(p, (struct fake_library){0}, NULL);
    unsetenv("NOTIFY_SOCKET");
    skip_to_event(p, "running");
    expect_told(p, "READY=1");
    struct stat st;
    assert_int_equal(stat(p->storage, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    kill(p->pid, SIGTERM);
    expect_event(p, "shutdown 1");
    expect_told(p, "STOPPING=1");
    expect_event(p, "freed");
    expect_exit(p, 0);
    assert_int_equal(access(p->storage, F_OK), -1); /* it was temporary */
}

static void a_second_signal_stops_at_once(void **state)
{
    struct node_process *p = *state;
    write_config(p, "DEV=true\nDRAIN_TIMEOUT=1h\n");
    start_node(p, (struct fake_library){.drain_hangs = true}, NULL);
    skip_to_event(p, "running");
    kill(p->pid, SIGINT);
    expect_event(p, "shutdown 1");
    kill(p->pid, SIGTERM);
    expect_event(p, "shutdown 3");
    expect_exit(p, 0);
}

static void a_drain_has_an_end(void **state)
{
    struct node_process *p = *state;
    write_config(p, "DEV=true\nDRAIN_TIMEOUT=20ms\n");
    start_node(p, (struct fake_library){.drain_hangs = true}, NULL);
    skip_to_event(p, "running");
    kill(p->pid, SIGTERM);
    expect_event(p, "shutdown 1");
    expect_event(p, "shutdown 3");
    expect_exit(p, 0);
}

static void no_time_to_drain(void **state)
{
    struct node_process *p = *state;
    write_config(p, "DEV=true\nDRAIN_TIMEOUT=0\n");
    start_node(p, (struct fake_library){.drain_hangs = true}, NULL);
    skip_to_event(p, "running");
    kill(p->pid, SIGTERM);
    expect_event(p, "shutdown 3");
    expect_exit(p, 0);
}

static void reload_takes_what_can_change(void **state)
{
    struct node_process *p = *state;
    write_config(p, "DEV=true\nMAX_CONCURRENT_TASKS=3\n");
    start_node(p, (struct fake_library){0}, "--default-timeout=7", NULL);
    skip_to_event(p, "running");
    write_config(p, "DEV=true\nMAX_CONCURRENT_TASKS=9\nLOG_LEVEL=error\nDEFAULT_TIMEOUT=8\nGRPC_PORT=1\n");
    kill(p->pid, SIGHUP);
    expect_event(p, "log level 0");
    expect_event(p, "reload slots=9 timeout=7000000"); /* the flag still wins */
    /* A mistake changes nothing, not even the good part. */
    write_config(p, "DEV=true\nMAX_CONCURRENT_TASKS=1\nMAX_QUEUED_TASKS=many\n");
    kill(p->pid, SIGHUP);
    kill(p->pid, SIGTERM);
    expect_event(p, "shutdown 1");
    expect_exit(p, 0);
}

/* The names of TLS' files wait for a start; what is in them may be new at any time, and where the settings are wrong as well. */
static void tls_reaches_the_library(void **state)
{
    struct node_process *p = *state;
    static const char tls[] =
        "TLS_CERT=/t/node.crt\nTLS_KEY=/t/node.key\nTLS_CLIENT_CA=/t/ca.crt\nTLS_CLIENT_AUTH=required\n";
    char text[512];
    snprintf(text, sizeof text, "DEV=true\n%s", tls);
    write_config(p, text);
    start_node(p, (struct fake_library){0}, NULL);
    skip_to_event(p, "tls cert=/t/node.crt key=/t/node.key ca=/t/ca.crt auth=2");
    skip_to_event(p, "running");
    kill(p->pid, SIGHUP);
    skip_to_event(p, "reload tls");
    snprintf(text, sizeof text, "DEV=true\nMAX_QUEUED_TASKS=many\n%s", tls);
    write_config(p, text);
    kill(p->pid, SIGHUP);
    expect_event(p, "reload tls");
    kill(p->pid, SIGTERM);
    expect_event(p, "shutdown 1");
    expect_exit(p, 0);
}

static void limits_of_tasks_reach_the_library(void **state)
{
    struct node_process *p = *state;
    write_config(p,
        "DEV=true\nTASK_MEMORY=512M\nTASK_CPUS=1.5\nTASK_CPU_TIME=10\nTASK_PROCESSES=64\nTASK_OPEN_FILES=256\n"
        "TASK_FILE_SIZE=1M\nTASK_WORKSPACE_SIZE=2M\nTASK_TMP_SIZE=3M\nTASK_NETWORK=loopback\n"
        "MAX_TASK_NETWORK=host\nOUTPUT_LIMIT_ACTION=stop\nSPARE_SANDBOXES=7\nPYTHON_PRELOAD=json,os.path\n"
        "SANDBOX_PATHS=/opt/a:/opt/b\nSANDBOX_ROOT=/tmp\n");
    start_node(p, (struct fake_library){0}, NULL);
    char launcher[160];
    snprintf(launcher, sizeof launcher,
        "launcher uid=%u base=1900000000 python=/usr/bin/python3 preload=json,os.path paths=/opt/a:/opt/b root=/tmp",
        (unsigned)geteuid());
    skip_to_event(p, launcher);
    skip_to_event(p,
        "limits memory=536870912 cpus=1500 cpu_time=10000000 processes=64 files=256 file=1048576 workspace=2097152 "
        "tmp=3145728");
    skip_to_event(p, "networks 2 3 stop=1 spare=7");
    skip_to_event(p, "running");
    /* What a task may use can change at any time, what a sandbox is made of cannot. */
    write_config(p, "DEV=true\nTASK_CPUS=2\nTASK_NETWORK=none\nSPARE_SANDBOXES=1\n");
    kill(p->pid, SIGHUP);
    skip_to_event(p,
        "limits memory=0 cpus=2000 cpu_time=0 processes=1024 files=1024 file=4294967296 workspace=1073741824 "
        "tmp=268435456");
    expect_event(p, "networks 1 2 stop=0 spare=7");
    kill(p->pid, SIGTERM);
    expect_exit(p, 0);
}

static void a_root_that_is_no_folder(void **state)
{
    struct node_process *p = *state;
    write_config(p, "DEV=true\nSANDBOX_ROOT=/dev/null\n");
    start_node(p, (struct fake_library){0}, NULL);
    skip_to_event(p, "log level 2");
    expect_exit_without_events(p, 1);
}

static void a_failed_start_leaves_nothing(void **state)
{
    struct node_process *p = *state;
    write_config(p, "DEV=true\n");
    start_node(p, (struct fake_library){.new_fails = true}, NULL);
    skip_to_event(p, "launcher freed");
    expect_exit(p, 1);
    assert_int_equal(access(p->storage, F_OK), -1);
    fd_close(&p->events);
    start_node(p, (struct fake_library){.listen_fails = true}, NULL);
    skip_to_event(p, "shutdown 1"); /* no task is stopped for it */
    expect_event(p, "freed");
    expect_exit(p, 1);
    assert_int_equal(access(p->storage, F_OK), -1);
}

static void missing_programs_are_named_before_anything_starts(void **state)
{
    struct node_process *p = *state;
    write_config(p, "DEV=true\nPYTHON=/nonexistent/python\n");
    start_node(p, (struct fake_library){0}, NULL);
    skip_to_event(p, "log level 2");
    expect_exit_without_events(p, 1);
    fd_close(&p->events);
    write_config(p, "DEV=true\n");
    char path[128];
    snprintf(path, sizeof path, "%s/hivemind-slot", p->folder);
    assert_int_equal(unlink(path), 0);
    start_node(p, (struct fake_library){0}, NULL);
    skip_to_event(p, "log level 2");
    expect_exit_without_events(p, 1);
}

static void a_worker_that_stops_by_itself_is_a_failure(void **state)
{
    struct node_process *p = *state;
    write_config(p, "DEV=true\n");
    start_node(p, (struct fake_library){.breaks_down = true}, NULL);
    skip_to_event(p, "freed");
    expect_exit(p, 1);
    assert_int_equal(access(p->storage, F_OK), -1);
}

static void a_storage_path_is_kept(void **state)
{
    struct node_process *p = *state;
    char text[300];
    snprintf(text, sizeof text, "DEV=true\nSTORAGE_PATH=%s/above/state\n", p->folder);
    write_config(p, text);
    start_node(p, (struct fake_library){0}, NULL);
    skip_to_event(p, "running");
    kill(p->pid, SIGTERM);
    expect_exit(p, 0);
    assert_non_null(strstr(p->storage, "/above/state"));
    assert_int_equal(access(p->storage, F_OK), 0);
}

static void root_is_given_up_behind_the_launcher(void **state)
{
    struct node_process *p = *state;
    if (geteuid() != 0)
        skip();
    write_config(p, "DEV=true\nWORKER_USER=65533\nSLOT_UID_BASE=200000\nGRPC_PORT=0\n");
    start_node(p, (struct fake_library){0}, NULL);
    skip_to_event(p, "launcher uid=0 base=200000 python=/usr/bin/python3 preload=- paths=- root=-");
    skip_to_event(p, "new uid=65533 gid=65533 groups=0 slots=4");
    expect_event(p, "listen 127.0.0.1:0");
    kill(p->pid, SIGTERM);
    expect_exit(p, 0);
    assert_int_equal(access(p->storage, F_OK), -1);
}

static void mistakes_end_with_2(void **state)
{
    struct node_process *p = *state;
    write_config(p, "DEV=perhaps\n");
    start_node(p, (struct fake_library){0}, NULL);
    expect_exit(p, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_whole_life, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_second_signal_stops_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_drain_has_an_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_time_to_drain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reload_takes_what_can_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tls_reaches_the_library, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits_of_tasks_reach_the_library, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_root_that_is_no_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failed_start_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(missing_programs_are_named_before_anything_starts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_worker_that_stops_by_itself_is_a_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_storage_path_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(root_is_given_up_behind_the_launcher, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mistakes_end_with_2, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("daemon", tests, NULL, NULL);
}
