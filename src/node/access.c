/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first token of a node's administrator is for his eyes: it goes to the terminal, or else into a file that only he can read, and never
 * to where a log is kept. Only when it is there for good the library is told, so that a start that is killed before makes another one.
 */
#include "node/access.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

struct paths {
    char *accounts, *audit, *first, *aside;
};

static void paths_done(struct paths *p)
{
    free(p->accounts);
    free(p->audit);
    free(p->first);
    free(p->aside);
}
#define CLEANUP_PATHS CLEANUP(paths_done)

static char *below(const char *storage, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", storage, name) < 0 ? NULL : path;
}

static int paths_init(struct paths *p, const char *storage)
{
    *p = (struct paths){
        .accounts = below(storage, "accounts"),
        .audit = below(storage, "audit"),
        .first = below(storage, ACCESS_FIRST_TOKEN_FILE),
        .aside = below(storage, ACCESS_FIRST_TOKEN_FILE ".new"),
    };
    if (p->accounts && p->audit && p->first && p->aside)
        return 0;
    log_error("cannot start: out of memory");
    return -1;
}

static uint32_t rate(const struct config *c, enum setting_id id)
{
    uint64_t n = config_number(c, id);
    return n ? (uint32_t)n : TW_RATE_UNLIMITED;
}

int access_begin(const struct config *c, const char *storage, struct tw_worker *worker)
{
    struct tw_error error = {0};
    struct paths paths CLEANUP_PATHS;
    if (paths_init(&paths, storage) < 0)
        return -1;
    const struct tw_access_options options = {
        .size = sizeof options,
        .path = paths.accounts,
        .audit_path = paths.audit,
        .max_requests = rate(c, SETTING_MAX_REQUESTS_PER_USER),
        .max_submissions = rate(c, SETTING_MAX_SUBMISSIONS_PER_USER),
        .max_bytes = config_number(c, SETTING_MAX_BYTES_PER_USER),
    };
    if (tw_worker_set_access(worker, &options, &error) == 0)
        return 0;
    log_error("cannot start: %s", error.message);
    return -1;
}

/* Published whole, and on disk, or not at all. */
static int write_token(const char *path, const char *aside, const char *storage, const char *token)
{
    (void)unlink(aside);
    CLEANUP_FD int folder = open(storage, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP_FD int fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (folder < 0 || fd < 0 || dprintf(fd, "%s\n", token) < 0 || fsync(fd) < 0 || rename(aside, path) < 0 ||
        fsync(folder) < 0)
        return -errno;
    return 0;
}

static int print_first(const char *token)
{
    printf("\nThis node is new. The token of its administrator (user \"admin\"), shown only now:\n\n  %s\n\n", token);
    return fflush(stdout) == 0 ? 0 : -errno;
}

int access_show_first(const char *storage, struct tw_worker *worker)
{
    struct tw_error error = {0};
    struct paths paths CLEANUP_PATHS;
    const char *token = tw_worker_first_token(worker);
    bool terminal = isatty(STDOUT_FILENO);
    if (!token)
        return 0;
    if (paths_init(&paths, storage) < 0)
        return -1;
    int r = terminal ? print_first(token) : write_token(paths.first, paths.aside, storage, token);
    if (r < 0)
        log_error("cannot start: the token of the administrator cannot be written to %s: %s",
            terminal ? "the terminal" : paths.first, strerror(-r));
    if (r < 0)
        return -1;
    if (!terminal)
        log_info("this node is new: the token of its administrator (user \"admin\") is in %s; keep it elsewhere and "
                 "remove that file",
            paths.first);
    if (tw_worker_first_token_shown(worker, &error) == 0)
        return 0;
    log_error("cannot start: %s", error.message);
    return -1;
}

int access_reset_admin(const char *storage)
{
    struct tw_error error = {0};
    struct paths paths CLEANUP_PATHS;
    char user[TW_ACCESS_USER_MAX + 1], token[TW_TOKEN_TEXT_LEN + 1];
    if (paths_init(&paths, storage) < 0)
        return -1;
    const struct tw_access_options options = {
        .size = sizeof options, .path = paths.accounts, .audit_path = paths.audit};
    if (tw_access_reset_admin(&options, user, token, &error) < 0) {
        log_error("no new token: %s (the node must not run meanwhile)", error.message);
        return -1;
    }
    printf("A new token of the administrator \"%s\", shown only now:\n\n  %s\n\n", user, token);
    explicit_bzero(token, sizeof token);
    if (fflush(stdout) == 0)
        return 0;
    log_error("the token cannot be written to standard output: %s", strerror(errno));
    return -1;
}
