/* SPDX-License-Identifier: Apache-2.0 */
/* A package of a folder: what goes in, that it is the same each time, and what is refused by name. */
#include "unit.h"

#include <errno.h>
#include <locale.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "package/pack.h"
#include "python.h"

static void link_at(const struct folder *f, const char *target, const char *path)
{
    assert_int_equal(symlinkat(target, f->fd, path), 0);
}

static int pack(const struct folder *f, const struct package_pack_options *options, struct package_packed *ret)
{
    struct tw_error error = {0};
    int out = new_file();
    if (package_pack(f->fd, options, out, ret, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(lseek(out, 0, SEEK_END), ret->packed);
    return out;
}

static void expect_packed(
    const struct folder *f, const struct package_pack_options *options, struct package_packed *ret)
{
    int out = pack(f, options, ret);
    fd_close(&out);
}

static void expect_refused(
    const struct folder *f, const struct package_pack_options *options, enum tw_code code, const char *said)
{
    struct package_packed packed;
    struct tw_error error = {0};
    CLEANUP_FD int out = new_file();
    assert_int_equal(package_pack(f->fd, options, out, &packed, &error), -1);
    if (error.code != code || !strstr(error.message, said))
        fail_msg("'%s' is not in: %d: %s", said, (int)error.code, error.message);
}

static void what_goes_in(void **state)
{
    const struct folder *f = *state;
    struct package_packed p;
    tree_file(f->root, "/main.py", "print(1)");
    tree_file(f->root, "/run", "#!/bin/sh\n");
    assert_int_equal(fchmodat(f->fd, "run", 0700, 0), 0);
    tree_file(f->root, "/a/caf\xc3\xa9.txt", "x");
    tree_file(f->root, "/a-b", "");
    tree_folder(f->root, "/empty");
    tree_file(f->root, "/.git/config", "");
    tree_file(f->root, "/a/__pycache__/x.pyc", "");
    tree_file(f->root, "/a/y.log", "");
    tree_file(f->root, "/.hivemindignore", "*.log\n/data/\n!keep.log\n");
    tree_file(f->root, "/data/big", "");
    tree_file(f->root, "/empty/keep.log", "kept");
    tree_file(f->root, "/requirements.txt", "numpy\n");
    link_at(f, "a/caf\xc3\xa9.txt", "inside");
    link_at(f, "../main.py", "a/up");
    link_at(f, "made-later", "dangling");
    CLEANUP_FD int out = pack(f, NULL, &p);
    expect_python(out, "for i in z.infolist(): print(i.filename, oct(i.external_attr >> 16), z.read(i))",
        "a/ 0o40755 b''\n"
        "a-b 0o100644 b''\n"
        "a/caf\xc3\xa9.txt 0o100644 b'x'\n"
        "a/up 0o120777 b'../main.py'\n"
        "dangling 0o120777 b'made-later'\n"
        "empty/ 0o40755 b''\n"
        "empty/keep.log 0o100644 b'kept'\n"
        "inside 0o120777 b'a/caf\\xc3\\xa9.txt'\n"
        "main.py 0o100644 b'print(1)'\n"
        "requirements.txt 0o100644 b'numpy\\n'\n"
        "run 0o100755 b'#!/bin/sh\\n'\n");
    assert_int_equal(p.files, 6);
    assert_int_equal(p.folders, 2);
    assert_int_equal(p.links, 3);
    assert_int_equal(p.bytes, 29);
    assert_int_equal(p.ignored, 5); /* .git, __pycache__, y.log, data and .hivemindignore */
    assert_int_equal(p.entry.kind, PACKAGE_PYTHON);
    assert_string_equal(p.entry.file, "main.py");
}

/* Bytes of two archives. */
static bool same(int a, int b)
{
    static char x[65536], y[65536];
    ssize_t n = pread(a, x, sizeof x, 0), m = pread(b, y, sizeof y, 0);
    assert_true(n > 0 && n < (ssize_t)sizeof x);
    return n == m && memcmp(x, y, (size_t)n) == 0;
}

static void fill(const struct folder *f, bool backwards)
{
    static const char *const files[] = {"/main.py", "/b/c.txt", "/b/a.txt", "/caf\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        tree_file(f->root, files[backwards ? ARRAY_LEN(files) - 1 - i : i], "content");
}

/* Of another folder, made at another time and in another order, by a program in another time zone and locale. */
static void the_same_each_time(void **state)
{
    const struct folder *f = *state;
    struct folder *other = NULL;
    struct package_packed p;
    const struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    fill(f, false);
    CLEANUP_FD int first = pack(f, NULL, &p);
    assert_int_equal(folder_make((void **)&other), 0);
    fill(other, true);
    assert_int_equal(utimensat(other->fd, "main.py", old, 0), 0);
    assert_int_equal(fchmodat(other->fd, "main.py", 0600, 0), 0);
    assert_int_equal(setenv("TZ", "Asia/Tokyo", 1), 0);
    tzset();
    assert_non_null(setlocale(LC_ALL, "C.UTF-8"));
    CLEANUP_FD int second = pack(other, NULL, &p);
    assert_true(same(first, second));
    CLEANUP_FD int dated = pack(other, &(const struct package_pack_options){.keep_times = true}, &p);
    assert_false(same(first, dated));
    assert_int_equal(unsetenv("TZ"), 0);
    tzset();
    assert_non_null(setlocale(LC_ALL, "C"));
    expect_python(dated, "print(z.getinfo('main.py').date_time[0])", "2001\n");
    assert_int_equal(fchmodat(other->fd, "main.py", 0700, 0), 0);
    CLEANUP_FD int third = pack(other, NULL, &p);
    assert_false(same(first, third));
    assert_int_equal(folder_drop((void **)&other), 0);
}

static void what_is_no_file(void **state)
{
    const struct folder *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEANUP_FD int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    tree_file(f->root, "/main.py", "");
    tree_folder(f->root, "/run");
    snprintf(address.sun_path, sizeof address.sun_path, "%s/run/sock", f->root);
    assert_int_equal(bind(s, (const struct sockaddr *)&address, sizeof address), 0);
    expect_refused(f, NULL, TW_INVALID_ARGUMENT, "run/sock is a socket, which cannot be packed");
    assert_int_equal(unlinkat(f->fd, "run/sock", 0), 0);
    assert_int_equal(mkfifoat(f->fd, "run/pipe", 0600), 0);
    expect_refused(f, NULL, TW_INVALID_ARGUMENT, "run/pipe is a pipe");
    tree_file(f->root, "/.hivemindignore", "run/pipe");
    struct package_packed p;
    expect_packed(f, NULL, &p);
    assert_int_equal(unlinkat(f->fd, ".hivemindignore", 0), 0);
    assert_int_equal(mkfifoat(f->fd, ".hivemindignore", 0600), 0);
    expect_refused(f, NULL, TW_INVALID_ARGUMENT, ".hivemindignore is no file");
}

static void links_that_lead_out(void **state)
{
    static const struct {
        const char *target, *path;
    } cases[] = {{"/etc/passwd", "l"}, {"..", "l"}, {"../x", "l"}, {"a/../../x", "l"}, {"../..", "a/l"},
        {"./.././../x", "a/l"}, {"up/../x", "a/l"}};
    const struct folder *f = *state;
    struct package_packed p;
    tree_file(f->root, "/main.py", "");
    tree_folder(f->root, "/a/b");
    link_at(f, "..", "a/up"); /* stays inside by itself */
    expect_packed(f, NULL, &p);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char said[64] = "";
        link_at(f, cases[i].target, cases[i].path);
        strncat(said, cases[i].path, 8);
        strcat(said, " is a link that leads out of the folder");
        expect_refused(f, NULL, TW_INVALID_ARGUMENT, said);
        assert_int_equal(unlinkat(f->fd, cases[i].path, 0), 0);
    }
    link_at(f, "\xff", "l");
    expect_refused(f, NULL, TW_INVALID_ARGUMENT, "l is a link with a target that is not UTF-8");
}

static void bounds(void **state)
{
    const struct folder *f = *state;
    struct package_packed p;
    char path[512] = "";
    tree_file(f->root, "/main.py", "12345");
    tree_file(f->root, "/b/c", "12345");
    expect_refused(
        f, &(const struct package_pack_options){.max_entries = 2}, TW_RESOURCE_EXHAUSTED, "more than 2 files");
    expect_refused(f, &(const struct package_pack_options){.max_bytes = 9}, TW_RESOURCE_EXHAUSTED, "more than 9 bytes");
    expect_refused(
        f, &(const struct package_pack_options){.max_packed = 99}, TW_RESOURCE_EXHAUSTED, "larger than 99 bytes");
    expect_packed(f, &(const struct package_pack_options){.max_entries = 3, .max_bytes = 10, .max_packed = 9999}, &p);
    for (int i = 0; i < PACK_DEPTH_MAX; i++)
        memcpy(path + strlen(path), "/d", 3);
    tree_folder(f->root, path);
    expect_packed(f, NULL, &p);
    memcpy(path + strlen(path), "/d", 3);
    tree_folder(f->root, path);
    expect_refused(f, NULL, TW_INVALID_ARGUMENT, "lies more than 64 folders deep");
}

static void names(void **state)
{
    const struct folder *f = *state;
    tree_file(f->root, "/main.py", "");
    tree_file(f->root, "/a/\xff", "");
    expect_refused(f, NULL, TW_INVALID_ARGUMENT, "a/\xef\xbf\xbd has a name that is not UTF-8");
}

static void the_entry_point(void **state)
{
    const struct folder *f = *state;
    struct package_packed p;
    tree_file(f->root, "/notes", "");
    expect_refused(f, NULL, TW_NOT_FOUND, "the package has no entry point");
    tree_file(f->root, "/venv/main.py", ""); /* is left out */
    expect_refused(f, NULL, TW_NOT_FOUND, "there is notes");
    assert_int_equal(unlinkat(f->fd, "notes", 0), 0);
    expect_refused(f, NULL, TW_NOT_FOUND, "it is empty");
    tree_file(f->root, "/only/run_task.sh", "");
    tree_file(f->root, "/only/requirements.txt", "a\n-r /etc/passwd\n");
    expect_refused(f, NULL, TW_INVALID_ARGUMENT, "requirements.txt, line 2: -r and -c");
    tree_file(f->root, "/only/requirements.txt", "a\n");
    expect_packed(f, NULL, &p);
    assert_int_equal(p.entry.kind, PACKAGE_SHELL);
    assert_string_equal(p.entry.folder, "only");
    tree_file(f->root, "/.hivemindignore", "[");
    expect_refused(f, NULL, TW_INVALID_ARGUMENT, ".hivemindignore, line 1: a '[' is not closed");
}

struct told {
    uint64_t calls, files, bytes;
};

static void note(void *arg, uint64_t files, uint64_t all_files, uint64_t bytes, uint64_t all_bytes)
{
    struct told *t = arg;
    assert_true(files >= t->files && bytes >= t->bytes && files <= all_files && bytes <= all_bytes);
    assert_int_equal(all_files, 2);
    assert_int_equal(all_bytes, 10);
    *t = (struct told){t->calls + 1, files, bytes};
}

static void progress(void **state)
{
    const struct folder *f = *state;
    struct package_packed p;
    struct told told = {0};
    tree_file(f->root, "/main.py", "12345");
    tree_file(f->root, "/b/c", "12345");
    expect_packed(f, &(const struct package_pack_options){.progress = note, .arg = &told}, &p);
    assert_true(told.calls >= 3);
    assert_int_equal(told.files, 2);
    assert_int_equal(told.bytes, 10);
}

/* Between the walk and the first file. */
static void change(void *arg, uint64_t files, uint64_t all_files, uint64_t bytes, uint64_t all_bytes)
{
    const struct folder *f = arg;
    (void)all_files, (void)all_bytes;
    if (files > 0 || bytes > 0)
        return;
    assert_int_equal(unlinkat(f->fd, "main.py", 0), 0);
    tree_file(f->root, "/elsewhere", "longer");
    link_at(f, "elsewhere", "main.py");
}

static void grow(void *arg, uint64_t files, uint64_t all_files, uint64_t bytes, uint64_t all_bytes)
{
    (void)all_files, (void)all_bytes;
    if (files == 0 && bytes == 0)
        tree_file(((const struct folder *)arg)->root, "/main.py", "longer");
}

static void what_changes_meanwhile(void **state)
{
    struct folder *f = *state;
    tree_file(f->root, "/main.py", "");
    expect_refused(f, &(const struct package_pack_options){.progress = grow, .arg = f}, TW_ABORTED,
        "main.py was changed while it was read");
    expect_refused(
        f, &(const struct package_pack_options){.progress = change, .arg = f}, TW_INTERNAL, "cannot read main.py: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(what_goes_in),
        TEST_IN_FOLDER(the_same_each_time),
        TEST_IN_FOLDER(what_is_no_file),
        TEST_IN_FOLDER(links_that_lead_out),
        TEST_IN_FOLDER(bounds),
        TEST_IN_FOLDER(names),
        TEST_IN_FOLDER(the_entry_point),
        TEST_IN_FOLDER(progress),
        TEST_IN_FOLDER(what_changes_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
