/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/follow.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define GRACE_US UINT64_C(8000000) /* more than a connection gets to prove that it leads to a node */

struct follower {
    struct cli *cli;
    const struct follow_options *options;
    struct follow_seen *seen;
    struct output_stream out, err;
    uint64_t offset; /* where to go on */
    struct rpc_client_call *call;
    struct tw_error status;
    bool done;
    bool write_failed;
    int write_errno; /* 0: not known */
    bool bad_message;
    bool progress; /* something came since the last connection */
};

static int print_json(struct follower *f, const Taskworker__StreamLogsResponse *m)
{
    bool is_err = m->stream == TASKWORKER__STREAM_LOGS_RESPONSE__STREAM__STDERR;
    json_t *line = json_pack("{s:s, s:I}", "stream", is_err ? "stderr" : "stdout", "time_us", (json_int_t)m->time_us);
    if (!line || json_set_bytes(line, "data", m->data.data, m->data.len) < 0) {
        json_decref(line);
        return -1;
    }
    if (output_json(f->out.out, line) < 0)
        return -1;
    return fflush(f->out.out) == 0 ? 0 : -1;
}

static void keep_tail(struct follow_seen *seen, const uint8_t *data, size_t len)
{
    if (len >= sizeof seen->tail) {
        data += len - sizeof seen->tail;
        len = sizeof seen->tail;
    }
    size_t keep = MIN(seen->tail_len, sizeof seen->tail - len);
    memmove(seen->tail, seen->tail + seen->tail_len - keep, keep);
    if (len)
        memcpy(seen->tail + keep, data, len);
    seen->tail_len = keep + len;
}

static int print_chunk(struct follower *f, const Taskworker__StreamLogsResponse *m)
{
    bool is_err = m->stream == TASKWORKER__STREAM_LOGS_RESPONSE__STREAM__STDERR;
    if (f->cli->json)
        return print_json(f, m);
    if (is_err)
        keep_tail(f->seen, m->data.data, m->data.len);
    struct output_stream *s = is_err ? &f->err : &f->out;
    output_stream_write(s, m->data.data, m->data.len);
    if (m->data.len)
        output_left(f->cli, s->out, s->mid_line);
    return fflush(s->out) == 0 && !ferror(s->out) ? 0 : -1;
}

static void on_message(struct rpc_client_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct follower *f = ctx;
    if (f->write_failed || f->bad_message)
        return;
    CLEANUP_MESSAGE Taskworker__StreamLogsResponse *m = taskworker__stream_logs_response__unpack(NULL, len, msg);
    f->bad_message = !m;
    f->progress = true;
    if (m) {
        errno = 0;
        f->write_failed = print_chunk(f, m) < 0;
        f->write_errno = errno;
        f->offset = m->next_offset;
    }
    if (f->bad_message || f->write_failed)
        rpc_client_cancel(call);
}

static void on_done(UNUSED struct rpc_client_call *call, const struct tw_error *status, void *ctx)
{
    struct follower *f = ctx;
    f->status = *status;
    f->call = NULL;
    f->done = true;
}

static void on_reader_gone(void *ctx)
{
    struct follower *f = ctx;
    if (f->call)
        rpc_client_cancel(f->call);
}

/* One stream from f->offset to its end; how it ended is in f->status. */
static int run_stream(struct follower *f)
{
    static const struct rpc_client_callbacks callbacks = {.on_message = on_message, .on_done = on_done};
    Taskworker__StreamLogsRequest request = TASKWORKER__STREAM_LOGS_REQUEST__INIT;
    char method[80];
    request.task_id = (char *)f->options->id;
    request.follow = f->options->follow;
    request.offset = f->offset;
    f->done = false;
    uint64_t timeout_us = f->options->follow ? 0 : f->cli->timeout_us;
    f->call =
        rpc_client_start(f->cli->client, cli_method("StreamLogs", method), &request.base, timeout_us, &callbacks, f);
    if (!f->call) {
        cli_error(f->cli, TW_RESOURCE_EXHAUSTED, "out of memory");
        return EXIT_TROUBLE;
    }
    while (!f->done)
        uv_run(&f->cli->loop, UV_RUN_ONCE);
    if (f->cli->reader.gone || (f->write_failed && reader_has_left(f->cli, f->write_errno)))
        return EXIT_READER_GONE;
    if (f->write_failed) {
        cli_error(f->cli, TW_INTERNAL, "cannot write the output: %s",
            f->write_errno ? strerror(f->write_errno) : "output error");
        return EXIT_TROUBLE;
    }
    return f->bad_message ? cli_bad_reply(f->cli, "StreamLogs") : 0;
}

/* Whether what just ended in f->status was the task; else f->status becomes what it was. */
static bool is_over(struct follower *f)
{
    struct tw_error error = {0};
    bool ended = false;
    if (f->status.code != TW_OK)
        return false;
    if (!f->options->follow || !f->options->has_ended)
        return true;
    f->progress = true; /* the node has answered */
    uint64_t connections = rpc_client_connections(f->cli->client);
    if (f->options->has_ended(f->options->ctx, &ended, &error) < 0) {
        f->status = error;
        return false;
    }
    /* It may have run in the node's next life, and have printed something there. */
    ended = ended && rpc_client_connections(f->cli->client) == connections;
    if (!ended)
        error_set(&f->status, TW_UNAVAILABLE, "the node at %s is shutting down", f->cli->server);
    return ended;
}

static int stream_with_retries(struct follower *f)
{
    uint64_t away_since = 0;
    while (!f->cli->reader.gone) {
        f->progress = false;
        uint64_t began = clock_monotonic_us();
        int code = run_stream(f);
        if (code || is_over(f))
            return code;
        /* It took longer than failing to connect takes. */
        if (f->progress || clock_monotonic_us() - began > f->cli->connect_timeout_us + GRACE_US)
            away_since = 0;
        bool was_there = f->options->known || f->progress || f->offset;
        if (!f->options->follow || !cli_try_again(f->cli, &f->status, was_there, &away_since))
            return cli_report(f->cli, &f->status);
    }
    return EXIT_READER_GONE;
}

int follow_logs(struct cli *cli, const struct follow_options *options, struct follow_seen *ret)
{
    struct follower f = {.cli = cli, .options = options, .seen = ret};
    *ret = (struct follow_seen){0};
    if (!cli_connect(cli))
        return cli->connect_code;
    output_stream_init(&f.out, stdout, options->raw);
    output_stream_init(&f.err, stderr, options->raw);
    if (options->follow && options->quiet)
        reader_watch(cli, on_reader_gone, &f);
    int code = stream_with_retries(&f);
    reader_unwatch(cli);
    if (output_stream_flush(&f.err) < 0 || output_stream_flush(&f.out) < 0)
        code = code ? code : output_finish(cli, EXIT_TROUBLE);
    return code;
}
