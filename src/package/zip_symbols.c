/* SPDX-License-Identifier: Apache-2.0 */
#include "package/zip_symbols.h"

#include <dlfcn.h>
#include <stddef.h>

#include "base/error.h"

static const struct {
    const char *name;
    size_t offset;
} symbols[] = {
#define X(name) {#name, offsetof(struct zip_symbols, name)},
    ZIP_SYMBOLS(X)
#undef X
};

int zip_symbols_load(struct zip_symbols *ret, struct tw_error *error)
{
    *ret = (struct zip_symbols){.library = dlopen("libarchive.so.13", RTLD_NOW | RTLD_LOCAL)};
    if (!ret->library)
        return error_set(error, TW_FAILED_PRECONDITION,
            "libarchive cannot be loaded, which reads and writes task packages; install it (Debian: libarchive13)");
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
        void *symbol = dlsym(ret->library, symbols[i].name);
        if (!symbol) {
            zip_symbols_unload(ret);
            return error_set(error, TW_FAILED_PRECONDITION,
                "this libarchive is too old: it has no %s; install 3.2 or newer", symbols[i].name);
        }
        *(void **)((char *)ret + symbols[i].offset) = symbol;
    }
    return 0;
}

void zip_symbols_unload(struct zip_symbols *s)
{
    if (s->library)
        (void)dlclose(s->library);
    *s = (struct zip_symbols){0};
}
