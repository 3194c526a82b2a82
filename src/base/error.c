/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { WRAP_PREFIX_MAX = 200 };

/* Cuts a message that vsnprintf truncated so that it does not end inside a UTF-8 sequence. */
static void trim_partial_utf8(char *s)
{
    size_t len = strlen(s), start = len;
    while (start > 0 && len - start < 3 && ((unsigned char)s[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)s[start - 1];
    size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (len - (start - 1) < want)
        s[start - 1] = '\0';
}

static PRINTF_LIKE(2, 0) void set_message(struct tw_error *error, const char *fmt, va_list ap)
{
    int n = vsnprintf(error->message, sizeof error->message, fmt, ap);
    if (n < 0)
        error->message[0] = '\0';
    else if ((size_t)n >= sizeof error->message)
        trim_partial_utf8(error->message);
}

static enum tw_code code_of_errno(int err)
{
    switch (err) {
    case ENOENT:
        return TW_NOT_FOUND;
    case EEXIST:
        return TW_ALREADY_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return TW_PERMISSION_DENIED;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return TW_RESOURCE_EXHAUSTED;
    case ETIMEDOUT:
        return TW_DEADLINE_EXCEEDED;
    case EINVAL:
        return TW_INVALID_ARGUMENT;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return TW_UNAVAILABLE;
    default:
        return TW_INTERNAL;
    }
}

int error_set(struct tw_error *error, enum tw_code code, const char *fmt, ...)
{
    if (!error)
        return -1;
    error->code = code;
    error->sys_errno = 0;
    error->retry_ms = 0;
    va_list ap;
    va_start(ap, fmt);
    set_message(error, fmt, ap);
    va_end(ap);
    return -1;
}

int error_set_errno(struct tw_error *error, int err, const char *fmt, ...)
{
    if (!error)
        return -1;
    err = err < 0 ? -err : err;
    error->code = code_of_errno(err);
    error->sys_errno = err;
    error->retry_ms = 0;
    va_list ap;
    va_start(ap, fmt);
    set_message(error, fmt, ap);
    va_end(ap);
    size_t len = strlen(error->message);
    char text[64];
    int n = snprintf(error->message + len, sizeof error->message - len, ": %s", strerror_r(err, text, sizeof text));
    if (n > 0 && (size_t)n >= sizeof error->message - len)
        trim_partial_utf8(error->message);
    return -1;
}

int error_wrap(struct tw_error *error, const char *fmt, ...)
{
    if (!error)
        return -1;
    char prefix[sizeof error->message], old[sizeof error->message];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    if (n < 0)
        return -1;
    if (n >= WRAP_PREFIX_MAX) { /* a long prefix must not push the cause out */
        prefix[WRAP_PREFIX_MAX] = '\0';
        trim_partial_utf8(prefix);
    }
    memcpy(old, error->message, sizeof old);
    n = snprintf(error->message, sizeof error->message, "%s: %.*s", prefix, (int)sizeof old, old);
    if (n > 0 && (size_t)n >= sizeof error->message)
        trim_partial_utf8(error->message);
    return -1;
}

int error_oom(struct tw_error *error)
{
    error_set(error, TW_RESOURCE_EXHAUSTED, "out of memory");
    if (error)
        error->sys_errno = ENOMEM;
    return -1;
}

void error_copy(struct tw_error *to, const struct tw_error *from)
{
    if (to && from)
        *to = *from;
}

const char *error_code_name(enum tw_code code)
{
    switch (code) {
#define X(name, number) \
    case TW_##name:     \
        return #name;
        TW_CODES(X)
#undef X
    case TW_CODE_MAX:
        break;
    }
    return "UNKNOWN";
}
