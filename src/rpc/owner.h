/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose tasks and files a call is about. Who calls was found before a handler is asked (rpc_call_who()); what he may do with what
 * belongs to others is decided here, for all handlers. Of a server that asks nobody every caller may do everything, in whatever name.
 */
#ifndef RPC_OWNER_H
#define RPC_OWNER_H

#include <stdbool.h>

#include <taskworker/error.h>

#include "rpc/server.h"

/* Whether the caller sees everybody's tasks and files. */
bool owner_sees_all(const struct rpc_call *call);
/* Whether he sees what belongs to this owner. */
bool owner_may_see(const struct rpc_call *call, const char *owner);

/* The caller's name, in which he hands tasks in; NULL: nobody in particular. Borrowed from the call. */
const char *owner_caller(const struct rpc_call *call);

/*
 * The owner that a request names, a string of an unpacked message: an empty one becomes the caller. PERMISSION_DENIED: it is another, and he
 * does not see everybody's.
 */
int owner_take(const struct rpc_call *call, char **owner, struct tw_error *error);
/* The same for a list that has everybody's where the owner is empty: for who sees all it stays so. */
int owner_take_filter(const struct rpc_call *call, char **owner, struct tw_error *error);

/* NOT_FOUND, in the words in which the store says it. Returns error. */
const struct tw_error *owner_hide_task(const char *id, struct tw_error *error);

#endif
