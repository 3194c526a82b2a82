/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "web/address.h"

static void what_is_decoded(void **state)
{
    (void)state;
    static const char *const good[][2] = {{"", ""}, {"a", "a"}, {"%61%2F%2f", "a//"}, {"%C3%a9", "\xc3\xa9"},
        {"a+b", "a+b"}, {"%25", "%"}, {"%2541", "%41"}};
    static const char *const bad[] = {"%", "%4", "%g0", "%0g", "a%00", "%ff", "%c3", "%-1", "%+1", "% 1"};
    char out[8];
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(address_decode(good[i][0], strlen(good[i][0]), out, sizeof out));
        assert_string_equal(out, good[i][1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (address_decode(bad[i], strlen(bad[i]), out, sizeof out))
            fail_msg("decoded: %s", bad[i]);
    assert_true(address_decode("1234567", 7, out, sizeof out));
    assert_false(address_decode("12345678", 8, out, sizeof out));
    assert_false(address_decode("a%41", 3, out, sizeof out));
}

static void which_path_fits(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path, *segment; /* NULL: it does not fit */
    } cases[] = {
        {"/a", "/a", ""},
        {"/a", "/a/", NULL},
        {"/a", "/", NULL},
        {"/a/*", "/a/x", "x"},
        {"/a/*", "/a/", NULL},
        {"/a/*", "/a", NULL},
        {"/a/*", "/a/x/", NULL},
        {"/a/*", "/a/x%2fy", "x/y"},
        {"/a/*", "/a/%", NULL},
        {"/a/*/b", "/a/x/b", "x"},
        {"/a/*/b", "/a//b", NULL},
        {"/a/*/b", "/a/x/y/b", NULL},
        {"/a/*/b", "/a/x/c", NULL},
        {"/a/*/b", "/a/x", NULL},
        {"/a/*", "/a/12345678", NULL},
    };
    char segment[8];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool fits = address_fits(cases[i].pattern, cases[i].path, segment, sizeof segment);
        if (fits != (cases[i].segment != NULL) || (fits && strcmp(segment, cases[i].segment) != 0))
            fail_msg("%s of %s", cases[i].path, cases[i].pattern);
    }
}

static void ranges(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t size;
        int r;
        uint64_t from, len;
    } cases[] = {
        {"bytes=0-", 10, 0, 0, 10},
        {"bytes=0-0", 10, 0, 0, 1},
        {"bytes=3-5", 10, 0, 3, 3},
        {"bytes=9-", 10, 0, 9, 1},
        {"bytes=3-99", 10, 0, 3, 7},
        {"bytes=3-18446744073709551615", 10, 0, 3, 7},
        {"bytes=-3", 10, 0, 7, 3},
        {"bytes=-99", 10, 0, 0, 10},
        {"bytes=10-", 10, -ERANGE, 0, 0},
        {"bytes=-0", 10, -ERANGE, 0, 0},
        {"bytes=0-", 0, -ERANGE, 0, 0},
        {"bytes=-5", 0, -ERANGE, 0, 0},
        {"bytes=5-3", 10, -EINVAL, 0, 0},
        {"bytes=-", 10, -EINVAL, 0, 0},
        {"bytes=", 10, -EINVAL, 0, 0},
        {"bytes=0-1,3-4", 10, -EINVAL, 0, 0},
        {"bytes=a-", 10, -EINVAL, 0, 0},
        {"bytes=+1-", 10, -EINVAL, 0, 0},
        {"bytes= 1-", 10, -EINVAL, 0, 0},
        {"bytes=99999999999999999999-", 10, -EINVAL, 0, 0},
        {"bytes=000000000000000000000000000001-", 10, -EINVAL, 0, 0},
        {"lines=0-", 10, -EINVAL, 0, 0},
        {"", 10, -EINVAL, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t from = 0, len = 0;
        int r = address_range(cases[i].text, cases[i].size, &from, &len);
        if (r != cases[i].r || from != cases[i].from || len != cases[i].len)
            fail_msg("%s of %llu", cases[i].text, (unsigned long long)cases[i].size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_decoded),
        cmocka_unit_test(which_path_fits),
        cmocka_unit_test(ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
