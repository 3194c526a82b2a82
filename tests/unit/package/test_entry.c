/* SPDX-License-Identifier: Apache-2.0 */
/* Which file of a package is run. */
#include "unit.h"

#include <errno.h>
#include <sys/stat.h>

#include "package/entry.h"

static void expect(const struct folder *f, enum package_kind kind, const char *folder, const char *file)
{
    struct package_entry e;
    struct tw_error error = {0};
    for (int twice = 0; twice < 2; twice++) { /* the folder's fd is as it was */
        assert_int_equal(package_find_entry(f->fd, &e, &error), 0);
        assert_int_equal(e.kind, kind);
        assert_string_equal(e.folder, folder);
        assert_string_equal(e.file, file);
    }
}

static void expect_none(const struct folder *f, const char *said)
{
    struct package_entry e;
    struct tw_error error = {0};
    assert_int_equal(package_find_entry(f->fd, &e, &error), -1);
    assert_int_equal(error.code, TW_NOT_FOUND);
    if (!strstr(error.message, said))
        fail_msg("'%s' is not in '%s'", said, error.message);
}

static void in_order(void **state)
{
    static const char *const worst_first[] = {"script.py", "app.py", "run.py", "task_script.py", "main.py"};
    const struct folder *f = *state;
    char path[64];
    tree_file(f->root, "/notes.txt", "");
    tree_file(f->root, "/zz.py", "");
    expect(f, PACKAGE_PYTHON, "", "zz.py");
    tree_file(f->root, "/Zz.py", "");
    expect(f, PACKAGE_PYTHON, "", "Zz.py"); /* by bytes */
    for (size_t i = 0; i < ARRAY_LEN(worst_first); i++) {
        snprintf(path, sizeof path, "/%s", worst_first[i]);
        tree_file(f->root, path, "");
        expect(f, PACKAGE_PYTHON, "", worst_first[i]);
    }
    tree_file(f->root, "/run_task.sh", "");
    expect(f, PACKAGE_SHELL, "", "run_task.sh");
}

static void what_does_not_count(void **state)
{
    const struct folder *f = *state;
    char path[128];
    tree_folder(f->root, "/main.py");
    tree_folder(f->root, "/run_task.sh");
    tree_file(f->root, "/.hidden.py", "");
    tree_file(f->root, "/.py", "");
    tree_file(f->root, "/a\nb.py", "");
    tree_file(f->root, "/\xff.py", "");
    tree_file(f->root, "/MAIN.PY", "");
    tree_file(f->root, "/below/main.py", "");
    snprintf(path, sizeof path, "%s/app.py", f->root);
    assert_int_equal(symlink("below/main.py", path), 0);
    snprintf(path, sizeof path, "%s/script.py", f->root);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_none(f, "there is .hidden.py, .py, MAIN.PY, a b.py, app.py, below and 4 more");
    tree_file(f->root, "/run.py", "");
    expect(f, PACKAGE_PYTHON, "", "run.py");
}

static void one_folder_alone(void **state)
{
    const struct folder *f = *state;
    char path[128];
    tree_file(f->root, "/repo-main/app.py", "");
    expect(f, PACKAGE_PYTHON, "repo-main", "app.py");
    tree_file(f->root, "/__MACOSX/x", "");
    expect(f, PACKAGE_PYTHON, "repo-main", "app.py");
    tree_file(f->root, "/README", "");
    expect_none(f, "in its top folder; there is README, repo-main");
    snprintf(path, sizeof path, "%s/README", f->root);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/repo-main/app.py", f->root);
    assert_int_equal(unlink(path), 0);
    expect_none(f, "in its folder repo-main; it is empty");
    tree_file(f->root, "/repo-main/src/main.py", ""); /* and no deeper */
    expect_none(f, "in its folder repo-main; there is src");
}

static void nothing_at_all(void **state)
{
    const struct folder *f = *state;
    char path[128];
    struct package_entry e;
    struct tw_error error = {0};
    expect_none(f, "in its top folder; it is empty");
    expect_none(f, "no run_task.sh, main.py, task_script.py, run.py, app.py, script.py or other *.py");
    /* A link to a folder is no folder. */
    snprintf(path, sizeof path, "%s/link", f->root);
    assert_int_equal(symlink("/tmp", path), 0);
    expect_none(f, "in its top folder; there is link");
    assert_int_equal(package_find_entry(-1, &e, &error), -1);
    assert_int_equal(error.sys_errno, EBADF);
}

static void long_names_are_cut_in_the_error(void **state)
{
    const struct folder *f = *state;
    char path[300];
    for (char c = 'a'; c < 'k'; c++) {
        memset(path, c, sizeof path);
        path[0] = '/';
        path[256] = '\0';
        tree_file(f->root, path, "");
    }
    expect_none(f, " and 4 more");
    expect_none(f, "there is aaa");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(in_order),
        TEST_IN_FOLDER(what_does_not_count),
        TEST_IN_FOLDER(one_folder_alone),
        TEST_IN_FOLDER(nothing_at_all),
        TEST_IN_FOLDER(long_names_are_cut_in_the_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
