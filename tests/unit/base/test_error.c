/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

static void set_fills_everything(void **state)
{
    (void)state;
    struct tw_error e = {.sys_errno = 77};
    assert_int_equal(error_set(&e, TW_NOT_FOUND, "no task %s", "x"), -1);
    assert_int_equal(e.code, TW_NOT_FOUND);
    assert_int_equal(e.sys_errno, 0);
    assert_string_equal(e.message, "no task x");
}

static void null_is_allowed_everywhere(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, TW_INTERNAL, "x"), -1);
    assert_int_equal(error_set_errno(NULL, ENOENT, "x"), -1);
    assert_int_equal(error_wrap(NULL, "x"), -1);
    assert_int_equal(error_oom(NULL), -1);
    struct tw_error e = {.code = TW_ABORTED};
    error_copy(NULL, &e);
    error_copy(&e, NULL);
    assert_int_equal(e.code, TW_ABORTED);
}

static void errno_of_either_sign_gives_code_and_text(void **state)
{
    (void)state;
    static const struct {
        int err;
        enum tw_code code;
    } table[] = {{ENOENT, TW_NOT_FOUND}, {EEXIST, TW_ALREADY_EXISTS}, {EACCES, TW_PERMISSION_DENIED},
        {EPERM, TW_PERMISSION_DENIED}, {ENOSPC, TW_RESOURCE_EXHAUSTED}, {EDQUOT, TW_RESOURCE_EXHAUSTED},
        {ENOMEM, TW_RESOURCE_EXHAUSTED}, {ETIMEDOUT, TW_DEADLINE_EXCEEDED}, {ECONNREFUSED, TW_UNAVAILABLE},
        {EIO, TW_INTERNAL}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            struct tw_error e = {0};
            assert_int_equal(error_set_errno(&e, sign * table[i].err, "cannot open %s", "/x"), -1);
            assert_int_equal(e.code, table[i].code);
            assert_int_equal(e.sys_errno, table[i].err);
            char want[200];
            snprintf(want, sizeof want, "cannot open /x: %s", strerror(table[i].err));
            assert_string_equal(e.message, want);
        }
    }
}

static void wrap_goes_in_front(void **state)
{
    (void)state;
    struct tw_error e;
    error_set_errno(&e, ENOENT, "cannot open it");
    assert_int_equal(error_wrap(&e, "storage %d", 7), -1);
    assert_int_equal(e.code, TW_NOT_FOUND);
    assert_int_equal(e.sys_errno, ENOENT);
    assert_string_equal(e.message, "storage 7: cannot open it: No such file or directory");
}

/* A message that is too long is cut, and never inside a character: it goes onto the wire as UTF-8. */
static void cut_messages_stay_utf8(void **state)
{
    (void)state;
    static const char *const letters[] = {"a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x90\x9d"};
    for (size_t l = 0; l < ARRAY_LEN(letters); l++) {
        for (size_t shift = 0; shift < 4; shift++) {
            char text[1000] = "";
            memset(text, '.', shift);
            while (strlen(text) + 5 < sizeof text)
                strcat(text, letters[l]);

            struct tw_error e;
            error_set(&e, TW_INTERNAL, "%s", text);
            assert_true(strlen(e.message) > sizeof e.message - 5);
            assert_true(text_is_utf8(e.message, strlen(e.message)));

            error_set_errno(&e, ENOENT, "%s", text);
            assert_true(text_is_utf8(e.message, strlen(e.message)));

            error_set(&e, TW_INTERNAL, "%s", text);
            error_wrap(&e, "in");
            assert_true(text_is_utf8(e.message, strlen(e.message)));

            error_set(&e, TW_INTERNAL, "short");
            error_wrap(&e, "%s", text);
            assert_true(text_is_utf8(e.message, strlen(e.message)));
            assert_non_null(strstr(e.message, "short")); /* however long the prefix, the cause stays */
        }
    }
}

static void names_of_codes(void **state)
{
    (void)state;
    assert_string_equal(error_code_name(TW_OK), "OK");
    assert_string_equal(error_code_name(TW_UNAUTHENTICATED), "UNAUTHENTICATED");
    assert_string_equal(error_code_name((enum tw_code)99), "UNKNOWN");
    assert_int_equal(TW_RESOURCE_EXHAUSTED, 8);
    struct tw_error e;
    error_oom(&e);
    assert_int_equal(e.code, TW_RESOURCE_EXHAUSTED);
    assert_int_equal(e.sys_errno, ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_fills_everything),
        cmocka_unit_test(null_is_allowed_everywhere),
        cmocka_unit_test(errno_of_either_sign_gives_code_and_text),
        cmocka_unit_test(wrap_goes_in_front),
        cmocka_unit_test(cut_messages_stay_utf8),
        cmocka_unit_test(names_of_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
