/* SPDX-License-Identifier: Apache-2.0 */
#include "node/programs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

enum { FUNCTIONS_BYTES_MAX = 1 << 20 };

int programs_check(const struct config *c)
{
    static const char *const helpers[] = {"hivemind-launcher", "hivemind-slot"};
    const struct setting_value *folder = &c->values[SETTING_LIBEXEC_DIR], *python = &c->values[SETTING_PYTHON];
    for (size_t i = 0; i < ARRAY_LEN(helpers); i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", folder->text, helpers[i]);
        if (access(path, X_OK) < 0) {
            log_error("cannot start: cannot run %s: %s; LIBEXEC_DIR is \"%s\" (%s)", path, strerror(errno),
                folder->text, folder->where);
            return -1;
        }
    }
    const struct setting_value *root = &c->values[SETTING_SANDBOX_ROOT];
    struct stat st;
    if (root->text && (stat(root->text, &st) < 0 || !S_ISDIR(st.st_mode))) {
        log_error("cannot start: SANDBOX_ROOT is \"%s\" (%s), which is no folder", root->text, root->where);
        return -1;
    }
    if (root->text || access(python->text, X_OK) == 0) /* with a root of its own it lies in there */
        return 0;
    log_write(config_given(c, SETTING_PYTHON) ? LOG_ERROR : LOG_WARNING,
        "cannot run %s: %s; PYTHON is \"%s\" (%s), and python tasks need it", python->text, strerror(errno),
        python->text, python->where);
    return config_given(c, SETTING_PYTHON) ? -1 : 0;
}

int programs_read_functions(const struct config *c, char **ret)
{
    const struct setting_value *file = &c->values[SETTING_FUNCTIONS];
    size_t len = 0;
    int r = file->text ? file_read(file->text, FUNCTIONS_BYTES_MAX, ret, &len) : 0;
    if (r == 0 && (!file->text || strlen(*ret) == len))
        return 0;
    log_error("cannot start: FUNCTIONS is \"%s\" (%s): %s", file->text, file->where,
        r == -EFBIG ? "larger than 1 MiB"
            : r < 0 ? strerror(-r)
                    : "it has a NUL byte in it");
    return -1;
}
