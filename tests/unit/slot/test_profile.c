/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slot/profile.h"

static const struct slot_profile some = {.warm = true,
    .python = "/usr/bin/python3",
    .preload = "json,os.path",
    .paths = "/opt:/srv/a b",
    .root = "/srv/root",
    .functions = "x = 1"};

static void encode(const struct slot_profile *profile, struct buf *out)
{
    buf_init(out, 2 * (size_t)PROFILE_BYTES_MAX);
    assert_int_equal(profile_encode(profile, out), 0);
}

/* The decoder gets exactly sized heap memory, so that the address sanitizer sees one byte too far. */
static bool decodes(const void *data, size_t len)
{
    struct slot_profile profile;
    void *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, data, len);
    bool ok = profile_decode(copy, len, &profile);
    if (ok) /* all of it can be read as text */
        assert_true(strlen(profile.python) + strlen(profile.preload) + strlen(profile.paths) + strlen(profile.root) +
                strlen(profile.functions) <
            len);
    free(copy);
    return ok;
}

static void test_round_trip(void **state UNUSED)
{
    struct slot_profile plain = {.python = "/x", .preload = "", .paths = "", .root = "", .functions = ""}, got;
    struct buf raw;
    encode(&some, &raw);
    assert_true(profile_decode(raw.data, raw.len, &got));
    assert_true(got.warm);
    assert_string_equal(got.python, some.python);
    assert_string_equal(got.preload, some.preload);
    assert_string_equal(got.paths, some.paths);
    assert_string_equal(got.root, some.root);
    buf_done(&raw);
    encode(&plain, &raw);
    assert_true(profile_decode(raw.data, raw.len, &got));
    assert_false(got.warm);
    assert_string_equal(got.python, "/x");
    assert_string_equal(got.root, "");
    buf_done(&raw);
}

static void test_too_long_to_encode(void **state UNUSED)
{
    CLEANUP_FREE char *paths = calloc(1, PROFILE_BYTES_MAX + 1);
    assert_non_null(paths);
    memset(paths, '/', PROFILE_BYTES_MAX);
    struct slot_profile profile = some;
    profile.paths = paths;
    CLEANUP_BUF struct buf raw = BUF_INIT(2 * (size_t)PROFILE_BYTES_MAX);
    assert_int_equal(profile_encode(&profile, &raw), -E2BIG);
    assert_false(decodes(raw.data, raw.len)); /* nor would it be taken */
}

static void test_what_is_no_profile(void **state UNUSED)
{
    CLEANUP_BUF struct buf raw;
    encode(&some, &raw);
    for (size_t len = 0; len < raw.len; len++)
        assert_false(decodes(raw.data, len));
    assert_true(decodes(raw.data, raw.len));
    assert_int_equal(buf_append_u8(&raw, 0), 0); /* one text too many */
    assert_false(decodes(raw.data, raw.len));
    raw.len--;
    for (size_t i = 0; i < 8; i++) { /* magic and flags */
        raw.data[i] ^= 0x80;
        assert_false(decodes(raw.data, raw.len));
        raw.data[i] ^= 0x80;
    }
    raw.data[4] = 2; /* a flag that nobody knows */
    assert_false(decodes(raw.data, raw.len));
    raw.data[4] = 0;
    raw.data[raw.len - 1] = 'x'; /* does not end */
    assert_false(decodes(raw.data, raw.len));
}

static void test_relative_programs_and_roots(void **state UNUSED)
{
    static const struct slot_profile bad[] = {
        {.python = "python3", .preload = "", .paths = "", .root = "", .functions = ""},
        {.python = "", .preload = "", .paths = "", .root = "", .functions = ""},
        {.python = "/x", .preload = "", .paths = "", .root = "srv", .functions = ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CLEANUP_BUF struct buf raw;
        encode(&bad[i], &raw);
        assert_false(decodes(raw.data, raw.len));
    }
}

/* All of a list, joined again with '|'; a part that is refused ends it, as "!part". */
static const char *all_of(int (*next)(const char **, char *, size_t), const char *list, size_t size)
{
    static char joined[1000];
    CLEANUP_FREE char *part = malloc(size); /* exactly sized, see above */
    size_t at = 0;
    int r;
    assert_non_null(part);
    joined[0] = '\0';
    while ((r = next(&list, part, size)) == 1)
        at += (size_t)snprintf(joined + at, sizeof joined - at, "%s%s", at ? "|" : "", part);
    if (r < 0) {
        assert_int_equal(r, -EINVAL);
        snprintf(joined + at, sizeof joined - at, "!%s", part);
    } else {
        assert_string_equal(list, "");
    }
    return joined;
}

static void test_lists_of_paths(void **state UNUSED)
{
    static const struct {
        const char *list, *parts;
    } cases[] = {
        {"", ""},
        {":", ""},
        {" : :: ", ""},
        {"/opt", "/opt"},
        {"/opt:/srv/data", "/opt|/srv/data"},
        {":/opt::/srv:", "/opt|/srv"},
        {"  /opt : /srv/a b  ", "/opt|/srv/a b"},
        {"/opt/:/srv///", "/opt|/srv"},
        {"/opt/...", "/opt/..."},
        {"/opt/.x/..y", "/opt/.x/..y"},
        {"/process:/tmpfs:/devel", "/process|/tmpfs|/devel"}, /* begin like folders of the sandbox's own */
        {"/", "!/"},
        {"///", "!/"},
        {"opt", "!opt"},
        {"./opt", "!./opt"},
        {"/opt:srv:/x", "/opt!srv"},
        {"//opt", "!//opt"},
        {"/opt//x", "!/opt//x"},
        {"/.", "!/."},
        {"/..", "!/.."},
        {"/opt/../etc", "!/opt/../etc"},
        {"/opt/.", "!/opt/."},
        {"/opt/..", "!/opt/.."},
        {"/opt/../", "!/opt/.."},
        {"/proc", "!/proc"},
        {"/proc/", "!/proc"},
        {"/proc/1/root", "!/proc/1/root"},
        {"/sys", "!/sys"},
        {"/dev/kvm", "!/dev/kvm"},
        {"/tmp/x", "!/tmp/x"},
        {"/var/tmp", "!/var/tmp"},
        {"/workspace", "!/workspace"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(all_of(profile_next_path, cases[i].list, 100), cases[i].parts);
}

static void test_lists_of_modules(void **state UNUSED)
{
    static const struct {
        const char *list, *parts;
    } cases[] = {
        {"", ""},
        {" , ,, ", ""},
        {"json", "json"},
        {"json, os.path ,_x9", "json|os.path|_x9"},
        {"9x", "!9x"},
        {"os..path", "!os..path"},
        {".os", "!.os"},
        {"os.", "!os."},
        {"os.9", "!os.9"},
        {"json,a-b", "json!a-b"},
        {"a b", "!a b"},
        {"os;import", "!os;import"},
        {"\xc3\xa4", "!\xc3\xa4"},
        {"os:re", "!os:re"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(all_of(profile_next_module, cases[i].list, 100), cases[i].parts);
}

static void test_long_parts(void **state UNUSED)
{
    assert_string_equal(all_of(profile_next_path, "/abc:/abcd", 5), "/abc!/abc"); /* cut, and refused for it */
    assert_string_equal(all_of(profile_next_module, "abcd,abcde,x", 5), "abcd!abcd");
    assert_string_equal(all_of(profile_next_path, "/a", 1), "!");
}

static void test_a_list_of_nothing_but_separators(void **state UNUSED)
{
    enum { N = 8 << 20 }; /* takes no more stack than a short one */
    CLEANUP_FREE char *list = malloc(N + 1);
    assert_non_null(list);
    for (size_t i = 0; i < N; i++)
        list[i] = i % 2 ? ' ' : ':';
    list[N] = '\0';
    assert_string_equal(all_of(profile_next_path, list, 100), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_too_long_to_encode),
        cmocka_unit_test(test_what_is_no_profile),
        cmocka_unit_test(test_relative_programs_and_roots),
        cmocka_unit_test(test_lists_of_paths),
        cmocka_unit_test(test_lists_of_modules),
        cmocka_unit_test(test_long_parts),
        cmocka_unit_test(test_a_list_of_nothing_but_separators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
