/* SPDX-License-Identifier: Apache-2.0 */
/* hivemind tls init, hivemind tls client: what is needed for TLS where there is no CA of the house. */
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/parse.h"
#include "cli/tls_dir.h"

enum {
    DAY_S = 86400,
    EARLIER_S = 3600, /* clocks differ */
    CA_DAYS = 3650,
    USUAL_DAYS = 825,
    DAYS_MAX = 3650,
    HOSTS_MAX = 64,
    FILE_NAME_MAX = 64,
    NODE_UID = 1899999999, /* of a node that root starts where there is no account of this name; see WORKER_USER */
};
#define NODE_ACCOUNT "hivemind"

struct hosts {
    const char *items[HOSTS_MAX];
    size_t n;
};

static int complain(struct cli *cli, const struct tw_error *error)
{
    cli_error(cli, error->code, "%s", error->message);
    return error->code == TW_INVALID_ARGUMENT ? EXIT_USAGE : EXIT_TROUBLE;
}

static bool exists(const struct tls_path *path)
{
    struct stat st;
    return lstat(path->text, &st) == 0;
}

/* --- the CA --- */

/* That of the folder, or a new one. */
static int get_ca(
    const struct tls_dir *dir, const char *host, struct tls_pair *ret, bool *ret_new, struct tw_error *error)
{
    struct tls_path cert = tls_path_of(dir, "ca", ".crt"), key = tls_path_of(dir, "ca", ".key");
    *ret_new = !exists(&cert) && !exists(&key);
    if (!*ret_new) {
        if (tls_pair_read(dir, "ca", ret, error) < 0)
            return error_wrap(
                error, "the CA in %s cannot be used (to begin anew, remove ca.crt and ca.key)", dir->path);
        if (cert_has_expired(ret->cert))
            return error_set(error, TW_FAILED_PRECONDITION,
                "the CA in %s has expired; remove ca.crt and ca.key to have a new one made", dir->path);
        return 0;
    }
    char name[65];
    snprintf(name, sizeof name, "HiveMind CA of %.48s", host);
    const struct cert_request request = {
        .use = CERT_CA, .name = name, .begin_s = -EARLIER_S, .end_s = (int64_t)CA_DAYS * DAY_S};
    return tls_pair_make(dir, "ca", &request, NULL, ret, error);
}

/* --- the node's --- */

static void add_host(struct hosts *hosts, const char *host)
{
    for (size_t i = 0; i < hosts->n; i++) {
        if (!strcmp(hosts->items[i], host))
            return;
    }
    if (hosts->n < HOSTS_MAX && cert_is_host(host))
        hosts->items[hosts->n++] = host;
}

/* Those that were asked for first. 0, or an exit code. */
static int gather_hosts(struct cli *cli, const struct words *asked, const char *own, struct hosts *ret)
{
    static const char *const usual[] = {"localhost", "127.0.0.1", "::1"};
    for (size_t i = 0; i < asked->n; i++) {
        if (!cert_is_host(asked->items[i]) || i >= HOSTS_MAX - 4) {
            cli_error(cli, TW_INVALID_ARGUMENT, "--host=%.100s: %s", asked->items[i],
                i < HOSTS_MAX - 4 ? "it has to be the name of a host or an IP address, without a port"
                                  : "too many hosts");
            return EXIT_USAGE;
        }
        add_host(ret, asked->items[i]);
    }
    add_host(ret, own);
    for (size_t i = 0; i < ARRAY_LEN(usual); i++)
        add_host(ret, usual[i]);
    return 0;
}

/* Who has to be able to read the node's key: 0 with -1 for "nobody else". */
static int find_owner(struct cli *cli, const char *given, uid_t *ret_uid, gid_t *ret_gid)
{
    uint64_t number = NODE_UID;
    const struct passwd *entry = NULL;
    *ret_uid = (uid_t)-1;
    *ret_gid = (gid_t)-1;
    if (!given && geteuid() != 0)
        return 0;
    if (!given || parse_u64(given, 0, UINT32_MAX - 1, &number) < 0)
        entry = getpwnam(given ? given : NODE_ACCOUNT);
    if (given && !entry && parse_u64(given, 0, UINT32_MAX - 1, &number) < 0) {
        cli_error(cli, TW_NOT_FOUND, "--owner=%.60s: there is no such user here", given);
        return EXIT_USAGE;
    }
    *ret_uid = entry ? entry->pw_uid : (uid_t)number;
    *ret_gid = entry ? entry->pw_gid : (gid_t)number;
    return 0;
}

static int give_away(struct cli *cli, const struct tls_dir *dir, bool asked, uid_t uid, gid_t gid)
{
    struct tls_path key = tls_path_of(dir, "node", ".key");
    if (uid == (uid_t)-1 || lchown(key.text, uid, gid) == 0)
        return 0;
    if (asked) {
        cli_error(cli, TW_INTERNAL, "cannot give %s to uid %u: %s", key.text, (unsigned)uid, strerror(errno));
        return EXIT_TROUBLE;
    }
    cli_note(cli, "%s stays yours: uid %u cannot have it (%s)", key.text, (unsigned)uid, strerror(errno));
    return 0;
}

static void print_lines(const struct tls_dir *dir, const X509 *node, const char *host, bool new_ca)
{
    char pin[CERT_PIN_TEXT], hosts[512], until[CERT_TIME_TEXT];
    const char *d = dir->path;
    printf("Wrote %snode.crt and node.key in %s\nfor %s, good until %s.\n", new_ca ? "ca.crt, ca.key, " : "", d,
        cert_hosts(node, hosts, sizeof hosts), cert_time_text(X509_get0_notAfter(node), until));
    printf("\nSettings of the node (a node that runs already reads them at its next start; new files under the same\n"
           "names it reads on SIGHUP):\n"
           "TLS_CERT='%s/node.crt'\nTLS_KEY='%s/node.key'\n",
        d, d);
    printf("\nA client, with a copy of ca.crt (HIVEMIND_SERVER and HIVEMIND_CA do the same):\n"
           "  hivemind --server tls://%s%s%s:50053 --ca '%s/ca.crt' status\n"
           "or, without a copy:\n  hivemind --server tls://%s%s%s:50053 --pin %s status\n",
        strchr(host, ':') ? "[" : "", host, strchr(host, ':') ? "]" : "", d, strchr(host, ':') ? "[" : "", host,
        strchr(host, ':') ? "]" : "", tls_pin_of(node, pin));
    printf("\nTo let in only who has a certificate (hivemind tls client NAME makes them):\n"
           "TLS_CLIENT_CA='%s/ca.crt'\nTLS_CLIENT_AUTH=required\n"
           "\nKeep ca.key to yourself: whoever has it can make such certificates.\n",
        d);
}

struct init {
    const char *dir, *owner;
    struct words hosts;
    uint64_t days;
    bool force;
};

static int make_node(
    struct cli *cli, const struct init *o, const struct tls_dir *dir, const struct hosts *hosts, const char *own)
{
    struct tls_pair ca = {0}, node = {0};
    struct tw_error error = {0};
    bool new_ca = false;
    uid_t uid;
    gid_t gid;
    const struct cert_request request = {
        .use = CERT_NODE,
        .name = own,
        .hosts = hosts->items,
        .n_hosts = hosts->n,
        .begin_s = -EARLIER_S,
        .end_s = (int64_t)o->days * DAY_S,
    };
    int code = find_owner(cli, o->owner, &uid, &gid);
    if (!code &&
        (get_ca(dir, own, &ca, &new_ca, &error) < 0 || tls_pair_make(dir, "node", &request, &ca, &node, &error) < 0))
        code = complain(cli, &error);
    if (!code)
        code = give_away(cli, dir, o->owner, uid, gid);
    if (!code && cli->json)
        output_json(stdout, tls_json_of(tls_path_of(dir, "node", ".crt").text, node.cert));
    else if (!code)
        print_lines(dir, node.cert, hosts->items[0], new_ca);
    tls_pair_done(&ca);
    tls_pair_done(&node);
    return code;
}

static int init(struct cli *cli, const struct init *o)
{
    struct tls_dir dir;
    struct hosts hosts = {0};
    char own[65] = "";
    if (gethostname(own, sizeof own - 1) < 0 || !cert_is_host(own))
        snprintf(own, sizeof own, "localhost");
    int code = gather_hosts(cli, &o->hosts, own, &hosts);
    if (!code)
        code = tls_dir_find(cli, o->dir, true, &dir);
    if (code)
        return code;
    struct tls_path cert = tls_path_of(&dir, "node", ".crt"), key = tls_path_of(&dir, "node", ".key");
    if (!o->force && (exists(&cert) || exists(&key))) {
        cli_error(cli, TW_ALREADY_EXISTS,
            "there is a certificate of a node in %s; --force puts a new one in its place (the CA stays the same, so "
            "that "
            "clients need nothing new)",
            dir.path);
        return EXIT_USAGE;
    }
    return make_node(cli, o, &dir, &hosts, own);
}

static struct option option_of_dir(const char **target)
{
    return (struct option){.name = "dir",
        .kind = OPTION_TEXT,
        .target = target,
        .metavar = "FOLDER",
        .help = "where the files are [root: /etc/hivemind/tls, else ~/.config/hivemind/tls]"};
}

static struct option option_of_days(uint64_t *target)
{
    return (struct option){.name = "days",
        .kind = OPTION_COUNT,
        .target = target,
        .min = 1,
        .max = DAYS_MAX,
        .metavar = "N",
        .help = "how long the certificate is good, but not longer than its CA [825]"};
}

int tls_verb_init(struct cli *cli, int argc, char **argv)
{
    struct init o = {.days = USUAL_DAYS};
    const struct option options[] = {
        option_of_dir(&o.dir),
        {.name = "host",
            .kind = OPTION_LIST,
            .target = &o.hosts,
            .metavar = "NAME|IP",
            .help = "a further name or address that clients call the node by; may be repeated"},
        option_of_days(&o.days),
        {.name = "owner",
            .kind = OPTION_TEXT,
            .target = &o.owner,
            .metavar = "USER",
            .help = "root: whose the node's key is, its WORKER_USER [hivemind, else 1899999999]"},
        {.name = "force", .kind = OPTION_FLAG, .target = &o.force, .help = "replace a certificate that is there"},
    };
    const struct syntax syntax = {
        .verb = "tls init",
        .usage = "[OPTION]...",
        .text = "Makes a private CA and the certificate of a node, for this machine's name, localhost, 127.0.0.1, ::1 "
                "and what\n--host adds, and tells what to do with them. A CA that is there is used. Needs no node.",
        .example = "  hivemind tls init --host node7.example --host 10.0.0.7",
        .options = options,
        .n_options = ARRAY_LEN(options),
    };
    struct arguments args;
    int code = 0;
    (void)umask(022); /* certificates are for everybody; keys have a mode of their own */
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, init(cli, &o));
    arguments_done(&args);
    words_done(&o.hosts);
    return code;
}

/* --- a client's --- */

/* It becomes part of a file's name. */
static bool is_file_name(const char *name)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-@+";
    size_t len = strlen(name);
    return len >= 1 && len <= FILE_NAME_MAX && name[0] != '.' && strspn(name, good) == len;
}

static int make_client(struct cli *cli, const struct tls_dir *dir, const char *name, const char *file, uint64_t days,
    struct tls_pair *pair)
{
    struct tls_pair ca = {0};
    struct tw_error error = {0};
    const struct cert_request request = {
        .use = CERT_CLIENT, .name = name, .begin_s = -EARLIER_S, .end_s = (int64_t)days * DAY_S};
    int r = tls_pair_read(dir, "ca", &ca, &error);
    if (r == 0 && cert_has_expired(ca.cert))
        r = error_set(&error, TW_FAILED_PRECONDITION, "the CA in %s has expired", dir->path);
    if (r == 0)
        r = tls_pair_make(dir, file, &request, &ca, pair, &error);
    tls_pair_done(&ca);
    return r < 0 ? complain(cli, &error) : 0;
}

static int client(struct cli *cli, const char *dir_given, const char *name, uint64_t days, bool force)
{
    struct tls_dir dir;
    struct tls_pair pair = {0};
    char file[FILE_NAME_MAX + 8], until[CERT_TIME_TEXT];
    if (!is_file_name(name)) {
        cli_error(cli, TW_INVALID_ARGUMENT,
            "\"%.80s\" cannot be the name of a client: 1 to 64 letters, digits and _.-@+, and no dot in front", name);
        return EXIT_USAGE;
    }
    int code = tls_dir_find(cli, dir_given, false, &dir);
    if (code)
        return code;
    snprintf(file, sizeof file, "client-%s", name);
    struct tls_path cert = tls_path_of(&dir, file, ".crt"), key = tls_path_of(&dir, file, ".key");
    if (!force && (exists(&cert) || exists(&key))) {
        cli_error(cli, TW_ALREADY_EXISTS, "%s is there already; --force puts a new one in its place", cert.text);
        return EXIT_USAGE;
    }
    code = make_client(cli, &dir, name, file, days, &pair);
    if (!code && cli->json)
        output_json(stdout, tls_json_of(cert.text, pair.cert));
    else if (!code)
        printf("Wrote %s and its key, good until %s. Where %s works, with ca.crt:\n"
               "  hivemind --server tls://HOST:50053 --ca '%s/ca.crt' --cert '%s' --key '%s' status\n",
            cert.text, cert_time_text(X509_get0_notAfter(pair.cert), until), name, dir.path, cert.text, key.text);
    tls_pair_done(&pair);
    return code;
}

int tls_verb_client(struct cli *cli, int argc, char **argv)
{
    const char *dir = NULL;
    uint64_t days = USUAL_DAYS;
    bool force = false;
    const struct option options[] = {
        option_of_dir(&dir),
        option_of_days(&days),
        {.name = "force", .kind = OPTION_FLAG, .target = &force, .help = "replace one that is there"},
    };
    const struct syntax syntax = {
        .verb = "tls client",
        .usage = "[OPTION]... NAME",
        .text =
            "Makes a certificate for a client, signed by the CA of \"tls init\": who shows it is NAME to a node whose\n"
            "TLS_CLIENT_CA is that CA.",
        .example = "  hivemind tls client alice",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "NAME",
        .min_words = 1,
        .max_words = 1,
    };
    struct arguments args;
    int code = 0;
    (void)umask(022);
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, client(cli, dir, args.words.items[0], days, force));
    arguments_done(&args);
    return code;
}
