/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of src/package share: a temporary folder as each test's state. */
#ifndef UNIT_PACKAGE_UNIT_H
#define UNIT_PACKAGE_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "../tree.h"
#include "base/fd.h"
#include "base/util.h"

struct folder {
    char root[64];
    int fd;
};

static inline int folder_make(void **state)
{
    struct folder *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tree_make(f->root);
    f->fd = open(f->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(f->fd >= 0);
    *state = f;
    return 0;
}

static inline int folder_drop(void **state)
{
    struct folder *f = *state;
    int r = tree_remove(f->root);
    fd_close(&f->fd);
    free(f);
    return r;
}

#define TEST_IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_drop)

#endif
