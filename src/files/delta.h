/* SPDX-License-Identifier: Apache-2.0 */
/* A librsync delta applied to an open base, piece by piece. The delta comes from outside: the sink is what bounds its outcome. */
#ifndef FILES_DELTA_H
#define FILES_DELTA_H

#include <stddef.h>
#include <stdint.h>

#include <taskworker/error.h>

struct delta;

/* -1 with the error: the outcome cannot take them. */
typedef int delta_sink(void *ctx, const void *data, size_t len, struct tw_error *error);

/* The descriptor is borrowed; its offset is not used. NULL: no memory. */
struct delta *delta_begin(int base_fd, uint64_t base_size, delta_sink *sink, void *ctx);
/* INVALID_ARGUMENT: it is no delta of this base. After a failure only delta_free() is left to do. */
int delta_feed(struct delta *delta, const void *data, size_t len, struct tw_error *error);
/* There is no more of it: it has to be complete. */
int delta_end(struct delta *delta, struct tw_error *error);
/* NULL is allowed. */
void delta_free(struct delta *delta);

#endif
