/* SPDX-License-Identifier: Apache-2.0 */
#include "node/complain.h"

#include <string.h>

#include "base/log.h"

void complain_of_errors(const struct config_errors *errors)
{
    const char *p = (const char *)errors->text.data, *end = p + errors->text.len;
    while (p && p < end) {
        /* Each line ends in a newline; no NUL ends the buffer. */
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((newline ? newline : end) - p);
        log_error("%.*s", (int)n, p);
        p += n + 1;
    }
}

void complain_of_setting(const struct config *c, const char *failure)
{
    for (enum setting_id id = 0; id < SETTING_MAX; id++) {
        const char *key = setting_get(id)->key;
        size_t len = strlen(key);
        if (!strncmp(failure, key, len) && strchr(": ", failure[len]) && c->values[id].text)
            log_error("%s is \"%s\" (%s)", key, c->values[id].text, c->values[id].where);
    }
}
