/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection's bytes into the server, as a hostile client would send them, without a socket. An input is a list of
 * pieces: a byte for what to do, then its data.
 *
 *   0x00-0xbf  so many bytes (plus one) go in as they are
 *   0xc0-0xdf  a frame: the next 2 bytes are its length (at most what is left), then type, flags, stream, payload
 *   0xe0-0xef  the loop runs a round (the first ROUNDS_MAX times)
 *   0xf0       the client's preface and empty SETTINGS
 *   0xf1-0xff  a legal request on a fresh stream for one of the methods, without its end
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/util.h"
#include "echo_service.h"
#include "rpc/health.h"
#include "rpc/reflection.h"
#include "rpc/server_internal.h"

#define CHECK(condition)  \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

enum { ROUNDS_MAX = 50 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const paths[] = {
    "/taskworker.TaskWorkerService/GetStatus",
    "/taskworker.TaskWorkerService/ExecuteTask",
    "/taskworker.TaskWorkerService/WaitTask",
    "/taskworker.TaskWorkerService/StreamLogs",
    "/echo.Echo/Chat",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/nothing",
};

static void on_sink(struct conn *conn UNUSED, const uint8_t *data UNUSED, size_t len UNUSED)
{
}

/* The connection, or NULL when the server has closed it. */
static struct conn *alive(struct rpc_server *server)
{
    struct conn *conn = LIST_FIRST(&server->hub.conns, struct conn, link);
    return conn && conn->state == CONN_OPEN ? conn : NULL;
}

static void input(struct rpc_server *server, const uint8_t *data, size_t len)
{
    struct conn *conn = alive(server);
    if (conn)
        conn_receive(conn, data, len);
}

static void add_literal(struct buf *b, const char *name, const char *value)
{
    buf_append_u8(b, 0); /* not indexed, new name */
    buf_append_u8(b, (uint8_t)strlen(name));
    buf_append_str(b, name);
    buf_append_u8(b, (uint8_t)strlen(value));
    buf_append_str(b, value);
}

static void request(struct rpc_server *server, unsigned which, uint32_t *stream)
{
    CLEANUP_BUF struct buf b = BUF_INIT(4096);
    buf_append(&b, (uint8_t[9]){0}, 9);
    buf_append(&b, (uint8_t[]){0x83, 0x86}, 2); /* POST, http */
    add_literal(&b, ":path", paths[which % ARRAY_LEN(paths)]);
    add_literal(&b, ":authority", "fuzz");
    add_literal(&b, "content-type", "application/grpc");
    if (which & 8)
        add_literal(&b, "grpc-encoding", "gzip");
    size_t len = b.len - 9;
    memcpy(b.data,
        (uint8_t[]){0, (uint8_t)(len >> 8), (uint8_t)len, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 0, 0,
            (uint8_t)(*stream >> 8), (uint8_t)*stream},
        9);
    *stream += 2;
    input(server, b.data, b.len);
}

static void frame(struct rpc_server *server, struct cursor *c)
{
    uint8_t high, low, type, flags, stream;
    const uint8_t *payload;
    if (!cursor_u8(c, &high) || !cursor_u8(c, &low) || !cursor_u8(c, &type) || !cursor_u8(c, &flags) ||
        !cursor_u8(c, &stream))
        return;
    size_t len = MIN(((size_t)high << 8 | low), c->left);
    CHECK(cursor_bytes(c, len, &payload));
    const uint8_t head[9] = {0, (uint8_t)(len >> 8), (uint8_t)len, (uint8_t)(type % 11), flags, 0, 0, 0, stream};
    input(server, head, sizeof head);
    input(server, payload, len);
}

static void play(struct rpc_server *server, uv_loop_t *loop, struct cursor c)
{
    static const uint8_t hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    const uint8_t *bytes;
    uint32_t stream = 1;
    unsigned rounds = 0;
    uint8_t what;
    while (c.left && cursor_u8(&c, &what) && alive(server)) {
        if (what < 0xc0) {
            size_t len = MIN((size_t)what + 1, c.left);
            CHECK(cursor_bytes(&c, len, &bytes));
            input(server, bytes, len);
        } else if (what < 0xe0) {
            frame(server, &c);
        } else if (what < 0xf0) {
            if (rounds++ < ROUNDS_MAX)
                uv_run(loop, UV_RUN_NOWAIT);
        } else if (what == 0xf0) {
            input(server, hello, sizeof hello - 1);
        } else {
            request(server, what - 0xf1u, &stream);
        }
    }
}

/* One server serves all inputs, each on a connection of its own; nothing may be left of one when it is over. */
static struct {
    uv_loop_t loop;
    struct echo echo;
    struct rpc_server *server;
    struct rpc_health *health;
    struct rpc_reflection *reflection;
} world;

static const struct rpc_server_options options = {
    .max_message = 32 * 1024, .max_inflight = 4 * 1024 * 1024, .max_memory = 4 * 1024 * 1024};

static void make_world(void)
{
    struct tw_error error;
    log_set_level(LOG_ERROR);
    CHECK(uv_loop_init(&world.loop) == 0);
    CHECK(rpc_server_new(&world.loop, &options, &world.server, &error) == 0);
    CHECK(echo_service_add(world.server, &world.echo) == 0);
    CHECK(rpc_health_new(world.server, &world.health, &error) == 0);
    CHECK(rpc_reflection_new(world.server, &world.reflection, &error) == 0);
    CHECK(rpc_health_set(world.health, "", true) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!world.server)
        make_world();
    struct rpc_server *server = world.server;
    CHECK(server_attach(server, on_sink));
    play(server, &world.loop, cursor_of(data, size));
    for (int i = 0; i < 3; i++)
        uv_run(&world.loop, UV_RUN_NOWAIT);
    CHECK(server->budget.big <= options.max_inflight && server->budget.small <= options.max_memory);
    struct conn *conn = alive(server);
    if (conn)
        conn_abort(conn, "over");
    uv_run(&world.loop, UV_RUN_NOWAIT);
    struct rpc_server_stats stats;
    rpc_server_get_stats(server, &stats);
    CHECK(stats.connections == 0 && stats.calls == 0 && stats.inflight_bytes == 0);
    CHECK(world.echo.waiting == 0 && server->hub.alarms.count == 0);
    return 0;
}
