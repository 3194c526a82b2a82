/* SPDX-License-Identifier: Apache-2.0 */
/* Giving up root for good, and the folder that the unprivileged user then needs. */
#ifndef NODE_PRIVILEGES_H
#define NODE_PRIVILEGES_H

#include <stdint.h>
#include <sys/types.h>

#include <taskworker/error.h>

struct identity {
    uid_t uid;
    gid_t gid;
};

/*
 * Whom to run as when started as root and nobody said: the account hivemind; else the number 1899999999; else, in a user
 * namespace that does not map it, the highest id that it maps ("0" if that is root alone). NULL: no memory.
 */
char *privileges_default_user(void);

/* The user id behind a name or number: 0, -ENOENT for a name without an account, or -errno. */
int privileges_uid_of(const char *user, uint64_t *ret);

/* The account's name into out, or "somebody". */
const char *privileges_name_of(uid_t uid, char out[64]);

/* The ids behind a name or number. A number without an account has the group of the same number. */
int privileges_resolve(const char *user, struct identity *ret, struct tw_error *error);

/*
 * Becomes that user irrevocably: no supplementary groups, no capabilities, no way back by exec. Checked afterwards. With
 * the ids of the caller (user namespace with root alone) only the last holds.
 */
int privileges_drop(const struct identity *who, struct tw_error *error);

/* As many open files as the limits let us have. */
void process_raise_file_limit(void);
/* Our memory holds what tasks were given: nobody gets to see it. */
void process_forbid_core_dumps(void);

/*
 * Makes the folder and those above it if they are missing, and checks that it belongs to `owner`; one that others can read is closed to
 * them, and one that they can write to is refused. A new one, and an empty
 * one of root's, is given to `owner` if the caller is root. Relative paths are from the current folder.
 */
int storage_prepare(const char *path, const struct identity *owner, struct tw_error *error);

/* A new folder below $TMPDIR or /tmp; free the name. */
int storage_make_temporary(const struct identity *owner, char **ret, struct tw_error *error);
/* Removes a folder with all that is in it, as far as that works. */
void storage_remove(const char *path);

#endif
