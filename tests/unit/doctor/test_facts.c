/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "doctor/facts.h"

static void fields(void **state)
{
    (void)state;
    static const char text[] = "MemTotal:       100 kB\nSwapMemTotal: 7\nX:\t42\nCapEff:\t00000000a80425fb\nBig: "
                               "99999999999999999999999999\nNone:\nNeg: -1\n";
    uint64_t v = 1;
    assert_true(facts_field(text, "MemTotal", &v) && v == 100);
    assert_true(facts_field(text, "X", &v) && v == 42);
    assert_true(facts_field_hex(text, "CapEff", &v) && v == 0xa80425fb);
    v = 5;
    assert_false(facts_field(text, "Total", &v)); /* not at the beginning of a line */
    assert_false(facts_field(text, "Big", &v));
    assert_false(facts_field(text, "None", &v));
    assert_false(facts_field(text, "Neg", &v));
    assert_false(facts_field("", "X", &v));
    assert_int_equal(v, 5);
}

static void versions_and_choices(void **state)
{
    (void)state;
    unsigned major, minor;
    char word[8];
    assert_true(facts_version("6.1.0-18-amd64", &major, &minor) && major == 6 && minor == 1);
    assert_false(facts_version("6", &major, &minor));
    assert_false(facts_version("6.x", &major, &minor));
    assert_false(facts_version("99999999999.1", &major, &minor));
    assert_true(facts_choice("always [madvise] never", word, sizeof word));
    assert_string_equal(word, "madvise");
    assert_false(facts_choice("always [a-word-too-long] never", word, sizeof word));
    assert_false(facts_choice("always madvise]", word, sizeof word));
    assert_false(facts_choice("[always", word, sizeof word));
}

static void maps(void **state)
{
    (void)state;
    assert_true(facts_maps("         0          0 4294967295\n", 1900000000, 2048));
    assert_true(facts_maps("0 1000 1\n1 100000 65536\n", 1, 65536));
    assert_false(facts_maps("0 1000 1\n1 100000 65536\n", 1, 65537));
    assert_false(facts_maps("0 1000 1\n1 100000 65536\n", 0, 2)); /* two ranges are not one */
    assert_false(facts_maps("0 0 -1\n0 0\nx y z\n0 0 4294967296\n", 0, 1));
    assert_false(facts_maps("", 0, 1));
}

static void owners(void **state)
{
    (void)state;
    char name[8] = "";
    uint64_t id = 0;
    static const char passwd[] = "root:x:0:0::/:\nbroken\nbad:x:-5:0:::\na-very-long-name:x:2000:1::/:\n";
    assert_true(facts_id_taken(passwd, false, 1900, 101, name, sizeof name, &id));
    assert_string_equal(name, "a-very-");
    assert_int_equal(id, 2000);
    assert_false(facts_id_taken(passwd, false, 1900, 100, name, sizeof name, &id));
    assert_false(facts_id_taken(passwd, false, 2001, 100, name, sizeof name, &id));
    assert_true(facts_id_taken("u:100000:65536\n", true, 165535, 10, name, sizeof name, &id));
    assert_false(facts_id_taken("u:100000:65536\n", true, 165536, 10, name, sizeof name, &id));
    assert_false(facts_id_taken("u:100000:0\nu:1\n", true, 100000, 10, name, sizeof name, &id));
}

static void lists(void **state)
{
    (void)state;
    assert_true(facts_list_has("cpuset cpu io\n", ' ', "io"));
    assert_true(facts_list_has("rw,cpu,cpuacct", ',', "cpu"));
    assert_false(facts_list_has("cpuset cpuacct", ' ', "cpu"));
    assert_false(facts_list_has("", ' ', "cpu"));
}

static void http(void **state)
{
    (void)state;
    const char *body = NULL;
    size_t len = 0;
    static const char good[] = "HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}";
    assert_int_equal(facts_http(good, strlen(good), &body, &len), 200);
    assert_int_equal(len, 2);
    assert_memory_equal(body, "{}", 2);
    static const char cut[] = "HTTP/1.1 404 Not\r\nA";
    assert_int_equal(facts_http(cut, strlen(cut), &body, &len), 404);
    assert_int_equal(len, 0);
    static const char *const bad[] = {
        "", "HTTP/1.1", "HTTP/1.1 20", "HTTP/1.1 2x0 ", "SSH-2.0-OpenSSH_9.2", "HTTP/2.0 200 OK"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(facts_http(bad[i], strlen(bad[i]), &body, &len), 0);
}

static void listeners(void **state)
{
    (void)state;
    static const char text[] =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:C385 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0\n"
        "   1: 0100007F:C385 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1 0\n";
    uint64_t inode = 0;
    assert_true(facts_listener(text, 50053, &inode));
    assert_int_equal(inode, 22); /* a connection of that port is no listener */
    assert_false(facts_listener(text, 50054, &inode));
    assert_false(facts_listener("1: C385 x 0A\n", 50053, &inode));
    assert_false(facts_listener("", 50053, &inode));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),
        cmocka_unit_test(versions_and_choices),
        cmocka_unit_test(maps),
        cmocka_unit_test(owners),
        cmocka_unit_test(lists),
        cmocka_unit_test(http),
        cmocka_unit_test(listeners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
