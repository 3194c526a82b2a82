/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what the kernel and others say, out of text that is taken for hostile. All of these touch *ret on success only. */
#ifndef DOCTOR_FACTS_H
#define DOCTOR_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The next line of *rest, cut out in place; NULL at the end. */
char *facts_line(char **rest);
/* The next word of a line of words and spaces or tabs, cut out in place; NULL at its end. */
char *facts_word(char **line);

/* The number behind "KEY:" at the beginning of a line, as in /proc/meminfo and /proc/self/status. */
bool facts_field(const char *text, const char *key, uint64_t *ret);
/* The same, hexadecimal. */
bool facts_field_hex(const char *text, const char *key, uint64_t *ret);
/* The major and minor number at the beginning of "6.1.0-18-amd64". */
bool facts_version(const char *text, unsigned *ret_major, unsigned *ret_minor);
/* The word in brackets of "always [madvise] never". */
bool facts_choice(const char *text, char *out, size_t size);

/* Whether a map of ids (/proc/self/uid_map) has every id from first on. */
bool facts_maps(const char *map, uint64_t first, uint64_t count);
/* The first account of a passwd (or, with `subordinate`, owner of a range of a subuid file) in the range. */
bool facts_id_taken(
    const char *text, bool subordinate, uint64_t first, uint64_t count, char *ret_name, size_t size, uint64_t *ret_id);

/* Whether a list separated by `separator` has the word. */
bool facts_list_has(const char *list, char separator, const char *word);

/* What an HTTP server said to "GET /version": its status; 0 when it is no HTTP. *ret_body points into text. */
unsigned facts_http(const char *text, size_t len, const char **ret_body, size_t *ret_len);
/* The inode of a socket that listens on this port, out of /proc/net/tcp or tcp6; more than one: the first. */
bool facts_listener(const char *text, uint16_t port, uint64_t *ret_inode);

#endif
