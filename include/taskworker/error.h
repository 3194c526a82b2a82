/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors of libtaskworker.
 *
 * Every operation that can fail for more than one reason takes a `struct tw_error *`, which may be NULL. It returns 0 on
 * success and -1 on failure, and on failure fills the error: a code to act on, the errno behind it if there was one, and
 * one sentence that names the thing and, where there is one, the next step.
 */
#ifndef TASKWORKER_ERROR_H
#define TASKWORKER_ERROR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TW_PUBLIC __attribute__((visibility("default")))
#else
#define TW_PUBLIC
#endif

/* The numbers are those of gRPC status codes (grpc/grpc doc/statuscodes.md), so that an error crosses the wire unchanged. */
#define TW_CODES(X)           \
    X(OK, 0)                  \
    X(CANCELLED, 1)           \
    X(UNKNOWN, 2)             \
    X(INVALID_ARGUMENT, 3)    \
    X(DEADLINE_EXCEEDED, 4)   \
    X(NOT_FOUND, 5)           \
    X(ALREADY_EXISTS, 6)      \
    X(PERMISSION_DENIED, 7)   \
    X(RESOURCE_EXHAUSTED, 8)  \
    X(FAILED_PRECONDITION, 9) \
    X(ABORTED, 10)            \
    X(OUT_OF_RANGE, 11)       \
    X(UNIMPLEMENTED, 12)      \
    X(INTERNAL, 13)           \
    X(UNAVAILABLE, 14)        \
    X(DATA_LOSS, 15)          \
    X(UNAUTHENTICATED, 16)

enum tw_code {
#define X(name, number) TW_##name = number,
    TW_CODES(X)
#undef X
        TW_CODE_MAX
};

struct tw_error {
    enum tw_code code;
    int sys_errno;     /* positive errno, or 0 */
    uint32_t retry_ms; /* with RESOURCE_EXHAUSTED: when it may be worth another try; 0: nobody can tell */
    char message[400]; /* UTF-8, one sentence without a final newline */
};

/* The name of a code ("NOT_FOUND"), never NULL. */
TW_PUBLIC const char *tw_code_to_string(enum tw_code code);

#ifdef __cplusplus
}
#endif
#endif
