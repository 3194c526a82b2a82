/* SPDX-License-Identifier: Apache-2.0 */
/* hivemind storage put: reads a file piece by piece as the connection takes it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "cli/files.h"

enum { PIECE_BYTES = 256 << 10 };

struct sending {
    struct cli *cli;
    const char *path;
    int fd;
    uint64_t sent, size; /* size: where it is known */
    struct meter meter;
    int read_errno;
    bool no_memory, done;
    struct tw_error status;
    Taskworker__FileResponse *response;
};

static bool on_pull(struct rpc_client_call *call, void *ctx)
{
    static uint8_t piece[PIECE_BYTES];
    struct sending *s = ctx;
    Taskworker__PushStreamRequest request = TASKWORKER__PUSH_STREAM_REQUEST__INIT;
    ssize_t n;
    do
        n = read(s->fd, piece, sizeof piece);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        request.data = (ProtobufCBinaryData){.len = (size_t)n, .data = piece};
        s->sent += (uint64_t)n;
        meter_show(&s->meter, s->sent, s->size);
        if (rpc_client_add(call, &request.base))
            return true;
        s->no_memory = true;
    } else if (n == 0) {
        return false;
    } else {
        s->read_errno = errno;
    }
    rpc_client_cancel(call); /* what is not whole must not look so */
    return false;
}

static void on_message(struct rpc_client_call *call UNUSED, const uint8_t *msg, size_t len, void *ctx)
{
    struct sending *s = ctx;
    if (!s->response)
        s->response = taskworker__file_response__unpack(NULL, len, msg);
}

static void on_done(struct rpc_client_call *call UNUSED, const struct tw_error *status, void *ctx)
{
    struct sending *s = ctx;
    s->status = *status;
    s->done = true;
}

static int report(struct sending *s)
{
    struct cli *cli = s->cli;
    if (s->read_errno) {
        cli_error(cli, TW_INVALID_ARGUMENT, "cannot read %s: %s", s->path, strerror(s->read_errno));
        return EXIT_USAGE;
    }
    if (s->no_memory) {
        cli_error(cli, TW_RESOURCE_EXHAUSTED, "out of memory");
        return EXIT_TROUBLE;
    }
    if (s->status.code != TW_OK)
        return cli_report(cli, &s->status);
    if (!s->response || !s->response->file)
        return cli_bad_reply(cli, "PushStream");
    if (cli->json) {
        output_json(stdout, json_file(s->response->file));
    } else {
        output_text(stdout, s->response->file->file_id);
        putchar('\n');
    }
    return 0;
}

static int send_file(struct sending *s, const Taskworker__PushStreamRequest__Header *header)
{
    static const struct rpc_client_callbacks callbacks = {
        .on_message = on_message, .on_done = on_done, .on_pull = on_pull};
    Taskworker__PushStreamRequest first = TASKWORKER__PUSH_STREAM_REQUEST__INIT;
    struct rpc_client *client = cli_connect(s->cli);
    if (!client)
        return s->cli->connect_code;
    first.header = (Taskworker__PushStreamRequest__Header *)header;
    meter_begin(&s->meter, s->cli);
    if (!rpc_client_start(client, FILES_METHOD("PushStream"), &first.base, 0, &callbacks, s))
        s->no_memory = s->done = true;
    while (!s->done)
        uv_run(&s->cli->loop, UV_RUN_ONCE);
    meter_end(&s->meter);
    int code = report(s);
    taskworker__file_response__free_unpacked(s->response, NULL);
    return code;
}

static int put(struct cli *cli, const struct words *words, const char *owner)
{
    Taskworker__PushStreamRequest__Header header = TASKWORKER__PUSH_STREAM_REQUEST__HEADER__INIT;
    const char *path = words->items[0];
    bool is_stdin = !strcmp(path, "-");
    struct stat st;
    if (is_stdin && words->n < 2) {
        cli_error(cli, TW_INVALID_ARGUMENT,
            "standard input has no name: say what the file is to be called, as in \"storage put - NAME\"");
        return EXIT_USAGE;
    }
    CLEANUP_FD int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || S_ISDIR(st.st_mode)) {
        cli_error(cli, TW_INVALID_ARGUMENT, "cannot read %s: %s", path, fd >= 0 ? strerror(EISDIR) : strerror(errno));
        return EXIT_USAGE;
    }
    struct sending s = {.cli = cli, .path = path, .fd = fd};
    s.size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    header.filename = (char *)(words->n > 1 ? words->items[1] : files_base_name(path));
    header.user_id = (char *)owner;
    header.known_size = S_ISREG(st.st_mode) && lseek(fd, 0, SEEK_CUR) == 0;
    header.size = header.known_size ? s.size : 0;
    return send_file(&s, &header);
}

int files_put(struct cli *cli, int argc, char **argv)
{
    const char *owner = "";
    const struct option options[] = {
        {.name = "owner", .kind = OPTION_TEXT, .target = &owner, .metavar = "NAME", .help = "whose file it is"},
    };
    const struct syntax syntax = {
        .verb = "storage put",
        .usage = "[OPTION]... FILE|- [NAME]",
        .text =
            "Keeps a file on the node, under its own name or NAME, and prints its id. Under a name that is taken it\n"
            "becomes the next version. Nothing of it is there before all of it is.",
        .example = "  hivemind storage put data.csv inputs/data.csv\n"
                   "  tar c photos | hivemind storage put - photos.tar",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "FILE",
        .min_words = 1,
        .max_words = 2,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, put(cli, &args.words, owner));
    arguments_done(&args);
    return code;
}
