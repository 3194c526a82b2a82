/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator or a task can choose about a sandbox: its network, its interpreter, what it sees of the host. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"

#define LAYER(name) (UINT64_C(1) << TW_LAYER_##name)

static struct run_spec spec_of(const char *type, const char *source)
{
    return (struct run_spec){
        .task_id = "test-1",
        .type = type,
        .owner = "",
        .data = source,
        .data_len = strlen(source),
        .max_result = 1 << 20,
    };
}

/* Runs it to a good end; job_done() is the caller's. */
static void run_well(struct world *w, const struct run_spec *spec, struct job *job)
{
    *job = (struct job){0};
    job_start_spec(w, job, spec);
    world_wait(w, &job->ended, 60);
    if (job->end != RUN_EXITED || job->exit_code != 0)
        fail_msg(
            "ended with %d, %d: %s %s", job->end, job->exit_code, job->message, job->error ? job->error : job_err(job));
}

#define ASSERT_RESULT(w, spec, expected)            \
    do {                                            \
        struct job job_;                            \
        run_well(w, spec, &job_);                   \
        assert_non_null(job_.result);               \
        assert_string_equal(job_.result, expected); \
        job_done(&job_);                            \
    } while (0)

/* --- the network --- */

static const char talk[] =
    "import errno, socket, sys\n"
    "def attempt(port):\n"
    "    try:\n"
    "        with socket.create_connection(('127.0.0.1', port), 5) as s: return s.recv(5).decode()\n"
    "    except OSError as error: return errno.errorcode.get(error.errno, str(error))\n"
    "server = socket.create_server(('127.0.0.1', 0)) if sys.argv[1] == 'serve' else None\n"
    "if server:\n"
    "    import threading\n"
    "    threading.Thread(target=lambda: server.accept()[0].send(b'hello')).start()\n"
    "result = attempt(server.getsockname()[1] if server else int(sys.argv[1]))\n";

static void test_none_and_loopback_in_one_slot(void **state UNUSED)
{
    struct world w;
    world_open(&w, 1);
    struct run_spec none = spec_of("python", talk), own = none;
    const char *serve[] = {"serve"}, *discard[] = {"9"};
    own.network = TW_NETWORK_LOOPBACK;
    own.args = serve;
    none.args = discard;
    own.n_args = none.n_args = 1;
    for (int i = 0; i < 3; i++) {
        struct job job;
        run_well(&w, &none, &job);
        assert_string_equal(job.result, "\"ENETUNREACH\"");
        assert_int_equal(job.receipt.network, TW_NETWORK_NONE);
        assert_true(job.receipt.layers & LAYER(NETWORK_NAMESPACE));
        job_done(&job);
        run_well(&w, &own, &job);
        assert_string_equal(job.result, "\"hello\"");
        assert_int_equal(job.receipt.network, TW_NETWORK_LOOPBACK);
        assert_true(job.receipt.layers & LAYER(NETWORK_NAMESPACE));
        job_done(&job);
    }
    world_close(&w);
}

/* A server on the host's own loopback, with one who waits already answered. */
static int serve_on_host(char port[8])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    snprintf(port, 8, "%u", ntohs(address.sin_port));
    return fd;
}

static void test_the_network_of_the_host(void **state UNUSED)
{
    static const char connect_there[] = "import errno, os, socket, sys\n"
                                        "try:\n"
                                        "    socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5).close()\n"
                                        "    result = 'connected'\n"
                                        "except OSError as error: result = errno.errorcode[error.errno]\n"
                                        "result = [result, os.path.exists('/etc/resolv.conf')]";
    struct world w;
    char port[8];
    int server = serve_on_host(port);
    const char *args[] = {port};
    struct run_spec spec = spec_of("python", connect_there);
    char expected[3][40];
    snprintf(expected[0], sizeof expected[0], "[\"ENETUNREACH\",false]");
    snprintf(expected[1], sizeof expected[1], "[\"ECONNREFUSED\",false]");
    snprintf(
        expected[2], sizeof expected[2], "[\"connected\",%s]", access("/etc/resolv.conf", F_OK) ? "false" : "true");
    world_open(&w, 1);
    spec.args = args;
    spec.n_args = 1;
    for (int i = 0; i < 2; i++) { /* back and forth: the slot is another one each time */
        for (enum tw_network network = TW_NETWORK_NONE; network <= TW_NETWORK_HOST; network++) {
            struct job job;
            spec.network = network;
            run_well(&w, &spec, &job);
            assert_string_equal(job.result, expected[network - TW_NETWORK_NONE]);
            assert_int_equal(job.receipt.network, network);
            bool apart = network != TW_NETWORK_HOST;
            assert_int_equal(!!(job.receipt.layers & LAYER(NETWORK_NAMESPACE)), apart);
            assert_false(job.receipt.missing & LAYER(NETWORK_NAMESPACE)); /* nothing is that it should have */
            job_done(&job);
        }
    }
    world_close(&w);
    close(server);
}

static void test_an_idle_slot_of_another_owner_is_no_hindrance(void **state UNUSED)
{
    struct world w;
    world_open(&w, 2);
    struct run_spec bob = spec_of("shell", "echo x"), ann = bob;
    bob.network = ann.network = TW_NETWORK_HOST;
    bob.owner = "bob";
    ann.owner = "ann";
    for (int i = 0; i < 2; i++) {
        ASSERT_RESULT(&w, &bob, "x\n");
        ASSERT_RESULT(&w, &ann, "x\n");
    }
    world_close(&w);
}

/* --- the interpreter --- */

static void test_an_interpreter_of_its_own(void **state UNUSED)
{
    struct world w;
    world_open(&w, 1);
    struct run_spec warm = spec_of("python", "result = [id(None), hash('which layout?')]"), fresh = warm;
    fresh.fresh_interpreter = true;
    enum tw_runtime usual = getenv("TEST_PYTHON_COLD") ? TW_RUNTIME_PYTHON_FRESH : TW_RUNTIME_PYTHON_WARM;
    struct job a, b, c, d;
    run_well(&w, &warm, &a);
    run_well(&w, &fresh, &b);
    run_well(&w, &fresh, &c);
    run_well(&w, &warm, &d);
    assert_int_equal(a.receipt.runtime, usual);
    assert_int_equal(b.receipt.runtime, TW_RUNTIME_PYTHON_FRESH);
    assert_int_equal(c.receipt.runtime, TW_RUNTIME_PYTHON_FRESH);
    assert_int_equal(d.receipt.runtime, usual);
    assert_string_not_equal(a.result, b.result);
    assert_string_not_equal(b.result, c.result);
    assert_string_equal(a.result, d.result);
    job_done(&a);
    job_done(&b);
    job_done(&c);
    job_done(&d);
    world_close(&w);
}

static void test_modules_ahead(void **state UNUSED)
{
    struct world w;
    const struct run_spec spec =
        spec_of("python", "import sys\nresult = ['decimal' in sys.modules, 'xml.dom' in sys.modules]");
    struct launcher_options with = {.python_preload = "decimal, xml.dom"};
    world_open(&w, 1);
    ASSERT_RESULT(&w, &spec, "[false,false]");
    world_close(&w);
    world_open_with(&w, 1, &with);
    ASSERT_RESULT(&w, &spec, "[true,true]");
    world_close(&w);
}

static void test_modules_that_cannot_be_loaded(void **state UNUSED)
{
    static const struct {
        const char *modules, *words[3];
    } cases[] = {
        {"json,no_such_thing", {"PYTHON_PRELOAD", "no_such_thing", "ModuleNotFoundError"}},
        {"test.no_such_thing", {"PYTHON_PRELOAD", "test.no_such_thing", "No module named"}},
        {"antigravity.x,json", {"PYTHON_PRELOAD", "antigravity.x", "No module named"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        struct job job = {0};
        struct launcher_options options = {.python_preload = cases[i].modules};
        world_open_with(&w, 1, &options);
        job_run(&w, &job, "shell", "true");
        assert_int_equal(job.end, RUN_SANDBOX_ERROR);
        for (size_t k = 0; k < ARRAY_LEN(cases[i].words); k++) {
            if (!strstr(job.message, cases[i].words[k]))
                fail_msg("no \"%s\" in: %s", cases[i].words[k], job.message);
        }
        job_done(&job);
        world_close(&w);
    }
}

/* --- refused at the start --- */

static void test_what_no_sandbox_could_be_made_of(void **state UNUSED)
{
    static const struct {
        struct launcher_options options;
        const char *words[2];
    } cases[] = {
        {{.python_preload = "json,a-b"}, {"PYTHON_PRELOAD", "a-b"}},
        {{.python_preload = "os.."}, {"PYTHON_PRELOAD", "os.."}},
        {{.sandbox_paths = "/etc:srv/data"}, {"SANDBOX_PATHS", "srv/data"}},
        {{.sandbox_paths = "/proc"}, {"SANDBOX_PATHS", "/proc"}},
        {{.sandbox_paths = "/etc/../root"}, {"SANDBOX_PATHS", "/etc/../root"}},
        {{.sandbox_paths = "/no/such/place:/etc"}, {"SANDBOX_PATHS", "/no/such/place: No such file"}},
        {{.sandbox_root = "srv"}, {"SANDBOX_ROOT", "srv"}},
        {{.sandbox_root = "/etc"}, {"SANDBOX_ROOT", "/etc has no folder usr"}},
        {{.sandbox_root = "/no/such/place"}, {"SANDBOX_ROOT", "/no/such/place has no"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct launcher_options options = cases[i].options;
        struct launcher *launcher;
        struct tw_error error = {0};
        options.libexec_dir = libexec_dir();
        options.max_slots = 1;
        options.uid_base = 1900000000;
        assert_int_equal(launcher_start(&options, &launcher, &error), -1);
        assert_int_equal(error.code, i == 5 ? TW_NOT_FOUND : TW_INVALID_ARGUMENT);
        for (size_t k = 0; k < ARRAY_LEN(cases[i].words); k++) {
            if (!strstr(error.message, cases[i].words[k]))
                fail_msg("no \"%s\" in: %s", cases[i].words[k], error.message);
        }
    }
}

/* --- what it sees of the host --- */

/* A tree on the host, below a folder that no sandbox has. */
struct tree {
    char top[64];
    char list[1000]; /* SANDBOX_PATHS */
};

static void tree_path(const struct tree *t, const char *path, char ret[200])
{
    snprintf(ret, 200, "%s/%s", t->top, path);
}

static void tree_make(struct tree *t)
{
    char path[200], target[200];
    *t = (struct tree){.top = "/run/lock/hivemind-test-XXXXXX"}; /* everybody may make folders in there */
    if (!mkdtemp(t->top))
        fail_msg("cannot make %s: %s", t->top, strerror(errno));
    assert_int_equal(chmod(t->top, 0755), 0);
    tree_path(t, "folder", path);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(chmod(path, 0777), 0); /* not for want of rights shall it be refused to write there */
    static const char *const files[] = {"file", "folder/inner"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        tree_path(t, files[i], path);
        CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        assert_true(fd >= 0);
        assert_int_equal(fchmod(fd, 0666), 0);
        assert_int_equal(fd_write_all(fd, "seen\n", 5), 0);
    }
    tree_path(t, "link", path);
    tree_path(t, "folder", target);
    assert_int_equal(symlink(target, path), 0);
    tree_path(t, "pipe", path);
    assert_int_equal(mkfifo(path, 0666), 0);
}

static void tree_remove(const struct tree *t)
{
    static const char *const all[] = {"link", "file", "pipe", "folder/inner", "folder", ""};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        char path[200];
        tree_path(t, all[i], path);
        if (remove(path) < 0)
            fail_msg("cannot remove %s: %s", path, strerror(errno));
    }
}

static const char look[] = "for path in \"$@\"; do\n"
                           "  [ -d \"$path\" ] && file=$path/inner || file=$path\n"
                           "  cat $file || exit 1\n"
                           "  ( echo x >> $file ) 2>/dev/null && echo written\n"
                           "  ( echo x > $path/new ) 2>/dev/null && echo made\n"
                           "  rm -f $file 2>/dev/null && echo removed\n"
                           "  chmod 600 $file 2>/dev/null && echo changed\n"
                           "done\n"
                           "true";

static void test_paths_of_the_host(void **state UNUSED)
{
    struct tree t;
    struct world w;
    char file[200], folder[200], link[200];
    tree_make(&t);
    tree_path(&t, "file", file);
    tree_path(&t, "folder", folder);
    tree_path(&t, "link", link);
    /* /usr/share is in sight anyway; the link is shown as what it leads to, under its own name. */
    snprintf(t.list, sizeof t.list, "%s:%s/: %s:/usr/share", file, folder, link);
    struct launcher_options options = {.sandbox_paths = t.list};
    const char *args[] = {file, folder, link};
    struct run_spec spec = spec_of("shell", look), before = spec_of("shell", "[ ! -e \"$1\" ] && echo none");
    spec.args = before.args = args;
    spec.n_args = before.n_args = ARRAY_LEN(args);
    world_open(&w, 1);
    ASSERT_RESULT(&w, &before, "none\n");
    world_close(&w);
    world_open_with(&w, 1, &options);
    ASSERT_RESULT(&w, &spec, "seen\nseen\nseen\n");
    spec.network = TW_NETWORK_HOST; /* which brings paths of its own */
    ASSERT_RESULT(&w, &spec, "seen\nseen\nseen\n");
    world_close(&w);
    tree_remove(&t);
}

static void test_the_flags_of_what_is_shown(void **state UNUSED)
{
    struct tree t;
    struct world w;
    tree_make(&t);
    struct launcher_options options = {.sandbox_paths = t.top};
    const char *args[] = {t.top};
    struct run_spec spec = spec_of("python",
        "import os, sys\n"
        "flags = os.statvfs(sys.argv[1]).f_flag\n"
        "result = [bool(flags & f) for f in (os.ST_RDONLY, os.ST_NOSUID, os.ST_NODEV)]");
    spec.args = args;
    spec.n_args = 1;
    world_open_with(&w, 1, &options);
    ASSERT_RESULT(&w, &spec, "[true,true,true]");
    world_close(&w);
    tree_remove(&t);
}

static void test_a_symlink_in_what_is_shown_already(void **state UNUSED)
{
    struct tree t;
    struct world w;
    char link[] = "/usr/local/share/hivemind-test-link", folder[200];
    if (geteuid() != 0)
        skip(); /* cannot make one there */
    tree_make(&t);
    tree_path(&t, "folder", folder);
    (void)unlink(link);
    assert_int_equal(symlink(folder, link), 0);
    struct launcher_options options = {.sandbox_paths = link};
    const char *args[] = {link};
    struct run_spec spec = spec_of("shell", look);
    spec.args = args;
    spec.n_args = 1;
    world_open_with(&w, 1, &options);
    ASSERT_RESULT(&w, &spec, "seen\n");
    world_close(&w);
    assert_int_equal(unlink(link), 0);
    tree_remove(&t);
}

static void test_a_pipe_is_not_shown(void **state UNUSED)
{
    struct tree t;
    char pipe_path[200];
    tree_make(&t);
    tree_path(&t, "pipe", pipe_path);
    struct launcher_options options = {
        .libexec_dir = libexec_dir(), .max_slots = 1, .uid_base = 1900000000, .sandbox_paths = pipe_path};
    struct launcher *launcher;
    struct tw_error error = {0};
    assert_int_equal(launcher_start(&options, &launcher, &error), -1);
    assert_non_null(strstr(error.message, pipe_path));
    assert_non_null(strstr(error.message, "neither a file nor a folder"));
    tree_remove(&t);
}

static void test_what_the_sandbox_may_not_see(void **state UNUSED)
{
    struct tree t;
    struct world w;
    struct job job = {0};
    char closed[200];
    if (geteuid() != 0)
        skip(); /* there the launcher looks with the same eyes */
    tree_make(&t);
    assert_int_equal(chmod(t.top, 0700), 0);
    tree_path(&t, "folder", closed);
    struct launcher_options options = {.sandbox_paths = closed};
    world_open_with(&w, 1, &options);
    job_run(&w, &job, "shell", "true");
    assert_int_equal(job.end, RUN_SANDBOX_ERROR);
    assert_non_null(strstr(job.message, "SANDBOX_PATHS"));
    assert_non_null(strstr(job.message, closed));
    assert_non_null(strstr(job.message, "Permission denied"));
    job_done(&job);
    world_close(&w);
    tree_remove(&t);
}

/* --- a system of its own --- */

static const char *const root_folders[] = {"usr", "usr/bin"};
static const char *const root_links[][2] = {{"usr/bin", "bin"}, {"busybox", "usr/bin/sh"}};

static bool root_make(char *top)
{
    char path[300], *data;
    size_t len;
    if (file_read("/bin/busybox", 64 << 20, &data, &len) < 0 || memmem(data, len, "/ld-linux", 9)) {
        fprintf(stderr, "SKIPPED: a root of its own is made of a static busybox (apt-get install busybox-static)\n");
        assert_null(getenv("CI"));
        return false;
    }
    assert_non_null(mkdtemp(top));
    assert_int_equal(chmod(top, 0755), 0);
    for (size_t i = 0; i < ARRAY_LEN(root_folders); i++) {
        snprintf(path, sizeof path, "%s/%s", top, root_folders[i]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(root_links); i++) {
        snprintf(path, sizeof path, "%s/%s", top, root_links[i][1]);
        assert_int_equal(symlink(root_links[i][0], path), 0);
    }
    snprintf(path, sizeof path, "%s/usr/bin/busybox", top);
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    assert_true(fd >= 0 && fchmod(fd, 0755) == 0);
    assert_int_equal(fd_write_all(fd, data, len), 0);
    free(data);
    return true;
}

static void root_remove(const char *top)
{
    static const char *const all[] = {"usr/bin/busybox", "usr/bin/sh", "bin", "usr/bin", "usr", ""};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/%s", top, all[i]);
        assert_int_equal(remove(path), 0); /* so nothing was made in there either */
    }
}

static void test_a_system_of_its_own(void **state UNUSED)
{
    struct world w;
    char top[] = "/tmp/hivemind-test-root-XXXXXX";
    if (!root_make(top))
        skip();
    struct launcher_options options = {.sandbox_root = top, .sandbox_paths = "/usr/share/doc"};
    struct run_spec list =
        spec_of("shell", "busybox ls /usr; busybox ls /usr/bin; busybox touch /usr/x 2>/dev/null; echo $?");
    world_open_with(&w, 1, &options);
    struct job job = {0};
    job_run(&w, &job, "shell", "true"); /* the host's path has no place in the root: it is not made there */
    assert_int_equal(job.end, RUN_SANDBOX_ERROR);
    assert_non_null(strstr(job.message, "/usr/share/doc"));
    assert_non_null(strstr(job.message, "Read-only"));
    job_done(&job);
    world_close(&w);
    options.sandbox_paths = "/etc/services";
    world_open_with(&w, 1, &options);
    ASSERT_RESULT(&w, &list, "bin\nbusybox\nsh\n1\n");
    list = spec_of("shell", "[ -s /etc/services ] && echo there");
    ASSERT_RESULT(&w, &list, "there\n");
    struct run_spec python =
        spec_of("python", "result = 1"); /* there is no interpreter in it, and not the host's either */
    job_start_spec(&w, &job, &python);
    world_wait(&w, &job.ended, 60);
    assert_int_not_equal(job.end, RUN_EXITED);
    assert_non_null(strstr(job.message, "starting the interpreter"));
    job_done(&job);
    world_close(&w);
    root_remove(top);
}

static void test_python_of_another_root_is_cold(void **state UNUSED)
{
    struct world w;
    struct job job;
    struct launcher_options options = {.sandbox_root = "/."}; /* this machine's own, by another name */
    struct run_spec spec = spec_of("python", "result = 42");
    world_open_with(&w, 1, &options);
    run_well(&w, &spec, &job);
    assert_string_equal(job.result, "42");
    assert_int_equal(job.receipt.runtime, TW_RUNTIME_PYTHON_FRESH);
    job_done(&job);
    world_close(&w);
}

static int tests(void)
{
    const struct CMUnitTest list[] = {
        cmocka_unit_test(test_none_and_loopback_in_one_slot),
        cmocka_unit_test(test_the_network_of_the_host),
        cmocka_unit_test(test_an_idle_slot_of_another_owner_is_no_hindrance),
        cmocka_unit_test(test_an_interpreter_of_its_own),
        cmocka_unit_test(test_modules_ahead),
        cmocka_unit_test(test_modules_that_cannot_be_loaded),
        cmocka_unit_test(test_what_no_sandbox_could_be_made_of),
        cmocka_unit_test(test_paths_of_the_host),
        cmocka_unit_test(test_the_flags_of_what_is_shown),
        cmocka_unit_test(test_a_symlink_in_what_is_shown_already),
        cmocka_unit_test(test_a_pipe_is_not_shown),
        cmocka_unit_test(test_what_the_sandbox_may_not_see),
        cmocka_unit_test(test_a_system_of_its_own),
        cmocka_unit_test(test_python_of_another_root_is_cold),
    };
    return cmocka_run_group_tests(list, NULL, NULL);
}

int main(int argc UNUSED, char **argv)
{
    return run_as_both(argv, tests);
}
