/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "node/privileges.h"

static const struct identity nobody = {.uid = 65534, .gid = 65534};

static int set_up(void **state)
{
    char folder[] = "/tmp/test_privileges.XXXXXX";
    assert_non_null(mkdtemp(folder));
    *state = strdup(folder);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    storage_remove(*state);
    int gone = access(*state, F_OK);
    free(*state);
    return gone == -1 ? 0 : -1;
}

static void path_below(const char *folder, const char *name, char out[256])
{
    snprintf(out, 256, "%s/%s", folder, name);
}

static void a_new_folder_belongs_to_its_owner(void **state)
{
    char path[256];
    struct stat st;
    struct identity me = {.uid = geteuid(), .gid = getegid()}, owner = geteuid() == 0 ? nobody : me;
    struct tw_error error = {0};
    path_below(*state, "a/b/c", path);
    assert_int_equal(storage_prepare(path, &owner, &error), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, owner.uid);
    assert_int_equal(st.st_mode & 07777, 0700);
    path_below(*state, "a/b", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0111, 0111); /* the owner of the last one has to get there */
    path_below(*state, "a/b/c", path);
    /* Again: it is there and right. */
    assert_int_equal(storage_prepare(path, &owner, &error), 0);
}

static void a_folder_of_somebody_else_is_left_alone(void **state)
{
    struct tw_error error = {0};
    struct identity other = {.uid = 65533, .gid = 65533};
    char path[256], file[300];
    path_below(*state, "full", path);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(file, sizeof file, "%s/file", path);
    assert_int_equal(file_write_atomic(file, "x", 1, 0600), 0);
    assert_int_equal(storage_prepare(path, &other, &error), -1);
    assert_int_equal(error.code, TW_FAILED_PRECONDITION);
    assert_non_null(strstr(error.message, path));
    assert_null(strstr(error.message, "chown")); /* it could be /usr */
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, geteuid());
    if (geteuid() != 0)
        return;
    snprintf(file, sizeof file, "%s/taskworker.db", path);
    assert_int_equal(file_write_atomic(file, "x", 1, 0600), 0);
    assert_int_equal(storage_prepare(path, &other, &error), -1);
    assert_non_null(strstr(error.message, "chown -R 65533:65533"));
}

static void links_and_files_are_refused(void **state)
{
    struct tw_error error = {0};
    struct identity me = {.uid = geteuid(), .gid = getegid()};
    char path[256];
    path_below(*state, "link", path);
    assert_int_equal(symlink("/tmp", path), 0);
    assert_int_equal(storage_prepare(path, &me, &error), -1);
    assert_non_null(strstr(error.message, "not a folder"));
    path_below(*state, "file", path);
    assert_int_equal(file_write_atomic(path, "x", 1, 0600), 0);
    assert_int_equal(storage_prepare(path, &me, &error), -1);
    assert_non_null(strstr(error.message, "not a folder"));
    path_below(*state, "file/below", path);
    assert_int_equal(storage_prepare(path, &me, &error), -1);
}

static void removing_does_not_follow_links(void **state)
{
    char inside[256], outside[256], link_name[300];
    path_below(*state, "inside", inside);
    path_below(*state, "outside", outside);
    assert_int_equal(mkdir(inside, 0700), 0);
    assert_int_equal(file_write_atomic(outside, "x", 1, 0600), 0);
    snprintf(link_name, sizeof link_name, "%s/link", inside);
    assert_int_equal(symlink("../outside", link_name), 0);
    storage_remove(inside);
    assert_int_equal(access(inside, F_OK), -1);
    assert_int_equal(access(outside, F_OK), 0);
}

static void users_are_resolved(void **state)
{
    (void)state;
    struct identity who;
    struct tw_error error = {0};
    assert_int_equal(privileges_resolve("1234567", &who, &error), 0);
    assert_int_equal(who.uid, 1234567);
    assert_int_equal(who.gid, 1234567);
    assert_int_equal(privileges_resolve("root", &who, &error), -1);
    assert_int_equal(privileges_resolve("0", &who, &error), -1);
    assert_int_equal(privileges_resolve("no-such-account", &who, &error), -1);
    assert_int_equal(error.code, TW_NOT_FOUND);
}

/* In a child, since there is no way back. Exit code 0: all as it should be. */
static int drop_in_child(void)
{
    struct tw_error error = {0};
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (privileges_drop(&nobody, &error) < 0)
        return 1;
    int death_signal = 0;
    prctl(PR_GET_PDEATHSIG, &death_signal);
    if (geteuid() != nobody.uid || getegid() != nobody.gid || getgroups(0, NULL) != 0)
        return 2;
    if (setuid(0) == 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 3;
    return death_signal == SIGTERM ? 0 : 4;
}

static void dropping_is_for_good(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(drop_in_child());
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    umask(022);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_folder_belongs_to_its_owner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_of_somebody_else_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(links_and_files_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(removing_does_not_follow_links, set_up, tear_down),
        cmocka_unit_test(users_are_resolved),
        cmocka_unit_test(dropping_is_for_good),
    };
    return cmocka_run_group_tests_name("privileges", tests, NULL, NULL);
}
