/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run on its way from one daemon to the next, as the bytes of a memfd that the launcher keeps with the run's other fds: a
 * magic number, a version, numbers as u64 (those below, the limits, the group's), then five strings of bytes, each behind its u32 length; all
 * little-endian. It comes from a launcher, but is checked like anything else: what is out of range is refused.
 */
#ifndef EXEC_HANDOVER_H
#define EXEC_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <taskworker/task.h>

#include "base/buf.h"
#include "exec/group.h"

/*
 * kind: enum plan_kind. shape_*: struct slot_shape. limit: enum tw_reason, into which it ran so far. frame_left to flaw: struct
 * result_reader. begun_us to held_memory_bytes: struct run_carried. pipes: bits, which of the run's pipes are still open. group_*: as in
 * struct launcher_reply.
 */
#define HANDOVER_NUMBERS(X) \
    X(serial)               \
    X(kind)                 \
    X(shape_tmp)            \
    X(shape_shm)            \
    X(shape_workspace)      \
    X(shape_network)        \
    X(shape_runtime)        \
    X(shape_gpus)           \
    X(shape_environment)    \
    X(layers)               \
    X(group_layers)         \
    X(paused)               \
    X(limit)                \
    X(max_tail)             \
    X(tail_cut)             \
    X(max_result)           \
    X(frame_left)           \
    X(have_result)          \
    X(have_error)           \
    X(too_large)            \
    X(flaw)                 \
    X(begun_us)             \
    X(wall_from_us)         \
    X(wall_left_us)         \
    X(held_cpu_millis)      \
    X(held_memory_bytes)    \
    X(pipes)                \
    X(group_version)        \
    X(group_files)

struct handover_bytes {
    const uint8_t *data;
    size_t len;
};

struct handover {
#define X(name) uint64_t name;
    HANDOVER_NUMBERS(X)
#undef X
    struct tw_limits limits;
    struct group_state group;
    struct handover_bytes task_id, tail, frame_header, result, error;
};

/* The fds that go with it, in this order; of the pipes and the group's files those that are there. */
enum handover_fd { HANDOVER_FD_STATE, HANDOVER_FD_SLOT, HANDOVER_FD_PIDFD, HANDOVER_FD_PIPES };

/* Appends; check the buffer's error. */
void handover_encode(const struct handover *h, struct buf *out);
/* Points into the bytes. n_fds: how many came with it. */
bool handover_decode(const void *data, size_t len, size_t n_fds, struct handover *ret);

#endif
