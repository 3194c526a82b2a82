/* SPDX-License-Identifier: Apache-2.0 */
#include "package/gunzip.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include <zlib.h>

enum { IN_BYTES = 64 * 1024, OUT_BYTES = 256 * 1024, GZIP_ALONE = 16 };

struct gunzip {
    int fd;
    z_stream z;
    bool within; /* a member has begun and is not over */
    uint8_t in[IN_BYTES], out[OUT_BYTES];
};

struct gunzip *gunzip_new(int fd)
{
    struct gunzip *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->fd = fd;
    if (inflateInit2(&g->z, GZIP_ALONE + MAX_WBITS) == Z_OK)
        return g;
    free(g);
    return NULL;
}

void gunzip_free(struct gunzip *g)
{
    if (g)
        (void)inflateEnd(&g->z);
    free(g);
}

/* 1; 0: there is no more. */
static int fill(struct gunzip *g)
{
    ssize_t n;
    do
        n = read(g->fd, g->in, sizeof g->in);
    while (n < 0 && errno == EINTR);
    g->z.next_in = g->in;
    g->z.avail_in = n > 0 ? (uInt)n : 0;
    return n < 0 ? -errno : n > 0;
}

ssize_t gunzip_read(struct gunzip *g, const void **ret)
{
    g->z.next_out = g->out;
    g->z.avail_out = sizeof g->out;
    while (g->z.avail_out > 0) {
        if (g->z.avail_in == 0) {
            int r = fill(g);
            if (r < 0 || (r == 0 && g->within))
                return r < 0 ? r : -EBADMSG;
            if (r == 0)
                break;
        }
        g->within = true;
        int r = inflate(&g->z, Z_NO_FLUSH);
        if (r == Z_STREAM_END) { /* its checksum and length were right */
            g->within = false;
            (void)inflateReset(&g->z);
        } else if (r != Z_OK && r != Z_BUF_ERROR) {
            return r == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
        }
    }
    *ret = g->out;
    return (ssize_t)(sizeof g->out - g->z.avail_out);
}
