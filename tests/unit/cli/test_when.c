/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/util.h"
#include "cli/when.h"

/* 2030-01-31T12:00:00Z */
static const uint64_t now_us = UINT64_C(1896091200000000);

static uint64_t when(const char *text)
{
    uint64_t us = 1;
    int r = when_parse(text, now_us, &us);
    if (r < 0) {
        assert_int_equal(r, -EINVAL);
        assert_int_equal(us, 1);
        return 0;
    }
    return us / 1000000;
}

static void zone(const char *name)
{
    assert_int_equal(setenv("TZ", name, 1), 0);
    tzset();
}

static void dates(void **state)
{
    (void)state;
    zone("UTC");
    assert_int_equal(when("2030-01-31T18:30Z"), 1896114600);
    assert_int_equal(when("2030-01-31 18:30"), 1896114600);
    assert_int_equal(when("2030-01-31T18:30:05"), 1896114605);
    assert_int_equal(when("2030-01-31T18:30+01:00"), 1896114600 - 3600);
    assert_int_equal(when("2030-01-31T18:30:00-02:30"), 1896114600 + 9000);
    assert_int_equal(when("2028-02-29 00:00"), 1835395200);
    zone("Europe/Vienna");
    assert_int_equal(when("2030-01-31 18:30"), 1896114600 - 3600);
    assert_int_equal(when("2030-07-31 18:30"), 1911753000 - 7200);
    assert_int_equal(when("2030-01-31 18:30Z"), 1896114600);
}

static void times_of_the_day(void **state)
{
    (void)state;
    zone("UTC");
    assert_int_equal(when("18:30"), 1896114600);
    assert_int_equal(when("12:00:01"), 1896091201);
    assert_int_equal(when("12:00"), 1896091200 + 86400); /* not now but the next time */
    assert_int_equal(when("11:59"), 1896091200 + 86400 - 60);
}

static void seconds(void **state)
{
    (void)state;
    assert_int_equal(when("@1900000000"), 1900000000);
    assert_int_equal(when("@1"), 1);
    assert_int_equal(when("@9223372036854"), 9223372036854);
}

static void what_is_no_time(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", " ", "18", "18:3", "24:00", "18:60", "18:30:60", "18:30Z", "18:30 ",
        "2030-01-31", "2030-01-31T", "2030-02-30 10:00", "2030-13-01 10:00", "2030-00-01 10:00", "2030-01-00 10:00",
        "2030-01-31 18:30 ", "2030-01-31  18:30", "2030-01-31T18:30z", "2030-01-31T18:30+1", "2030-01-31T18:30+15:00",
        "2030-01-31T18:30+01:60", "1969-12-31T23:59Z", "30-01-31 18:30", "@", "@0", "@-1", "@1.5", "@x",
        "@9223372036855", "@99999999999999999999", "tomorrow", "2030-01-31T18:30+01:00x"};
    zone("UTC");
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        if (when(wrong[i]))
            fail_msg("\"%s\" was taken for a time", wrong[i]);
    }
}

static void what_was(void **state)
{
    (void)state;
    const uint64_t now = UINT64_C(1896091200000000);
    uint64_t us = 0;
    zone("UTC");
    assert_int_equal(when_parse_past("2h", now, &us), 0);
    assert_int_equal(us, now - UINT64_C(7200000000));
    assert_int_equal(when_parse_past("18:30", now, &us), 0);
    assert_int_equal(us, UINT64_C(1896114600000000) - UINT64_C(86400000000));
    assert_int_equal(when_parse_past("11:59", now, &us), 0);
    assert_int_equal(us, now - 60000000);
    assert_int_equal(when_parse_past("2031-01-31 18:30", now, &us), 0);
    assert_true(us > now);
    assert_int_equal(when_parse_past("@1900000000", now, &us), 0);
    assert_true(when_parse_past("yesterday", now, &us) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was), cmocka_unit_test(dates),
        cmocka_unit_test(times_of_the_day), cmocka_unit_test(seconds), cmocka_unit_test(what_is_no_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
