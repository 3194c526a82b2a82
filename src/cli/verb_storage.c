/* SPDX-License-Identifier: Apache-2.0 */
/* hivemind storage: the files that the node keeps. Each verb below it is one of the functions here, or files_put.c, files_get.c. */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/below.h"
#include "cli/files.h"
#include "cli/table.h"

/* --- what they share --- */

void meter_begin(struct meter *m, const struct cli *cli)
{
    *m = (struct meter){.cli = cli, .began_us = clock_monotonic_us()};
}

void meter_show(struct meter *m, uint64_t done, uint64_t total)
{
    enum { EVERY_US = 100000, BAR = 24 };
    uint64_t now = clock_monotonic_us(), passed = now - m->began_us;
    char amount[32], speed[32], bar[BAR + 1] = "";
    if (m->cli->json || now - MAX(m->shown_us, m->began_us) < EVERY_US || !isatty(STDERR_FILENO))
        return;
    m->shown_us = now;
    m->shown = true;
    size_t filled = total ? (size_t)((double)MIN(done, total) / (double)total * BAR) : 0;
    memset(bar, ' ', BAR);
    memset(bar, '#', filled);
    format_bytes(done, amount);
    format_bytes((uint64_t)((double)done * 1e6 / (double)passed), speed);
    if (total)
        fprintf(stderr, "\r\033[K[%s] %3.0f %%  %s, %s/s", bar, 100.0 * (double)done / (double)total, amount, speed);
    else
        fprintf(stderr, "\r\033[K%s, %s/s", amount, speed);
}

void meter_end(struct meter *m)
{
    if (m->shown)
        fputs("\r\033[K", stderr);
}

const char *files_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

json_t *json_file(const Taskworker__File *f)
{
    return json_pack("{s:o, s:o, s:o, s:I, s:o, s:I, s:I, s:I, s:b}", "file_id", json_text(f->file_id), "filename",
        json_text(f->filename), "owner", json_text(f->user_id), "size", (json_int_t)f->size, "sha256",
        json_text(f->sha256), "version", (json_int_t)f->version, "created_us", (json_int_t)f->created_us, "modified_us",
        (json_int_t)f->modified_us, "damaged", f->damaged);
}

/* --- ls --- */

static void add_row(struct table *table, const Taskworker__File *f, bool all)
{
    char size[32], version[24], when[CLOCK_TEXT_MAX];
    snprintf(version, sizeof version, "%llu", (unsigned long long)f->version);
    clock_format((uint64_t)f->modified_us, when);
    when[strlen(when) > 19 ? 19 : strlen(when)] = '\0'; /* without fractions */
    const char *texts[] = {format_bytes(f->size, size), version, when, f->damaged ? "damaged" : "ok",
        all ? f->user_id : f->filename, f->filename};
    table_add(table, texts, "");
}

static int list(struct cli *cli, Taskworker__ListFilesRequest *request)
{
    static const char *const titles[] = {"SIZE", "VERSION", "MODIFIED (UTC)", "STATE", "OWNER", "NAME"};
    const char *short_titles[] = {"SIZE", "VERSION", "MODIFIED (UTC)", "STATE", "NAME"};
    CLEANUP_FREE char *token = NULL;
    struct table table;
    int code = 0;
    table_init(&table, request->all_users ? ARRAY_LEN(titles) : ARRAY_LEN(short_titles));
    table_add(&table, request->all_users ? titles : short_titles, "");
    request->page_size = 1000;
    do {
        CLEANUP_MESSAGE Taskworker__ListFilesResponse *page = NULL;
        request->page_token = token ? token : (char *)"";
        code = cli_call(
            cli, FILES_METHOD("ListFiles"), &request->base, &taskworker__list_files_response__descriptor, 0, &page);
        for (size_t i = 0; !code && i < page->n_files; i++) {
            if (cli->json)
                output_json(stdout, json_file(page->files[i]));
            else
                add_row(&table, page->files[i], request->all_users);
        }
        free(token);
        token = !code && *page->next_page_token ? strdup(page->next_page_token) : NULL;
    } while (token);
    if (!code && !cli->json && table.n_rows < 2)
        cli_note(cli, "there is no such file%s", request->all_users ? "" : "; --all lists those of every owner");
    else if (!code && !cli->json)
        (void)table_print(&table, stdout, 3, color_off(cli));
    table_done(&table);
    return code;
}

static int files_ls(struct cli *cli, int argc, char **argv)
{
    Taskworker__ListFilesRequest request = TASKWORKER__LIST_FILES_REQUEST__INIT;
    const char *owner = "";
    bool all = false;
    const struct option options[] = {
        {.name = "owner", .kind = OPTION_TEXT, .target = &owner, .metavar = "NAME", .help = "whose files"},
        {.name = "all", .letter = 'a', .kind = OPTION_FLAG, .target = &all, .help = "those of every owner"},
    };
    const struct syntax syntax = {
        .verb = "storage ls",
        .usage = "[OPTION]... [PREFIX]",
        .text = "Lists files by name; with PREFIX those whose names begin with it.",
        .example = "  hivemind storage ls inputs/",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .max_words = 1,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        request.user_id = (char *)owner;
        request.all_users = all;
        request.prefix = (char *)(args.words.n ? args.words.items[0] : "");
        code = output_finish(cli, list(cli, &request));
    }
    arguments_done(&args);
    return code;
}

/* --- rm --- */

static int files_rm(struct cli *cli, int argc, char **argv)
{
    const char *owner = "";
    bool by_id = false;
    const struct option options[] = {
        {.name = "owner", .kind = OPTION_TEXT, .target = &owner, .metavar = "NAME", .help = "whose files they are"},
        {.name = "id", .kind = OPTION_FLAG, .target = &by_id, .help = "what is named are ids"},
    };
    const struct syntax syntax = {
        .verb = "storage rm",
        .usage = "[OPTION]... NAME...",
        .text = "Deletes files. Who reads one at the moment reads it to its end.",
        .example = "  hivemind storage rm inputs/data.csv",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "NAME",
        .min_words = 1,
        .max_words = SIZE_MAX,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        for (size_t i = 0; i < args.words.n; i++) {
            Taskworker__FileRequest request = TASKWORKER__FILE_REQUEST__INIT;
            CLEANUP_MESSAGE Taskworker__DeleteFileResponse *response = NULL;
            *(by_id ? &request.file_id : &request.filename) = (char *)args.words.items[i];
            request.user_id = (char *)owner;
            int one = cli_call(cli, FILES_METHOD("DeleteFile"), &request.base,
                &taskworker__delete_file_response__descriptor, 0, &response);
            code = code ? code : one;
        }
        code = output_finish(cli, code);
    }
    arguments_done(&args);
    return code;
}

/* --- stat, gc --- */

static void print_stat(const Taskworker__GetStorageResponse *s)
{
    char a[32], b[32], c[32];
    printf("files      %llu of %s in all\n", (unsigned long long)s->files, format_bytes(s->bytes, a));
    if (s->blobs || s->blob_bytes)
        printf("on disk    %s in %llu different contents; %s saved where several files have the same\n",
            format_bytes(s->blob_bytes, a), (unsigned long long)s->blobs, format_bytes(s->saved_bytes, b));
    if (s->unused_bytes || s->reserved_bytes)
        printf("besides    %s on their way out, %s set aside for what is coming in\n", format_bytes(s->unused_bytes, a),
            format_bytes(s->reserved_bytes, b));
    printf("bound      %s", format_bytes(s->max_bytes, a));
    if (s->max_user_bytes)
        printf(", %s for one owner", format_bytes(s->max_user_bytes, c));
    putchar('\n');
    if (s->damaged_blobs)
        printf("DAMAGED    %llu contents: hivemind storage ls --all names the files\n",
            (unsigned long long)s->damaged_blobs);
}

static int stat_of(struct cli *cli, const char *owner)
{
    Taskworker__GetStorageRequest request = TASKWORKER__GET_STORAGE_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__GetStorageResponse *s = NULL;
    request.one_user = owner != NULL;
    request.user_id = (char *)(owner ? owner : "");
    int code =
        cli_call(cli, FILES_METHOD("GetStorage"), &request.base, &taskworker__get_storage_response__descriptor, 0, &s);
    if (code)
        return code;
    if (!cli->json) {
        print_stat(s);
        return 0;
    }
    output_json(stdout,
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "files", (json_int_t)s->files, "bytes",
            (json_int_t)s->bytes, "blobs", (json_int_t)s->blobs, "blob_bytes", (json_int_t)s->blob_bytes,
            "unused_bytes", (json_int_t)s->unused_bytes, "saved_bytes", (json_int_t)s->saved_bytes, "reserved_bytes",
            (json_int_t)s->reserved_bytes, "damaged_blobs", (json_int_t)s->damaged_blobs, "max_bytes",
            (json_int_t)s->max_bytes, "max_owner_bytes", (json_int_t)s->max_user_bytes));
    return 0;
}

static int files_stat(struct cli *cli, int argc, char **argv)
{
    const char *owner = NULL;
    const struct option options[] = {
        {.name = "owner",
            .kind = OPTION_TEXT,
            .target = &owner,
            .metavar = "NAME",
            .help = "only the files of this one"},
    };
    const struct syntax syntax = {
        .verb = "storage stat",
        .usage = "[OPTION]...",
        .text = "How many files there are, what they take, and what they may take.",
        .example = "  hivemind storage stat",
        .options = options,
        .n_options = ARRAY_LEN(options),
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, stat_of(cli, owner));
    arguments_done(&args);
    return code;
}

static int collect(struct cli *cli)
{
    Taskworker__CollectGarbageRequest request = TASKWORKER__COLLECT_GARBAGE_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__CollectGarbageResponse *r = NULL;
    char bytes[32];
    int code = cli_call(cli, FILES_METHOD("CollectGarbage"), &request.base,
        &taskworker__collect_garbage_response__descriptor, CLI_NO_TIMEOUT, &r);
    if (code)
        return code;
    if (cli->json)
        output_json(stdout,
            json_pack("{s:I, s:I, s:I, s:I, s:I}", "files", (json_int_t)r->files, "blobs", (json_int_t)r->blobs,
                "bytes", (json_int_t)r->bytes, "strays", (json_int_t)r->strays, "missing", (json_int_t)r->missing));
    else
        printf("removed %llu contents (%s) that no file used, and %llu files that were too old\n",
            (unsigned long long)(r->blobs + r->strays), format_bytes(r->bytes, bytes), (unsigned long long)r->files);
    return 0;
}

static int files_gc(struct cli *cli, int argc, char **argv)
{
    const struct syntax syntax = {
        .verb = "storage gc",
        .usage = "",
        .text =
            "Removes what no file uses any more, and files older than the node's FILE_RETENTION. The node does so by\n"
            "itself, too; what is in use stays.",
        .example = "  hivemind storage gc",
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, collect(cli));
    arguments_done(&args);
    return code;
}

/* --- fsck --- */

struct checking {
    struct cli *cli;
    struct meter meter;
    Taskworker__CheckFilesResponse *last;
    struct tw_error status;
    bool done;
};

static void on_check_message(struct rpc_client_call *call UNUSED, const uint8_t *msg, size_t len, void *ctx)
{
    struct checking *c = ctx;
    taskworker__check_files_response__free_unpacked(c->last, NULL);
    c->last = taskworker__check_files_response__unpack(NULL, len, msg);
    if (c->last && !c->last->done)
        meter_show(&c->meter, c->last->checked_bytes, c->last->total_bytes);
}

static void on_check_done(struct rpc_client_call *call UNUSED, const struct tw_error *status, void *ctx)
{
    struct checking *c = ctx;
    c->status = *status;
    c->done = true;
}

static int print_check(struct checking *c)
{
    const Taskworker__CheckFilesResponse *r = c->last;
    char bytes[32];
    if (c->status.code != TW_OK)
        return cli_report(c->cli, &c->status);
    if (!r || !r->done)
        return cli_bad_reply(c->cli, "CheckFiles");
    if (c->cli->json) {
        output_json(stdout,
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "blobs", (json_int_t)r->blobs, "bytes",
                (json_int_t)r->checked_bytes, "damaged", (json_int_t)r->damaged, "missing", (json_int_t)r->missing,
                "healed", (json_int_t)r->healed, "lost_files", (json_int_t)r->lost_files, "wrong_counts",
                (json_int_t)r->wrong_counts));
    } else {
        printf("checked %llu contents, %s: %llu damaged, %llu missing", (unsigned long long)r->blobs,
            format_bytes(r->checked_bytes, bytes), (unsigned long long)r->damaged, (unsigned long long)r->missing);
        if (r->healed)
            printf(", %llu right again", (unsigned long long)r->healed);
        if (r->lost_files)
            printf("; %llu files have lost their content: put them again (hivemind storage ls --all names them)",
                (unsigned long long)r->lost_files);
        if (r->wrong_counts)
            printf("; %llu numbers in the database do not add up", (unsigned long long)r->wrong_counts);
        putchar('\n');
    }
    return r->damaged || r->missing || r->wrong_counts ? 1 : 0;
}

static int check(struct cli *cli)
{
    static const struct rpc_client_callbacks callbacks = {.on_message = on_check_message, .on_done = on_check_done};
    Taskworker__CheckFilesRequest request = TASKWORKER__CHECK_FILES_REQUEST__INIT;
    struct checking c = {.cli = cli};
    struct rpc_client *client = cli_connect(cli);
    if (!client)
        return cli->connect_code;
    meter_begin(&c.meter, cli);
    if (!rpc_client_start(client, FILES_METHOD("CheckFiles"), &request.base, 0, &callbacks, &c)) {
        cli_error(cli, TW_RESOURCE_EXHAUSTED, "out of memory");
        return EXIT_TROUBLE;
    }
    while (!c.done)
        uv_run(&cli->loop, UV_RUN_ONCE);
    meter_end(&c.meter);
    int code = print_check(&c);
    taskworker__check_files_response__free_unpacked(c.last, NULL);
    return code;
}

static int files_fsck(struct cli *cli, int argc, char **argv)
{
    const struct syntax syntax = {
        .verb = "storage fsck",
        .usage = "",
        .text =
            "Reads every content that the node keeps and compares it with its hash. What is damaged is not given to\n"
            "anybody until it is put again. Exits with 1 where something is wrong.",
        .example = "  hivemind storage fsck",
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, check(cli));
    arguments_done(&args);
    return code;
}

/* --- the verb --- */

int verb_storage(struct cli *cli, int argc, char **argv)
{
    static const struct below below[] = {
        {"ls", "list files", files_ls},
        {"put", "keep a file on the node", files_put},
        {"get", "fetch a file", files_get},
        {"rm", "delete files", files_rm},
        {"stat", "what there is, and what may be", files_stat},
        {"gc", "remove what no file uses", files_gc},
        {"fsck", "check all contents against their hashes", files_fsck},
    };
    return below_run(cli, "storage", "The files that the node keeps.", below, ARRAY_LEN(below), argc, argv);
}
