/* SPDX-License-Identifier: Apache-2.0 */
/* How gRPC writes statuses and time-outs into HTTP/2 headers. Nothing here knows of connections. */
#ifndef RPC_STATUS_H
#define RPC_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <taskworker/error.h>

/* For whom a gateway within the program makes a call: "ADDRESS:PORT". From anybody else it means nothing. */
#define RPC_FROM_HEADER "hivemind-from"

/* Longest grpc-message that is written, in bytes of its encoded form; what is longer is cut at a
 * whole character. */
enum { STATUS_MESSAGE_MAX = 2048, TIMEOUT_TEXT_MAX = 16 };

/*
 * Percent-encodes `message` (NULL: "") into out and returns the length. Printable ASCII but '%'
 * stands for itself, every other byte becomes %XX, and what is not UTF-8 becomes U+FFFD.
 */
size_t status_encode_message(const char *message, char out[STATUS_MESSAGE_MAX + 1]);

/* The reverse, into at most max - 1 bytes and a NUL. A '%' without two hex digits behind it stands
 * for itself. */
void status_decode_message(const char *encoded, size_t len, char *out, size_t max);

/* "0" to "16". The number in a grpc-status header; what is none of ours is UNKNOWN. */
const char *status_code_text(enum tw_code code);
enum tw_code status_code_parse(const char *text);

/* What a client makes of an answer without grpc-status, and of a stream that was reset. */
enum tw_code status_of_http(unsigned http_status);
enum tw_code status_of_reset(uint32_t http2_error);

/*
 * grpc-timeout: 1 to 8 digits and one of H M S m u n. Returns 0, or -EINVAL. Less than a
 * microsecond counts as none left (0).
 */
int timeout_parse(const char *text, uint64_t *ret_us);
/* The finest unit in which eight digits are enough, rounded up. */
const char *timeout_format(uint64_t us, char out[TIMEOUT_TEXT_MAX]);

#endif
