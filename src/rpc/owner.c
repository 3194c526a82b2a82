/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/owner.h"

#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "base/error.h"

bool owner_sees_all(const struct rpc_call *call)
{
    const struct who *who = rpc_call_who(call);
    return !who || rights_reach_all(who->role);
}

bool owner_may_see(const struct rpc_call *call, const char *owner)
{
    return owner_sees_all(call) || !strcmp(rpc_call_who(call)->user, owner ? owner : "");
}

const char *owner_caller(const struct rpc_call *call)
{
    const struct who *who = rpc_call_who(call);
    return who ? who->user : NULL;
}

/* protobuf-c's own "" is not from malloc(). */
static int replace(char **text, const char *with, struct tw_error *error)
{
    char *copy = strdup(with);
    if (!copy)
        return error_oom(error);
    if (*text != protobuf_c_empty_string)
        free(*text);
    *text = copy;
    return 0;
}

int owner_take(const struct rpc_call *call, char **owner, struct tw_error *error)
{
    const struct who *who = rpc_call_who(call);
    if (!who)
        return 0;
    if (!**owner)
        return replace(owner, who->user, error);
    if (owner_may_see(call, *owner))
        return 0;
    return error_set(error, TW_PERMISSION_DENIED,
        "you are %s: what belongs to another user takes the role operator, and you are %s", who->user,
        role_to_string(who->role));
}

int owner_take_filter(const struct rpc_call *call, char **owner, struct tw_error *error)
{
    return !**owner && owner_sees_all(call) ? 0 : owner_take(call, owner, error);
}

const struct tw_error *owner_hide_task(const char *id, struct tw_error *error)
{
    error_set(error, TW_NOT_FOUND, "there is no task '%s'", id);
    return error;
}
