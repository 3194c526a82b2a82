/* SPDX-License-Identifier: Apache-2.0 */
/* The same text to every parser of src/machine; for the two files of version 1 what is behind its first NUL is the second. */
#include <stdlib.h>
#include <string.h>

#include "machine/machine.h"

#define CHECK(condition)  \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_load(const char *text)
{
    struct machine_ticks ticks;
    struct machine_memory memory;
    struct machine_pressure pressure;
    if (machine_parse_stat(text, &ticks))
        CHECK(ticks.busy <= ticks.total);
    if (machine_parse_meminfo(text, &memory))
        CHECK(memory.total_bytes > 0 && memory.available_bytes <= memory.total_bytes);
    if (machine_parse_pressure(text, &pressure)) {
        CHECK(pressure.present);
        CHECK(pressure.some.avg10 <= 10000 && pressure.some.avg60 <= 10000);
        CHECK(pressure.full.avg10 <= 10000 && pressure.full.avg60 <= 10000);
    }
}

static void check_limits(const char *text, const char *second)
{
    uint64_t v = 0;
    CHECK(!machine_parse_cpu_max(text, &v) || v > 0);
    v = 0;
    CHECK(!machine_parse_cfs(text, second, &v) || v > 0);
    v = 7;
    CHECK(machine_parse_memory_limit(text, &v) || v == 7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size + 2);
    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    check_load(text);
    check_limits(text, text + strlen(text) + (strlen(text) < size));
    free(text);
    return 0;
}
