/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sodium.h>

#include "access/audit_line.h"
#include "base/json.h"
#include "base/text.h"
#include "base/util.h"

static struct audit_entry entry_of_ann(void)
{
    struct audit_entry e = {.seq = 7, .wall_us = UINT64_C(1769860800123000), .outcome = AUDIT_DENIED};
    audit_text(e.user, AUDIT_USER_MAX, "ann \"the\\boss\"");
    audit_text(e.token, AUDIT_TOKEN_MAX, "t1");
    audit_text(e.from, AUDIT_FROM_MAX, "10.0.0.1:4711");
    audit_text(e.action, AUDIT_ACTION_MAX, "task.submit");
    audit_text(e.object, AUDIT_OBJECT_MAX, "4f1c");
    audit_text(e.detail, AUDIT_DETAIL_MAX, "not hers");
    return e;
}

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define HASHED                                                                                        \
    "{\"seq\":7,\"time\":\"2026-01-31T12:00:00.123Z\",\"user\":\"ann \\u0022the\\u005cboss\\u0022\"," \
    "\"token\":\"t1\",\"from\":\"10.0.0.1:4711\",\"action\":\"task.submit\",\"object\":\"4f1c\","     \
    "\"outcome\":\"denied\",\"detail\":\"not hers\",\"prev\":\"" ZEROS "\""

/* The bytes that the header promises. */
static void test_the_format(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf out = BUF_INIT(AUDIT_LINE_MAX);
    struct audit_entry e = entry_of_ann(), back;
    char expected[1024], hex[65];
    uint8_t hash[32];
    assert_int_equal(audit_line_append(&out, &e), 0);
    crypto_hash_sha256(hash, (const uint8_t *)HASHED, strlen(HASHED));
    text_hex(hash, 32, hex);
    snprintf(expected, sizeof expected, HASHED ",\"hash\":\"%s\"}\n", hex);
    assert_int_equal(out.len, strlen(expected));
    assert_memory_equal(out.data, expected, out.len);
    assert_memory_equal(e.hash, hash, 32);
    assert_true(json_is_valid(out.data, out.len));
    memset(&back, 0, sizeof back);
    assert_int_equal(audit_line_parse(expected, out.len - 1, &back), AUDIT_LINE_OK);
    assert_memory_equal(&back, &e, sizeof e);
}

/* Whatever byte is changed, left out or doubled: it is no record, or one with another hash. */
static void test_every_byte_counts(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf out = BUF_INIT(AUDIT_LINE_MAX);
    struct audit_entry e = entry_of_ann(), back;
    char line[1024];
    assert_int_equal(audit_line_append(&out, &e), 0);
    size_t len = out.len - 1;
    for (size_t i = 0; i < len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(line, out.data, len);
            line[i] = (char)(line[i] ^ (1 << bit));
            assert_int_not_equal(audit_line_parse(line, len, &back), AUDIT_LINE_OK);
        }
        memcpy(line, out.data, i);
        memcpy(line + i, out.data + i + 1, len - i - 1);
        assert_int_not_equal(audit_line_parse(line, len - 1, &back), AUDIT_LINE_OK);
        assert_int_not_equal(audit_line_parse((const char *)out.data, i, &back), AUDIT_LINE_OK);
        memcpy(line, out.data, i + 1);
        memcpy(line + i + 1, out.data + i, len - i);
        assert_int_not_equal(audit_line_parse(line, len + 1, &back), AUDIT_LINE_OK);
    }
}

/* Each with a hash that is right. */
static void test_only_one_way_to_write_it(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } changes[] = {
        {"\"seq\":7", "\"seq\":07"},
        {"\"seq\":7", "\"seq\":-7"},
        {"\"seq\":7", "\"seq\":"},
        {"\"seq\":7", "\"seq\":18446744073709551616"},
        {"{\"seq", "{ \"seq"},
        {"01-31T", "02-31T"},
        {"01-31T", "13-31T"},
        {"12:00:00", "24:00:00"},
        {"12:00:00", "12:60:00"},
        {"12:00:00.123Z", "12:00:00,123Z"},
        {"2026", "1969"},
        {"T12", " 12"},
        {"ann", "\\u0061nn"},
        {"\\u0022", "\\\""},
        {"ann", "a\tn"},
        {"ann", "a\xffn"},
        {"ann", "a\xe2\x80\xae"},
        {"ann", "a\\u0000"},
        {"denied", "maybe"},
        {"denied", ""},
        {"user", "User"},
        {"\"prev\":\"00", "\"prev\":\"0A"},
        {"\"prev\":\"00", "\"prev\":\"0"},
    };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        char line[1024], hex[65];
        uint8_t hash[32];
        struct audit_entry back;
        const char *at = strstr(HASHED, changes[i].from);
        assert_non_null(at);
        int n = snprintf(
            line, sizeof line, "%.*s%s%s", (int)(at - HASHED), HASHED, changes[i].to, at + strlen(changes[i].from));
        crypto_hash_sha256(hash, (const uint8_t *)line, (size_t)n);
        text_hex(hash, 32, hex);
        n += snprintf(line + n, sizeof line - (size_t)n, ",\"hash\":\"%s\"}", hex);
        if (audit_line_parse(line, (size_t)n, &back) != AUDIT_LINE_SYNTAX)
            fail_msg("taken: %s", line);
    }
}

static void test_hostile_text(void **state)
{
    (void)state;
    char out[21], small[4];
    audit_text(out, 20,
        "a\nb\x01"
        "c\x7f\xc2\x85"
        "d");
    assert_string_equal(out, "a b c  d");
    audit_text(out, 20,
        "a\xff\xe2\x80"
        "b");
    assert_string_equal(out,
        "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
        "b");
    audit_text(out, 20,
        "\xe2\x80\xae"
        "evil");
    assert_string_equal(out, " evil");
    audit_text(out, 20, NULL);
    assert_string_equal(out, "");
    audit_text(small, 3, "a\xc3\xa4\xc3\xa4");
    assert_string_equal(small, "a\xc3\xa4");
    audit_text(small, 3, "ab\xff");
    assert_string_equal(small, "ab");
    audit_text(small, 3, "\xf3\xa0\x80\x81\xf3\xa0\x80\x81\xf3\xa0\x80\x81\xf3\xa0\x80\x81");
    assert_string_equal(small, "   ");
}

/* The longest of all, each byte of which is escaped. */
static void test_the_longest_line(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf out = BUF_INIT(AUDIT_LINE_MAX);
    struct audit_entry e = {.seq = UINT64_MAX, .wall_us = UINT64_C(253402300799999000)}, back;
    memset(e.user, '"', AUDIT_USER_MAX);
    memset(e.token, '\\', AUDIT_TOKEN_MAX);
    memset(e.from, '"', AUDIT_FROM_MAX);
    memset(e.action, '"', AUDIT_ACTION_MAX);
    memset(e.object, '\\', AUDIT_OBJECT_MAX);
    memset(e.detail, '"', AUDIT_DETAIL_MAX);
    assert_int_equal(audit_line_append(&out, &e), 0);
    memset(&back, 0, sizeof back);
    assert_int_equal(audit_line_parse((const char *)out.data, out.len - 1, &back), AUDIT_LINE_OK);
    assert_memory_equal(&back, &e, sizeof e);
}

static void test_heads(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf out = BUF_INIT(AUDIT_HEAD_MAX);
    struct audit_head head = {.seq = UINT64_MAX, .hash = {1, 2, 255}}, back = {0};
    assert_int_equal(audit_head_append(&out, &head), 0);
    assert_true(audit_head_parse((const char *)out.data, out.len, &back));
    assert_memory_equal(&back, &head, sizeof head);
    for (size_t i = 0; i < out.len; i++)
        assert_false(audit_head_parse((const char *)out.data, i, &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_format),
        cmocka_unit_test(test_every_byte_counts),
        cmocka_unit_test(test_only_one_way_to_write_it),
        cmocka_unit_test(test_hostile_text),
        cmocka_unit_test(test_the_longest_line),
        cmocka_unit_test(test_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
