/* SPDX-License-Identifier: Apache-2.0 */
/* The file of tokens: what is kept is found again, by nobody else, and what others could read is not used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/credentials.h"

struct world {
    char folder[64], path[128];
    struct tw_error error;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->folder, sizeof w->folder, "/tmp/credentials-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/a/hivemind/credentials", w->folder);
    *state = w;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st UNUSED, int kind UNUSED, struct FTW *where UNUSED)
{
    return remove(path);
}

static int teardown(void **state)
{
    struct world *w = *state;
    (void)nftw(w->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(w);
    return 0;
}

static void keep(struct world *w, const char *address, const char *token)
{
    if (credentials_keep(w->path, address, token, &w->error) < 0)
        fail_msg("%s", w->error.message);
}

/* `token` NULL: there is none. */
static void expect(struct world *w, const char *address, const char *token)
{
    CLEANUP_TOKEN_TEXT char *found = NULL;
    if (credentials_find(w->path, address, &found, &w->error) < 0)
        fail_msg("%s", w->error.message);
    if (token)
        assert_string_equal(found, token);
    else
        assert_null(found);
}

static void write_file(struct world *w, const char *text)
{
    FILE *file = fopen(w->path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void kept_and_found(void **state)
{
    struct world *w = *state;
    struct stat st;
    expect(w, "a:1", NULL); /* there is no file */
    keep(w, "a:1", "one");
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    keep(w, "[::1]:2", "two");
    keep(w, "a:11", "eleven");
    expect(w, "a:1", "one");
    expect(w, "[::1]:2", "two");
    expect(w, "a:11", "eleven");
    expect(w, "a:", NULL);
    keep(w, "a:1", "other");
    expect(w, "a:1", "other");
    keep(w, "a:1", NULL);
    expect(w, "a:1", NULL);
    expect(w, "a:11", "eleven");
}

static void what_people_write_stays(void **state)
{
    struct world *w = *state;
    char text[256] = "";
    keep(w, "a:1", "one");
    write_file(w, "# mine\na:1\t one \nb:2 two"); /* no newline at the end */
    expect(w, "a:1", "one");
    expect(w, "b:2", "two");
    keep(w, "c:3", "three");
    FILE *file = fopen(w->path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(text, "# mine\na:1\t one \nb:2 two\nc:3 three\n");
}

static void expect_refused(struct world *w, const char *words)
{
    char *found = NULL;
    assert_int_equal(credentials_find(w->path, "a:1", &found, &w->error), -1);
    assert_null(found);
    if (!strstr(w->error.message, words))
        fail_msg("\"%s\" has no \"%s\"", w->error.message, words);
    assert_int_equal(credentials_keep(w->path, "a:1", "x", &w->error), -1); /* nor written over */
}

static void what_is_not_safe_is_not_used(void **state)
{
    struct world *w = *state;
    char other[160];
    keep(w, "a:1", "one");
    assert_int_equal(chmod(w->path, 0640), 0);
    expect_refused(w, "chmod 600");
    assert_int_equal(chmod(w->path, 0600), 0);
    expect(w, "a:1", "one");
    snprintf(other, sizeof other, "%s.other", w->path);
    assert_int_equal(rename(w->path, other), 0);
    assert_int_equal(symlink(other, w->path), 0);
    expect_refused(w, "cannot open");
    assert_int_equal(unlink(w->path), 0);
    assert_int_equal(mkfifo(w->path, 0600), 0);
    expect_refused(w, "regular file"); /* and nobody waits for a writer */
}

static void what_is_no_token(void **state)
{
    struct world *w = *state;
    char longest[CREDENTIALS_TOKEN_MAX + 2];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const char *const bad[] = {"", "a b", "a\nb:2 stolen", "\x7f", "\xc3\xa9", longest};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(credentials_keep(w->path, "a:1", bad[i], &w->error), -1);
    const char *const addresses[] = {"", "a b", "a:1\nb:2", "#a"};
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
        assert_int_equal(credentials_keep(w->path, addresses[i], "x", &w->error), -1);
    longest[CREDENTIALS_TOKEN_MAX] = '\0';
    keep(w, "a:1", longest);
    expect(w, "a:1", longest);
}

static void files_with_one_token(void **state)
{
    struct world *w = *state;
    CLEANUP_TOKEN_TEXT char *token = NULL;
    keep(w, "a:1", "one"); /* makes the folders */
    write_file(w, "  twt_abc \r\n\n");
    assert_int_equal(credentials_read_token(w->path, &token, &w->error), 0);
    assert_string_equal(token, "twt_abc");
    const char *const bad[] = {"", "\n", "twt_a twt_b", "twt_a\ntwt_b\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *none = NULL;
        write_file(w, bad[i]);
        assert_int_equal(credentials_read_token(w->path, &none, &w->error), -1);
        assert_null(none);
        assert_null(strstr(w->error.message, "twt_"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kept_and_found, setup, teardown),
        cmocka_unit_test_setup_teardown(what_people_write_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_safe_is_not_used, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_token, setup, teardown),
        cmocka_unit_test_setup_teardown(files_with_one_token, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
