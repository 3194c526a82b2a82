/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of one connection as a filter of bytes, without any I/O: what came from the wire goes in, what has to go there is
 * appended to a buffer that the hub's connections share and that is empty between calls. The owner sends it after each call.
 */
#ifndef RPC_TLS_STREAM_H
#define RPC_TLS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "rpc/tls.h"

struct tls_stream;

enum tls_state {
    TLS_SHAKING, /* hands */
    TLS_OPEN,
    TLS_ENDED,  /* the peer has said good-bye */
    TLS_FAILED, /* what is left in `out` is the last word */
};

/* host and target are for a client: who the certificate has to be for, and what messages call the server; they are borrowed. */
struct tls_stream *tls_stream_new(struct rpc_tls *tls, struct buf *out, const char *host, const char *target);
void tls_stream_free(struct tls_stream *s);

/* The client speaks first. */
void tls_stream_begin(struct tls_stream *s);
/* Bytes from the wire, borrowed until they are all read or the next call of this. */
void tls_stream_feed(struct tls_stream *s, const void *data, size_t len);
/* What was sealed in them, as much as fits: its length; 0: there is no more for now, or, unless the state is OPEN, for ever. */
size_t tls_stream_read(struct tls_stream *s, uint8_t *to, size_t max);
/* Only in the state OPEN. -1: it has failed. */
int tls_stream_write(struct tls_stream *s, const uint8_t *data, size_t len);
/* Says good-bye, if it is still possible. */
void tls_stream_close(struct tls_stream *s);

enum tls_state tls_stream_state(const struct tls_stream *s);
/* Why it has failed, or NULL: a clause about the client for a server, a sentence for a client. */
const char *tls_stream_failure(const struct tls_stream *s);
/* Whether it failed for a reason that another try would meet again. */
bool tls_stream_is_hopeless(const struct tls_stream *s);
/* Whom the client's verified certificate names; NULL without one. */
const char *tls_stream_identity(const struct tls_stream *s);

#endif
