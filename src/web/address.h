/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as they came: paths, and parts that are percent-encoded (RFC 3986, section 2.1). */
#ifndef WEB_ADDRESS_H
#define WEB_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

/* Decodes `len` bytes into a text in out. False: it is too long, ends in the middle of a code, holds a NUL, or is not UTF-8. */
bool address_decode(const char *s, size_t len, char *out, size_t size);

/*
 * Whether `path`, not decoded, is one of `pattern`, in which one "*" may stand for one segment. It is not empty, and is decoded into
 * `segment`, which is "" where there is no "*".
 */
bool address_fits(const char *pattern, const char *path, char *segment, size_t size);

#endif
