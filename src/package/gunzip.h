/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gzip, unpacked piece by piece. libarchive could, but does not look at the checksum at the end. Several of these behind each other are one, as gzip
 * itself has it. Private to src/package.
 */
#ifndef PACKAGE_GUNZIP_H
#define PACKAGE_GUNZIP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct gunzip;

/* Reads from here on in fd, which is borrowed. NULL: no memory. */
struct gunzip *gunzip_new(int fd);
void gunzip_free(struct gunzip *g); /* NULL is allowed */
/* The next bytes, the gunzip's own until the next call: how many, 0 at the end, -EBADMSG: damaged or cut off, or another -errno. */
ssize_t gunzip_read(struct gunzip *g, const void **ret);

#endif
