/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as they came: paths, and parts that are percent-encoded (RFC 3986, section 2.1). */
#ifndef WEB_ADDRESS_H
#define WEB_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes `len` bytes into a text in out. False: it is too long, ends in the middle of a code, holds a NUL, or is not UTF-8. */
bool address_decode(const char *s, size_t len, char *out, size_t size);

/*
 * Whether `path`, not decoded, is one of `pattern`, in which one "*" may stand for one segment. It is not empty, and is decoded into
 * `segment`, which is "" where there is no "*".
 */
bool address_fits(const char *pattern, const char *path, char *segment, size_t size);

/*
 * One range of bytes (RFC 9110, section 14.2) of something that is `size` long: "bytes=0-9", "bytes=10-", "bytes=-5". 0 with where it begins and
 * how long it is; -EINVAL: it is none, or several, and is to be taken no notice of; -ERANGE: nothing of it is there.
 */
int address_range(const char *text, uint64_t size, uint64_t *ret_from, uint64_t *ret_len);

#endif
