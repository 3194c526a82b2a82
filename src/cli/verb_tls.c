/* SPDX-License-Identifier: Apache-2.0 */
/* hivemind tls: certificates for nodes and clients. Needs no node. tls_init.c makes them; here they are shown. */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "cli/below.h"
#include "cli/tls_dir.h"

/* All that a file has: the first is its own, others belong to the way to its CA. */
static int show_file(struct cli *cli, const char *path)
{
    CLEANUP_CHAIN STACK_OF(X509) *chain = NULL;
    struct tw_error error = {0};
    if (certs_read_chain(path, &chain, &error) < 0) {
        cli_error(cli, error.code, "%s", error.message);
        return error.code == TW_NOT_FOUND ? EXIT_NOT_FOUND : EXIT_TROUBLE;
    }
    for (int i = 0; i < sk_X509_num(chain); i++) {
        if (cli->json)
            output_json(stdout, tls_json_of(path, sk_X509_value(chain, i)));
        else
            tls_print_of(path, sk_X509_value(chain, i));
    }
    return 0;
}

static int is_certificate(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 4 && entry->d_name[0] != '.' && !strcmp(entry->d_name + len - 4, ".crt");
}

static int show_folder(struct cli *cli, const char *given)
{
    struct tls_dir dir;
    struct dirent **entries = NULL;
    int code = tls_dir_find(cli, given, false, &dir);
    if (code)
        return code;
    int n = scandir(dir.path, &entries, is_certificate, alphasort);
    if (n < 0) {
        cli_error(cli, TW_INTERNAL, "cannot read the folder %s: %s", dir.path, strerror(errno));
        return EXIT_TROUBLE;
    }
    for (int i = 0; i < n; i++) {
        int one = show_file(cli, tls_path_of(&dir, entries[i]->d_name, "").text);
        code = code ? code : one;
        free(entries[i]);
    }
    free(entries);
    if (n == 0)
        cli_note(cli, "there is no certificate in %s; \"hivemind tls init\" makes one", dir.path);
    return code;
}

static int tls_verb_show(struct cli *cli, int argc, char **argv)
{
    const char *dir = NULL;
    const struct option options[] = {
        {.name = "dir",
            .kind = OPTION_TEXT,
            .target = &dir,
            .metavar = "FOLDER",
            .help = "where the files are [root: /etc/hivemind/tls, else ~/.config/hivemind/tls]"},
    };
    const struct syntax syntax = {
        .verb = "tls show",
        .usage = "[OPTION]... [FILE...]",
        .text =
            "What is in certificates: for whom they are, how long they are good, and the pins that clients can hold\n"
            "nodes to (--pin). Without FILE those of the folder.",
        .example = "  hivemind tls show\n  hivemind tls show --json /etc/hivemind/tls/node.crt | jq -r .pin",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .max_words = SIZE_MAX,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        if (!args.words.n)
            code = show_folder(cli, dir);
        for (size_t i = 0; i < args.words.n; i++) {
            int one = show_file(cli, args.words.items[i]);
            code = code ? code : one;
        }
        code = output_finish(cli, code);
    }
    arguments_done(&args);
    return code;
}

int verb_tls(struct cli *cli, int argc, char **argv)
{
    static const struct below below[] = {
        {"init", "make a private CA and the certificate of a node", tls_verb_init},
        {"client", "make the certificate of a client", tls_verb_client},
        {"show", "for whom certificates are, how long they are good, and their pins", tls_verb_show},
    };
    return below_run(cli, "tls", "Certificates for nodes and clients.", below, ARRAY_LEN(below), argc, argv);
}
