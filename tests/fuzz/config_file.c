/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file, and behind it the parser of every setting: no input may crash it or break what it promises. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "node/config_file.h"
#include "node/settings.h"

struct seen {
    unsigned line;
    size_t len;
};

static void check_order(struct seen *seen, unsigned line)
{
    if (line <= seen->line)
        abort(); /* lines come in order, each once */
    seen->line = line;
}

static void on_pair(unsigned line, const char *key, const char *value, void *ctx)
{
    struct seen *seen = ctx;
    uint64_t number;
    check_order(seen, line);
    if (!*key || strpbrk(key, " \t=#") || strlen(key) + strlen(value) > seen->len)
        abort();
    enum setting_id id = setting_by_key(key);
    if (id != SETTING_MAX)
        (void)setting_parse(id, value, &number);
    for (id = 0; id < SETTING_MAX; id++)
        (void)setting_parse(id, value, &number);
}

static void on_error(unsigned line, const char *what, void *ctx)
{
    check_order(ctx, line);
    if (!*what)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct config_file_handler handler = {.on_pair = on_pair, .on_error = on_error};
    struct seen seen = {.len = size};
    if (size <= CONFIG_FILE_MAX)
        (void)config_file_parse((const char *)data, size, &handler, &seen);
    return 0;
}
