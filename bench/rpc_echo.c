/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_echo [PORT]: the gRPC stack with handlers that do nothing, to measure it with h2load and to try clients on it. Ends
 * on SIGTERM, draining.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/util.h"
#include "echo_service.h"
#include "rpc/health.h"
#include "rpc/reflection.h"
#include "rpc/server.h"

struct program {
    struct rpc_server *server;
    struct rpc_health *health;
    struct rpc_reflection *reflection;
    uv_signal_t term;
};

static void on_drained(void *ctx)
{
    struct program *p = ctx;
    rpc_server_free(p->server);
    uv_close((uv_handle_t *)&p->term, NULL);
}

static void on_term(uv_signal_t *handle, int signum UNUSED)
{
    struct program *p = CONTAINER_OF(handle, struct program, term);
    rpc_health_shutdown(p->health);
    rpc_server_drain(p->server, 5000000, on_drained, p);
}

int main(int argc, char **argv)
{
    struct program p = {0};
    struct echo echo = {0};
    struct tw_error error = {.message = "cannot start"};
    uint64_t port = 0;
    if (argc > 1 && parse_u64(argv[1], 0, UINT16_MAX, &port) < 0) {
        fprintf(stderr, "usage: rpc_echo [PORT]\n");
        return 2;
    }
    uv_loop_t *loop = uv_default_loop();
    const struct rpc_server_options options = {.port = (uint16_t)port};
    if (rpc_server_new(loop, &options, &p.server, &error) < 0 || echo_service_add(p.server, &echo) < 0 ||
        rpc_health_new(p.server, &p.health, &error) < 0 || rpc_reflection_new(p.server, &p.reflection, &error) < 0) {
        fprintf(stderr, "rpc_echo: %s\n", error.message);
        return 1;
    }
    rpc_health_set(p.health, "", true);
    uv_signal_init(loop, &p.term);
    uv_signal_start(&p.term, on_term, SIGTERM);
    printf("%u\n", rpc_server_port(p.server));
    fflush(stdout);
    uv_run(loop, UV_RUN_DEFAULT);
    rpc_health_free(p.health);
    rpc_reflection_free(p.reflection);
    uv_loop_close(loop);
    return 0;
}
