/* SPDX-License-Identifier: Apache-2.0 */
/* A machine of files in a temporary folder. */
#ifndef UNIT_MACHINE_UNIT_H
#define UNIT_MACHINE_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../tree.h"
#include "base/util.h"
#include "machine/machine.h"

struct fake {
    char root[64];
    struct machine_source source;
};

static inline int fake_make(void **state)
{
    struct fake *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tree_make(f->root);
    f->source = (struct machine_source){.root = f->root, .processors = 4};
    *state = f;
    return 0;
}

static inline int fake_remove(void **state)
{
    struct fake *f = *state;
    int r = tree_remove(f->root);
    free(f);
    return r;
}

#define ON_FAKE(test) cmocka_unit_test_setup_teardown(test, fake_make, fake_remove)

#endif
