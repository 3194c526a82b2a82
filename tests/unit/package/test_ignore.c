/* SPDX-License-Identifier: Apache-2.0 */
/* .hivemindignore: which paths fit which rules, and what is no rule. */
#include "unit.h"

#include "package/ignore.h"

/* A path that ends in '/' is a folder. */
static bool left_out(const char *rules, const char *path)
{
    CLEANUP_IGNORE struct ignore ignore = {0};
    struct tw_error error = {0};
    char name[256];
    if (ignore_read(&ignore, rules, strlen(rules), &error) < 0)
        fail_msg("'%s': %s", rules, error.message);
    size_t len = strlen(path);
    bool folder = path[len - 1] == '/';
    snprintf(name, sizeof name, "%.*s", (int)(len - folder), path);
    return ignore_matches(&ignore, name, folder);
}

static void rules(void **state)
{
    static const struct {
        const char *rules;
        const char *out[8], *in[8]; /* left out, and not */
    } cases[] = {
        {"", {NULL}, {"a", "a/"}},
        {"# a\n\n  \na", {"a", "b/a", "a/", "x/y/a/"}, {"# a", "b", "aa", "a/b"}},
        {"\\#a\n\\!b", {"#a", "x/!b"}, {"a", "b", "\\#a"}},
        {"a\r\nb\r\n", {"a", "b"}, {"a\r"}},
        {"a  \nb\\ \nc\\\\ ", {"a", "b ", "c\\"}, {"a  ", "b", "b  ", "c\\ "}},
        {"*.pyc\n!keep.pyc", {"x.pyc", "a/y.pyc", ".pyc"}, {"keep.pyc", "a/keep.pyc", "x.py", "x.pycc"}},
        {"!a\na", {"a"}, {"b"}},
        {"a\n!a\na", {"a"}, {NULL}},
        {"/a", {"a", "a/"}, {"b/a"}},
        {"a/b", {"a/b"}, {"x/a/b", "a", "b", "a/b/c"}},
        {"a/", {"a/", "x/a/"}, {"a", "x/a"}},
        {"/a/", {"a/"}, {"a", "x/a/"}},
        {"*", {"a", ".a", "a/b"}, {NULL}},
        {"a*c", {"ac", "abc", "abcbc"}, {"abcd", "bac"}},
        {"a/*", {"a/b", "a/.b"}, {"a", "a/b/c"}},
        {"a?c", {"abc", "a*c"}, {"ac", "abbc", "a/c"}},
        {"/a?c", {"abc"}, {"a/c"}},
        {"[a-c]x[!0-9]", {"axx", "bxx", "cx-"}, {"dxx", "ax0", "ax"}},
        {"[^a]", {"b"}, {"a"}},
        {"[]a]", {"]", "a"}, {"b", "[]a]"}},
        {"[!]a]", {"b"}, {"]", "a"}},
        {"[a-]", {"a", "-"}, {"b"}},
        {"[\\]x]", {"]", "x"}, {"\\", "["}},
        {"[a-\\]]", {NULL}, {"b", "\\"}},
        {"[z-a]", {NULL}, {"b", "z", "-"}},
        {"[*?]", {"*", "?"}, {"a"}},
        {"\\[a\\]\\*\\?", {"[a]*?"}, {"a", "[a]bc"}},
        {"**/a", {"a", "x/a", "x/y/a"}, {"b", "a/b", "xa"}},
        {"a/**", {"a/b", "a/b/c", "a/b/"}, {"a", "a/", "x/a/b"}},
        {"a/**/b", {"a/b", "a/x/b", "a/x/y/b", "a/b/b"}, {"ab", "x/a/b", "a/b/c", "a"}},
        {"**/a/**/b/*.c", {"a/b/x.c", "q/a/w/b/x.c", "a/b/b/x.c"}, {"a/b/x/y.c", "b/a/x.c"}},
        {"a**c", {"abc", "ac"}, {"a/c"}},
        {"/**", {"a", "a/b"}, {NULL}},
        {"**", {"a", "a/b"}, {NULL}},
        {"a/**/", {"a/b/", "a/b/c/"}, {"a/b", "a/"}},
        {"/*\n!/src\n!*.py", {"a", "b.c"}, {"src/", "a.py", "src/b.c"}},
        {"\xc3\xa9*", {"\xc3\xa9t\xc3\xa9"}, {"e"}},
        {"a//b", {NULL}, {"a/b", "a"}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t k = 0; k < 8 && cases[i].out[k]; k++) {
            if (!left_out(cases[i].rules, cases[i].out[k]))
                fail_msg("'%s' takes '%s'", cases[i].rules, cases[i].out[k]);
        }
        for (size_t k = 0; k < 8 && cases[i].in[k]; k++) {
            if (left_out(cases[i].rules, cases[i].in[k]))
                fail_msg("'%s' leaves out '%s'", cases[i].rules, cases[i].in[k]);
        }
    }
}

static void the_defaults(void **state)
{
    static const char *const out[] = {".git", ".git/", "a/.git/", "__pycache__/", "a/b/__pycache__/", "a.pyc", ".venv/",
        "venv/", "web/node_modules/", ".hivemindignore", ".DS_Store"};
    static const char *const in[] = {
        "a.py", "venv", "git", ".gitignore", "a/.hivemindignore", "wheels/", "requirements.txt"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(out); i++)
        assert_true(left_out(IGNORE_DEFAULTS, out[i]));
    for (size_t i = 0; i < ARRAY_LEN(in); i++)
        assert_false(left_out(IGNORE_DEFAULTS, in[i]));
    assert_false(left_out(IGNORE_DEFAULTS "!venv\n!.hivemindignore", "venv/"));
    assert_false(left_out(IGNORE_DEFAULTS "!venv\n!.hivemindignore", ".hivemindignore"));
}

static void mistakes(void **state)
{
    static const struct {
        const char *text;
        enum ignore_result result;
        unsigned line;
    } cases[] = {
        {"a\n!", IGNORE_EMPTY, 2},
        {"/", IGNORE_EMPTY, 1},
        {"!/", IGNORE_EMPTY, 1},
        {"//", IGNORE_EMPTY, 1},
        {"\n\n[a", IGNORE_BRACKET, 3},
        {"[", IGNORE_BRACKET, 1},
        {"[]", IGNORE_BRACKET, 1},
        {"[!]", IGNORE_BRACKET, 1},
        {"[a\\]", IGNORE_BRACKET, 1},
        {"[a/b]", IGNORE_BRACKET, 1},
        {"[[:alpha:]]", IGNORE_CLASS, 1},
        {"a\\", IGNORE_ESCAPE, 1},
        {"a\\/b", IGNORE_ESCAPE, 1},
    };
    (void)state;
    CLEANUP_IGNORE struct ignore ignore = {0};
    struct tw_error error = {0};
    unsigned line;
    assert_int_equal(ignore_add(&ignore, "kept", 4, &line), IGNORE_OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum ignore_result result = ignore_add(&ignore, cases[i].text, strlen(cases[i].text), &line);
        if (result != cases[i].result || line != cases[i].line)
            fail_msg("'%s': line %u: %s", cases[i].text, line, ignore_result_to_string(result));
        assert_int_equal(ignore.n_rules, 1);
    }
    assert_int_equal(ignore_add(&ignore, "a\0b", 3, &line), IGNORE_BAD_BYTE);
    assert_int_equal(ignore_read(&ignore, "a\n[", 3, &error), -1);
    assert_int_equal(error.code, TW_INVALID_ARGUMENT);
    assert_string_equal(
        error.message, ".hivemindignore, line 2: a '[' is not closed by a ']'; write \\[ for the character itself");
    for (int i = 0; i <= IGNORE_RESULT_MAX; i++)
        assert_true(*ignore_result_to_string((enum ignore_result)i) != '\0');
}

static void bounds(void **state)
{
    CLEANUP_IGNORE struct ignore ignore = {0};
    char *text = malloc(IGNORE_BYTES_MAX + 1);
    unsigned line;
    (void)state;
    assert_non_null(text);
    memset(text, '\n', IGNORE_BYTES_MAX + 1);
    assert_int_equal(ignore_add(&ignore, text, IGNORE_BYTES_MAX, &line), IGNORE_OK);
    assert_int_equal(ignore_add(&ignore, text, IGNORE_BYTES_MAX + 1, &line), IGNORE_TOO_LARGE);
    memset(text, 'a', IGNORE_RULE_MAX + 1);
    assert_int_equal(ignore_add(&ignore, text, IGNORE_RULE_MAX, &line), IGNORE_OK);
    assert_int_equal(ignore_add(&ignore, text, IGNORE_RULE_MAX + 1, &line), IGNORE_TOO_LONG);
    for (size_t i = 0; i < 2 * IGNORE_RULES_MAX; i += 2)
        memcpy(text + i, "a\n", 2);
    assert_int_equal(ignore_add(&ignore, text, 2 * IGNORE_RULES_MAX, &line), IGNORE_TOO_MANY);
    assert_int_equal(line, IGNORE_RULES_MAX);
    assert_int_equal(ignore.n_rules, 1);
    assert_int_equal(ignore_add(&ignore, text, 2 * (IGNORE_RULES_MAX - 1), &line), IGNORE_OK);
    assert_int_equal(ignore_add(&ignore, NULL, 0, &line), IGNORE_OK);
    free(text);
}

/* What makes a matcher that tries every star again take for ever: this has to end at all. */
static void no_rule_is_slow(void **state)
{
    CLEANUP_IGNORE struct ignore ignore = {0};
    struct tw_error error = {0};
    char rule[IGNORE_RULE_MAX + 1] = "", path[IGNORE_PATH_MAX + 1] = "";
    (void)state;
    for (size_t i = 0; i + 2 < 512; i += 2)
        memcpy(rule + i, "a*", 3);
    memcpy(rule + 510, "b", 2);
    assert_int_equal(ignore_read(&ignore, rule, strlen(rule), &error), 0);
    for (size_t i = 0; i + 5 < sizeof rule; i += 5)
        memcpy(rule + i, "**/a/", 6);
    assert_int_equal(ignore_read(&ignore, rule, strlen(rule) - 1, &error), 0);
    memset(path, 'a', IGNORE_PATH_MAX);
    assert_false(ignore_matches(&ignore, path, false));
    for (size_t i = 1; i + 1 < IGNORE_PATH_MAX; i += 2)
        path[i] = '/';
    path[IGNORE_PATH_MAX - 1] = 'b';
    assert_false(ignore_matches(&ignore, path, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules),
        cmocka_unit_test(the_defaults),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(bounds),
        cmocka_unit_test(no_rule_is_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
