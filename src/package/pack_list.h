/* SPDX-License-Identifier: Apache-2.0 */
/* What of a folder goes into a package. For pack.c alone. */
#ifndef PACKAGE_PACK_LIST_H
#define PACKAGE_PACK_LIST_H

#include "base/util.h"
#include "package/pack.h"

struct pack_item {
    char *path;
    char *target; /* of a link, else NULL */
    uint64_t size;
    uint64_t mtime_us;
    bool folder;
    bool executable;
};

struct pack_list {
    struct pack_item *items; /* sorted by path */
    size_t n_items, cap;
    struct package_packed found; /* all but `packed` */
};

/* On failure, too, the list is the caller's to be done with. */
int pack_list_make(
    struct pack_list *list, int folder_fd, const struct package_pack_options *options, struct tw_error *error);
void pack_list_done(struct pack_list *list);
#define CLEANUP_PACK_LIST CLEANUP(pack_list_done)

#endif
