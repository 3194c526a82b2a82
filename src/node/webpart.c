/* SPDX-License-Identifier: Apache-2.0 */
#include "node/webpart.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

int webpart_begin(const struct config *c, uv_loop_t *loop, struct tw_worker *worker, struct web **ret)
{
    struct tw_error error = {0};
    const char *host = config_text(c, SETTING_WEB_HOST);
    bool v6 = strchr(host, ':');
    struct web_options options = {
        .loop = loop,
        .host = host,
        .port = (uint16_t)config_number(c, SETTING_WEB_PORT),
        .open = config_number(c, SETTING_DEV),
        .session_hours = (unsigned)config_number(c, SETTING_SESSION_TIMEOUT),
    };
    if (!config_number(c, SETTING_WEB))
        return 0;
    if (tw_worker_connect(worker, &options.service, &error) < 0 || web_new(&options, ret, &error) < 0) {
        log_error("cannot start the web interface: %s", error.message);
        if (strstr(error.message, strerror(EADDRINUSE)))
            log_error("port %u is another program's, or another node's; choose another with --web-port (0: any free "
                      "one), or switch the web interface off with --web=off",
                (unsigned)options.port);
        return -1;
    }
    log_info("REST: http://%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", (unsigned)web_port(*ret));
    return 0;
}
