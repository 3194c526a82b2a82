/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of one run: what the flags, the environment and the file say, in this order of precedence, and the
 * defaults. Loading has no side effects beside reading the file, so SIGHUP loads a second one and compares.
 */
#ifndef NODE_CONFIG_H
#define NODE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "node/settings.h"

#define CONFIG_DEFAULT_FILE "/etc/hivemind/worker.conf"

enum setting_origin {
    ORIGIN_DEFAULT,
    ORIGIN_DEV, /* a default that --dev changed */
    ORIGIN_FILE,
    ORIGIN_ENVIRONMENT,
    ORIGIN_FLAG,
};

struct setting_value {
    char *text; /* as it was written; NULL: no value */
    uint64_t number;
    enum setting_origin origin;
    char *where; /* "flag --grpc-port", "/etc/hivemind/worker.conf:3"; never NULL */
};

/* The last of the choices of TLS_CLIENT_AUTH. */
enum { CLIENT_AUTH_REQUIRED = 2 };

enum config_action {
    CONFIG_RUN,
    CONFIG_SHOW,
    CONFIG_RESET_ADMIN,
    CONFIG_HELP,
    CONFIG_VERSION,
};

struct config {
    struct setting_value values[SETTING_MAX];
    enum config_action action;
    bool json;
    char *file;      /* the file that was read, or NULL */
    bool file_given; /* named by --config */
};

/* Everything outside that a configuration depends on. */
struct config_input {
    int argc;
    char *const *argv;
    char *const *envp;
    const char *default_file; /* read if it exists */
    bool root;
    const char *exe_dir;     /* the folder of the running program, or NULL */
    const char *libexec_dir; /* as compiled in */
};

/* What is wrong, a line each, harmless to show. */
struct config_errors {
    struct buf text;
    size_t count;
};
enum { CONFIG_ERRORS_MAX = 50 }; /* more are counted and not kept */

void config_errors_init(struct config_errors *errors);
void config_errors_done(struct config_errors *errors);
void config_complain(struct config_errors *errors, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * Fills *ret in any case (release it with config_done). Returns 0, or -1 with at least one error. With --help or --version
 * among the flags nothing else is looked at.
 */
int config_load(const struct config_input *input, struct config *ret, struct config_errors *errors);
void config_done(struct config *c);

static inline uint64_t config_number(const struct config *c, enum setting_id id)
{
    return c->values[id].number;
}
static inline const char *config_text(const struct config *c, enum setting_id id)
{
    return c->values[id].text;
}
/* Whether somebody asked for it, as against a default. */
static inline bool config_given(const struct config *c, enum setting_id id)
{
    return c->values[id].origin > ORIGIN_DEV;
}
bool config_equal(const struct config *a, const struct config *b, enum setting_id id);

/* config_show.c; 0, or -1 if it could not be written. */
int config_print_help(FILE *out);
int config_print_table(FILE *out, const struct config *c);
int config_print_json(FILE *out, const struct config *c);

#endif
