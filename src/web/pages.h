/* SPDX-License-Identifier: Apache-2.0 */
/* The files of the pages, which ui/embed.py has made C of. */
#ifndef WEB_PAGES_H
#define WEB_PAGES_H

#include <stdbool.h>
#include <stddef.h>

struct page_file {
    const char *name, *type;
    const unsigned char *plain;
    size_t plain_len;
    const unsigned char *packed; /* by gzip */
    size_t packed_len;
    bool fixed; /* the name changes with the content: it may be kept for ever */
};
extern const struct page_file page_files[];
extern const size_t n_page_files;

#endif
