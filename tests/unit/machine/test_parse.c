/* SPDX-License-Identifier: Apache-2.0 */
/* The parsers: what the kernel writes, and what it never would. What is refused leaves *ret alone. */
#include "unit.h"

static void stat_of_all_processors(void **state)
{
    static const struct {
        const char *text;
        uint64_t busy, total; /* total 0: refused */
    } cases[] = {
        {"cpu  10 20 30 400 5 6 7 8 100 200\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 9\n", 81, 486}, /* guests are in user */
        {"cpu  1 2 3 4\n", 6, 10},
        {"cpu  1 2 3 4", 6, 10},
        {"cpu  1 2 3 4 \n", 6, 10},
        {"btime 1\ncpu  0 0 0 18446744073709551615 0 0 0 0\n", 0, UINT64_MAX},
        {"cpu  0 0 0 18446744073709551615 1 0 0 0\n", 0, 0}, /* more than a number holds */
        {"cpu  0 0 0 18446744073709551616\n", 0, 0},
        {"cpu  1 2 3\n", 0, 0},
        {"cpu  1 2 3 -4\n", 0, 0},
        {"cpu  1 2 3 4x\n", 0, 0},
        {"cpu  1 2 3 4 +5\n", 0, 0},
        {"cpu0 1 2 3 4\n", 0, 0},
        {" cpu  1 2 3 4\n", 0, 0},
        {"cpu  \n1 2 3 4\n", 0, 0},
        {"cpu ", 0, 0},
        {"", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct machine_ticks t = {.busy = 77, .total = 78};
        assert_int_equal(machine_parse_stat(cases[i].text, &t), cases[i].total != 0);
        assert_int_equal(t.total, cases[i].total ? cases[i].total : 78);
        assert_int_equal(t.busy, cases[i].total ? cases[i].busy : 77);
    }
}

static void meminfo(void **state)
{
    static const struct {
        const char *text;
        uint64_t total, available; /* total 0: refused */
    } cases[] = {
        {"MemTotal:       16 kB\nMemFree:  1 kB\nMemAvailable:   8 kB\n", 16384, 8192},
        {"MemAvailable: 8 kB\nMemTotal: 16 kB", 16384, 8192},
        {"MemTotal: 16 kB\nMemAvailable: 17 kB\n", 16384, 16384},
        {"MemTotal: 16 kB\nMemAvailable: 0 kB\n", 16384, 0},
        {"MemTotal: 0 kB\nMemAvailable: 0 kB\n", 0, 0},
        {"MemTotal: 16 kB\nMemFree: 8 kB\n", 0, 0},
        {"MemTotal: 16\nMemAvailable: 8 kB\n", 0, 0},
        {"MemTotal: 16 MB\nMemAvailable: 8 kB\n", 0, 0},
        {"MemTotal: 16 kBx\nMemAvailable: 8 kB\n", 0, 0},
        {"MemTotal: -16 kB\nMemAvailable: 8 kB\n", 0, 0},
        {"MemTotal: 18014398509481984 kB\nMemAvailable: 8 kB\n", 0, 0}, /* 2^54 KiB are 2^64 bytes */
        {"XMemTotal: 16 kB\nMemAvailable: 8 kB\n", 0, 0},
        {"", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct machine_memory m = {.total_bytes = 77, .available_bytes = 78};
        assert_int_equal(machine_parse_meminfo(cases[i].text, &m), cases[i].total != 0);
        assert_int_equal(m.total_bytes, cases[i].total ? cases[i].total : 77);
        assert_int_equal(m.available_bytes, cases[i].total ? cases[i].available : 78);
    }
}

#define REST " avg300=0.00 total=0\n"
static void pressure(void **state)
{
    static const char *const refused[] = {
        "",
        "some\n",
        "some \n",
        "full avg10=0.00 avg60=0.00" REST,
        "some avg10=0.0 avg60=0.00" REST,
        "some avg10=0.000 avg60=0.00" REST,
        "some avg10=.00 avg60=0.00" REST,
        "some avg10=-1.00 avg60=0.00" REST,
        "some avg10=100.01 avg60=0.00" REST,
        "some avg10=101.00 avg60=0.00" REST,
        "some avg10=18446744073709551616.00 avg60=0.00" REST,
        "some avg10=1.00" REST,
        "some avg10=1.00\navg60=1.00" REST,
        "some avg10=1.00 avg60=1.00x\n",
        "some avg10=1.00 avg60=1.00" REST "full avg10=x avg60=0.00" REST,
    };
    (void)state;
    struct machine_pressure p = {0};
    assert_true(machine_parse_pressure("some avg10=1.23 avg60=2.50" REST "full avg10=0.07 avg60=100.00" REST, &p));
    assert_true(p.present);
    assert_int_equal(p.some.avg10, 123);
    assert_int_equal(p.some.avg60, 250);
    assert_int_equal(p.full.avg10, 7);
    assert_int_equal(p.full.avg60, 10000);
    /* An older kernel's of cpu. */
    assert_true(machine_parse_pressure("some avg10=99.99 avg60=0.00", &p));
    assert_int_equal(p.some.avg10, 9999);
    assert_int_equal(p.full.avg60, 0);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        p = (struct machine_pressure){.some.avg10 = 77};
        assert_false(machine_parse_pressure(refused[i], &p));
        assert_true(p.some.avg10 == 77 && !p.present);
    }
}

#define REFUSED 77
static void processor_limits(void **state)
{
    static const struct {
        const char *text, *period; /* period: of version 1 */
        uint64_t millis;
    } cases[] = {
        {"max 100000\n", NULL, MACHINE_NO_LIMIT},
        {"50000 100000\n", NULL, 500},
        {"250000 100000", NULL, 2500},
        {"1000 1000000\n", NULL, 1},
        {"100001 100000\n", NULL, 1001},
        {"1 1000000\n", NULL, 1},
        {"18446744073709551 1\n", NULL, UINT64_C(18446744073709551000)},
        {"18446744073709552 1\n", NULL, REFUSED},
        {"0 100000\n", NULL, REFUSED},
        {"1000 0\n", NULL, REFUSED},
        {"1000 1000001\n", NULL, REFUSED},
        {"1000\n", NULL, REFUSED},
        {"max\n", NULL, REFUSED},
        {"-1 100000\n", NULL, REFUSED},
        {"1000 1000 1000\n", NULL, REFUSED},
        {"1000 1000\n1000 1000\n", NULL, REFUSED},
        {"1000 1000\n\n", NULL, REFUSED},
        {" 1000 1000\n", NULL, REFUSED},
        {"", NULL, REFUSED},
        {"-1\n", "100000\n", MACHINE_NO_LIMIT},
        {"50000\n", "100000\n", 500},
        {"50000", "100000", 500},
        {"-2\n", "100000\n", REFUSED},
        {"-10\n", "100000\n", REFUSED},
        {"0\n", "100000\n", REFUSED},
        {"50000\n", "0\n", REFUSED},
        {"50000\n", "x\n", REFUSED},
        {"max\n", "100000\n", REFUSED},
        {"", "100000\n", REFUSED},
        {"-1\n", "", REFUSED},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t v = REFUSED;
        bool ok = cases[i].period ? machine_parse_cfs(cases[i].text, cases[i].period, &v)
                                  : machine_parse_cpu_max(cases[i].text, &v);
        assert_int_equal(ok, cases[i].millis != REFUSED);
        assert_int_equal(v, cases[i].millis);
    }
}

static void memory_limits(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        {"max\n", MACHINE_NO_LIMIT},
        {"max", MACHINE_NO_LIMIT},
        {"1048576\n", 1048576},
        {"0\n", 0},
        {"9223372036854771712\n", UINT64_C(9223372036854771712)},
        {"18446744073709551616\n", REFUSED},
        {"maxi\n", REFUSED},
        {"-1\n", REFUSED},
        {"1 \n", REFUSED},
        {"1M\n", REFUSED},
        {"\n", REFUSED},
        {"", REFUSED},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t v = REFUSED;
        assert_int_equal(machine_parse_memory_limit(cases[i].text, &v), cases[i].bytes != REFUSED);
        assert_int_equal(v, cases[i].bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stat_of_all_processors),
        cmocka_unit_test(meminfo),
        cmocka_unit_test(pressure),
        cmocka_unit_test(processor_limits),
        cmocka_unit_test(memory_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
