/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was installed for packages. An environment is a folder of files beside the sets of inputs (inputs.h), where sandboxes can show it to
 * their tasks, read-only; its number has a bit that no set has. Beside the folder lies a file, NUMBER.env, once all of it is on disk: what
 * has none is what a crash has left. It holds the key and the size; its time of modification is when the environment was last used.
 *
 * All of it is [any thread] and waits for the disk, but one environment is for one thread at a time.
 */
#ifndef FILES_ENVIRONMENTS_H
#define FILES_ENVIRONMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include <taskworker/storage.h>

#define ENVIRONMENTS_BIT (UINT64_C(1) << 63)

enum { ENVIRONMENT_KEY_BYTES = 32 };

struct environment_info {
    uint64_t number;
    uint8_t key[ENVIRONMENT_KEY_BYTES]; /* of what it was made from (package/requirements.h) */
    uint64_t bytes;                     /* of all its files */
    uint64_t used_us;                   /* wall clock */
};

/* Tells of each that is whole, and removes what is none. 0 or -errno. */
int environments_list(
    struct tw_storage *storage, void (*found)(void *ctx, const struct environment_info *info), void *ctx);
/* Makes its folder. A descriptor of that, or -1. */
int environment_begin(struct tw_storage *storage, uint64_t number, struct tw_error *error);
/* Copies what can be read from `from`, whose times it keeps, to this path in the folder, which nothing must have. */
int environment_add(struct tw_storage *storage, int folder, const char *path, int from, bool executable,
    uint64_t *ret_bytes, struct tw_error *error);
/* All of it has come: afterwards it is there for good, whatever happens. used_us is not looked at. */
int environment_finish(struct tw_storage *storage, const struct environment_info *info, struct tw_error *error);
/* It is used now. That this cannot be noted is no mistake that anybody can do something about. */
void environment_used(struct tw_storage *storage, uint64_t number);
/* Removes it, finished or not; one that is not there is no mistake. */
int environment_remove(struct tw_storage *storage, uint64_t number, struct tw_error *error);

#endif
