/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC messages on the wire: a flag byte (1: compressed), four bytes of length, the bytes. The
 * reader takes them in pieces as they come. Memory grows with what has arrived, never with what was
 * announced, up to `max` bytes of a message after inflation, and all readers that share a budget
 * stay within it together.
 *
 * What is compressed is inflated twice if it is not small: first to see how long it is and whether it is good, which keeps only the
 * compressed bytes, then, when all of it has come, into a buffer of that length. So a bomb costs no more memory than it has sent.
 */
#ifndef RPC_MESSAGE_H
#define RPC_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"

enum {
    MESSAGE_HEADER = 5,
    MESSAGE_SMALL = 64 * 1024, /* what counts as a small message for the budget */
    MESSAGE_KEEP = 1024,       /* a reader that is reset keeps this much memory for the next message */
};

/*
 * Bytes held by everybody together, or by somebody who shares in the whole. What is small has a part of its own, so that a few
 * big messages that are on their way cannot keep all the small ones out.
 */
struct budget {
    size_t max_big, max_small;
    size_t big, small;
    struct budget *whole; /* of which this is a part; NULL: none */
};
void budget_init(struct budget *budget, size_t max);           /* an eighth of it for what is small */
bool budget_take(struct budget *budget, bool small, size_t n); /* false: not taken, it would be too much */
void budget_give(struct budget *budget, bool small, size_t n);
/* Whether half of what there is for small things is in use, here or in a whole of which this is a part. */
bool budget_is_short(const struct budget *budget);

enum message_result {
    MESSAGE_MORE,        /* all input is used up, the message is not complete */
    MESSAGE_READY,       /* reader->body is the message */
    MESSAGE_TOO_BIG,     /* than reader->max */
    MESSAGE_BAD_FLAG,    /* the first byte is neither 0 nor 1 */
    MESSAGE_NO_ENCODING, /* compressed, but the call has no grpc-encoding */
    MESSAGE_BAD_GZIP,
    MESSAGE_NO_BUDGET,
    MESSAGE_NO_MEMORY,
};

struct message_reader {
    struct buf body;       /* valid after MESSAGE_READY until message_next */
    size_t max;            /* bytes of one message */
    struct budget *budget; /* may be NULL */
    struct z_stream_s *inflater;
    size_t *allowance; /* bytes that may be inflated for now, counted down; NULL: any number */
    struct buf packed; /* the compressed bytes of a message, from the first to the last that has come, ... */
    size_t unpacked;   /* ... how many of them are in the body, once all are there, ... */
    size_t counted;    /* ... and how many bytes they are, as far as is known */
    bool unpacking;    /* all of it has come, and is on its way into the body */
    size_t charged;
    uint32_t left; /* bytes of the message still to come on the wire */
    uint8_t header[MESSAGE_HEADER];
    uint8_t header_len;
    bool gzip; /* the call's grpc-encoding */
    bool small;
    bool inflated; /* the gzip stream's end has been seen */
};

void message_reader_init(struct message_reader *reader, size_t max, struct budget *budget, bool gzip);
/* Frees everything and gives the budget back; init it again before the next use. */
void message_reader_done(struct message_reader *reader);

/*
 * Takes from *data and moves it on. After MESSAGE_READY look at the body, call message_next and go
 * on with the rest. After an error the reader holds no memory and takes nothing more. Where the allowance is used up it
 * returns MESSAGE_MORE before all is taken: call it again with more of it, with no data left as well if message_unpacking().
 */
enum message_result message_feed(struct message_reader *reader, const uint8_t **data, size_t *len);
/* Forgets the message that was ready, its memory too unless it is little. */
void message_next(struct message_reader *reader);

/* Whether a message has begun that is not complete. */
static inline bool message_partial(const struct message_reader *reader)
{
    return reader->header_len > 0;
}

/* Whether a message has come whole and only has to be inflated. */
static inline bool message_unpacking(const struct message_reader *reader)
{
    return reader->unpacking;
}

/* Appends a message in wire form, uncompressed. Returns 0, -ENOMEM, or -E2BIG (4 GiB, or the
 * buffer's bound). */
int message_append(struct buf *out, const ProtobufCMessage *message);

#endif
