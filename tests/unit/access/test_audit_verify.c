/* SPDX-License-Identifier: Apache-2.0 */
/* Each way to spoil a log, and what audit_verify() says of it; and that opening it again does not paint it over. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit_fixture.h"

enum { RECORDS = 20, LINES_MAX = 64 };

/* The first file, as lines. */
struct text {
    char path[160];
    char *data;
    char *lines[LINES_MAX];
    size_t n;
};

static void load(struct fixture *f, struct text *t)
{
    size_t len;
    snprintf(t->path, sizeof t->path, "%s/audit-%020d.jsonl", f->path, 1);
    assert_int_equal(file_read(t->path, 1 << 20, &t->data, &len), 0);
    t->n = 0;
    for (char *p = t->data; *p; p = strchr(p, '\0') + 1) {
        assert_true(t->n < LINES_MAX);
        t->lines[t->n++] = p;
        *strchr(p, '\n') = '\0';
    }
}

static void store(struct text *t)
{
    FILE *file = fopen(t->path, "we");
    assert_non_null(file);
    for (size_t i = 0; i < t->n; i++)
        assert_true(fprintf(file, "%s\n", t->lines[i]) > 0);
    assert_int_equal(fclose(file), 0);
    free(t->data);
}

static void assert_problem(struct fixture *f, enum audit_problem problem, uint64_t line)
{
    fixture_verify(f);
    if (f->report.problem != problem || f->report.line != line)
        fail_msg("%s, line %d: %s", audit_problem_to_string(f->report.problem), (int)f->report.line, f->report.message);
    assert_true(f->report.message[0]);
    assert_true(f->report.file[0]);
}

/* It is still found, at the same place, after the writer has opened the log and gone on. */
static void assert_problem_stays(struct fixture *f, enum audit_problem problem, uint64_t line)
{
    assert_problem(f, problem, line);
    fixture_open(f);
    fixture_write_many(f, 3);
    fixture_close(f);
    assert_problem(f, problem, line);
}

static int setup(void **state)
{
    fixture_setup(state);
    struct fixture *f = *state;
    fixture_open(f);
    fixture_write_many(f, RECORDS);
    fixture_close(f);
    fixture_assert_sound(f);
    assert_int_equal(f->report.records, RECORDS + 1);
    assert_int_equal(f->report.last_seq, RECORDS + 1);
    assert_int_equal(f->report.head_seq, RECORDS + 1);
    return 0;
}

static void test_changed(void **state)
{
    struct fixture *f = *state;
    struct text t;
    load(f, &t);
    *strstr(t.lines[9], "task.submit") = 'T';
    store(&t);
    assert_problem_stays(f, AUDIT_PROBLEM_CHANGED, 10);
}

static void test_no_record(void **state)
{
    struct fixture *f = *state;
    struct text t;
    load(f, &t);
    t.lines[4][0] = '\0';
    store(&t);
    assert_problem_stays(f, AUDIT_PROBLEM_CHANGED, 5);
}

static void test_removed(void **state)
{
    struct fixture *f = *state;
    struct text t;
    load(f, &t);
    memmove(&t.lines[9], &t.lines[11], (t.n - 11) * sizeof *t.lines);
    t.n -= 2;
    store(&t);
    assert_problem_stays(f, AUDIT_PROBLEM_REMOVED, 10);
    assert_string_equal(f->report.message, "records 10 to 11 are missing");
}

static void test_removed_in_front(void **state)
{
    struct fixture *f = *state;
    struct text t;
    load(f, &t);
    memmove(&t.lines[0], &t.lines[3], (t.n - 3) * sizeof *t.lines);
    t.n -= 3;
    store(&t);
    assert_problem_stays(f, AUDIT_PROBLEM_REMOVED, 1);
}

static void test_inserted(void **state)
{
    struct fixture *f = *state;
    struct text t;
    load(f, &t);
    memmove(&t.lines[11], &t.lines[10], (t.n - 10) * sizeof *t.lines);
    t.lines[10] = t.lines[3];
    t.n++;
    store(&t);
    assert_problem_stays(f, AUDIT_PROBLEM_INSERTED, 11);
}

static void test_swapped(void **state)
{
    struct fixture *f = *state;
    struct text t;
    load(f, &t);
    char *line = t.lines[9];
    t.lines[9] = t.lines[10];
    t.lines[10] = line;
    store(&t);
    assert_problem_stays(f, AUDIT_PROBLEM_SWAPPED, 10);
}

static void test_cut(void **state)
{
    struct fixture *f = *state;
    struct text t;
    load(f, &t);
    t.n -= 4;
    store(&t);
    assert_problem(f, AUDIT_PROBLEM_CUT, t.n);
    assert_string_equal(f->report.message, "records 18 to 21 are missing at the end");
    /* The writer leaves the gap, and says so. */
    fixture_open(f);
    fixture_close(f);
    assert_problem(f, AUDIT_PROBLEM_REMOVED, t.n + 1);
    assert_int_equal(
        fixture_count(
            f, &(struct audit_filter){.action_prefix = "audit.opened", .by_outcome = true, .outcome = AUDIT_ERROR}),
        1);
}

/* Another history, well reckoned, but not the one that the head is of. */
static void test_another_history(void **state)
{
    struct fixture *f = *state;
    char head[160], *data;
    size_t len;
    snprintf(head, sizeof head, "%s/head", f->path);
    assert_int_equal(file_read(head, 1000, &data, &len), 0);
    tree_remove(f->path);
    fixture_open(f);
    fixture_write_many(f, RECORDS);
    fixture_close(f);
    fixture_assert_sound(f);
    assert_int_equal(file_write_atomic(head, data, len, 0600), 0);
    free(data);
    assert_problem(f, AUDIT_PROBLEM_CHANGED, RECORDS + 1);
}

static void test_no_head(void **state)
{
    struct fixture *f = *state;
    char head[160];
    snprintf(head, sizeof head, "%s/head", f->path);
    assert_int_equal(unlink(head), 0);
    assert_int_equal(fixture_verify(f), AUDIT_PROBLEM_HEAD);
    assert_string_equal(f->report.file, "head");
    assert_int_equal(file_write_atomic(head, "x", 1, 0600), 0);
    assert_int_equal(fixture_verify(f), AUDIT_PROBLEM_HEAD);
    fixture_open(f); /* makes a new one, and a record of that */
    fixture_close(f);
    fixture_assert_sound(f);
    assert_int_equal(
        fixture_count(
            f, &(struct audit_filter){.action_prefix = "audit.opened", .by_outcome = true, .outcome = AUDIT_ERROR}),
        1);
}

static void test_all_gone(void **state)
{
    struct fixture *f = *state;
    char path[160];
    snprintf(path, sizeof path, "%s/audit-%020d.jsonl", f->path, 1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fixture_verify(f), AUDIT_PROBLEM_CUT);
    fixture_open(f);
    fixture_close(f);
    assert_int_equal(fixture_verify(f), AUDIT_PROBLEM_REMOVED);
}

static void test_unfinished_line(void **state)
{
    struct fixture *f = *state;
    char path[160];
    snprintf(path, sizeof path, "%s/audit-%020d.jsonl", f->path, 1);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(fd_write_all(fd, "{\"seq\":22,\"time", 15), 0);
    close(fd);
    fixture_assert_sound(f);
    assert_int_equal(f->report.unfinished_bytes, 15);
    fixture_open(f);
    fixture_close(f);
    fixture_assert_sound(f);
    assert_int_equal(f->report.unfinished_bytes, 0);
    assert_int_equal(f->report.records, RECORDS + 2);
}

/* --- several files --- */

static int setup_rotated(void **state)
{
    fixture_setup(state);
    struct fixture *f = *state;
    f->options.max_file_bytes = 2000;
    f->options.keep_files = 4;
    fixture_open(f);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(fixture_write(f, "ann", "task.submit", "x"), 0);
        assert_int_equal(audit_flush(f->audit), 0);
    }
    fixture_close(f);
    return 0;
}

static size_t list_files(struct fixture *f, char names[16][400])
{
    size_t n = 0;
    struct dirent **entries;
    int found = scandir(f->path, &entries, NULL, alphasort);
    assert_true(found > 0);
    for (int i = 0; i < found; free(entries[i++])) {
        if (strncmp(entries[i]->d_name, "audit-", 6) != 0)
            continue;
        assert_true(n < 16);
        snprintf(names[n++], 400, "%s/%s", f->path, entries[i]->d_name);
    }
    free(entries);
    return n;
}

static void test_rotation_is_sound(void **state)
{
    struct fixture *f = *state;
    char names[16][400];
    struct stat st;
    fixture_assert_sound(f);
    assert_int_equal(f->report.files, 4);
    assert_true(f->report.first_seq > 1);
    assert_int_equal(f->report.last_seq, f->report.head_seq);
    size_t n = list_files(f, names);
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(stat(names[i], &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_true(st.st_size < 4000);
    }
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    /* Fewer are kept from now on. */
    f->options.keep_files = 2;
    fixture_open(f);
    fixture_write_many(f, 1);
    fixture_close(f);
    assert_int_equal(list_files(f, names), 2);
    fixture_assert_sound(f);
}

static void test_oldest_file_removed(void **state)
{
    struct fixture *f = *state;
    char names[16][400];
    list_files(f, names);
    assert_int_equal(unlink(names[0]), 0);
    assert_int_equal(fixture_verify(f), AUDIT_PROBLEM_REMOVED);
    assert_non_null(strstr(f->report.message, "not by rotation"));
}

static void test_middle_file_removed(void **state)
{
    struct fixture *f = *state;
    char names[16][400];
    list_files(f, names);
    assert_int_equal(unlink(names[1]), 0);
    assert_int_equal(fixture_verify(f), AUDIT_PROBLEM_REMOVED);
    assert_non_null(strstr(names[2], f->report.file));
    assert_int_equal(f->report.line, 1);
}

static void test_newest_file_removed(void **state)
{
    struct fixture *f = *state;
    char names[16][400];
    size_t n = list_files(f, names);
    assert_int_equal(unlink(names[n - 1]), 0);
    assert_int_equal(fixture_verify(f), AUDIT_PROBLEM_CUT);
}

static void test_file_cut(void **state)
{
    struct fixture *f = *state;
    char names[16][400];
    struct stat st;
    list_files(f, names);
    assert_int_equal(stat(names[1], &st), 0);
    assert_int_equal(truncate(names[1], st.st_size - 10), 0);
    assert_int_equal(fixture_verify(f), AUDIT_PROBLEM_CHANGED);
    assert_non_null(strstr(names[1], f->report.file));
}

static void test_not_there(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(audit_verify(f->path, &f->report, &f->error), -1);
    assert_int_equal(f->error.code, TW_NOT_FOUND);
    assert_int_equal(mkdir(f->path, 0700), 0);
    fixture_assert_sound(f);
    assert_int_equal(f->report.records, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
#define R(name) cmocka_unit_test_setup_teardown(name, setup_rotated, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_changed),
        T(test_no_record),
        T(test_removed),
        T(test_removed_in_front),
        T(test_inserted),
        T(test_swapped),
        T(test_cut),
        T(test_another_history),
        T(test_no_head),
        T(test_all_gone),
        T(test_unfinished_line),
        R(test_rotation_is_sound),
        R(test_oldest_file_removed),
        R(test_middle_file_removed),
        R(test_newest_file_removed),
        R(test_file_cut),
        cmocka_unit_test_setup_teardown(test_not_there, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
