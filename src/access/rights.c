/* SPDX-License-Identifier: Apache-2.0 */
#include "access/rights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define ACCOUNTS(method) "/taskworker.AccountService/" method
#define FILES(method) "/taskworker.FileService/" method
#define TASKS(method) "/taskworker.TaskWorkerService/" method

/* In the order of strcmp(): it is searched by halves. */
static const struct right table[] = {
    /* Load balancers and supervisors ask for this, and have no account. It says whether the node serves. */
    {"/grpc.health.v1.Health/Check", .open = true, .reach = REACH_NODE},
    {"/grpc.health.v1.Health/Watch", .open = true, .reach = REACH_NODE},
    {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", .role = ROLE_VIEWER, .reach = REACH_NODE},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", .role = ROLE_VIEWER, .reach = REACH_NODE},
    {ACCOUNTS("AddToken"), .role = ROLE_VIEWER, .reach = REACH_SELF},
    {ACCOUNTS("AddUser"), .role = ROLE_ADMIN, .reach = REACH_NODE},
    {ACCOUNTS("ListTokens"), .role = ROLE_VIEWER, .reach = REACH_SELF},
    {ACCOUNTS("ListUsers"), .role = ROLE_ADMIN, .reach = REACH_NODE},
    /* Who has no token yet asks for one by his password. */
    {ACCOUNTS("Login"), .open = true, .reach = REACH_NODE},
    {ACCOUNTS("QueryAudit"), .role = ROLE_ADMIN, .reach = REACH_NODE},
    {ACCOUNTS("RemoveUser"), .role = ROLE_ADMIN, .reach = REACH_NODE},
    {ACCOUNTS("RevokeToken"), .role = ROLE_VIEWER, .reach = REACH_SELF},
    {ACCOUNTS("SetPassword"), .role = ROLE_VIEWER, .reach = REACH_SELF},
    {ACCOUNTS("SetUser"), .role = ROLE_ADMIN, .reach = REACH_NODE},
    {ACCOUNTS("VerifyAudit"), .role = ROLE_ADMIN, .reach = REACH_NODE},
    {ACCOUNTS("WhoAmI"), .role = ROLE_VIEWER, .reach = REACH_SELF},
    {FILES("CheckFiles"), .role = ROLE_OPERATOR, .reach = REACH_NODE},
    {FILES("CollectGarbage"), .role = ROLE_OPERATOR, .reach = REACH_NODE},
    {FILES("DeleteFile"), .role = ROLE_SUBMITTER, .reach = REACH_OWNED},
    {FILES("FindFile"), .role = ROLE_VIEWER, .reach = REACH_OWNED},
    {FILES("Get"), .role = ROLE_VIEWER, .reach = REACH_OWNED},
    {FILES("GetStorage"), .role = ROLE_VIEWER, .reach = REACH_OWNED},
    {FILES("GetStream"), .role = ROLE_VIEWER, .reach = REACH_OWNED},
    {FILES("ListFiles"), .role = ROLE_VIEWER, .reach = REACH_OWNED},
    {FILES("Push"), .role = ROLE_SUBMITTER, .reach = REACH_OWNED},
    {FILES("PushStream"), .role = ROLE_SUBMITTER, .reach = REACH_OWNED},
    {FILES("Revise"), .role = ROLE_SUBMITTER, .reach = REACH_OWNED},
    {FILES("ReviseStream"), .role = ROLE_SUBMITTER, .reach = REACH_OWNED},
    {FILES("Synchronous"), .role = ROLE_SUBMITTER, .reach = REACH_OWNED},
    {"/taskworker.RPCService/CallFunction", .role = ROLE_SUBMITTER, .reach = REACH_OWNED},
    {TASKS("ExecuteBatch"), .role = ROLE_SUBMITTER, .reach = REACH_OWNED},
    {TASKS("ExecuteTask"), .role = ROLE_SUBMITTER, .reach = REACH_OWNED},
    {TASKS("GetResult"), .role = ROLE_VIEWER, .reach = REACH_OWNED},
    {TASKS("GetStatus"), .role = ROLE_VIEWER, .reach = REACH_NODE},
    {TASKS("GetTask"), .role = ROLE_VIEWER, .reach = REACH_OWNED},
    {TASKS("ListAttempts"), .role = ROLE_VIEWER, .reach = REACH_OWNED},
    {TASKS("ListTasks"), .role = ROLE_VIEWER, .reach = REACH_OWNED},
    {TASKS("PauseTask"), .role = ROLE_SUBMITTER, .reach = REACH_OWNED},
    {TASKS("ResumeTask"), .role = ROLE_SUBMITTER, .reach = REACH_OWNED},
    {TASKS("RetryTask"), .role = ROLE_SUBMITTER, .reach = REACH_OWNED},
    {TASKS("Shutdown"), .role = ROLE_OPERATOR, .reach = REACH_NODE},
    {TASKS("StopTask"), .role = ROLE_SUBMITTER, .reach = REACH_OWNED},
    {TASKS("StreamLogs"), .role = ROLE_VIEWER, .reach = REACH_OWNED},
    {TASKS("WaitTask"), .role = ROLE_VIEWER, .reach = REACH_OWNED},
    {TASKS("WatchTasks"), .role = ROLE_VIEWER, .reach = REACH_OWNED},
};

static int compare(const void *method, const void *right)
{
    return strcmp(method, ((const struct right *)right)->method);
}

const struct right *rights_needed(const char *method)
{
    return bsearch(method, table, ARRAY_LEN(table), sizeof *table, compare);
}

bool rights_allow(enum role role, const char *method)
{
    const struct right *right = rights_needed(method);
    if (!right || (unsigned)role >= ROLE_MAX)
        return false;
    return right->open || role >= right->role;
}

bool rights_allow_nobody(const char *method)
{
    const struct right *right = rights_needed(method);
    return right && right->open;
}

bool rights_reach_all(enum role role)
{
    return role == ROLE_OPERATOR || role == ROLE_ADMIN;
}

const struct right *rights_table(size_t *ret_n)
{
    *ret_n = ARRAY_LEN(table);
    return table;
}

static const char *const role_names[] = {
#define X(name, text) [ROLE_##name] = text,
    ROLES(X)
#undef X
};

const char *role_to_string(enum role role)
{
    return (unsigned)role < ROLE_MAX ? role_names[role] : "unknown";
}

int role_from_string(const char *s, enum role *ret)
{
    for (enum role role = 0; role < ROLE_MAX; role++) {
        if (!strcmp(s, role_names[role])) {
            *ret = role;
            return 0;
        }
    }
    return -EINVAL;
}

const char *rights_reach_to_string(enum rights_reach reach)
{
    static const char *const names[] = {
#define X(name, text) [REACH_##name] = text,
        RIGHTS_REACHES(X)
#undef X
    };
    return (unsigned)reach < REACH_MAX ? names[reach] : "unknown";
}
