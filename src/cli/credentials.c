/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/util.h"

void credentials_wipe(char **token)
{
    if (*token)
        explicit_bzero(*token, strlen(*token));
    free(STEAL(*token));
}

char *credentials_path(void)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char *text = NULL;
    int n = -1;
    if (config && *config == '/')
        n = asprintf(&text, "%s/hivemind/credentials", config);
    else if (home && *home == '/')
        n = asprintf(&text, "%s/.config/hivemind/credentials", home);
    return n < 0 ? NULL : text;
}

int credentials_check_token(const char *token, struct tw_error *error)
{
    size_t len = strlen(token);
    for (const char *p = token; *p; p++) {
        if (*p <= ' ' || *p >= 127)
            return error_set(error, TW_INVALID_ARGUMENT, "there are characters in it that no token has");
    }
    if (len == 0 || len > CREDENTIALS_TOKEN_MAX)
        return error_set(
            error, TW_INVALID_ARGUMENT, "a token has 1 to %d characters, not %zu", CREDENTIALS_TOKEN_MAX, len);
    return 0;
}

/* All of a file that is open. */
static int read_all(int fd, struct buf *ret)
{
    char piece[4096];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : buf_append_u8(ret, '\0');
        int r = buf_append(ret, piece, (size_t)n);
        explicit_bzero(piece, sizeof piece);
        if (r < 0)
            return r;
    }
}

static void wipe_buf(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    buf_done(b);
}

int credentials_read_token(const char *path, char **ret, struct tw_error *error)
{
    struct buf text CLEANUP(wipe_buf) = BUF_INIT(4096);
    struct tw_error why;
    *ret = NULL;
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot read the token in %s", path);
    int r = read_all(fd, &text);
    if (r < 0)
        return error_set_errno(error, r, "cannot read the token in %s", path);
    char *token = (char *)text.data + strspn((char *)text.data, " \t\r\n");
    size_t len = strcspn(token, " \t\r\n");
    if (token[len + strspn(token + len, " \t\r\n")])
        return error_set(error, TW_INVALID_ARGUMENT, "%s has more in it than one token", path);
    token[len] = '\0';
    if (credentials_check_token(token, &why) < 0)
        return error_set(error, TW_INVALID_ARGUMENT, "%s: %s", path, why.message);
    *ret = strdup(token);
    return *ret ? 0 : error_oom(error);
}

/* --- the file of credentials --- */

/* -1 and no error: it is not there. */
static int open_file(const char *path, struct tw_error *error)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return -1;
    if (fd < 0) {
        error_set_errno(error, errno, "cannot open %s", path);
        return -1;
    }
    if (fstat(fd, &st) < 0)
        error_set_errno(error, errno, "cannot look at %s", path);
    else if (!S_ISREG(st.st_mode))
        error_set(error, TW_FAILED_PRECONDITION, "%s is not a regular file", path);
    else if (st.st_uid != geteuid())
        error_set(error, TW_FAILED_PRECONDITION, "%s belongs to uid %u: it has to be yours", path, (unsigned)st.st_uid);
    else if (st.st_mode & (S_IRWXG | S_IRWXO))
        error_set(error, TW_FAILED_PRECONDITION,
            "others may read %s (mode %04o), which has your tokens: `chmod 600` it, and consider them known", path,
            (unsigned)st.st_mode & 07777);
    else
        return fd;
    fd_close(&fd);
    return -1;
}

/* The file as a text; empty where there is none. */
static int load(const char *path, struct buf *ret, struct tw_error *error)
{
    struct tw_error why = {0};
    CLEANUP_FD int fd = open_file(path, &why);
    if (fd < 0 && why.code) {
        *error = why;
        return -1;
    }
    int r = fd < 0 ? buf_append_u8(ret, '\0') : read_all(fd, ret);
    return r < 0 ? error_set_errno(error, r, "cannot read %s", path) : 0;
}

/* The token in the line of this address: where it begins; NULL: it is another's line. */
static const char *token_of_line(const char *line, size_t len, const char *address, size_t *ret_len)
{
    size_t n = strlen(address), gap;
    if (len <= n || memcmp(line, address, n) != 0 || (line[n] != ' ' && line[n] != '\t'))
        return NULL;
    gap = strspn(line + n, " \t");
    *ret_len = strcspn(line + n + gap, " \t\r\n");
    return line + n + gap;
}

static const char *next_line(const char *line)
{
    const char *end = strchr(line, '\n');
    return end ? end + 1 : line + strlen(line);
}

int credentials_find(const char *path, const char *address, char **ret, struct tw_error *error)
{
    struct buf text CLEANUP(wipe_buf) = BUF_INIT(CREDENTIALS_FILE_MAX);
    struct tw_error why;
    *ret = NULL;
    if (load(path, &text, error) < 0)
        return -1;
    for (const char *line = (const char *)text.data; *line; line = next_line(line)) {
        size_t len = 0;
        const char *token = token_of_line(line, (size_t)(next_line(line) - line), address, &len);
        if (!token)
            continue;
        *ret = strndup(token, len);
        if (!*ret)
            return error_oom(error);
        if (credentials_check_token(*ret, &why) == 0)
            return 0;
        credentials_wipe(ret);
        return error_set(
            error, TW_FAILED_PRECONDITION, "the token for %s in %s is none: %s", address, path, why.message);
    }
    return 0;
}

static int make_folders(const char *path)
{
    char part[PATH_MAX];
    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return -ENAMETOOLONG;
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return 0;
}

/* Written aside, on disk, and then put in place. */
static int publish(const char *path, const struct buf *text, struct tw_error *error)
{
    CLEANUP_FREE char *aside = NULL;
    if (asprintf(&aside, "%s.XXXXXX", path) < 0) {
        aside = NULL;
        return error_oom(error);
    }
    CLEANUP_FD int fd = mkostemp(aside, O_CLOEXEC); /* 0600 */
    if (fd < 0)
        return error_set_errno(error, errno, "cannot write %s", path);
    const uint8_t *p = text->data;
    for (size_t left = text->len; left;) {
        ssize_t n = write(fd, p, left);
        if (n < 0 && errno != EINTR)
            break;
        p += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
        if (left == 0 && fsync(fd) == 0 && rename(aside, path) == 0)
            return 0;
    }
    int saved = errno;
    (void)unlink(aside);
    return error_set_errno(error, saved, "cannot write %s", path);
}

int credentials_keep(const char *path, const char *address, const char *token, struct tw_error *error)
{
    struct buf old CLEANUP(wipe_buf) = BUF_INIT(CREDENTIALS_FILE_MAX);
    struct buf new CLEANUP(wipe_buf) = BUF_INIT(CREDENTIALS_FILE_MAX);
    if (!*address || strpbrk(address, " \t\r\n#"))
        return error_set(error, TW_INVALID_ARGUMENT, "\"%.100s\" is no address", address);
    if ((token && credentials_check_token(token, error) < 0) || load(path, &old, error) < 0)
        return -1;
    int r = make_folders(path);
    if (r < 0)
        return error_set_errno(error, r, "cannot make the folder of %s", path);
    if (!*old.data)
        buf_append_str(&new, "# Tokens by the address of their node, made by hivemind login\n");
    for (const char *line = (const char *)old.data, *next; *line; line = next) {
        size_t ignored;
        next = next_line(line);
        if (token_of_line(line, (size_t)(next - line), address, &ignored))
            continue;
        buf_append(&new, line, (size_t)(next - line));
        if (next[-1] != '\n')
            buf_append_str(&new, "\n");
    }
    if (token)
        buf_printf(&new, "%s %s\n", address, token);
    if (new.error)
        return error_set_errno(error, new.error, "cannot write %s", path);
    return publish(path, &new, error);
}
