/* SPDX-License-Identifier: Apache-2.0 */
/* A row of calls that change the accounts, and what is there after so many of them. */
#ifndef ACCESS_SCRIPT_H
#define ACCESS_SCRIPT_H

#include "fixture.h"

enum { SCRIPT_CALLS = 11, SCRIPT_STATE_MAX = 400 };

struct script_state {
    char text[SCRIPT_STATE_MAX];
    struct accounts *a; /* whose */
};

/* After so many calls; filled by script_expect(). */
extern struct script_state script_expected[SCRIPT_CALLS + 1];

/* The n-th call: the first one opens the accounts, the second one says that the first token was shown. */
int script_call(struct fixture *f, int n);
/* All users and their tokens, as text; of accounts that are not open: "". */
struct script_state script_state(struct fixture *f);
/* Does all calls, in accounts of its own. */
void script_expect(void);

#endif
