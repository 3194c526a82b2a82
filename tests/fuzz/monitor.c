/* SPDX-License-Identifier: Apache-2.0 */
/* The same text to every parser of src/node/monitor. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "node/monitor/parse.h"

#define CHECK(condition)  \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_label(const char *label)
{
    size_t len = strnlen(label, MONITOR_LABEL_MAX);
    CHECK(len < MONITOR_LABEL_MAX);
    for (size_t i = 0; i < len; i++)
        CHECK(label[i] >= ' ' && label[i] <= '~' && label[i] != '"' && label[i] != '\\');
}

static void check_lines(const char *text)
{
    struct parse_cpu cpu;
    struct parse_interface interface;
    struct parse_disk disk;
    const char *at = text, *before = at, *end = text + strlen(text);
    for (; parse_next_cpu(&at, &cpu); before = at) {
        CHECK(at > before && at <= end);
        CHECK(cpu.user + cpu.system + cpu.idle + cpu.iowait + cpu.steal == cpu.total);
    }
    CHECK(at == end);
    for (at = before = text; parse_next_interface(&at, &interface); before = at) {
        CHECK(at > before && at <= end);
        check_label(interface.name);
    }
    CHECK(at == end);
    for (at = before = text; parse_next_disk(&at, &disk); before = at) {
        CHECK(at > before && at <= end);
        check_label(disk.name);
        CHECK(!strchr(disk.name, '/'));
    }
    CHECK(at == end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size + 1), label[MONITOR_LABEL_MAX];
    double loads[3], temperature;
    uint64_t total, used;
    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    check_lines(text);
    if (parse_loadavg(text, loads))
        CHECK(loads[0] >= 0 && isfinite(loads[0]) && loads[2] >= 0 && isfinite(loads[2]));
    if (parse_swap(text, &total, &used))
        CHECK(used <= total);
    if (parse_temperature(text, &temperature))
        CHECK(temperature > -274 && temperature <= 1000);
    parse_label(text, size, label);
    check_label(label);
    free(text);
    return 0;
}
