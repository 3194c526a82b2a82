/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all slots of a node have in common, as its operator has set it. The daemon encodes it once into a sealed memfd, which
 * the launcher hands to each slot without a look at it.
 */
#ifndef SLOT_PROFILE_H
#define SLOT_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "slot/function_source.h"

enum { PROFILE_BYTES_MAX = 64 * 1024 + FUNCTIONS_BYTES_MAX, PROFILE_MODULE_MAX = 128 /* with its end */ };

struct slot_profile {
    bool warm;             /* Python tasks are forks of the slot's interpreter */
    const char *python;    /* absolute */
    const char *preload;   /* modules, separated by commas; may be "" */
    const char *paths;     /* host paths, separated by colons; may be "" */
    const char *root;      /* "" or the folder that stands for the host's system */
    const char *functions; /* "" or the source of functions that can be called by name */
};

int profile_encode(const struct slot_profile *profile, struct buf *out);
/* The strings point into `data`, which has to end in a NUL byte. False: these bytes are no profile. */
bool profile_decode(const void *data, size_t len, struct slot_profile *ret);

/*
 * Takes the next path off *list: absolute, without ".", ".." and empty parts, not the root and nothing that the sandbox has
 * for itself. 1 and a copy in ret, without a slash at its end; 0: there is none; -EINVAL with the culprit in ret, cut to
 * fit.
 */
int profile_next_path(const char **list, char *ret, size_t size);
/* Takes the next module name ("os.path") off *list; as above. */
int profile_next_module(const char **list, char *ret, size_t size);

#endif
