/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A full disk, and one that fails, at every single step of a few calls: the call that meets it says so or carries on, what was
 * there before is there still, nothing of it is left over, and the same call again goes well.
 */
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "script.h"
#include "steps.h"

/* False: there are fewer steps than that. */
static bool run_script(struct fixture *f, int step, int err)
{
    bool hit = false;
    for (int i = 0, before = 0; i < SCRIPT_CALLS; i++) {
        steps_arm(step - before, STEPS_FAIL, err);
        enum tw_code code = script_call(f, i);
        int done = steps_disarm();
        bool here = !hit && step - before < done;
        hit |= here;
        before += done;
        if (code == TW_OK)
            continue;
        if (!here)
            fail_msg("step %d: call %d failed without a reason: %s", step, i, f->error.message);
        if (err == ENOSPC && (code != TW_RESOURCE_EXHAUSTED || !strstr(f->error.message, "full")))
            fail_msg("step %d, call %d: not the right error: %s", step, i, f->error.message);
        if (!script_is_at(f, i))
            fail_msg("step %d: call %d failed (%s) and changed something", step, i, f->error.message);
        /* At once, not only when somebody cleans up. */
        if (i < 3 && (fixture_count(f, "tmp") != 0 || fixture_count(f, "blobs") != fixture_stat(f, NULL).blobs))
            fail_msg("step %d: call %d failed (%s) and left something", step, i, f->error.message);
        fixture_assert_sound(f);
        assert_true(script_is_at(f, i));
        if (script_call(f, i) != TW_OK)
            fail_msg("step %d: call %d does not go well again: %s", step, i, f->error.message);
    }
    assert_true(script_is_at(f, SCRIPT_CALLS));
    return hit;
}

static void fail_at_every_step(struct fixture *f, int err)
{
    int step = 0;
    fixture_open(f);
    while (run_script(f, step, err)) {
        script_reset(f);
        step++;
    }
    assert_true(step > 20);
    print_message("failed at each of %d steps\n", step);
    fixture_close(f);
    fixture_open(f);
    assert_true(script_is_at(f, SCRIPT_CALLS));
    fixture_assert_sound(f);
}

static void ignore(enum log_level level, const char *message, void *ctx)
{
    (void)level, (void)message, (void)ctx;
}

static void test_full(void **state)
{
    log_set_handler(ignore, NULL);
    fail_at_every_step(*state, ENOSPC);
}

static void test_broken(void **state)
{
    log_set_handler(ignore, NULL);
    fail_at_every_step(*state, EIO);
}

int main(void)
{
    steps_init();
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {T(test_full), T(test_broken)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
