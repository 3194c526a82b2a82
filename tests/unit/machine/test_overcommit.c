/* SPDX-License-Identifier: Apache-2.0 */
/* A row for each stretch of equal samples; all times are made up. */
#include "unit.h"

#define SECOND UINT64_C(1000000)
enum { ROWS_MAX = 10, UNKNOWN = 9999, CEILING = 2000 };

struct row {
    unsigned samples, every_s; /* every_s: from each sample to the next; 0: 10 */
    unsigned busy;             /* per mille, or UNKNOWN */
    unsigned wanted;           /* per_mille after the last of them */
    bool no_psi;
    unsigned cpu, memory; /* some avg10, in hundredths */
    unsigned available;   /* thousandths of the memory, or UNKNOWN; 0 stands for 500 */
    unsigned ceiling;     /* 0: CEILING */
};

struct scene {
    const char *name;
    struct row rows[ROWS_MAX];
};

/* Quiet begins with the first sample, so the 13th is 2 minutes later. */
static const struct scene scenes[] = {
    {"rises after 2 minutes, every 30 s, to the ceiling",
        {{12, 0, 100, 1000}, {1, 0, 100, 1100}, {2, 0, 100, 1100}, {1, 0, 100, 1200}, {23, 0, 100, 1900},
            {1, 0, 100, 2000}, {50, 0, 100, 2000}}},
    {"699 is quiet", {{13, 0, 699, 1100}}},
    {"700 is not", {{50, 0, 700, 1000}}},
    {"one loud sample begins it anew", {{12, 0, 100, 1000}, {1, 0, 800, 1000}, {11, 0, 100, 1000}, {1, 0, 100, 1100}}},
    {"neither up nor down in between", {{16, 0, 100, 1200}, {100, 0, 850, 1200}}},
    {"a ceiling that is no multiple", {{13, 0, 0, 1050, .ceiling = 1050}, {9, 0, 0, 1050, .ceiling = 1050}}},
    {"a ceiling below 1000", {{40, 0, 0, 1000, .ceiling = 1}}},
    {"a ceiling that comes down holds at once",
        {{16, 0, 0, 1200}, {1, 0, 0, 1120, .ceiling = 1120}, {1, 0, 0, 1120, .ceiling = 1120}}},
    {"without PSI it rises too", {{12, 0, 100, 1000, .no_psi = true}, {1, 0, 100, 1100, .no_psi = true}}},
    {"want of memory stops it, and its end lets it go on",
        {{13, 0, 0, 1100}, {6, 0, 0, 1100, .memory = 100}, {1, 0, 0, 1200, .memory = 99}}},
    {"so does a tenth", {{13, 0, 0, 1100}, {9, 0, 0, 1100, .available = 100}, {1, 0, 0, 1200, .available = 101}}},
    {"and memory of which nothing is known", {{30, 0, 0, 1000, .available = UNKNOWN}}},
    {"pressure of cpu: at once, every 10 s, to 1000",
        {{28, 0, 0, 1600}, {1, 0, 500, 1350, .cpu = 6001}, {1, 0, 500, 1100, .cpu = 6001},
            {1, 0, 500, 1000, .cpu = 6001}, {9, 0, 500, 1000, .cpu = 10000}}},
    {"60 % is none", {{28, 0, 0, 1600}, {1, 0, 950, 1600, .cpu = 6000}, {20, 0, 950, 1600, .cpu = 6000}}},
    {"pressure of memory", {{28, 0, 0, 1600}, {1, 0, 0, 1600, .memory = 500}, {1, 0, 0, 1350, .memory = 501}}},
    {"no faster than every 10 s, less the second that a sample may be early",
        {{28, 0, 0, 1600}, {1, 1, 0, 1350, .cpu = 9000}, {8, 1, 0, 1350, .cpu = 9000}, {1, 1, 0, 1100, .cpu = 9000}}},
    {"quiet counts from the pressure on",
        {{28, 0, 0, 1600}, {1, 0, 0, 1350, .cpu = 9000}, {11, 0, 0, 1350}, {1, 0, 0, 1450}}},
    {"busy without PSI: after 30 s",
        {{28, 0, 0, 1600, .no_psi = true}, {2, 0, 901, 1600, .no_psi = true}, {1, 0, 901, 1350, .no_psi = true},
            {1, 0, 901, 1100, .no_psi = true}}},
    {"900 is not", {{28, 0, 0, 1600, .no_psi = true}, {50, 0, 900, 1600, .no_psi = true}}},
    {"a breath between",
        {{28, 0, 0, 1600, .no_psi = true}, {2, 0, 950, 1600, .no_psi = true}, {1, 0, 800, 1600, .no_psi = true},
            {2, 0, 950, 1600, .no_psi = true}, {1, 0, 950, 1350, .no_psi = true}}},
    {"busy is no matter where PSI says otherwise", {{28, 0, 0, 1600}, {50, 0, 1000, 1600, .cpu = 100}}},
    {"a gap begins quiet anew", {{12, 0, 0, 1000}, {1, 31, 0, 1000}, {11, 0, 0, 1000}, {1, 0, 0, 1100}}},
    {"30 s are no gap", {{4, 30, 0, 1000}, {1, 30, 0, 1100}, {1, 30, 0, 1200}}},
    {"nothing but gaps: never", {{50, 100, 0, 1000}}},
    {"a gap is one step down", {{28, 0, 0, 1600}, {1, 100000, 0, 1350, .cpu = 9000}}},
    {"a gap that was busy", {{28, 0, 0, 1600, .no_psi = true}, {1, 3600, 950, 1350, .no_psi = true}}},
    {"no busy share, no rise", {{12, 0, 0, 1000}, {1, 0, UNKNOWN, 1000}, {11, 0, 0, 1000}, {1, 0, 0, 1100}}},
    {"no busy share, but pressure", {{28, 0, 0, 1600}, {1, 0, UNKNOWN, 1350, .cpu = 9000}}},
};

static struct machine_load load_of(const struct row *r)
{
    struct machine_load load = {
        .busy_known = r->busy != UNKNOWN,
        .busy_per_mille = r->busy != UNKNOWN ? r->busy : 0,
        .memory_known = r->available != UNKNOWN,
        .cpu = {.present = !r->no_psi, .some.avg10 = r->cpu},
        .memory_pressure = {.present = !r->no_psi, .some.avg10 = r->memory},
    };
    if (load.memory_known)
        load.memory = (struct machine_memory){1000, r->available ? r->available : 500};
    return load;
}

/* Each sample `late_us` later than it should be, for those with an even number; the others are in time. */
static void play(const struct scene *scene, uint64_t now, uint64_t late_us)
{
    struct overcommit o;
    unsigned number = 0;
    overcommit_init(&o);
    for (size_t i = 0; i < ROWS_MAX && scene->rows[i].samples; i++) {
        const struct row *r = &scene->rows[i];
        const struct machine_load load = load_of(r);
        for (unsigned n = 0; n < r->samples; n++) {
            now += (r->every_s ? r->every_s : 10) * SECOND;
            unsigned got =
                overcommit_step(&o, &load, now + (number++ % 2 ? 0 : late_us), r->ceiling ? r->ceiling : CEILING);
            assert_int_equal(got, o.per_mille);
            assert_in_range(got, OVERCOMMIT_MIN, CEILING);
        }
        if (o.per_mille != r->wanted)
            print_error("%s: row %zu: %u\n", scene->name, i, o.per_mille);
        assert_int_equal(o.per_mille, r->wanted);
    }
}

static void scenes_as_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(scenes); i++) {
        play(&scenes[i], 0, 0);
        play(&scenes[i], UINT64_C(1) << 60, 0);
    }
}

static bool every_10_s(const struct scene *scene)
{
    for (size_t i = 0; i < ROWS_MAX; i++) {
        if (scene->rows[i].every_s != 0)
            return false;
    }
    return true;
}

/* A timer is never quite in time: that delays no step by a whole sample. */
static void a_little_late(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(scenes); i++) {
        if (every_10_s(&scenes[i])) /* the others are about the very second */
            play(&scenes[i], 5, SECOND / 4);
    }
}

static void time_that_goes_back_or_stands_still(void **state)
{
    (void)state;
    static const struct row quiet = {.busy = 0}, loud = {.busy = 0, .cpu = 9000};
    const struct machine_load up = load_of(&quiet), down = load_of(&loud);
    struct overcommit o;
    uint64_t now = 1000 * SECOND;
    overcommit_init(&o);
    for (int i = 0; i < 28; i++)
        overcommit_step(&o, &up, now += 10 * SECOND, CEILING);
    assert_int_equal(o.per_mille, 1600);
    for (int i = 0; i < 100; i++)
        assert_int_equal(overcommit_step(&o, &up, now, CEILING), 1600);
    now = 3 * SECOND; /* what was reached stays, the windows begin anew */
    for (int i = 0; i < 12; i++)
        assert_int_equal(overcommit_step(&o, &up, now += 10 * SECOND, CEILING), 1600);
    assert_int_equal(overcommit_step(&o, &up, now += 10 * SECOND, CEILING), 1700);
    for (int i = 0; i < 100; i++)
        assert_int_equal(overcommit_step(&o, &down, now, CEILING), 1450);
    assert_int_equal(overcommit_step(&o, &down, UINT64_MAX, CEILING), 1200);
    assert_int_equal(overcommit_step(&o, &up, 0, CEILING), 1200);
    assert_int_equal(overcommit_step(&o, &up, UINT64_MAX, CEILING), 1200);
}

static void all_zero_is_a_beginning(void **state)
{
    (void)state;
    static const struct row quiet = {.busy = 0};
    const struct machine_load up = load_of(&quiet);
    struct overcommit o = {0};
    assert_int_equal(overcommit_step(&o, &up, 0, 0), OVERCOMMIT_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scenes_as_written),
        cmocka_unit_test(a_little_late),
        cmocka_unit_test(time_that_goes_back_or_stands_still),
        cmocka_unit_test(all_zero_is_a_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
