/* SPDX-License-Identifier: Apache-2.0 */
/* A machine of files in a temporary folder, and one check of the doctor on it. */
#ifndef UNIT_DOCTOR_UNIT_H
#define UNIT_DOCTOR_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../tree.h"
#include "base/clock.h"
#include "doctor/internal.h"

struct machine {
    char root[64];
    struct doctor_options options;
    struct doctor doctor;
    struct doctor_check check; /* of the last look */
};

static inline int machine_make(void **state)
{
    struct machine *m = calloc(1, sizeof *m);
    tree_make(m->root);
    m->options.root = m->root;
    m->doctor =
        (struct doctor){.options = &m->options, .deadline_us = clock_monotonic_us() + 10 * 1000000, .root = true};
    *state = m;
    return 0;
}

static inline int machine_remove(void **state)
{
    struct machine *m = *state;
    int r = tree_remove(m->root);
    free(m);
    return r;
}

static inline void machine_folder(struct machine *m, const char *path)
{
    tree_folder(m->root, path);
}

static inline void machine_file(struct machine *m, const char *path, const char *text)
{
    tree_file(m->root, path, text);
}

/* Every check, whatever it finds, says something. */
#define LOOK(m, which)                                                       \
    do {                                                                     \
        (m)->check = (struct doctor_check){.name = #which};                  \
        check_##which(&(m)->doctor, &(m)->check);                            \
        assert_true(*(m)->check.found &&*(m)->check.cost &&*(m)->check.fix); \
    } while (0)
#define ASSERT_FOUND(m, wanted, text)                                                \
    do {                                                                             \
        if ((m)->check.status != DOCTOR_##wanted || !strstr((m)->check.found, text)) \
            print_message("%d: %s\n", (int)(m)->check.status, (m)->check.found);     \
        assert_int_equal((m)->check.status, DOCTOR_##wanted);                        \
        assert_non_null(strstr((m)->check.found, text));                             \
    } while (0)

#endif
