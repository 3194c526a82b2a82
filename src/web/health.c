/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the node lives, takes tasks, and what it says of its parts. Asked for by machines, without a token. */
#include "web/handlers.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "web/internal.h"

#include "health.pb-c.h"

void handle_livez(struct web *web UNUSED, struct web_request *r)
{
    web_reply(r, MHD_HTTP_OK, json_pack("{s:s}", "status", "ok"));
}

void handle_readyz(struct web *web, struct web_request *r)
{
    if (web->ready)
        web_reply(r, MHD_HTTP_OK, json_pack("{s:s}", "status", "ready"));
    else
        web_reply(r, MHD_HTTP_SERVICE_UNAVAILABLE, json_pack("{s:s}", "status", "draining"));
}

/* A part that is switched off, or that this node does not have, is no trouble, and says so. */
static json_t *check(bool healthy, const char *message)
{
    return json_pack("{s:s, s:s}", "status", healthy ? "healthy" : "unhealthy", "message", message);
}

static void reply_health(struct web_request *r, bool serving, const char *why)
{
    const struct machine_load *load = web_load(r->web);
    const struct machine_memory *memory = &load->memory;
    bool room = !load->memory_known || memory->available_bytes >= memory->total_bytes / 100;
    bool healthy = serving && room;
    time_t now = time(NULL);
    struct tm tm;
    char when[32];
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    web_reply(r, healthy ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
        json_pack("{s:s, s:{s:o, s:o, s:o, s:o}, s:s}", "status", healthy ? "healthy" : "unhealthy", "checks", "docker",
            check(true, "switched off"), "grpc", check(serving, why), "resources",
            check(room, room ? "there is memory left" : "less than a hundredth of the memory is left"), "vpn",
            check(true, "switched off"), "timestamp", when));
}

static void on_health(struct web_request *r, const ProtobufCMessage *message)
{
    const Grpc__Health__V1__HealthCheckResponse *answer = (const void *)message;
    bool serving = answer->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    reply_health(r, serving, serving ? "serving" : "the node takes no tasks at the moment");
}

static void on_no_health(struct web_request *r, const struct tw_error *error)
{
    reply_health(r, false, error->message);
}

void handle_health(struct web *web, struct web_request *r)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    web_call(web, r,
        &(struct web_call){
            .method = "/grpc.health.v1.Health/Check",
            .request = &request.base,
            .answer = &grpc__health__v1__health_check_response__descriptor,
            .done = on_health,
            .failed = on_no_health,
            .as_nobody = true,
        });
}
