/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what at a worker's gRPC service: accounts, their tokens, limits of rate, and an audit log. A worker that was not told to
 * asks nobody: then everybody who reaches its port may do everything.
 */
#ifndef TASKWORKER_ACCESS_H
#define TASKWORKER_ACCESS_H

#include <taskworker/worker.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TW_TOKEN_TEXT_LEN = 52 };
#define TW_RATE_UNLIMITED UINT32_MAX

struct tw_access_options {
    size_t size;            /* sizeof(struct tw_access_options) */
    const char *path;       /* the folder of the accounts; made (0700) if it is not there, in one that is; required */
    const char *audit_path; /* the folder of the audit log, made likewise; NULL: nothing is written down */
    /* What one user may ask for in a second, and four times as much at once. TW_RATE_UNLIMITED: as often as he likes. */
    uint32_t max_requests;    /* calls; 0: 5000 */
    uint32_t max_submissions; /* calls that hand tasks in; 0: 1000 */
    /*
     * Bytes of requests and answers together; 0: as many as he likes. They are paid for when a call has ended: who has used up more than he has
     * gets no further call until that is made up for; what runs goes on.
     */
    uint64_t max_bytes;
};

/*
 * From now on callers have to say who they are, by `authorization: Bearer TOKEN` or by a client's certificate whose name is a user's. Once,
 * before tw_worker_listen(). The first time there is one user, "admin".
 */
TW_PUBLIC int tw_worker_set_access(
    struct tw_worker *worker, const struct tw_access_options *options, struct tw_error *error);

/*
 * The token of a new node's administrator, as long as nobody has seen it, else NULL. Show it, for the only time, and then say so: until
 * that, each start makes another one. Valid until then. From the loop's thread, or before the loop runs.
 */
TW_PUBLIC const char *tw_worker_first_token(const struct tw_worker *worker);
TW_PUBLIC int tw_worker_first_token_shown(struct tw_worker *worker, struct tw_error *error);

/*
 * The way back in where no administrator has a token any more: makes one for "admin", who is made an administrator again, and enabled (where
 * that account was removed: for a new one, "admin-2" and so on). It is written to the audit log first. No worker may have the accounts
 * open. ret_user: TW_ACCESS_USER_MAX + 1 bytes; ret_token: TW_TOKEN_TEXT_LEN + 1: wipe it.
 */
enum { TW_ACCESS_USER_MAX = 64 };
TW_PUBLIC int tw_access_reset_admin(
    const struct tw_access_options *options, char *ret_user, char *ret_token, struct tw_error *error);

#ifdef __cplusplus
}
#endif
#endif
