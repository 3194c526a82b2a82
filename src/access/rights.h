/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what: roles, and one table of everything that can be asked of a node with the role that it takes. What is not in
 * the table is refused to everybody.
 *
 * Each role may do all that the ones before it may:
 *
 *   viewer     looks: at the node's state, and at what belongs to it, from when it was more or by a token that was limited;
 *              has its own tokens and password
 *   submitter  hands in tasks, calls functions, keeps files; sees, changes and stops its own
 *   operator   does all that with everybody's; cleans up, checks, shuts the node down
 *   admin      decides who is what: accounts, tokens, the audit log
 *
 * A viewer does not see other people's tasks: no role may see less than one below it, and submitters see their own alone.
 */
#ifndef ACCESS_RIGHTS_H
#define ACCESS_RIGHTS_H

#include <stdbool.h>
#include <stddef.h>

#define ROLES(X)              \
    X(VIEWER, "viewer")       \
    X(SUBMITTER, "submitter") \
    X(OPERATOR, "operator")   \
    X(ADMIN, "admin")

/* The numbers are in the database of accounts. */
enum role {
#define X(name, text) ROLE_##name,
    ROLES(X)
#undef X
        ROLE_MAX
};

#define RIGHTS_REACHES(X)                                                                   \
    X(NODE, "node")   /* it is about nothing that belongs to anybody */                     \
    X(OWNED, "owned") /* about tasks or files: one's own, or all with rights_reach_all() */ \
    X(SELF, "self")   /* about one's own account and tokens, or, as an administrator, anybody's */

enum rights_reach {
#define X(name, text) REACH_##name,
    RIGHTS_REACHES(X)
#undef X
        REACH_MAX
};

struct right {
    const char *method; /* "/package.Service/Method" */
    bool open;          /* also to those who have not said who they are; `role` says nothing then */
    enum role role;     /* the lowest that may */
    enum rights_reach reach;
};

/* NULL: it is not in the table. */
const struct right *rights_needed(const char *method);
/* False for what is not in the table, and for what is no role. */
bool rights_allow(enum role role, const char *method);
/* The same for somebody who has not said who he is. */
bool rights_allow_nobody(const char *method);
/* Whether this role sees and changes everybody's tasks and files. */
bool rights_reach_all(enum role role);

/* The whole table, in the order of the names. */
const struct right *rights_table(size_t *ret_n);

const char *role_to_string(enum role role);          /* "unknown" for what is none */
int role_from_string(const char *s, enum role *ret); /* 0 or -EINVAL */
const char *rights_reach_to_string(enum rights_reach reach);

#endif
