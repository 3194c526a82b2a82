/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks that are packages: folders, which are packed first, and archives. */
#ifndef CLI_PACKING_H
#define CLI_PACKING_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/cli.h"

bool packing_is_folder(const char *path);
/* Whether it begins as the archives do that a package can be. */
bool packing_is_package(const char *data, size_t len);
/* Packs a folder into *ret, to be freed, and says what has become of it. An exit code. */
int packing_pack(struct cli *cli, const char *folder, char **ret, size_t *ret_len);

#endif
