/* SPDX-License-Identifier: Apache-2.0 */
/* requirements.txt: what is taken and in which form, what is refused and why, the key, and pip's arguments. */
#include "unit.h"

#include <errno.h>

#include "package/requirements.h"

#define H64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char *write_text(const struct requirements *r)
{
    CLEANUP_BUF struct buf out = BUF_INIT(REQUIREMENTS_BYTES_MAX);
    assert_int_equal(requirements_write(r, &out), 0);
    char *text = buf_steal(&out, NULL);
    assert_non_null(text);
    return text;
}

static void expect_written(const char *text, const char *form)
{
    CLEANUP_REQUIREMENTS struct requirements r = {0}, again = {0};
    unsigned line;
    enum requirements_result result = requirements_parse(text, strlen(text), &r, &line);
    if (result != REQUIREMENTS_OK)
        fail_msg("'%s': line %u: %s", text, line, requirements_result_to_string(result));
    CLEANUP_FREE char *written = write_text(&r);
    assert_string_equal(written, form);
    assert_int_equal(requirements_parse(written, strlen(written), &again, &line), REQUIREMENTS_OK);
    CLEANUP_FREE char *rewritten = write_text(&again);
    assert_string_equal(rewritten, form);
}

static void one_form(void **state)
{
    static const struct {
        const char *text, *form;
    } cases[] = {
        {"", ""},
        {"\n\n # nothing\n\t\n", ""},
        {"requests", "requests\n"},
        {"\xef\xbb\xbfrequests\r\n", "requests\n"},
        {"Zope.Interface\nruamel__-.yaml==1", "ruamel-yaml==1\nzope-interface\n"},
        {"numpy >= 1.20 , < 2.0", "numpy<2.0,>=1.20\n"},
        {"numpy (>=1.20,<2.0RC1)", "numpy<2.0rc1,>=1.20\n"},
        {"a[]", "a\n"},
        {"a [ z , B,z ]~=1.0", "a[B,z]~=1.0\n"},
        {"a;python_version<'3.8'", "a ; python_version < \"3.8\"\n"},
        {"a==1 ; 'linux' in sys_platform # why", "a==1 ; \"linux\" in sys_platform\n"},
        {"a==1 # caf\xc3\xa9 --hash=x", "a==1\n"},
        {"a#b", NULL},
        {"a==1 --hash=sha256:" H64, "a==1 --hash=sha256:" H64 "\n"},
        {"a==1 \\\n    --hash sha256:" H64 " \\\r\n --hash=SHA256:" H64 "\nb", "a==1 --hash=sha256:" H64 "\nb\n"},
        {"a==1 ; os_name == 'a' --hash=sha384:" H64 "00112233445566778899AABBCCDDEEFF",
            "a==1 ; os_name == \"a\" --hash=sha384:" H64 "00112233445566778899aabbccddeeff\n"},
        {"a==1 --hash=sha512:" H64 H64, "a==1 --hash=sha512:" H64 H64 "\n"},
        {"a\\\n# ends what was continued\n==1", NULL},
        {"a\\\n# ends what was continued\nb", "a\nb\n"},
        {"a \\", "a\n"},
        {"a\nA\na>1\n", "a\na>1\n"},
        {"b\na", "a\nb\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_REQUIREMENTS struct requirements r = {0};
        unsigned line;
        if (cases[i].form)
            expect_written(cases[i].text, cases[i].form);
        else
            assert_int_not_equal(requirements_parse(cases[i].text, strlen(cases[i].text), &r, &line), REQUIREMENTS_OK);
    }
}

static const struct {
    const char *text;
    enum requirements_result result;
    unsigned line;
} refused[] = {
    {"a\n-r other.txt", REQUIREMENTS_INCLUDE, 2},
    {"-rother.txt", REQUIREMENTS_INCLUDE, 1},
    {"--requirement=x", REQUIREMENTS_INCLUDE, 1},
    {"-c x", REQUIREMENTS_INCLUDE, 1},
    {"# x\n\n-e .", REQUIREMENTS_EDITABLE, 3},
    {"--editable=git+https://x/y", REQUIREMENTS_EDITABLE, 1},
    {"-i https://x", REQUIREMENTS_INDEX, 1},
    {"--index-url=https://x", REQUIREMENTS_INDEX, 1},
    {"--extra-index-url https://x", REQUIREMENTS_INDEX, 1},
    {"--find-links /", REQUIREMENTS_INDEX, 1},
    {"a --index-url https://x", REQUIREMENTS_INDEX, 1},
    {"-fx", REQUIREMENTS_INDEX, 1},
    {"--trusted-host x", REQUIREMENTS_INDEX, 1},
    {"--pre", REQUIREMENTS_OPTION, 1},
    {"a --global-option=x", REQUIREMENTS_OPTION, 1},
    {"a --config-settings x=y", REQUIREMENTS_OPTION, 1},
    {"a \\\n--install-option=x", REQUIREMENTS_OPTION, 1},
    {"https://x/a.whl", REQUIREMENTS_ADDRESS, 1},
    {"git+https://x/y@main#egg=z", REQUIREMENTS_ADDRESS, 1},
    {"git+ssh", REQUIREMENTS_ADDRESS, 1},
    {"file:///etc/passwd", REQUIREMENTS_ADDRESS, 1},
    {"file:x", REQUIREMENTS_ADDRESS, 1},
    {"a @ https://x/a.whl", REQUIREMENTS_ADDRESS, 1},
    {"a@file:x", REQUIREMENTS_ADDRESS, 1},
    {"a[b]@x", REQUIREMENTS_ADDRESS, 1},
    {"ua=== n.zip", REQUIREMENTS_PATH, 1},
    {".", REQUIREMENTS_PATH, 1},
    {"./a", REQUIREMENTS_PATH, 1},
    {"../a", REQUIREMENTS_PATH, 1},
    {"~/a", REQUIREMENTS_PATH, 1},
    {"/a", REQUIREMENTS_PATH, 1},
    {"a/b", REQUIREMENTS_PATH, 1},
    {"C:\\a", REQUIREMENTS_PATH, 1},
    {"a-1-py3-none-any.whl", REQUIREMENTS_PATH, 1},
    {"a.tar.gz", REQUIREMENTS_PATH, 1},
    {"$HOME", REQUIREMENTS_NAME, 1},
    {"a\n${X}", REQUIREMENTS_NAME, 2},
    {"-", REQUIREMENTS_OPTION, 1},
    {"_a", REQUIREMENTS_NAME, 1},
    {"a-", REQUIREMENTS_NAME, 1},
    {"[a]", REQUIREMENTS_NAME, 1},
    {"==1", REQUIREMENTS_NAME, 1},
    {"a[", REQUIREMENTS_EXTRAS, 1},
    {"a[b", REQUIREMENTS_EXTRAS, 1},
    {"a[b,]", REQUIREMENTS_EXTRAS, 1},
    {"a[,b]", REQUIREMENTS_EXTRAS, 1},
    {"a[b c]", REQUIREMENTS_EXTRAS, 1},
    {"a[-]", REQUIREMENTS_EXTRAS, 1},
    {"a b", REQUIREMENTS_SPECIFIER, 1},
    {"a=1", REQUIREMENTS_SPECIFIER, 1},
    {"a==1.0 2", REQUIREMENTS_SPECIFIER, 1},
    {"a>=1,", REQUIREMENTS_SPECIFIER, 1},
    {"a()", REQUIREMENTS_SPECIFIER, 1},
    {"a===1,>0", REQUIREMENTS_SPECIFIER, 1},
    {"a(>=1", REQUIREMENTS_SPECIFIER, 1},
    {"a>=1)", REQUIREMENTS_SPECIFIER, 1},
    {"a>=${X}", REQUIREMENTS_SPECIFIER, 1},
    {"a\\b", REQUIREMENTS_PATH, 1},
    {"a \\ \nb", REQUIREMENTS_SPECIFIER, 1},
    {"a;", REQUIREMENTS_MARKER, 1},
    {"a;extra=='x'", REQUIREMENTS_MARKER, 1},
    {"a==1;os_name=='$(id)\"'", REQUIREMENTS_MARKER, 1},
    {"a==1 --hash=sha256:" H64 "0", REQUIREMENTS_HASH, 1},
    {"a==1 --hash=md5:0123", REQUIREMENTS_HASH, 1},
    {"a==1 --hash=", REQUIREMENTS_HASH, 1},
    {"a==1 --hash", REQUIREMENTS_HASH, 1},
    {"a==1 --hash=sha256:" H64 " x", REQUIREMENTS_OPTION, 1},
    {"a==1 --hashes=sha256:" H64, REQUIREMENTS_OPTION, 1},
    {"a\nb\x01", REQUIREMENTS_BAD_BYTE, 2},
    {"a\rb", REQUIREMENTS_BAD_BYTE, 1},
    {"a # \x01", REQUIREMENTS_BAD_BYTE, 1},
    {"a # \xff", REQUIREMENTS_BAD_BYTE, 1},
    {"\xc3\xa9", REQUIREMENTS_BAD_BYTE, 1},
    {"\xff\xfe"
     "a",
        REQUIREMENTS_UTF16, 0},
    {"\xfe\xff", REQUIREMENTS_UTF16, 0},
};

static void what_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct requirements r = {0};
        unsigned line = 77;
        enum requirements_result result = requirements_parse(refused[i].text, strlen(refused[i].text), &r, &line);
        if (result != refused[i].result || line != refused[i].line)
            fail_msg("'%s': line %u: %s", refused[i].text, line, requirements_result_to_string(result));
        assert_true(!r.items && r.n_items == 0);
    }
    CLEANUP_REQUIREMENTS struct requirements r = {0};
    unsigned line;
    assert_int_equal(requirements_parse("a\0b", 3, &r, &line), REQUIREMENTS_BAD_BYTE);
    assert_int_equal(requirements_parse("a==1\0", 5, &r, &line), REQUIREMENTS_BAD_BYTE);
    assert_int_equal(requirements_parse(NULL, 0, &r, &line), REQUIREMENTS_OK);
}

static void append_numbered(struct buf *to, const char *text, size_t number)
{
    for (const char *at; (at = strchr(text, '@')); text = at + 1) {
        (void)buf_append(to, text, (size_t)(at - text));
        (void)buf_printf(to, "%064zu", number);
    }
    (void)buf_append_str(to, text);
}

/* `count` times `text`, with a number of its own for each '@'. */
static enum requirements_result parse_many(const char *head, const char *text, size_t count, unsigned *ret_line)
{
    CLEANUP_BUF struct buf all = BUF_INIT(SIZE_MAX / 2);
    CLEANUP_REQUIREMENTS struct requirements r = {0};
    (void)buf_append_str(&all, head);
    for (size_t i = 0; i < count; i++)
        append_numbered(&all, text, i);
    assert_int_equal(all.error, 0);
    return requirements_parse(all.data, all.len, &r, ret_line);
}

static void bounds(void **state)
{
    static const struct {
        const char *head, *text;
        size_t most;
        enum requirements_result beyond;
    } cases[] = {
        {"", "a@\n", REQUIREMENTS_MAX, REQUIREMENTS_TOO_MANY},
        {"", "\n", REQUIREMENTS_BYTES_MAX, REQUIREMENTS_TOO_LARGE},
        {"#", " ", REQUIREMENTS_LINE_MAX - 2, REQUIREMENTS_LINE_TOO_LONG},
        {"", "a", REQUIREMENTS_NAME_MAX, REQUIREMENTS_NAME},
        {"a>0", ",>@", REQUIREMENTS_CLAUSES_MAX - 1, REQUIREMENTS_SPECIFIER},
        {"a", " --hash=sha256:@", REQUIREMENTS_HASHES_MAX, REQUIREMENTS_HASH},
        {"a;os_name=='a'", " or os_name=='b'", 56, REQUIREMENTS_MARKER}, /* 12 + 1 + 56 * 18 and its spaces are 1022 */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unsigned line = 0;
        enum requirements_result most = parse_many(cases[i].head, cases[i].text, cases[i].most, &line);
        if (most != REQUIREMENTS_OK)
            fail_msg("case %zu: line %u: %s", i, line, requirements_result_to_string(most));
        assert_int_equal(parse_many(cases[i].head, cases[i].text, cases[i].most + 1, &line), cases[i].beyond);
    }
    /* What is written may be longer than what was read; it would not be taken again then. */
    unsigned line;
    CLEANUP_BUF struct buf one = BUF_INIT(1024);
    (void)buf_append_str(&one, "a@;os_name=='a'");
    for (int i = 0; i < 17; i++)
        (void)buf_append_str(&one, " or'b'==os_name");
    (void)buf_append_str(&one, "\n");
    (void)buf_append_u8(&one, '\0');
    assert_int_equal(parse_many("", (const char *)one.data, 600, &line), REQUIREMENTS_OK);
    assert_int_equal(parse_many("", (const char *)one.data, 750, &line), REQUIREMENTS_TOO_LARGE);
    assert_int_equal(line, 0);
}

static void as_an_error(void **state)
{
    struct requirements r = {0};
    struct tw_error error = {0};
    (void)state;
    assert_int_equal(requirements_read("a\n-e .", 6, &r, &error), -1);
    assert_int_equal(error.code, TW_INVALID_ARGUMENT);
    assert_string_equal(error.message,
        "requirements.txt, line 2: -e would run code of the project to install it; only names from the node's own "
        "index or "
        "wheels in the package's wheels/ folder are installed");
    assert_int_equal(requirements_read("\xff\xfe", 2, &r, &error), -1);
    assert_string_equal(error.message, "requirements.txt: the file is UTF-16; save it as UTF-8");
    assert_int_equal(requirements_read("a", 1, &r, &error), 0);
    requirements_done(&r);
    for (int i = 0; i <= REQUIREMENTS_RESULT_MAX; i++)
        assert_true(*requirements_result_to_string((enum requirements_result)i) != '\0');
}

static void key_of(const char *text, const struct requirements_context *context, uint8_t ret[32])
{
    CLEANUP_REQUIREMENTS struct requirements r = {0};
    unsigned line;
    assert_int_equal(requirements_parse(text, strlen(text), &r, &line), REQUIREMENTS_OK);
    assert_int_equal(requirements_key(&r, context, ret), 0);
}

static void the_key(void **state)
{
    static const struct requirements_wheel wheels[] = {{"a.whl", {1}}, {"b.whl", {2}}},
                                           swapped[] = {{"b.whl", {2}}, {"a.whl", {1}}},
                                           renamed[] = {{"a.whl", {2}}, {"b.whl", {1}}};
    static const struct requirements_context plain = {.python = "cp311", .owner = ""};
    const struct {
        const char *text;
        struct requirements_context context;
        bool same; /* as the one before */
    } cases[] = {
        {"a\nb>1", plain, false},
        {"# the same\nB > 1\nA\na", plain, true},
        {"a\nb>2", plain, false},
        {"a\nb>1", {.python = "cp312", .owner = ""}, false},
        {"a\nb>1", {.python = "cp31", .owner = "2"}, false}, /* no part runs into the next */
        {"a\nb>1", {.python = "cp311", .owner = "me"}, false},
        {"a\nb>1", {.python = "cp311", .owner = "me", .index_url = ""}, false},
        {"a\nb>1", {.python = "cp311", .owner = "me", .index_url = "https://x"}, false},
        {"a\nb>1", {.python = "cp311", .owner = "me", .wheels = wheels, .n_wheels = 1}, false},
        {"a\nb>1", {.python = "cp311", .owner = "me", .wheels = wheels, .n_wheels = 2}, false},
        {"a\nb>1", {.python = "cp311", .owner = "me", .wheels = swapped, .n_wheels = 2}, true},
        {"a\nb>1", {.python = "cp311", .owner = "me", .wheels = renamed, .n_wheels = 2}, false},
        {"", {.python = "cp311", .owner = "me", .wheels = renamed, .n_wheels = 2}, false},
    };
    uint8_t keys[ARRAY_LEN(cases)][32];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        key_of(cases[i].text, &cases[i].context, keys[i]);
        for (size_t k = 0; k < i; k++) {
            bool same = memcmp(keys[i], keys[k], 32) == 0;
            if (same != (cases[i].same && (k == i - 1)))
                fail_msg("cases %zu and %zu", i, k);
        }
    }
}

static void pip_arguments(void **state)
{
    const char *argv[REQUIREMENTS_PIP_ARGUMENTS];
    static const char *const head[] = {"python3", "-I", "-m", "pip", "install", "--isolated", "--no-input",
        "--disable-pip-version-check", "--no-cache-dir", "--only-binary=:all:", "--no-color", "--progress-bar=off",
        "--retries=2", "--timeout=15", "--no-warn-script-location"};
    static const char *const offline[] = {"--no-index", "--find-links", "/w", "--target", "/t", "-r", "/f"};
    static const char *const online[] = {"--index-url", "https://x", "--target", "/t", "-r", "/f"};
    struct requirements_pip pip = {.python = "python3", .file = "/f", .target = "/t", .wheels = "/w"};
    (void)state;
    requirements_pip_arguments(&pip, argv);
    for (size_t i = 0; i < ARRAY_LEN(head); i++)
        assert_string_equal(argv[i], head[i]);
    for (size_t i = 0; i < ARRAY_LEN(offline); i++)
        assert_string_equal(argv[ARRAY_LEN(head) + i], offline[i]);
    assert_null(argv[ARRAY_LEN(head) + ARRAY_LEN(offline)]);
    pip.wheels = NULL;
    pip.index_url = "https://x";
    requirements_pip_arguments(&pip, argv);
    for (size_t i = 0; i < ARRAY_LEN(online); i++)
        assert_string_equal(argv[ARRAY_LEN(head) + i], online[i]);
    assert_null(argv[ARRAY_LEN(head) + ARRAY_LEN(online)]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_form),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(bounds),
        cmocka_unit_test(as_an_error),
        cmocka_unit_test(the_key),
        cmocka_unit_test(pip_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
