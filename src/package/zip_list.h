/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A zip says what is in it twice: in front of each file, and in a list at its end, and different programs believe the one or the other. Here both
 * have to say the same, and there has to be nothing between and around what they speak of. Source: PKWARE's APPNOTE.TXT 6.3.10, 4.3. Private to
 * src/package.
 */
#ifndef PACKAGE_ZIP_LIST_H
#define PACKAGE_ZIP_LIST_H

#include <stdint.h>

/*
 * Reads the file's end and all headers; nothing of what is packed. NULL: they agree; else what is wrong, as the end of a sentence that begins with
 * "it". *ret_error: 0, or a positive errno where it could not be read.
 */
const char *zip_list_flaw(int fd, uint64_t file_bytes, uint64_t max_entries, int *ret_error);

#endif
