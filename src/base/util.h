/* SPDX-License-Identifier: Apache-2.0 */
/* Small things that every module uses. */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

#include <stddef.h>
#include <stdlib.h>
#include <sys/param.h> /* has a MIN and MAX that evaluate twice: out of the way with them, for good */

#undef MIN
#undef MAX

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define STRINGIFY_TOKEN(x) #x
#define STRINGIFY(x) STRINGIFY_TOKEN(x) /* what the macro x stands for */
#define UNUSED __attribute__((unused))
#define CLEANUP(fn) __attribute__((cleanup(fn)))

#define MIN(a, b)                      \
    __extension__({                    \
        __typeof__(a) min_a = (a);     \
        __typeof__(b) min_b = (b);     \
        min_a < min_b ? min_a : min_b; \
    })
#define MAX(a, b)                      \
    __extension__({                    \
        __typeof__(a) max_a = (a);     \
        __typeof__(b) max_b = (b);     \
        max_a > max_b ? max_a : max_b; \
    })

/* Hands a pointer over to a new owner and leaves NULL behind: `return STEAL(p);` */
#define STEAL(p)                       \
    __extension__({                    \
        __typeof__(p) steal_tmp = (p); \
        (p) = NULL;                    \
        steal_tmp;                     \
    })

static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}
#define CLEANUP_FREE CLEANUP(cleanup_free)

#endif
