/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "access/token.h"
#include "base/util.h"

/* Reckoned with Python's hashlib and base64, from the bytes 0 to 31. */
static const char known_text[] = "twt_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8b1xDd";
static const char known_id[] = "630dcd2966c43366";

static void known_secret(uint8_t secret[TOKEN_SECRET_BYTES])
{
    for (unsigned i = 0; i < TOKEN_SECRET_BYTES; i++)
        secret[i] = (uint8_t)i;
}

static enum token_form form_of(const char *text)
{
    uint8_t digest[TOKEN_DIGEST_BYTES], zeros[TOKEN_DIGEST_BYTES] = {0};
    memset(digest, 0xaa, sizeof digest);
    enum token_form form = token_parse(text, strlen(text), digest);
    if (form != TOKEN_RIGHT)
        assert_memory_equal(digest, zeros, sizeof zeros);
    return form;
}

static void test_known(void **state UNUSED)
{
    uint8_t secret[TOKEN_SECRET_BYTES], digest[TOKEN_DIGEST_BYTES];
    char id[TOKEN_ID_LEN + 1];
    struct token token;
    known_secret(secret);
    token_of_secret(secret, &token);
    assert_string_equal(token.text, known_text);
    assert_int_equal(strlen(token.text), TOKEN_TEXT_LEN);
    assert_int_equal(token_parse(known_text, TOKEN_TEXT_LEN, digest), TOKEN_RIGHT);
    assert_memory_equal(digest, token.digest, sizeof digest);
    token_id(digest, id);
    assert_string_equal(id, known_id);
}

static void test_made(void **state UNUSED)
{
    struct token one, other;
    uint8_t digest[TOKEN_DIGEST_BYTES];
    assert_int_equal(token_make(&one), 0);
    assert_int_equal(token_make(&other), 0);
    assert_string_not_equal(one.text, other.text);
    assert_int_equal(token_parse(one.text, strlen(one.text), digest), TOKEN_RIGHT);
    assert_memory_equal(digest, one.digest, sizeof digest);
    assert_memory_not_equal(digest, other.digest, sizeof digest);
    static const struct token zeros;
    token_wipe(&one);
    assert_memory_equal(&one, &zeros, sizeof zeros);
}

static void test_forms(void **state UNUSED)
{
    char text[TOKEN_TEXT_LEN + 3];
    assert_int_equal(form_of(""), TOKEN_FOREIGN);
    assert_int_equal(form_of("twt"), TOKEN_FOREIGN);
    assert_int_equal(form_of("ghp_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gGKmd"), TOKEN_FOREIGN);
    assert_int_equal(form_of("TWT_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gGKmd"), TOKEN_FOREIGN);
    assert_int_equal(form_of(" twt_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh88b1x"), TOKEN_FOREIGN);
    assert_int_equal(form_of("twt_"), TOKEN_LENGTH);
    snprintf(text, sizeof text, "%.*s", TOKEN_TEXT_LEN - 1, known_text);
    assert_int_equal(form_of(text), TOKEN_LENGTH);
    snprintf(text, sizeof text, "%s\n", known_text);
    assert_int_equal(form_of(text), TOKEN_LENGTH);
    for (int c = 1; c < 256; c++) {
        snprintf(text, sizeof text, "%s", known_text);
        text[4 + c % 48] = (char)c;
        bool is_digit = c < 128 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", c);
        assert_int_equal(form_of(text) == TOKEN_ALPHABET, !is_digit);
    }
    /* A NUL in the middle is a character like any other. */
    uint8_t digest[TOKEN_DIGEST_BYTES];
    snprintf(text, sizeof text, "%s", known_text);
    text[20] = '\0';
    assert_int_equal(token_parse(text, TOKEN_TEXT_LEN, digest), TOKEN_ALPHABET);
}

/* Any one character that is another one, and any two neighbours that have changed places. */
static void test_slips(void **state UNUSED)
{
    char text[TOKEN_TEXT_LEN + 1];
    for (size_t i = sizeof TOKEN_PREFIX - 1; i < TOKEN_TEXT_LEN; i++) {
        for (const char *c = "AZaz09-_"; *c; c++) {
            snprintf(text, sizeof text, "%s", known_text);
            text[i] = *c;
            assert_int_equal(form_of(text), *c == known_text[i] ? TOKEN_RIGHT : TOKEN_CHECKSUM);
        }
        if (i + 1 < TOKEN_TEXT_LEN && known_text[i] != known_text[i + 1]) {
            snprintf(text, sizeof text, "%s", known_text);
            text[i] = known_text[i + 1];
            text[i + 1] = known_text[i];
            assert_int_equal(form_of(text), TOKEN_CHECKSUM);
        }
    }
}

static void test_words(void **state UNUSED)
{
    for (enum token_form form = 0; form < TOKEN_FORM_MAX; form++)
        assert_non_null(strstr(token_form_to_string(form), "token"));
    assert_string_equal(token_form_to_string(TOKEN_FORM_MAX), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_made),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_slips),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
