/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>

#include "base/json.h"
#include "base/util.h"

static void what_is_json(void **state)
{
    (void)state;
    static const char *const good[] = {"null", "true", "false", "0", "-0", "-1.5e+10", "1E5", "\"\"",
        "\"\\u00e4\\n\\\"\"", "[]", "{}", "[1,2,[3,{\"a\":{}}]]", " { \"a\" : [ ] , \"b\" : 1 } ", "\"\xc3\xa4\"",
        "999999999999999999999999999999999999999999", "1e400", "\"a\\u0000b\"", "\"\\ud800\""};
    static const char *const bad[] = {"", " ", "nul", "nulll", "True", "01", "1.", ".5", "+1", "1e", "-", "NaN",
        "Infinity", "[", "]", "[1,]", "[,1]", "[1 2]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:1}",
        "[1}", "{\"a\":1]", "\"", "\"\\x\"", "\"\\u12g4\"", "\"\t\"", "1 1", "null,", "'a'",
        ("\xef\xbb\xbf"
         "1"),
        "{\"a\":1,2}"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!json_is_valid(good[i], strlen(good[i])))
            fail_msg("refused: %s", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (json_is_valid(bad[i], strlen(bad[i])))
            fail_msg("accepted: %s", bad[i]);
    }
    assert_false(json_is_valid("\"a\0b\"", 5));
    assert_false(json_is_valid("\"\\\0\"", 4));
    char deep[2 * JSON_TEXT_DEPTH_MAX + 2];
    for (size_t depth = JSON_TEXT_DEPTH_MAX; depth <= JSON_TEXT_DEPTH_MAX + 1; depth++) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        assert_int_equal(json_is_valid(deep, 2 * depth), depth == JSON_TEXT_DEPTH_MAX);
    }
}

static bool is(struct json_slice s, const char *wanted)
{
    return s.len == strlen(wanted) && !memcmp(s.text, wanted, s.len);
}

static void the_members_of_an_object(void **state)
{
    (void)state;
    static const char text[] = " { \"a\" : [1 , {\"b\": \"]}\\\"\"}] ,\"\":\"x\\\\\",\"n\":-1e400 , \"o\":{}}\n";
    static const char *const wanted[][2] = {
        {"\"a\"", "[1 , {\"b\": \"]}\\\"\"}]"}, {"\"\"", "\"x\\\\\""}, {"\"n\"", "-1e400"}, {"\"o\"", "{}"}};
    struct json_walk walk;
    struct json_slice name, value;
    assert_true(json_walk_object(text, sizeof text - 1, &walk));
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        assert_true(json_walk_next(&walk, &name, &value));
        if (!is(name, wanted[i][0]) || !is(value, wanted[i][1]))
            fail_msg("%zu: %.*s: %.*s", i, (int)name.len, name.text, (int)value.len, value.text);
    }
    assert_false(json_walk_next(&walk, &name, &value));
    assert_false(json_walk_next(&walk, &name, &value));
    assert_true(json_walk_object("{ }", 3, &walk));
    assert_false(json_walk_next(&walk, &name, &value));
    static const char *const none[] = {"", "[]", "\"{}\"", "{", "{} {}", "{\"a\"}"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_false(json_walk_object(none[i], strlen(none[i]), &walk));
}

static void what_is_quoted_is_json(void **state)
{
    (void)state;
    struct buf out CLEANUP_BUF = BUF_INIT(1000);
    assert_int_equal(json_append_quoted(&out, "a\"\\\n\x01\x7f\xc3\xa4"), 0);
    static const char wanted[] = "\"a\\u0022\\u005c\\u000a\\u0001\x7f\xc3\xa4\"";
    assert_int_equal(out.len, sizeof wanted - 1);
    assert_memory_equal(out.data, wanted, sizeof wanted - 1);
    assert_true(json_is_valid(out.data, out.len));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_json),
        cmocka_unit_test(the_members_of_an_object),
        cmocka_unit_test(what_is_quoted_is_json),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
