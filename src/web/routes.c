/* SPDX-License-Identifier: Apache-2.0 */
/* The table of what there is. */
#include "web/handlers.h"

#include "base/util.h"

enum { LOGIN_BODY_MAX = 8 * 1024 };

const struct web_route web_routes[] = {
    {"GET", "/livez", .open = true, .handle = handle_livez},
    {"GET", "/readyz", .open = true, .handle = handle_readyz},
    {"GET", "/health", .open = true, .handle = handle_health},
    {"POST", "/login", .max_body = LOGIN_BODY_MAX, .open = true, .changes = true, .handle = handle_login},
    {"POST", "/logout", .changes = true, .handle = handle_logout},
    {"GET", "/api/session", .handle = handle_session},
    {"GET", "/api/status", .handle = handle_status},
    {"GET", "/api/resources", .handle = handle_resources},
    {"GET", "/api/tasks", .handle = handle_tasks},
    {"POST", "/api/stop_task/*", .changes = true, .handle = handle_stop_task},
};
const size_t web_n_routes = ARRAY_LEN(web_routes);
