/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON that is handed on as it stands: numbers of any length, escaped NULs and lone surrogates go through unchanged, as they would
 * not through a parser that has to make values of them.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum { JSON_TEXT_DEPTH_MAX = 2048 };

/* One JSON value (RFC 8259, UTF-8), with white space around it, and nothing else; not nested deeper than the bound. */
bool json_is_valid(const void *data, size_t len);

/* A value as it stands in its text; a string with its quotes. */
struct json_slice {
    const char *text;
    size_t len;
};

/* The members of an object, in their order; two may have the same name. They borrow the text. */
struct json_walk {
    const char *p, *end;
};
/* false: that is no valid JSON, or no object. */
bool json_walk_object(const void *data, size_t len, struct json_walk *ret);
bool json_walk_next(struct json_walk *walk, struct json_slice *ret_name, struct json_slice *ret_value);

/* Appends a text, which is UTF-8, as a JSON string. */
int json_append_quoted(struct buf *out, const char *s);

#endif
