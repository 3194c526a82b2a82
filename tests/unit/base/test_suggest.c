/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/suggest.h"
#include "base/util.h"

static void the_nearest_or_none(void **state)
{
    (void)state;
    static const char *const names[] = {"submit", "run", "ps", "status", "stop", "--grpc-port", "MAX_TASK_SIZE"};
    static const struct {
        const char *word, *nearest;
    } cases[] = {
        {"sumbit", "submit"},
        {"submti", "submit"},
        {"STATUS", "status"},
        {"statsu", "status"},
        {"pss", "ps"},
        {"rum", "run"},
        {"--grpc_prot", "--grpc-port"},
        {"max-task-sise", "MAX_TASK_SIZE"},
        {"stpo", "stop"},
        {"x", NULL},
        {"", NULL},
        {"delete", NULL},
        {"restart-everything", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *near = suggest_nearest(cases[i].word, names, ARRAY_LEN(names));
        if (!near != !cases[i].nearest || (near && strcmp(near, cases[i].nearest) != 0))
            fail_msg("\"%s\" gives %s", cases[i].word, near ? near : "nothing");
    }
}

static void long_words_are_nobodys_typing_error(void **state)
{
    (void)state;
    char name[100], word[100];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    memcpy(word, name, sizeof word);
    const char *names[] = {name};
    assert_null(suggest_nearest(word, names, 1));
    name[64] = word[64] = '\0';
    word[0] = 'b';
    assert_ptr_equal(suggest_nearest(word, names, 1), name);
    assert_null(suggest_nearest(word, names, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_or_none),
        cmocka_unit_test(long_words_are_nobodys_typing_error),
    };
    return cmocka_run_group_tests_name("suggest", tests, NULL, NULL);
}
