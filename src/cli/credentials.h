/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens on this machine: the file of credentials, which has one for each address, and files with a token alone. The former is
 * $XDG_CONFIG_HOME/hivemind/credentials, else ~/.config/hivemind/credentials: lines of an address as it stands in --server, without a
 * scheme, a blank and a token; lines that begin with # are passed over. Nobody but its owner may read it.
 */
#ifndef CLI_CREDENTIALS_H
#define CLI_CREDENTIALS_H

#include <taskworker/error.h>

enum { CREDENTIALS_TOKEN_MAX = 200, CREDENTIALS_FILE_MAX = 1 << 20 };

/* Of the file; free() it. NULL: there is no home folder, or no memory. */
char *credentials_path(void);

/*
 * The token for this address (wipe and free it), or NULL where there is none, also where there is no file. -1: there is a file, and it
 * cannot be used: FAILED_PRECONDITION, others can read it, or it is another's.
 */
int credentials_find(const char *path, const char *address, char **ret, struct tw_error *error);

/* Keeps a token for an address, in place of the one there was; NULL: forgets it. Makes the file, and the folders above it. */
int credentials_keep(const char *path, const char *address, const char *token, struct tw_error *error);

/* The token that a file has in it, with nothing but white space around; wipe and free it. */
int credentials_read_token(const char *path, char **ret, struct tw_error *error);

/* Whether it can be sent as one: 1 to CREDENTIALS_TOKEN_MAX visible characters of ASCII. */
int credentials_check_token(const char *token, struct tw_error *error);

/* Wipes and frees *token, and makes it NULL. */
void credentials_wipe(char **token);
#define CLEANUP_TOKEN_TEXT CLEANUP(credentials_wipe)

#endif
