/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libarchive, loaded when there is an archive to be opened or made and not before: linked, it would bring a dozen of libraries into every start of a
 * program that hardly ever needs it, and into every fork.
 */
#ifndef PACKAGE_LIBARCHIVE_H
#define PACKAGE_LIBARCHIVE_H

#include <archive.h>
#include <archive_entry.h>

#include <taskworker/error.h>

#define LIBARCHIVE_READ(X)                      \
    X(archive_read_new)                         \
    X(archive_read_free)                        \
    X(archive_read_support_format_tar)          \
    X(archive_read_support_format_zip_seekable) \
    X(archive_read_support_filter_zstd)         \
    X(archive_read_set_format_option)           \
    X(archive_read_open_fd)                     \
    X(archive_read_open)                        \
    X(archive_set_error)                        \
    X(archive_read_next_header)                 \
    X(archive_read_data_block)                  \
    X(archive_error_string)                     \
    X(archive_filter_count)                     \
    X(archive_filter_bytes)                     \
    X(archive_entry_pathname)                   \
    X(archive_entry_filetype)                   \
    X(archive_entry_perm)                       \
    X(archive_entry_size)                       \
    X(archive_entry_size_is_set)                \
    X(archive_entry_symlink)                    \
    X(archive_entry_hardlink)                   \
    X(archive_entry_is_encrypted)               \
    X(archive_entry_mtime)                      \
    X(archive_entry_mtime_nsec)                 \
    X(archive_entry_mtime_is_set)

#define LIBARCHIVE_WRITE(X)                      \
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
    X(archive_entry_new)                         \
    X(archive_entry_clear)                       \
    X(archive_entry_free)                        \
    X(archive_entry_set_pathname)                \
    X(archive_entry_set_symlink)                 \
    X(archive_entry_set_filetype)                \
    X(archive_entry_set_perm)                    \
    X(archive_entry_set_mtime)                   \
    X(archive_entry_set_size)

/* Functions with the names of the library's. They stay: it is not unloaded. */
struct libarchive {
#define X(name) __typeof__(name) *name;
    LIBARCHIVE_READ(X)
    LIBARCHIVE_WRITE(X)
#undef X
};

/* FAILED_PRECONDITION: it is not there, or not as it should be. */
int libarchive_load(struct libarchive *ret, struct tw_error *error);

#endif
