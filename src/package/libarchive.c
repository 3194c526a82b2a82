/* SPDX-License-Identifier: Apache-2.0 */
#include "package/libarchive.h"

#include <dlfcn.h>
#include <string.h>

#include "base/error.h"

static int find(void *library, const char *name, void *ret, struct tw_error *error)
{
    void *symbol = dlsym(library, name);
    if (!symbol)
        return error_set(
            error, TW_FAILED_PRECONDITION, "packages cannot be opened or made: libarchive has no %s", name);
    memcpy(ret, &symbol, sizeof symbol); /* C knows no way from an object's address to a function's */
    return 0;
}

int libarchive_load(struct libarchive *ret, struct tw_error *error)
{
    void *library = dlopen("libarchive.so.13", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror(); /* NOLINT(concurrency-mt-unsafe): glibc has one for each thread */
        return error_set(error, TW_FAILED_PRECONDITION,
            "packages cannot be opened or made without libarchive (Debian's package libarchive13): %.200s",
            why ? why : "");
    }
#define X(name)                                      \
    if (find(library, #name, &ret->name, error) < 0) \
        return -1;
    LIBARCHIVE_READ(X)
    LIBARCHIVE_WRITE(X)
#undef X
    return 0;
}
