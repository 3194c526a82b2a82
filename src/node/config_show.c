/* SPDX-License-Identifier: Apache-2.0 */
/* What people read of the configuration: --help and --show-config. */
#include <jansson.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"
#include "node/config.h"

enum { HELP_COLUMN = 34, HELP_WIDTH = 100 };

static const char *const group_titles[] = {
    [GROUP_NETWORK] = "Network",
    [GROUP_TASKS] = "Tasks",
    [GROUP_LIMITS] = "What a task gets, which also is the most that one may ask for",
    [GROUP_STORAGE] = "Storage",
    [GROUP_PROCESS] = "Process",
    [GROUP_LOG] = "Log",
    [GROUP_LATER] = "Known and checked, but not used yet in this version",
};

/* Prints text in words from the column on, which the line has reached or passed. */
static void print_wrapped(FILE *out, size_t at, const char *text)
{
    if (at >= HELP_COLUMN) {
        fputc('\n', out);
        at = 0;
    }
    fprintf(out, "%*s", (int)(HELP_COLUMN - at), "");
    at = HELP_COLUMN;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (at > HELP_COLUMN && at + 1 + word > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            at = HELP_COLUMN;
        }
        at += (size_t)fprintf(out, "%s%.*s", at > HELP_COLUMN ? " " : "", (int)word, text);
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void print_setting_help(FILE *out, enum setting_id id)
{
    const struct setting *s = setting_get(id);
    char flag[SETTING_FLAG_MAX], left[80];
    CLEANUP_FREE char *text = NULL;
    if (s->type == SETTING_BOOL)
        snprintf(left, sizeof left, "  %s[=on|off]", setting_flag(id, flag));
    else
        snprintf(left, sizeof left, "  %s=%s", setting_flag(id, flag), s->metavar);
    const char *fallback = s->fallback ? s->fallback : s->computed;
    if (asprintf(&text, "%s%s%s%s%s%s%s [%s]%s", s->help, s->choices ? " (" : "", s->choices ? s->choices : "",
            s->choices ? ")" : "", s->env ? "; in the environment " : "", s->env ? s->env : "", "", fallback,
            s->reload ? " *" : "") < 0)
        text = NULL;
    print_wrapped(out, (size_t)fprintf(out, "%s", left), text ? text : s->help);
}

static void print_own_flags(FILE *out)
{
    static const char *const flags[][2] = {
        {"  --config=FILE", "the configuration file [" CONFIG_DEFAULT_FILE ", if there is one]"},
        {"  --show-config", "print every setting and where it comes from, and leave; with --json as JSON"},
        {"  --reset-admin",
            "print a new token of an administrator, for one who is locked out, and leave. The node must not "
            "run meanwhile"},
        {"  --version", "print the version and leave"},
        {"  --help", "print this and leave"},
    };
    fputs("\nOther flags\n", out);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        print_wrapped(out, (size_t)fprintf(out, "%s", flags[i][0]), flags[i][1]);
}

int config_print_help(FILE *out)
{
    fputs("Usage: hivemind-worker [FLAG]...\n"
          "Makes this machine a HiveMind worker node: takes tasks by gRPC and runs each in a sandbox of its own.\n"
          "To try it out: hivemind-worker --dev\n\n"
          "Each setting can be given as a flag (--max-concurrent-tasks=8), as an environment variable\n"
          "(MAX_CONCURRENT_TASKS=8) and as a line of the configuration file (MAX_CONCURRENT_TASKS=8); a flag wins\n"
          "over the environment, the environment over the file. In [ ] the default; * can be changed by SIGHUP.\n",
        out);
    for (enum setting_group group = 0; group < GROUP_MAX; group++) {
        fprintf(out, "\n%s\n", group_titles[group]);
        for (enum setting_id id = 0; id < SETTING_MAX; id++) {
            if (setting_get(id)->group == group)
                print_setting_help(out, id);
        }
    }
    print_own_flags(out);
    fputs(
        "\nThe storage folder is by default /var/lib/hivemind when started as root, else\n"
        "$XDG_STATE_HOME/hivemind or ~/.local/state/hivemind. Times: 300 (seconds), 250ms, 5m, 24h, 7d. Sizes: 512K,\n"
        "100M, 10G.\n\n"
        "Signals: SIGTERM and SIGINT let running tasks end within DRAIN_TIMEOUT, a second one stops them at once;\n"
        "queued tasks stay on disk for the next start. SIGHUP reads the configuration file again.\n"
        "SIGUSR2 ends the node and leaves running tasks to its next start (as hivemind drain --detach does).\n"
        "Exit codes: 0 a clean end, 1 it could not start or go on, 2 a mistake in the configuration.\n",
        out);
    return fflush(out) == 0 && !ferror(out) ? 0 : -1;
}

enum { SHOWN_MAX = 80 };

/* Where there is no text: what a start would do, in brackets. */
static const char *shown_value(const struct config *c, enum setting_id id, char out[SHOWN_MAX])
{
    if (config_text(c, id))
        return config_text(c, id);
    switch (id) {
    case SETTING_STORAGE_PATH:
        return "(a new temporary folder)";
    case SETTING_WORKER_USER:
        return "(whoever starts it)";
    default:
        snprintf(out, SHOWN_MAX, "(%s)", setting_get(id)->group == GROUP_LATER ? "not set" : setting_get(id)->computed);
        return out;
    }
}

static size_t columns_of(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

int config_print_table(FILE *out, const struct config *c)
{
    size_t key_width = 0, value_width = 0;
    char text[SHOWN_MAX];
    for (enum setting_id id = 0; id < SETTING_MAX; id++) {
        key_width = MAX(key_width, strlen(setting_get(id)->key));
        value_width = MAX(value_width, MIN(columns_of(shown_value(c, id, text)), (size_t)48));
    }
    for (enum setting_id id = 0; id < SETTING_MAX; id++) {
        const char *value = shown_value(c, id, text);
        size_t used = MIN(columns_of(value), value_width);
        CLEANUP_FREE char *where = text_printable(c->values[id].where, strlen(c->values[id].where), 4096, false);
        fprintf(out, "%-*s  %s%*s  %s%s\n", (int)key_width, setting_get(id)->key, value, (int)(value_width - used), "",
            where ? where : "?", setting_get(id)->group == GROUP_LATER ? " (not used yet)" : "");
    }
    return fflush(out) == 0 && !ferror(out) ? 0 : -1;
}

static json_t *value_to_json(const struct config *c, enum setting_id id)
{
    const char *text = config_text(c, id);
    if (!text)
        return json_null();
    switch (setting_get(id)->type) {
    case SETTING_COUNT:
    case SETTING_PORT:
    case SETTING_SIZE:
        return json_integer((json_int_t)config_number(c, id));
    case SETTING_DURATION:
        return json_real((double)config_number(c, id) / (double)SEC);
    case SETTING_CPUS:
        return json_real((double)config_number(c, id) / 1000);
    case SETTING_BOOL:
        return json_boolean(config_number(c, id));
    default:
        return json_string(text);
    }
}

int config_print_json(FILE *out, const struct config *c)
{
    static const char *const origins[] = {[ORIGIN_DEFAULT] = "default",
        [ORIGIN_DEV] = "dev",
        [ORIGIN_FILE] = "file",
        [ORIGIN_ENVIRONMENT] = "environment",
        [ORIGIN_FLAG] = "flag"};
    json_t *all = json_object();
    for (enum setting_id id = 0; all && id < SETTING_MAX; id++) {
        CLEANUP_FREE char *where = text_printable(c->values[id].where, strlen(c->values[id].where), 4096, false);
        json_t *one = json_pack("{s:o, s:s, s:s, s:b, s:b}", "value", value_to_json(c, id), "origin",
            origins[c->values[id].origin], "where", where ? where : "?", "reloadable", setting_get(id)->reload, "used",
            setting_get(id)->group != GROUP_LATER);
        if (!one || json_object_set_new(all, setting_get(id)->key, one) < 0) {
            json_decref(all);
            all = NULL;
        }
    }
    int r = all ? json_dumpf(all, out, JSON_INDENT(2)) : -1;
    json_decref(all);
    fputc('\n', out);
    return r == 0 && fflush(out) == 0 && !ferror(out) ? 0 : -1;
}
