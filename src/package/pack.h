/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a task package (a zip) of a folder.
 *
 * What goes in is known, and found good, before the first byte is written: every file, folder and link that .hivemindignore
 * (ignore.h) does not leave out, in the order of their paths' bytes. It is refused, by name, when there is a socket, device or pipe,
 * a link that leads out of the folder, a name that is no UTF-8, more than the bounds allow, no entry point (entry.h), or a
 * requirements.txt beside that which a node would not take (requirements.h).
 *
 * Equal folders give equal bytes: of a file only its content and whether it can be executed goes in, unless times are asked for.
 * So a result that is there already is found by the package's hash.
 */
#ifndef PACKAGE_PACK_H
#define PACKAGE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <taskworker/error.h>

#include "package/entry.h"

enum { PACK_DEPTH_MAX = 64, PACK_ENTRIES_MAX = 100000 };

/* So far and in all. Called at the beginning, behind each file and within large ones, from the thread that packs. */
typedef void (*package_pack_progress)(
    void *arg, uint64_t files, uint64_t all_files, uint64_t bytes, uint64_t all_bytes);

/* All zero is what `hivemind submit DIR` does. */
struct package_pack_options {
    uint64_t max_entries; /* files, folders and links; 0, or more than that: PACK_ENTRIES_MAX */
    uint64_t max_bytes;   /* of all files; 0: no bound */
    uint64_t max_packed;  /* of the archive; 0: no bound */
    bool keep_times;      /* of files, in seconds */
    package_pack_progress progress;
    void *arg;
};

struct package_packed {
    uint64_t files, folders, links;
    uint64_t bytes;   /* of all files */
    uint64_t packed;  /* of the archive */
    uint64_t ignored; /* names that were left out; what is in a folder among them is not counted */
    struct package_entry entry;
};

/*
 * Reads the folder of this fd (open for reading) and writes to out_fd, which need not be seekable. Both stay the caller's. options
 * may be NULL. On failure out_fd may have part of an archive, which cannot be taken for a whole one.
 */
int package_pack(int folder_fd, const struct package_pack_options *options, int out_fd, struct package_packed *ret,
    struct tw_error *error);

#endif
