/* SPDX-License-Identifier: Apache-2.0 */
/* hivemind-worker: reads its configuration and either answers a question about it or becomes a node (daemon.c). */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "node/config.h"
#include "node/daemon.h"

extern char **environ;

/* The folder of the running program into out; NULL where /proc is missing. */
static const char *find_exe_dir(char out[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (n <= 0)
        return NULL;
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (!slash || slash == out)
        return NULL;
    *slash = '\0';
    return out;
}

static int print_errors(const struct config_errors *errors)
{
    const char *p = (const char *)errors->text.data, *end = p + errors->text.len;
    while (p && p < end) {
        /* Each line ends in a newline; no NUL ends the buffer. */
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((newline ? newline : end) - p);
        fprintf(stderr, "hivemind-worker: %.*s\n", (int)n, p);
        p += n + 1;
    }
    if (errors->count > CONFIG_ERRORS_MAX)
        fprintf(stderr, "hivemind-worker: and %zu more mistakes\n", errors->count - CONFIG_ERRORS_MAX);
    return 2;
}

static int act(struct config *config, const struct config_input *input)
{
    int r = 0;
    switch (config->action) {
    case CONFIG_HELP:
        r = config_print_help(stdout);
        break;
    case CONFIG_VERSION:
        r = printf("hivemind-worker %s\n", HIVEMIND_VERSION) > 0 && fflush(stdout) == 0 ? 0 : -1;
        break;
    case CONFIG_SHOW:
        r = config->json ? config_print_json(stdout, config) : config_print_table(stdout, config);
        break;
    case CONFIG_RESET_ADMIN:
        return daemon_reset_admin(config, input);
    case CONFIG_RUN:
        return daemon_run(config, input);
    }
    if (r < 0)
        fprintf(stderr, "hivemind-worker: cannot write to standard output\n");
    return r < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    (void)fd_occupy_standard();
    char exe_dir[PATH_MAX];
    const struct config_input input = {
        .argc = argc,
        .argv = argv,
        .envp = environ,
        .default_file = CONFIG_DEFAULT_FILE,
        .root = geteuid() == 0,
        .exe_dir = find_exe_dir(exe_dir),
        .libexec_dir = HIVEMIND_LIBEXECDIR,
    };
    struct config config;
    struct config_errors errors;
    config_errors_init(&errors);
    int code = config_load(&input, &config, &errors) < 0 ? print_errors(&errors) : act(&config, &input);
    config_errors_done(&errors);
    config_done(&config);
    log_done();
    return code;
}
