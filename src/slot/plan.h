/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a slot is to run: everything about a task but its source and its surroundings (protocol.h). The daemon encodes it into a sealed memfd, the slot
 * decodes it with the same code; the decoder takes nothing on trust, since the strings in it come from clients.
 *
 * Encoding: magic, version, kind, limits, task id, arguments, environment, patterns of outputs; numbers little-endian, strings as a
 * u32 length and the bytes, lists as a u32 count and their members.
 */
#ifndef SLOT_PLAN_H
#define SLOT_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/util.h"

enum {
    PLAN_BYTES_MAX = 1024 * 1024, /* encoded; well below what execve takes */
    PLAN_STRING_MAX = 120 * 1024, /* execve takes 128 KiB for one string, NAME= included */
    PLAN_NAME_MAX = 256,
    PLAN_ARGS_MAX = 4096,
    PLAN_ENV_MAX = 1032, /* what the engine takes, and what it adds */
    PLAN_TASK_ID_MAX = 128,
    PLAN_OUTPUTS_MAX = 64,
    PLAN_PATTERN_MAX = 1024,
};

enum plan_kind {
    PLAN_PYTHON = 1,
    PLAN_SHELL,
    PLAN_PACKAGE,
    PLAN_REQUIREMENTS, /* prints what a package requires of the node, in the form of package/requirements.h, and runs nothing of it */
    PLAN_KIND_MAX
};

#define PLAN_LIMITS(X)                   \
    X(open_files)                        \
    X(file_bytes) /* size of one file */ \
    X(processes)                         \
    X(cpu_seconds) /* per process; 0: no limit */

struct plan_limits {
#define X(name) uint64_t name;
    PLAN_LIMITS(X)
#undef X
};

struct plan_env {
    const char *name, *value;
};

/* Encoder: all is borrowed. Decoder: all lies in `memory`. */
struct plan {
    enum plan_kind kind;
    struct plan_limits limits;
    const char *task_id;
    const char *const *args;
    size_t n_args;
    const struct plan_env *env;
    size_t n_env;
    const char *const *outputs; /* patterns (base/glob.h) of paths below the workspace */
    size_t n_outputs;
    void *memory;
};

enum plan_error {
    PLAN_OK,
    PLAN_NO_PLAN,   /* magic or version */
    PLAN_CUT,       /* ends too early */
    PLAN_TRAILING,  /* goes on behind its end */
    PLAN_TOO_LARGE, /* too many or too long members */
    PLAN_BAD_KIND,
    PLAN_BAD_STRING, /* a NUL inside */
    PLAN_BAD_NAME,   /* no name for an environment variable */
    PLAN_BAD_LIMIT,
    PLAN_BAD_PATTERN,
    PLAN_NO_MEMORY,
    PLAN_ERROR_MAX
};
const char *plan_error_to_string(enum plan_error error);

/* Letters, digits and underscores, not starting with a digit, at most PLAN_NAME_MAX. */
bool plan_name_ok(const char *name);

/* Appends the encoding; refuses what the decoder would refuse. */
enum plan_error plan_encode(const struct plan *plan, struct buf *out);
/* Fills *ret, to be released with plan_done() also on failure. */
enum plan_error plan_decode(const void *data, size_t len, struct plan *ret);
void plan_done(struct plan *plan);
#define CLEANUP_PLAN CLEANUP(plan_done)

#endif
