/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Python task says of itself through its result pipe: frames of a type byte, a u64 little-endian length and that
 * many bytes. 'R': the result as JSON; 'E': the error (a traceback). At most one of each.
 *
 * The task owns the pipe and can write anything: the reader holds no more than its bounds, believes no length before the
 * bytes are there, and hands out only a result that is UTF-8 and JSON. Nothing here decides how a task ended.
 */
#ifndef SLOT_RESULT_FRAME_H
#define SLOT_RESULT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { RESULT_FRAME_HEADER = 9, RESULT_ERROR_MAX = 256 * 1024 };

enum result_flaw {
    RESULT_FINE,
    RESULT_BAD_FRAME, /* unknown type, or a type twice */
    RESULT_CUT,       /* ended within a frame */
    RESULT_NOT_JSON,  /* or no UTF-8, or nested deeper than JSON_TEXT_DEPTH_MAX */
    RESULT_NO_MEMORY,
    RESULT_FLAW_MAX
};
const char *result_flaw_to_string(enum result_flaw flaw);

struct result_reader {
    uint8_t header[RESULT_FRAME_HEADER];
    size_t header_len;
    uint64_t left; /* of the frame's bytes */
    bool have_result, have_error;
    bool too_large; /* the result was longer than allowed; its bytes are gone */
    enum result_flaw flaw;
    struct buf result, error;
};

void result_reader_init(struct result_reader *r, size_t max_result);
void result_reader_done(struct result_reader *r);
void result_reader_feed(struct result_reader *r, const void *data, size_t len);
/* At the end of the pipe: judges what came. Afterwards result and error hold what can be used, or nothing. */
void result_reader_finish(struct result_reader *r);

#endif
