/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a task's package: a zip, or a tar that may be packed by gzip or zstd, told by its content. Every byte of it is hostile, and so this is for
 * a process that has nothing to lose, in a folder of bounded size. But it takes care by itself, too:
 *
 *   - A package is there as a whole or not at all. It is unpacked into a folder beside, and what is in there takes its place when all of it
 *     has come and was right, by its checksums too; else that folder goes. A zip's list of names is judged before anything is written.
 *   - Names are paths in UTF-8 without control characters, backslashes or parts that are empty, . or .. (but for a ./ in front), at most 255
 *     bytes a part and 64 parts; none comes twice, or differs from another in upper and lower case only, or is a file here and a folder there.
 *   - Files, folders, and symbolic links that stay inside. Everything else is refused: hard links, devices, sockets, setuid, setgid and sticky
 *     bits of files, encrypted entries. Links are made last, so that nothing is ever written through one.
 *   - Of modes, only whether the owner may execute a file counts. Owners and attributes are not looked at; times are kept where they are plausible.
 *   - What a zip says of its files in front of them and in its list at the end has to be the same, with nothing between, before or behind; a zip64 is
 *     refused. What follows a tar's end is read as one more tar, and a tar that is not packed has to have its end.
 */
#ifndef PACKAGE_UNPACK_H
#define PACKAGE_UNPACK_H

#include <stdint.h>

#include <taskworker/error.h>

struct package_limits {
    uint64_t entries; /* with the folders that they lie in; 0: 50,000 */
    uint64_t bytes;   /* of all files together; 0: not bounded but by what follows */
    /* So many bytes for each of the archive's own, from the first 64 MiB on; 0: 200. */
    uint64_t ratio;
};

struct package_stats {
    uint64_t files, folders, links, bytes;
};

/*
 * archive_fd: open for reading, a regular file or a memory file; its offset is moved. folder_fd: the folder to unpack into, which
 * must not have any of the package's names in it yet. INVALID_ARGUMENT: what is wrong with the package, in one sentence;
 * RESOURCE_EXHAUSTED: there is no room for it; else the machine's own trouble.
 */
int package_unpack(int archive_fd, int folder_fd, const struct package_limits *limits, struct package_stats *ret,
    struct tw_error *error);

#endif
