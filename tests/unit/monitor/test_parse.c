/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "node/monitor/parse.h"

static void processors(void **state UNUSED)
{
    const char *text = "cpu  10 1 5 100 7 2 3 4 0 0\ncpu0 5 0 2 50 3 1 1 2 0 0\nintr 1 2 3\ncpu3 1 2 3 4\nctxt 5";
    struct parse_cpu c;
    assert_true(parse_next_cpu(&text, &c));
    assert_true(c.core == PARSE_ALL_CORES && c.user == 11 && c.system == 10 && c.idle == 100 && c.iowait == 7);
    assert_true(c.steal == 4 && c.total == 132);
    assert_true(parse_next_cpu(&text, &c));
    assert_true(c.core == 0 && c.total == 64);
    assert_true(parse_next_cpu(&text, &c)); /* an old kernel's, behind lines of something else */
    assert_true(c.core == 3 && c.total == 10 && c.steal == 0);
    assert_false(parse_next_cpu(&text, &c));
    assert_int_equal(*text, '\0');
}

static void processors_that_are_none(void **state UNUSED)
{
    static const char *const texts[] = {"", "\n", "cpu", "cpu 1 2 3\n", "cpu  1 2 3 x\n", "cpux 1 2 3 4\n", "cpu0\n",
        "cpu-1 1 2 3 4", "cpu99999999999999999999 1 2 3 4\n", "cpu70000 1 2 3 4\n", "cpu  18446744073709551615 1 0 0\n",
        " cpu 1 2 3 4", "cpu  1 2 3 99999999999999999999\n", "cpu0 1 2 3 4x\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const char *text = texts[i];
        struct parse_cpu c;
        assert_false(parse_next_cpu(&text, &c));
    }
}

static void interfaces(void **state UNUSED)
{
    const char *text = "Inter-|   Receive  |  Transmit\n face |bytes    packets\n"
                       "    lo: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n"
                       "eth0:18446744073709551615 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n"
                       "bad: 1 2 3\nbig:99999999999999999999 1 0 0 0 0 0 0 7 1\n: 1 1 1 1 1 1 1 1 1 1\n"
                       " we\"\\\x01ird: 1 2 3 4 5 6 7 8 9";
    struct parse_interface i;
    assert_true(parse_next_interface(&text, &i));
    assert_string_equal(i.name, "lo");
    assert_true(i.received == 10 && i.sent == 20);
    assert_true(parse_next_interface(&text, &i));
    assert_string_equal(i.name, "eth0");
    assert_true(i.received == UINT64_MAX && i.sent == 7);
    assert_true(parse_next_interface(&text, &i));
    assert_string_equal(i.name, "we___ird");
    assert_int_equal(i.sent, 9);
    assert_false(parse_next_interface(&text, &i));
}

static void disks(void **state UNUSED)
{
    const char *text = "   8       0 sda 1 2 3 4 5 6 7 8 9 10 11\n 8 1 sda1 1 2 3\n x 1 sdb 1 2 3 4 5 6 7 8 9 10\n"
                       " 104 0 cciss/c0d0 1 2 3 4 5 6 7 8 9 10 11 12\n 8 0 sdc 1 2 99999999999999999 4 5 6 7 8 9 10\n";
    struct parse_disk d;
    assert_true(parse_next_disk(&text, &d));
    assert_string_equal(d.name, "sda");
    assert_true(d.read_bytes == 3 * 512 && d.written_bytes == 7 * 512 && d.busy_ms == 10);
    assert_true(parse_next_disk(&text, &d));
    assert_string_equal(d.name, "cciss!c0d0");
    assert_false(parse_next_disk(&text, &d)); /* sectors beyond what bytes can be counted in */
}

static void load_and_swap(void **state UNUSED)
{
    double loads[3] = {7, 7, 7};
    uint64_t total, used;
    assert_true(parse_loadavg("0.05 1.71 12.00 2/146 14408\n", loads));
    assert_near(loads[0], 0.05);
    assert_near(loads[1], 1.71);
    assert_near(loads[2], 12);
    static const char *const bad[] = {
        "", "1", "1.2 1.00 1.00", "1.00 1.00", "-1.00 1.00 1.00", "1.00 1.00 99999999.00", "nan nan nan"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(parse_loadavg(bad[i], loads));
    assert_near(loads[2], 12);
    assert_true(parse_swap("MemTotal: 5 kB\nSwapTotal:  10 kB\nSwapFree: 4 kB\n", &total, &used));
    assert_true(total == 10240 && used == 6144);
    assert_true(parse_swap("SwapTotal: 1 kB\nSwapFree: 4 kB\n", &total, &used));
    assert_int_equal(used, 0);
    assert_false(parse_swap("SwapTotal: 1 kB\n", &total, &used));
    assert_false(parse_swap("SwapTotal: 1\nSwapFree: 4 kB\n", &total, &used));
    assert_false(parse_swap("SwapTotal: 18446744073709551615 kB\nSwapFree: 4 kB\n", &total, &used));
}

static void temperatures(void **state UNUSED)
{
    double t = 1;
    assert_true(parse_temperature("45500\n", &t));
    assert_near(t, 45.5);
    assert_true(parse_temperature("-5000", &t));
    assert_near(t, -5);
    static const char *const bad[] = {
        "", "\n", "-", "4 5", "45\n\n", "1000001", "-273151", "99999999999999999999", "4.5"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(parse_temperature(bad[i], &t));
    assert_near(t, -5);
}

static void labels(void **state UNUSED)
{
    char label[MONITOR_LABEL_MAX], longest[200];
    memset(longest, 'x', sizeof longest);
    parse_label(longest, sizeof longest, label);
    assert_int_equal(strlen(label), MONITOR_LABEL_MAX - 1);
    parse_label("a\0b\xc3\xa4\x7f c", 8, label);
    assert_string_equal(label, "a_b___ c");
    parse_label("", 0, label);
    assert_string_equal(label, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processors),
        cmocka_unit_test(processors_that_are_none),
        cmocka_unit_test(interfaces),
        cmocka_unit_test(disks),
        cmocka_unit_test(load_and_swap),
        cmocka_unit_test(temperatures),
        cmocka_unit_test(labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
