/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of what there is. Below /api/v1 the gRPC service is handed on as it is; what is above are the routes of the HiveMind worker's
 * interface, and what only a browser asks for.
 */
#include "web/handlers.h"

#include "base/util.h"

enum {
    LOGIN_BODY_MAX = 8 * 1024,
    SMALL_BODY_MAX = 64 * 1024,
    TASK_BODY_MAX = 16 * 1024 * 1024,
};

#define RPC(service, name, in, out, ...)                                                                        \
    .rpc = {"/taskworker." service "/" name, &taskworker__##in##__descriptor, &taskworker__##out##__descriptor, \
        __VA_ARGS__}
#define TASKS(name, in, out, ...) RPC("TaskWorkerService", name, in, out, __VA_ARGS__)
#define FILES(name, in, out, ...) RPC("FileService", name, in, out, __VA_ARGS__)
#define ACCOUNTS(name, in, out, ...) RPC("AccountService", name, in, out, __VA_ARGS__)

/* clang-format off */
const struct web_route web_routes[] = {
    {"GET", "/", .open = true, .handle = handle_page},
    {"GET", "/login", .open = true, .handle = handle_page},
    {"GET", "/dashboard", .open = true, .handle = handle_page},
    {"GET", "/tasks", .open = true, .handle = handle_page},
    {"GET", "/tasks/*", .open = true, .handle = handle_page},
    {"GET", "/new", .open = true, .handle = handle_page},
    {"GET", "/monitor", .open = true, .handle = handle_page},
    {"GET", "/logs", .open = true, .handle = handle_page},
    {"GET", "/settings", .open = true, .handle = handle_page},
    {"GET", "/assets/*", .open = true, .handle = handle_asset},

    {"GET", "/livez", .open = true, .handle = handle_livez, .about = "Whether the program lives."},
    {"GET", "/readyz", .open = true, .handle = handle_readyz, .about = "Whether the node takes tasks."},
    {"GET", "/health", .open = true, .handle = handle_health, .about = "The health of the node's parts."},
    {"GET", "/metrics", .handle = handle_metrics, .about = "Numbers for a Prometheus, as OpenMetrics or in the older format."},
    {"GET", "/openapi.json", .handle = handle_openapi, .about = "This description."},

    {"POST", "/login", .max_body = LOGIN_BODY_MAX, .open = true, .changes = true, .handle = handle_login, .about = "Begins a session."},
    {"POST", "/logout", .changes = true, .handle = handle_logout, .about = "Ends the session."},
    {"GET", "/api/session", .handle = handle_session, .about = "Who the caller is."},
    {"GET", "/api/status", .handle = handle_status, .about = "What the node is and has."},
    {"GET", "/api/resources", .handle = handle_resources, .about = "What of the machine is free."},
    {"GET", "/api/history", .handle = handle_history, .about = "How the machine and the node were doing."},
    {"GET", "/api/logs", .handle = handle_node_log, .about = "What the node has logged lately."},
    {"GET", "/api/tasks", .handle = handle_tasks, .about = "The tasks that run."},
    {"POST", "/api/stop_task/*", .changes = true, .handle = handle_stop_task, .about = "Stops a task."},
    {"GET", "/api/events", .handle = handle_events, .about = "What happens to tasks, as server-sent events.",
        TASKS("WatchTasks", watch_tasks_request, task_event)},

    {"GET", "/api/v1/node", .handle = handle_rpc, .about = "The node.",
        TASKS("GetStatus", get_status_request, get_status_response)},
    {"POST", "/api/v1/node/shutdown", .max_body = SMALL_BODY_MAX, .changes = true, .handle = handle_rpc, .about = "Begins to end the node.",
        TASKS("Shutdown", shutdown_request, shutdown_response)},

    {"GET", "/api/v1/tasks", .handle = handle_rpc, .about = "Tasks, the newest first, page by page.",
        TASKS("ListTasks", list_tasks_request, list_tasks_response)},
    {"POST", "/api/v1/tasks", .max_body = TASK_BODY_MAX, .changes = true, .handle = handle_submit, .about = "Hands a task in.",
        TASKS("ExecuteTask", execute_task_request, execute_task_response)},
    {"POST", "/api/v1/batches", .max_body = TASK_BODY_MAX, .changes = true, .handle = handle_rpc, .about = "Hands many tasks in, all or none.",
        TASKS("ExecuteBatch", execute_batch_request, execute_batch_response)},
    {"GET", "/api/v1/tasks/*", .handle = handle_rpc, .about = "One task as it stands now.",
        TASKS("GetTask", get_task_request, get_task_response, "task_id")},
    {"GET", "/api/v1/tasks/*/attempts", .handle = handle_rpc, .about = "The attempts of a task before its last one.",
        TASKS("ListAttempts", list_attempts_request, list_attempts_response, "task_id")},
    {"GET", "/api/v1/tasks/*/wait", .handle = handle_rpc, .about = "Answers when the task has ended, or with 504 after half a minute.",
        TASKS("WaitTask", wait_task_request, wait_task_response, "task_id")},
    {"GET", "/api/v1/tasks/*/result", .handle = handle_result, .about = "The result of a task that has ended, as it is.",
        TASKS("GetResult", get_result_request, get_result_response, "task_id")},
    {"GET", "/api/v1/tasks/*/log", .handle = handle_log, .about = "What the task printed, as it is.",
        TASKS("StreamLogs", stream_logs_request, stream_logs_response, "task_id")},
    {"GET", "/api/v1/tasks/*/log/chunks", .handle = handle_log_chunks, .about = "A page of what the task printed, with streams and times.",
        TASKS("StreamLogs", stream_logs_request, stream_logs_response, "task_id")},
    {"GET", "/api/v1/tasks/*/log/events", .handle = handle_log_events, .about = "What the task prints, as server-sent events.",
        TASKS("StreamLogs", stream_logs_request, stream_logs_response, "task_id")},
    {"POST", "/api/v1/tasks/*/stop", .changes = true, .handle = handle_rpc, .about = "Ends a queued or running task.",
        TASKS("StopTask", stop_task_request, stop_task_response, "task_id")},
    {"POST", "/api/v1/tasks/*/pause", .changes = true, .handle = handle_rpc, .about = "Holds a task.",
        TASKS("PauseTask", pause_task_request, pause_task_response, "task_id")},
    {"POST", "/api/v1/tasks/*/resume", .changes = true, .handle = handle_rpc, .about = "Lets a task go on.",
        TASKS("ResumeTask", resume_task_request, resume_task_response, "task_id")},
    {"POST", "/api/v1/tasks/*/retry", .max_body = SMALL_BODY_MAX, .changes = true, .handle = handle_rpc,
        .about = "Hands in once more what has failed or was stopped.",
        TASKS("RetryTask", retry_task_request, execute_task_response, "task_id")},

    {"POST", "/api/v1/functions/*", .max_body = TASK_BODY_MAX, .changes = true, .handle = handle_rpc, .about = "Calls a function of the node.",
        RPC("RPCService", "CallFunction", call_function_request, call_function_response, "function_name")},

    {"GET", "/api/v1/files", .handle = handle_rpc, .about = "Files by name, page by page.",
        FILES("ListFiles", list_files_request, list_files_response)},
    {"GET", "/api/v1/files/*", .handle = handle_rpc, .about = "One file.",
        FILES("FindFile", file_request, file_response, "file_id")},
    {"GET", "/api/v1/files/*/content", .handle = handle_file_content, .about = "What is in a file, or a range of it.",
        FILES("GetStream", get_stream_request, get_stream_response, "file_id")},
    {"DELETE", "/api/v1/files/*", .changes = true, .handle = handle_rpc, .about = "Removes a file.",
        FILES("DeleteFile", file_request, delete_file_response, "file_id")},
    {"GET", "/api/v1/storage", .handle = handle_rpc, .about = "How full the storage is.",
        FILES("GetStorage", get_storage_request, get_storage_response)},

    {"GET", "/api/v1/whoami", .handle = handle_rpc, .about = "Who the caller is, and what his token is good for.",
        ACCOUNTS("WhoAmI", who_am_irequest, who_am_iresponse)},
    {"GET", "/api/v1/users", .handle = handle_rpc, .about = "Users by name, page by page.",
        ACCOUNTS("ListUsers", list_users_request, list_users_response)},
    {"POST", "/api/v1/users", .max_body = SMALL_BODY_MAX, .changes = true, .handle = handle_rpc, .about = "Adds a user.",
        ACCOUNTS("AddUser", add_user_request, user_response)},
    {"PATCH", "/api/v1/users/*", .max_body = SMALL_BODY_MAX, .changes = true, .handle = handle_rpc, .about = "Another role, or disabled.",
        ACCOUNTS("SetUser", set_user_request, user_response, "name")},
    {"DELETE", "/api/v1/users/*", .changes = true, .handle = handle_rpc, .about = "Removes a user with his tokens.",
        ACCOUNTS("RemoveUser", remove_user_request, remove_user_response, "name")},
    {"POST", "/api/v1/password", .max_body = SMALL_BODY_MAX, .changes = true, .handle = handle_rpc, .about = "Another password.",
        ACCOUNTS("SetPassword", set_password_request, set_password_response)},
    {"GET", "/api/v1/tokens", .handle = handle_rpc, .about = "The tokens of a user, sessions among them.",
        ACCOUNTS("ListTokens", list_tokens_request, list_tokens_response)},
    {"POST", "/api/v1/tokens", .max_body = SMALL_BODY_MAX, .changes = true, .handle = handle_rpc, .about = "Makes a token, which is shown this once.",
        ACCOUNTS("AddToken", add_token_request, new_token)},
    {"DELETE", "/api/v1/tokens/*", .changes = true, .handle = handle_rpc, .about = "Revokes a token.",
        ACCOUNTS("RevokeToken", revoke_token_request, revoke_token_response, "token_id")},
    {"GET", "/api/v1/audit", .handle = handle_audit, .about = "What the audit log says, the newest first: 100 records, or `limit`, 1000 at most.",
        ACCOUNTS("QueryAudit", query_audit_request, query_audit_response)},
    {"GET", "/api/v1/audit/check", .handle = handle_rpc, .about = "Reads the whole audit log and checks its chain of hashes.",
        ACCOUNTS("VerifyAudit", verify_audit_request, verify_audit_response)},
};
/* clang-format on */
const size_t web_n_routes = ARRAY_LEN(web_routes);
