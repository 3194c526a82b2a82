/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"

static void formats_rfc3339(void **state)
{
    (void)state;
    char out[CLOCK_TEXT_MAX];
    assert_string_equal(clock_format(0, out), "-");
    assert_string_equal(clock_format(1, out), "1970-01-01T00:00:00.000001Z");
    assert_string_equal(clock_format(1769860800123456ull, out), "2026-01-31T12:00:00.123456Z");
    assert_string_equal(clock_format(951782399999999ull, out), "2000-02-28T23:59:59.999999Z");
    assert_string_equal(clock_format(951782400000000ull, out), "2000-02-29T00:00:00.000000Z");
    clock_format(UINT64_MAX, out); /* whatever it is, it fits and ends */
    assert_true(strnlen(out, sizeof out) < sizeof out);
}

static void clocks_run(void **state)
{
    (void)state;
    uint64_t wall = clock_wall_us(), mono = clock_monotonic_us();
    assert_true(wall / 1000000 >= (uint64_t)time(NULL) - 5);
    assert_true(wall / 1000000 <= (uint64_t)time(NULL) + 5);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_monotonic_us();
        assert_true(now >= mono);
        mono = now;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_rfc3339),
        cmocka_unit_test(clocks_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
