/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/health.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/list.h"
#include "base/util.h"

#include "health.pb-c.h"

#define SERVING(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

enum { SERVICE_NAME_MAX = 200 };

typedef Grpc__Health__V1__HealthCheckRequest Request;
typedef Grpc__Health__V1__HealthCheckResponse Response;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus Serving;

struct service {
    struct list link;
    bool serving;
    char name[];
};

/* One call of Watch. */
struct watcher {
    struct list link;
    struct rpc_health *health;
    struct rpc_call *call;
    Serving told;
    bool choked; /* has enough to read for now */
    char name[];
};

struct rpc_health {
    struct list services;
    struct list watchers;
    bool shut_down;
};

static struct service *find(struct rpc_health *health, const char *name)
{
    list_for_each (it, &health->services) {
        struct service *s = CONTAINER_OF(it, struct service, link);
        if (!strcmp(s->name, name))
            return s;
    }
    return NULL;
}

static Serving status_of(struct rpc_health *health, const char *name)
{
    struct service *s = find(health, name);
    if (!s)
        return SERVING(SERVICE_UNKNOWN);
    return s->serving && !health->shut_down ? SERVING(SERVING) : SERVING(NOT_SERVING);
}

static Request *unpack(struct rpc_call *call, const uint8_t *msg, size_t len)
{
    Request *request = grpc__health__v1__health_check_request__unpack(NULL, len, msg);
    if (!request) {
        rpc_call_finish(call, TW_INTERNAL, "the request is not a HealthCheckRequest");
    } else if (strlen(request->service) > SERVICE_NAME_MAX) {
        rpc_call_finish(call, TW_INVALID_ARGUMENT, "the service's name is too long");
        grpc__health__v1__health_check_request__free_unpacked(request, NULL);
        request = NULL;
    }
    return request;
}

static void check(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    Request *request = unpack(call, msg, len);
    if (!request)
        return;
    Response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status_of(ctx, request->service);
    if (response.status == SERVING(SERVICE_UNKNOWN))
        rpc_call_finish(call, TW_NOT_FOUND, "unknown service");
    else
        rpc_call_reply(call, &response.base);
    grpc__health__v1__health_check_request__free_unpacked(request, NULL);
}

static void tell(struct watcher *w)
{
    Response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status_of(w->health, w->name);
    if (response.status == w->told || w->choked)
        return;
    w->told = response.status;
    w->choked = !rpc_call_send(w->call, &response.base);
}

/* A client that reads slowly gets what is true when it has caught up, not all that was. */
static void on_drain(struct rpc_call *call UNUSED, void *ctx)
{
    struct watcher *w = ctx;
    w->choked = false;
    tell(w);
}

static void on_watch_done(struct rpc_call *call UNUSED, void *ctx)
{
    struct watcher *w = ctx;
    list_remove(&w->link);
    free(w);
}

static void watch(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct rpc_health *health = ctx;
    Request *request = unpack(call, msg, len);
    if (!request)
        return;
    size_t size = strlen(request->service) + 1;
    struct watcher *w = calloc(1, sizeof *w + size);
    if (!w) {
        rpc_call_finish(call, TW_RESOURCE_EXHAUSTED, "out of memory");
    } else {
        *w = (struct watcher){.health = health, .call = call, .told = SERVING(UNKNOWN)};
        memcpy(w->name, request->service, size);
        list_push(&health->watchers, &w->link);
        rpc_call_set_on_done(call, on_watch_done, w);
        rpc_call_set_on_drain(call, on_drain, w);
        tell(w);
        if (health->shut_down)
            rpc_call_finish(call, TW_UNAVAILABLE, "the server is shutting down");
    }
    grpc__health__v1__health_check_request__free_unpacked(request, NULL);
}

static const struct rpc_method methods[] = {
    {.name = "/grpc.health.v1.Health/Check", .max_request = 4096, .vital = true, .unary = check},
    {.name = "/grpc.health.v1.Health/Watch", .max_request = 4096, .lasting = true, .unary = watch},
    {.name = NULL},
};

int rpc_health_new(struct rpc_server *server, struct rpc_health **ret, struct tw_error *error)
{
    struct rpc_health *health = calloc(1, sizeof *health);
    if (!health)
        return error_oom(error);
    list_init(&health->services);
    list_init(&health->watchers);
    int r = rpc_server_add_methods(server, methods, health);
    if (r < 0) {
        /* The server may know some of them already: it must not be served after this. */
        free(health);
        return error_set_errno(error, r, "cannot add the health service");
    }
    *ret = health;
    return 0;
}

void rpc_health_free(struct rpc_health *health)
{
    if (!health)
        return;
    list_for_each_safe (it, &health->services)
        free(CONTAINER_OF(it, struct service, link));
    free(health);
}

int rpc_health_set(struct rpc_health *health, const char *service, bool serving)
{
    struct service *s = find(health, service);
    if (!s) {
        size_t size = strlen(service) + 1;
        s = calloc(1, sizeof *s + size);
        if (!s)
            return -ENOMEM;
        memcpy(s->name, service, size);
        list_push(&health->services, &s->link);
    }
    s->serving = serving;
    list_for_each (it, &health->watchers)
        tell(CONTAINER_OF(it, struct watcher, link));
    return 0;
}

void rpc_health_shutdown(struct rpc_health *health)
{
    health->shut_down = true;
    list_for_each (it, &health->watchers) {
        struct watcher *w = CONTAINER_OF(it, struct watcher, link);
        tell(w);
        rpc_call_finish(w->call, TW_UNAVAILABLE, "the server is shutting down");
    }
}
