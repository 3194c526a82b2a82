/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading happens in three steps. First each source is read into "given" texts: file, then environment, then flags, a later
 * one replacing an earlier one; every text is checked as it comes, so that a mistake is found even where another source
 * overrides it. Then the gaps are filled with defaults, some of which depend on other settings. Last come the rules between
 * settings. All errors of a run are collected: people fix a configuration in one go, not by trial.
 */
#include "node/config.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/suggest.h"
#include "base/text.h"
#include "node/config_file.h"
#include "node/privileges.h"

struct loader {
    const struct config_input *input;
    struct config *config;
    struct config_errors *errors;
    const char *file;             /* being read */
    unsigned lines[SETTING_MAX];  /* where the file set it */
    bool complained[SETTING_MAX]; /* its value is bad: no rule about it will help */
    const char *config_flag;      /* --config */
    bool out_of_memory;
};

void config_errors_init(struct config_errors *errors)
{
    *errors = (struct config_errors){.text = BUF_INIT(64 * KIB)};
}

void config_errors_done(struct config_errors *errors)
{
    buf_done(&errors->text);
}

void config_complain(struct config_errors *errors, const char *fmt, ...)
{
    if (++errors->count > CONFIG_ERRORS_MAX)
        return;
    CLEANUP_FREE char *raw = NULL, *line = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&raw, fmt, ap) < 0)
        raw = NULL;
    va_end(ap);
    if (raw)
        line = text_printable(raw, strlen(raw), 1000, false);
    for (char *p = line; p && *p; p++) {
        if (*p == '\n' || *p == '\t')
            *p = ' ';
    }
    buf_printf(&errors->text, "%s\n", line ? line : "out of memory");
}

static void out_of_memory(struct loader *l)
{
    if (!l->out_of_memory)
        config_complain(l->errors, "out of memory");
    l->out_of_memory = true;
}

/* Takes `where` over. */
static void set_value(
    struct loader *l, enum setting_id id, const char *text, uint64_t number, enum setting_origin origin, char *where)
{
    char *copy = text ? strdup(text) : NULL;
    if ((text && !copy) || !where) {
        free(copy);
        free(where);
        out_of_memory(l);
        return;
    }
    struct setting_value *v = &l->config->values[id];
    free(v->text);
    free(v->where);
    *v = (struct setting_value){.text = copy, .number = number, .origin = origin, .where = where};
}

/* A text that somebody wrote. */
static void give(struct loader *l, enum setting_id id, const char *text, enum setting_origin origin, const char *fmt,
    ...) PRINTF_LIKE(5, 6);
static void give(
    struct loader *l, enum setting_id id, const char *text, enum setting_origin origin, const char *fmt, ...)
{
    char *where = NULL, expected[SETTING_EXPECTED_MAX];
    uint64_t number;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&where, fmt, ap) < 0)
        where = NULL;
    va_end(ap);
    if (where && setting_parse(id, text, &number) < 0) {
        config_complain(l->errors, "%s is \"%.200s\" (%s), but has to be %s", setting_get(id)->key, text, where,
            setting_expected(id, expected));
        l->complained[id] = true;
        free(where);
        return;
    }
    set_value(l, id, text, where ? number : 0, origin, where);
}

/* --- the file --- */

static void on_pair(unsigned line, const char *key, const char *value, void *ctx)
{
    struct loader *l = ctx;
    enum setting_id id = setting_by_key(key);
    if (id == SETTING_MAX) {
        const char *keys[SETTING_MAX];
        for (enum setting_id i = 0; i < SETTING_MAX; i++)
            keys[i] = setting_get(i)->key;
        const char *near = suggest_nearest(key, keys, SETTING_MAX);
        config_complain(l->errors, "%s:%u: there is no setting %.60s%s%s%s", l->file, line, key,
            near ? "; did you mean " : " (--help lists them)", near ? near : "", near ? "?" : "");
        return;
    }
    if (l->lines[id]) {
        config_complain(
            l->errors, "%s:%u: %s was set in line %u already; keep one of them", l->file, line, key, l->lines[id]);
        return;
    }
    l->lines[id] = line;
    /* Templates list keys without a value: that is not given. */
    if (*value)
        give(l, id, value, ORIGIN_FILE, "%s:%u", l->file, line);
}

static void on_error(unsigned line, const char *what, void *ctx)
{
    struct loader *l = ctx;
    config_complain(
        l->errors, "%s:%u: this line is %s%s", l->file, line, strncmp(what, "not", 3) ? "wrong: " : "", what);
}

static void load_file(struct loader *l)
{
    static const struct config_file_handler handler = {.on_pair = on_pair, .on_error = on_error};
    const char *path = l->config_flag ? l->config_flag : l->input->default_file;
    CLEANUP_FREE char *data = NULL;
    size_t len = 0;
    if (!path)
        return;
    int r = file_read(path, CONFIG_FILE_MAX, &data, &len);
    if (r == -ENOENT && !l->config_flag)
        return;
    if (r == -EFBIG) {
        config_complain(l->errors, "the configuration file %s is longer than 64 KiB", path);
        return;
    }
    if (r < 0) {
        config_complain(l->errors, "cannot read the configuration file %s: %s", path, strerror(-r));
        return;
    }
    l->file = path;
    l->config->file = strdup(path);
    if (!l->config->file || config_file_parse(data, len, &handler, l) < 0)
        out_of_memory(l);
}

/* --- the environment --- */

static const char *env_get(char *const *envp, const char *name)
{
    size_t len = strlen(name);
    for (; envp && *envp; envp++) {
        if (!strncmp(*envp, name, len) && (*envp)[len] == '=')
            return *envp + len + 1;
    }
    return NULL;
}

static void load_environment(struct loader *l)
{
    for (enum setting_id id = 0; id < SETTING_MAX; id++) {
        const char *text = env_get(l->input->envp, setting_env(id));
        if (text && *text)
            give(l, id, text, ORIGIN_ENVIRONMENT, "environment variable %s", setting_env(id));
    }
}

/* --- the flags --- */

static const char *const own_flags[] = {"config", "show-config", "reset-admin", "json", "help", "version"};

static void complain_of_flag(struct loader *l, const char *flag, size_t len)
{
    char known[SETTING_MAX + ARRAY_LEN(own_flags)][SETTING_FLAG_MAX], word[SETTING_FLAG_MAX * 2];
    const char *names[ARRAY_LEN(known)];
    size_t n = 0;
    for (; n < SETTING_MAX; n++)
        names[n] = setting_flag((enum setting_id)n, known[n]);
    for (size_t i = 0; i < ARRAY_LEN(own_flags); i++, n++) {
        snprintf(known[n], sizeof known[n], "--%s", own_flags[i]);
        names[n] = known[n];
    }
    snprintf(word, sizeof word, "%.*s", (int)MIN(len, sizeof word - 1), flag);
    const char *near = suggest_nearest(word, names, n);
    config_complain(l->errors, "there is no flag %s%s%s%s", word, near ? "; did you mean " : " (--help lists them)",
        near ? near : "", near ? "?" : "");
}

static bool is_flag(const char *name, size_t len, const char *flag)
{
    return strlen(flag) == len && !memcmp(flag, name, len);
}

/* The flags that are no settings. Returns whether it was one; *ret_used_next as below. */
static bool take_own_flag(
    struct loader *l, const char *name, size_t len, const char *value, const char *next, bool *ret_used_next)
{
    struct config *c = l->config;
    if (is_flag(name, len, "config")) {
        *ret_used_next = !value;
        l->config_flag = value ? value : next;
        if (!l->config_flag || !*l->config_flag) {
            config_complain(l->errors, "--config needs the name of a file");
            l->config_flag = NULL;
        }
        return true;
    }
    bool *into = is_flag(name, len, "json") ? &c->json : NULL;
    bool show = is_flag(name, len, "show-config"), reset = is_flag(name, len, "reset-admin");
    if (!into && !show && !reset)
        return false;
    if (value)
        config_complain(l->errors, "--%.*s takes no value", (int)len, name);
    if (show || reset)
        c->action = show ? CONFIG_SHOW : CONFIG_RESET_ADMIN;
    else
        *into = true;
    return true;
}

static void take_flag(struct loader *l, const char *arg, const char *next, bool own, bool *ret_used_next)
{
    const char *name = arg + 2, *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const char *value = equals ? equals + 1 : NULL;
    enum setting_id id = setting_by_flag(name, len);
    *ret_used_next = false;
    if (id == SETTING_MAX) {
        /* Both passes have to step over the value of --config; only the first one acts on it. */
        if (own && !take_own_flag(l, name, len, value, next, ret_used_next))
            complain_of_flag(l, arg, len + 2);
        if (!own)
            *ret_used_next = is_flag(name, len, "config") && !value;
        return;
    }
    if (!value && setting_get(id)->type == SETTING_BOOL) {
        uint64_t ignored;
        /* Nothing else could stand there: a node takes no arguments. */
        *ret_used_next = next && setting_parse(id, next, &ignored) == 0;
        value = *ret_used_next ? next : "true";
    } else if (!value) {
        value = next;
        *ret_used_next = true;
    }
    if (own)
        return;
    if (!value)
        config_complain(l->errors, "%s needs a value: %s=%s", arg, arg, setting_get(id)->metavar);
    else
        give(l, id, value, ORIGIN_FLAG, "flag --%.*s", (int)len, name);
}

/* The first pass (own) takes what says how to load, the second one the settings. */
static void load_flags(struct loader *l, bool own)
{
    for (int i = 1; i < l->input->argc; i++) {
        const char *arg = l->input->argv[i];
        const char *next = i + 1 < l->input->argc ? l->input->argv[i + 1] : NULL;
        bool used_next = false;
        if (!strncmp(arg, "--", 2) && arg[2])
            take_flag(l, arg, next, own, &used_next);
        else if (own && arg[0] == '-')
            config_complain(l->errors, "there is no flag %.60s (--help lists them)", arg);
        else if (own)
            config_complain(l->errors, "unexpected argument \"%.60s\": settings are given as --name=value", arg);
        i += used_next;
    }
}

static bool find_help(const struct config_input *input, struct config *c)
{
    for (int i = 1; i < input->argc; i++) {
        if (!strcmp(input->argv[i], "--help") || !strcmp(input->argv[i], "-h"))
            c->action = CONFIG_HELP;
        else if (!strcmp(input->argv[i], "--version"))
            c->action = CONFIG_VERSION;
        else
            continue;
        return true;
    }
    return false;
}

/* --- defaults --- */

static char *default_node_id(const struct config *c)
{
    char host[256] = "", *text = NULL;
    uint64_t port = config_number(c, SETTING_GRPC_PORT);
    if (gethostname(host, sizeof host - 1) < 0 || !*host)
        snprintf(host, sizeof host, "localhost");
    /* Nodes on a port of the kernel's choice still need names of their own. */
    int n = port ? asprintf(&text, "worker-%.100s-%llu", host, (unsigned long long)port)
                 : asprintf(&text, "worker-%.100s-pid%d", host, (int)getpid());
    return n < 0 ? NULL : text;
}

static char *default_storage(const struct loader *l)
{
    const char *state = env_get(l->input->envp, "XDG_STATE_HOME"), *home = env_get(l->input->envp, "HOME");
    char *text = NULL;
    int n;
    if (l->input->root)
        return strdup("/var/lib/hivemind");
    if (state && *state == '/')
        n = asprintf(&text, "%s/hivemind", state);
    else if (home && *home == '/')
        n = asprintf(&text, "%s/.local/state/hivemind", home);
    else
        n = asprintf(&text, "/var/tmp/hivemind-%u", (unsigned)getuid());
    return n < 0 ? NULL : text;
}

/* Beside the program, as in an unpacked archive; beside its folder, as in a build folder; else where it was installed for. */
static char *default_libexec(const struct loader *l)
{
    static const char *const places[] = {"", "/../slot"};
    for (size_t i = 0; l->input->exe_dir && i < ARRAY_LEN(places); i++) {
        CLEANUP_FREE char *folder = NULL, *file = NULL;
        if (asprintf(&folder, "%s%s", l->input->exe_dir, places[i]) < 0) {
            folder = NULL;
            return NULL;
        }
        if (asprintf(&file, "%s/hivemind-launcher", folder) < 0) {
            file = NULL;
            return NULL;
        }
        if (access(file, X_OK) == 0)
            return realpath(folder, NULL);
    }
    return strdup(l->input->libexec_dir ? l->input->libexec_dir : "");
}

/* The defaults that have to be worked out; *ret stays NULL where there is none. 0, or -ENOMEM. */
static int make_default(const struct loader *l, enum setting_id id, char **ret)
{
    const char *fallback = setting_get(id)->fallback;
    switch (id) {
    case SETTING_NODE_ID:
        *ret = default_node_id(l->config);
        break;
    case SETTING_STORAGE_PATH:
        if (config_number(l->config, SETTING_DEV))
            return 0; /* a folder is made at start */
        *ret = default_storage(l);
        break;
    case SETTING_LIBEXEC_DIR:
        *ret = default_libexec(l);
        break;
    case SETTING_WORKER_USER:
        if (!l->input->root)
            return 0;
        *ret = privileges_default_user();
        break;
    default:
        if (!fallback)
            return 0;
        *ret = strdup(fallback);
        break;
    }
    return *ret ? 0 : -ENOMEM;
}

static void fill_default(struct loader *l, enum setting_id id)
{
    char *text = NULL;
    uint64_t number = 0;
    if (make_default(l, id, &text) < 0) {
        out_of_memory(l);
        return;
    }
    /* A user namespace with root alone: there is nobody else to become. */
    bool nobody = id == SETTING_WORKER_USER && text && !strcmp(text, "0");
    bool dev = id == SETTING_STORAGE_PATH && !text;
    if (text && !nobody && setting_parse(id, text, &number) < 0)
        config_complain(
            l->errors, "the default of %s cannot be used here (\"%.100s\"); set it", setting_get(id)->key, text);
    else
        set_value(l, id, nobody ? NULL : text, number, dev ? ORIGIN_DEV : ORIGIN_DEFAULT,
            strdup(dev ? "default with --dev" : "default"));
    free(text);
}

/* --- rules between settings --- */

/* Two names of one thing: one of them given counts for both, and both given have to agree. */
static void join_synonyms(struct loader *l, enum setting_id a, enum setting_id b)
{
    struct setting_value *va = &l->config->values[a], *vb = &l->config->values[b];
    bool given_a = va->text, given_b = vb->text;
    if (given_a && given_b && va->number != vb->number) {
        config_complain(l->errors,
            "%s is %s (%s) and %s is %s (%s): they are two names of one setting, give one of them", setting_get(a)->key,
            va->text, va->where, setting_get(b)->key, vb->text, vb->where);
        return;
    }
    if (given_a == given_b)
        return;
    enum setting_id from = given_a ? a : b, to = given_a ? b : a;
    struct setting_value *v = &l->config->values[from];
    char *where = NULL;
    if (asprintf(&where, "as %s, %s", setting_get(from)->key, v->where) < 0)
        where = NULL;
    set_value(l, to, v->text, v->number, v->origin, where);
}

/* The choices stand in order, from the least to the most. */
static void check_networks(struct loader *l)
{
    const struct config *c = l->config;
    const struct setting_value *given = &c->values[SETTING_TASK_NETWORK], *most = &c->values[SETTING_MAX_TASK_NETWORK];
    if (!l->complained[SETTING_TASK_NETWORK] && !l->complained[SETTING_MAX_TASK_NETWORK] &&
        given->number > most->number)
        config_complain(l->errors,
            "TASK_NETWORK is \"%s\" (%s), which is more than MAX_TASK_NETWORK allows: \"%s\" (%s)", given->text,
            given->where, most->text, most->where);
}

static void check_tls(struct loader *l)
{
    static const enum setting_id files[] = {SETTING_TLS_CERT, SETTING_TLS_KEY, SETTING_TLS_CLIENT_CA};
    const struct config *c = l->config;
    bool cert = config_text(c, SETTING_TLS_CERT), key = config_text(c, SETTING_TLS_KEY);
    bool ca = config_text(c, SETTING_TLS_CLIENT_CA), auth = config_number(c, SETTING_TLS_CLIENT_AUTH);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        const struct setting_value *v = &c->values[files[i]];
        if (l->complained[files[i]] || l->complained[SETTING_TLS_CLIENT_AUTH])
            return;
        if (v->text && *v->text != '/')
            config_complain(l->errors, "%s is \"%s\" (%s), but has to be an absolute path, one that begins with \"/\"",
                setting_get(files[i])->key, v->text, v->where);
    }
    if (cert != key)
        config_complain(l->errors, "%s is set (%s), and %s is not: a certificate and its key go together",
            cert ? "TLS_CERT" : "TLS_KEY", c->values[cert ? SETTING_TLS_CERT : SETTING_TLS_KEY].where,
            cert ? "TLS_KEY" : "TLS_CERT");
    if (auth && (!ca || !cert))
        config_complain(l->errors, "TLS_CLIENT_AUTH is \"%s\" (%s), which needs %s",
            config_text(c, SETTING_TLS_CLIENT_AUTH), c->values[SETTING_TLS_CLIENT_AUTH].where,
            cert ? "TLS_CLIENT_CA, the CA that has signed the certificates of clients" : "TLS_CERT and TLS_KEY");
    if (ca && !auth)
        config_complain(l->errors,
            "TLS_CLIENT_CA is set (%s), but certificates of clients are not asked for: set TLS_CLIENT_AUTH to optional "
            "or "
            "required",
            c->values[SETTING_TLS_CLIENT_CA].where);
}

/* What other machines can reach is encrypted, or somebody says that it need not be; without authentication nobody reaches it. */
static void check_reach(struct loader *l, enum setting_id id, bool has_tls)
{
    const struct config *c = l->config;
    const struct setting_value *host = &c->values[id];
    if (!host->text || l->complained[id] || setting_host_is_loopback(host->text))
        return;
    if (config_number(c, SETTING_DEV))
        config_complain(l->errors,
            "%s is \"%s\" (%s), which other machines can reach, but with --dev (%s) there is no "
            "authentication: leave one of them away",
            setting_get(id)->key, host->text, host->where, c->values[SETTING_DEV].where);
    else if (!has_tls && !config_number(c, SETTING_INSECURE_LISTEN))
        config_complain(l->errors,
            "%s is \"%s\" (%s), which other machines can reach, and tokens would go there in plain text: make "
            "certificates (hivemind tls init) and set TLS_CERT and TLS_KEY, keep 127.0.0.1, or accept with "
            "--insecure-listen (INSECURE_LISTEN=true) that whoever is on the way can read and use them",
            setting_get(id)->key, host->text, host->where);
}

static void check_rules(struct loader *l)
{
    struct config *c = l->config;
    check_tls(l);
    check_reach(l, SETTING_GRPC_HOST, config_text(c, SETTING_TLS_CERT));
    if (config_number(c, SETTING_WEB))
        check_reach(l, SETTING_WEB_HOST, false);
    const char *storage = config_text(c, SETTING_STORAGE_PATH);
    if (storage && *storage != '/' && !l->complained[SETTING_STORAGE_PATH])
        config_complain(l->errors,
            "STORAGE_PATH is \"%s\" (%s), but has to be an absolute path, one that begins with \"/\"", storage,
            c->values[SETTING_STORAGE_PATH].where);
    const char *root = config_text(c, SETTING_SANDBOX_ROOT);
    if (root && *root != '/' && !l->complained[SETTING_SANDBOX_ROOT])
        config_complain(l->errors,
            "SANDBOX_ROOT is \"%s\" (%s), but has to be an absolute path, one that begins with \"/\"", root,
            c->values[SETTING_SANDBOX_ROOT].where);
    check_networks(l);
    uint64_t base = config_number(c, SETTING_SLOT_UID_BASE), uid = 0;
    if (l->input->root && config_text(c, SETTING_WORKER_USER) && !l->complained[SETTING_SLOT_UID_BASE] &&
        privileges_uid_of(config_text(c, SETTING_WORKER_USER), &uid) == 0 && uid >= base &&
        uid < base + 2 * (uint64_t)NODE_SLOTS_MAX) {
        config_complain(l->errors,
            "WORKER_USER is \"%s\" (%s), which is one of the user ids that tasks run under: from SLOT_UID_BASE %llu on "
            "(%s); choose one that is not",
            config_text(c, SETTING_WORKER_USER), c->values[SETTING_WORKER_USER].where, (unsigned long long)base,
            c->values[SETTING_SLOT_UID_BASE].where);
    }
    if (c->json && c->action != CONFIG_SHOW)
        config_complain(l->errors, "--json goes with --show-config; for a log in JSON use --log-format=json");
}

int config_load(const struct config_input *input, struct config *ret, struct config_errors *errors)
{
    struct loader l = {.input = input, .config = ret, .errors = errors};
    *ret = (struct config){0};
    if (find_help(input, ret))
        return 0;
    load_flags(&l, true);
    load_file(&l);
    load_environment(&l);
    load_flags(&l, false);
    ret->file_given = l.config_flag;
    join_synonyms(&l, SETTING_NODE_PORT, SETTING_GRPC_PORT);
    join_synonyms(&l, SETTING_FLASK_PORT, SETTING_WEB_PORT);
    for (enum setting_id id = 0; id < SETTING_MAX; id++) {
        if (!ret->values[id].text)
            fill_default(&l, id);
    }
    check_rules(&l);
    return errors->count ? -1 : 0;
}

void config_done(struct config *c)
{
    for (enum setting_id id = 0; id < SETTING_MAX; id++) {
        free(c->values[id].text);
        free(c->values[id].where);
    }
    free(c->file);
    *c = (struct config){0};
}

bool config_equal(const struct config *a, const struct config *b, enum setting_id id)
{
    const char *ta = config_text(a, id), *tb = config_text(b, id);
    if (a->values[id].number != b->values[id].number)
        return false;
    switch (setting_get(id)->type) {
    case SETTING_PATH:
    case SETTING_HOST:
    case SETTING_ADDRESS:
    case SETTING_USER:
    case SETTING_NAME:
    case SETTING_MODULES:
    case SETTING_PATHS:
    case SETTING_INDEX:
        return ta && tb ? !strcmp(ta, tb) : ta == tb;
    default:
        return !ta == !tb;
    }
}
