/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/self/cgroup and /proc/self/mountinfo, with a NUL between them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "slot/cgroup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cgroup_view view;
    char *text = calloc(1, size + 2);
    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    cgroup_parse(text, text + strlen(text) + (strlen(text) < size), &view);
    assert(view.version >= 0 && view.version <= 2);
    for (size_t c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
        const char *own = view.controller[c].own;
        assert(strnlen(own, CGROUP_PATH_MAX) < CGROUP_PATH_MAX && (!own[0] || own[0] == '/') && !strstr(own, "/../"));
        assert(!view.controller[c].writable);
    }
    free(text);
    return 0;
}
