/* SPDX-License-Identifier: Apache-2.0 */
/* An audit log in a temporary folder. */
#ifndef ACCESS_AUDIT_FIXTURE_H
#define ACCESS_AUDIT_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "access/audit.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#include "../tree.h"

struct fixture {
    char root[64];
    char path[80];
    struct audit_options options;
    struct audit *audit;
    struct audit_report report;
    struct tw_error error;
};

static inline int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    log_set_output(-1, LOG_FORMAT_TEXT);
    tree_make(f->root);
    snprintf(f->path, sizeof f->path, "%s/audit", f->root);
    f->options.path = f->path;
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    audit_close(f->audit);
    (void)tree_remove(f->root);
    free(f);
    log_done();
    return 0;
}

static inline void fixture_open(struct fixture *f)
{
    if (audit_open(&f->options, &f->audit, &f->error) < 0)
        fail_msg("audit_open: %s", f->error.message);
}

static inline void fixture_close(struct fixture *f)
{
    audit_close(STEAL(f->audit));
}

static inline int fixture_write(struct fixture *f, const char *user, const char *action, const char *object)
{
    const struct audit_record record = {.user = user, .from = "10.0.0.1:4711", .action = action, .object = object};
    return audit_write(f->audit, &record, AUDIT_GROUPED, NULL, NULL);
}

static inline void fixture_write_many(struct fixture *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char object[16];
        snprintf(object, sizeof object, "%u", i);
        assert_int_equal(fixture_write(f, i % 2 ? "ann" : "bob", "task.submit", object), 0);
        if (i % 100 == 99)
            assert_int_equal(audit_flush(f->audit), 0);
    }
    assert_int_equal(audit_flush(f->audit), 0);
}

static inline enum audit_problem fixture_verify(struct fixture *f)
{
    if (audit_verify(f->path, &f->report, &f->error) < 0)
        fail_msg("audit_verify: %s", f->error.message);
    return f->report.problem;
}

static inline void fixture_assert_sound(struct fixture *f)
{
    if (fixture_verify(f))
        fail_msg("%s:%d: %s", f->report.file, (int)f->report.line, f->report.message);
}

static inline bool fixture_count_one(void *ctx, const struct audit_entry *entry)
{
    (void)entry;
    ++*(uint64_t *)ctx;
    return true;
}

static inline uint64_t fixture_count(struct fixture *f, const struct audit_filter *filter)
{
    uint64_t n = 0, damaged;
    if (audit_query(f->path, filter, fixture_count_one, &n, &damaged, &f->error) < 0)
        fail_msg("audit_query: %s", f->error.message);
    return n;
}

#endif
