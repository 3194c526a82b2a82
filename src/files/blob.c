/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contents on disk, by their hash, and the pins that keep them there. A content may be removed only under db_lock, when no
 * row refers to it and nobody holds a pin. Who is about to refer to one takes a pin first and looks for it, under db_lock,
 * afterwards: whoever removes it has either done so by then, or sees the pin.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"
#include "files/digest.h"
#include "files/internal.h"

enum { PATH_BYTES = TW_SHA256_LEN + 2 }; /* "ab/cdef..." */

/* --- pins --- */

struct pin *pin_take(struct tw_storage *s, const uint8_t sha[SHA_BYTES])
{
    char key[TW_SHA256_LEN + 1];
    text_hex(sha, SHA_BYTES, key);
    pthread_mutex_lock(&s->lock);
    struct pin *pin = map_get(&s->pins, key);
    if (!pin) {
        pin = calloc(1, sizeof *pin);
        if (pin)
            memcpy(pin->key, key, sizeof key);
        if (pin && map_put(&s->pins, pin->key, pin) < 0) {
            free(pin);
            pin = NULL;
        }
    }
    if (pin)
        pin->n++;
    pthread_mutex_unlock(&s->lock);
    return pin;
}

void pin_drop(struct tw_storage *s, struct pin *pin)
{
    if (!pin)
        return;
    pthread_mutex_lock(&s->lock);
    if (--pin->n == 0) {
        (void)map_remove(&s->pins, pin->key);
        free(pin);
    }
    pthread_mutex_unlock(&s->lock);
}

bool pin_is_held(struct tw_storage *s, const uint8_t sha[SHA_BYTES])
{
    char key[TW_SHA256_LEN + 1];
    text_hex(sha, SHA_BYTES, key);
    pthread_mutex_lock(&s->lock);
    bool held = map_get(&s->pins, key) != NULL;
    pthread_mutex_unlock(&s->lock);
    return held;
}

/* --- files --- */

static void path_of(const uint8_t sha[SHA_BYTES], char ret[PATH_BYTES])
{
    text_hex(sha, 1, ret);
    ret[2] = '/';
    text_hex(sha + 1, SHA_BYTES - 1, ret + 3);
}

int blob_open(const struct root *root, const uint8_t sha[SHA_BYTES], uint64_t size)
{
    char path[PATH_BYTES];
    path_of(sha, path);
    CLEANUP_FD int fd = openat(root->blobs_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == ELOOP ? -EBADMSG : -errno;
    return S_ISREG(st.st_mode) && (uint64_t)st.st_size == size ? fd_steal(&fd) : -EBADMSG;
}

int blob_look(const struct root *root, const uint8_t sha[SHA_BYTES], uint64_t size)
{
    char path[PATH_BYTES];
    path_of(sha, path);
    struct stat st;
    if (fstatat(root->blobs_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return S_ISREG(st.st_mode) && (uint64_t)st.st_size == size ? 0 : -EBADMSG;
}

int blob_publish(const struct root *root, const char *tmp, const uint8_t sha[SHA_BYTES])
{
    char path[PATH_BYTES], folder[3];
    path_of(sha, path);
    if (renameat(root->tmp_fd, tmp, root->blobs_fd, path) < 0)
        return -errno;
    text_hex(sha, 1, folder);
    CLEANUP_FD int fd = openat(root->blobs_fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

void blob_take_away(const struct root *root, const uint8_t sha[SHA_BYTES], char ret_tmp[TMP_NAME_MAX])
{
    char path[PATH_BYTES];
    path_of(sha, path);
    if (tmp_name(ret_tmp) == 0 && renameat(root->blobs_fd, path, root->tmp_fd, ret_tmp) == 0)
        return;
    ret_tmp[0] = '\0';
    /* A full disk may have no room for one more name. */
    if (errno != ENOENT && unlinkat(root->blobs_fd, path, 0) < 0 && errno != ENOENT)
        log_warning("cannot remove %s/" ROOT_BLOBS "/%s: %s", root->path, path, strerror(errno));
}

bool blob_is_same(const struct root *root, const uint8_t sha[SHA_BYTES], int fd)
{
    char path[PATH_BYTES];
    path_of(sha, path);
    struct stat there, open;
    return fstatat(root->blobs_fd, path, &there, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &open) == 0 &&
        there.st_ino == open.st_ino && there.st_dev == open.st_dev;
}

bool blob_drop_stray(struct tw_storage *s, const uint8_t sha[SHA_BYTES])
{
    char tmp[TMP_NAME_MAX] = "";
    {
        CATALOG_LOCKED(s);
        int64_t id;
        uint64_t size;
        enum blob_state state;
        if (!pin_is_held(s, sha) && catalog_find_blob(s, sha, &id, &size, &state, NULL) == 0)
            blob_take_away(&s->root, sha, tmp);
    }
    tmp_remove(&s->root, tmp);
    return tmp[0] != '\0';
}

int tmp_name(char ret[TMP_NAME_MAX])
{
    uint8_t random[(TMP_NAME_MAX - 1) / 2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return -errno;
    text_hex(random, sizeof random, ret);
    return 0;
}

void tmp_remove(const struct root *root, const char *name)
{
    if (name[0] && unlinkat(root->tmp_fd, name, 0) < 0 && errno != ENOENT)
        log_warning("cannot remove %s/" ROOT_TMP "/%s: %s", root->path, name, strerror(errno));
}

/* --- what is in them --- */

int content_check(int fd, uint64_t size, const uint8_t sha[SHA_BYTES], bool (*go_on)(void *ctx, uint64_t n), void *ctx)
{
    CLEANUP_FREE uint8_t *chunk = malloc(CHUNK_BYTES);
    CLEANUP_DIGEST EVP_MD_CTX *hash = digest_begin(NULL);
    if (!chunk || !hash)
        return -ENOMEM;
    for (uint64_t at = 0; at < size;) {
        ssize_t n = pread(fd, chunk, (size_t)MIN(size - at, (uint64_t)CHUNK_BYTES), (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0 || !digest_add(hash, chunk, (size_t)n))
            return 0; /* shorter than it was */
        at += (uint64_t)n;
        if (go_on && !go_on(ctx, (uint64_t)n))
            return -ECANCELED;
    }
    uint8_t got[SHA_BYTES];
    return digest_end(hash, got) && !memcmp(got, sha, SHA_BYTES);
}
