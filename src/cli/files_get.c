/* SPDX-License-Identifier: Apache-2.0 */
/* hivemind storage get: into a file beside its place, which takes that place when all of it has come and was right. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "cli/files.h"

struct receiving {
    struct cli *cli;
    const char *path; /* "-": standard output */
    char *tmp;        /* beside it */
    int fd;
    uint64_t got, size;
    struct meter meter;
    Taskworker__File *file; /* of `first` */
    Taskworker__GetStreamResponse *first;
    int write_errno;
    bool bad, done;
    struct tw_error status;
};

static bool open_target(struct receiving *r)
{
    if (!strcmp(r->path, "-")) {
        r->fd = STDOUT_FILENO;
        return true;
    }
    if (asprintf(&r->tmp, "%s.part-%d", r->path, (int)getpid()) < 0) {
        r->tmp = NULL;
        errno = ENOMEM;
        return false;
    }
    r->fd = open(r->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    return r->fd >= 0;
}

static void on_message(struct rpc_client_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct receiving *r = ctx;
    Taskworker__GetStreamResponse *m = taskworker__get_stream_response__unpack(NULL, len, msg);
    int err = 0;
    if (!m || (!r->first && !m->file)) {
        r->bad = true;
    } else if (!r->first) {
        r->first = STEAL(m);
        r->file = r->first->file;
        r->size = r->file->size;
        err = open_target(r) ? 0 : errno;
    } else {
        err = -fd_write_all(r->fd, m->data.data, m->data.len);
        r->got += m->data.len;
        meter_show(&r->meter, r->got, r->size);
    }
    taskworker__get_stream_response__free_unpacked(m, NULL);
    r->write_errno = err;
    if (err || r->bad)
        rpc_client_cancel(call);
}

static void on_done(struct rpc_client_call *call UNUSED, const struct tw_error *status, void *ctx)
{
    struct receiving *r = ctx;
    r->status = *status;
    r->done = true;
}

/* All of it is there: it gets its name. */
static void settle(struct receiving *r)
{
    if (!r->tmp)
        return;
    if (r->got != r->size)
        r->bad = true;
    else if (close(fd_steal(&r->fd)) < 0 || rename(r->tmp, r->path) < 0)
        r->write_errno = errno;
    else
        free(STEAL(r->tmp));
}

static int report(struct receiving *r)
{
    struct cli *cli = r->cli;
    if (r->write_errno) {
        cli_error(cli, TW_INVALID_ARGUMENT, "cannot write to %s: %s", r->tmp ? r->path : "standard output",
            strerror(r->write_errno));
        return r->tmp ? EXIT_USAGE : EXIT_TROUBLE;
    }
    if (r->bad)
        return cli_bad_reply(cli, "GetStream");
    if (r->status.code != TW_OK)
        return cli_report(cli, &r->status);
    if (cli->json && strcmp(r->path, "-") != 0)
        output_json(stdout, json_file(r->file));
    return 0;
}

static int receive_file(struct receiving *r, Taskworker__FileRequest *which)
{
    static const struct rpc_client_callbacks callbacks = {.on_message = on_message, .on_done = on_done};
    Taskworker__GetStreamRequest request = TASKWORKER__GET_STREAM_REQUEST__INIT;
    struct rpc_client *client = cli_connect(r->cli);
    if (!client)
        return r->cli->connect_code;
    request.file = which;
    meter_begin(&r->meter, r->cli);
    if (!rpc_client_start(client, FILES_METHOD("GetStream"), &request.base, 0, &callbacks, r)) {
        cli_error(r->cli, TW_RESOURCE_EXHAUSTED, "out of memory");
        return EXIT_TROUBLE;
    }
    while (!r->done)
        uv_run(&r->cli->loop, UV_RUN_ONCE);
    meter_end(&r->meter);
    if (r->status.code == TW_OK && r->first && !r->bad && !r->write_errno)
        settle(r);
    r->bad |= r->status.code == TW_OK && !r->first;
    int code = report(r);
    if (r->tmp) {
        fd_close(&r->fd);
        (void)unlink(r->tmp);
        free(r->tmp);
    }
    taskworker__get_stream_response__free_unpacked(r->first, NULL);
    return code;
}

int files_get_one(struct cli *cli, Taskworker__FileRequest *which, const char *path)
{
    struct receiving r = {.cli = cli, .fd = -1, .path = path};
    struct stat st;
    if (strcmp(r.path, "-") != 0 && stat(r.path, &st) == 0 && !S_ISREG(st.st_mode)) {
        cli_error(
            cli, TW_INVALID_ARGUMENT, "%s is no regular file: name one to write to, or - for standard output", r.path);
        return EXIT_USAGE;
    }
    return receive_file(&r, which);
}

static int get(struct cli *cli, const struct words *words, const char *owner, bool by_id)
{
    Taskworker__FileRequest which = TASKWORKER__FILE_REQUEST__INIT;
    const char *name = words->items[0];
    size_t len = strlen(name);
    if (!by_id && len > 0 && name[len - 1] == '/')
        return files_get_all(cli, name, owner, words->n > 1 ? words->items[1] : ".");
    *(by_id ? &which.file_id : &which.filename) = (char *)name;
    which.user_id = (char *)owner;
    return files_get_one(cli, &which, words->n > 1 ? words->items[1] : files_base_name(name));
}

int files_get(struct cli *cli, int argc, char **argv)
{
    const char *owner = "";
    bool by_id = false;
    const struct option options[] = {
        {.name = "owner", .kind = OPTION_TEXT, .target = &owner, .metavar = "NAME", .help = "whose file it is"},
        {.name = "id", .kind = OPTION_FLAG, .target = &by_id, .help = "what is named is the id that put has printed"},
    };
    const struct syntax syntax = {
        .verb = "storage get",
        .usage = "[OPTION]... NAME [FILE|-] | FOLDER/ [DIR]",
        .text =
            "Fetches the newest version of a file, into FILE or one of its own name here; - is standard output. The\n"
            "file takes its place when all of it has come and is what was put. With a slash at the end: all files "
            "whose names\n"
            "begin with that, below DIR or here.",
        .example = "  hivemind storage get inputs/data.csv\n"
                   "  hivemind storage get photos.tar - | tar t\n"
                   "  hivemind storage get 1m8547jejp6jcp1byg0n/ results",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "NAME",
        .min_words = 1,
        .max_words = 2,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, get(cli, &args.words, owner, by_id));
    arguments_done(&args);
    return code;
}
