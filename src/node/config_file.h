/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file: lines of KEY=VALUE, as systemd's EnvironmentFile and .env files have them.
 *
 * Empty lines and lines that begin with # are skipped; blanks around the key and the value do not count; a # behind a
 * blank begins a comment. A value may stand in "..." (in which \" \\ \n \t are escapes) or '...' (in which nothing is).
 * The bytes are UTF-8 without control characters.
 */
#ifndef NODE_CONFIG_FILE_H
#define NODE_CONFIG_FILE_H

#include <stddef.h>

enum { CONFIG_FILE_MAX = 65536, CONFIG_LINE_MAX = 8192 };

/* Called for each pair and each bad line, in order; the strings are valid during the call. */
struct config_file_handler {
    void (*on_pair)(unsigned line, const char *key, const char *value, void *ctx);
    void (*on_error)(unsigned line, const char *what, void *ctx);
};

/* Returns 0, or -ENOMEM. Goes on behind a bad line, so that all of them are reported. */
int config_file_parse(const char *data, size_t len, const struct config_file_handler *handler, void *ctx);

#endif
