/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of libarchive writes an archive. It is loaded when it is needed: a node that is given no packages needs no libarchive,
 * and what is not loaded cannot be attacked.
 */
#ifndef PACKAGE_ZIP_SYMBOLS_H
#define PACKAGE_ZIP_SYMBOLS_H

#include <archive.h>
#include <archive_entry.h>

#include <taskworker/error.h>

/* Each is in every libarchive since 3.2. */
#define ZIP_SYMBOLS(X)                           \
    X(archive_write_new)                         \
    X(archive_write_set_format_zip)              \
    X(archive_write_zip_set_compression_deflate) \
    X(archive_write_set_bytes_per_block)         \
    X(archive_write_set_bytes_in_last_block)     \
    X(archive_write_open)                        \
    X(archive_write_header)                      \
    X(archive_write_data)                        \
    X(archive_write_finish_entry)                \
    X(archive_write_close)                       \
    X(archive_write_free)                        \
    X(archive_error_string)                      \
    X(archive_entry_new)                         \
    X(archive_entry_clear)                       \
    X(archive_entry_free)                        \
    X(archive_entry_set_pathname)                \
    X(archive_entry_set_symlink)                 \
    X(archive_entry_set_filetype)                \
    X(archive_entry_set_perm)                    \
    X(archive_entry_set_mtime)                   \
    X(archive_entry_set_size)

struct zip_symbols {
    void *library;
#define X(name) __typeof__(name) *name;
    ZIP_SYMBOLS(X)
#undef X
};

/* 0, or -1 with *error: FAILED_PRECONDITION, what is missing. Every call counts: unload what was loaded. */
int zip_symbols_load(struct zip_symbols *ret, struct tw_error *error);
void zip_symbols_unload(struct zip_symbols *symbols);

#endif
