/* SPDX-License-Identifier: Apache-2.0 */
#include "node/monitor/series.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

static const struct {
    const char *name, *unit, *help;
} fixed_series[] = {
#define X(id, name, unit, help) [MONITOR_##id] = {name, unit, help},
    MONITOR_FIXED_SERIES(X)
#undef X
};

static const struct {
    const char *name, *unit, *help, *label_name;
    size_t max;
} device_series[] = {
#define X(id, name, unit, help, label, max) [MONITOR_##id] = {name, unit, help, label, max},
    MONITOR_DEVICE_SERIES(X)
#undef X
};

int series_set_init(struct series_set *set, size_t points)
{
    *set = (struct series_set){.points = points, .n = MONITOR_FIXED_MAX, .changed = true};
    for (size_t i = 0; i < MONITOR_FIXED_MAX; i++) {
        set->all[i] = (struct series){.name = fixed_series[i].name,
            .unit = fixed_series[i].unit,
            .help = fixed_series[i].help,
            .device = -1,
            .column = calloc(points, sizeof *set->all[i].column)};
        if (!set->all[i].column)
            return -ENOMEM;
    }
    return 0;
}

void series_set_done(struct series_set *set)
{
    for (size_t i = 0; i < MONITOR_SERIES_MAX; i++)
        free(set->all[i].column);
    *set = (struct series_set){0};
}

static bool is_device(const struct series *s, int device, const char *label)
{
    return s->name && s->device == device && !strcmp(s->label, label);
}

/* There is always a free index while no kind has more than its share. */
static int make_series(struct series_set *set, const struct series *s)
{
    size_t i = MONITOR_FIXED_MAX;
    while (i < MONITOR_SERIES_MAX && set->all[i].name)
        i++;
    if (i == MONITOR_SERIES_MAX)
        return -ENOSPC;
    uint32_t *column = calloc(set->points, sizeof *column);
    if (!column)
        return -ENOMEM;
    set->all[i] = *s;
    set->all[i].column = column;
    set->n = MAX(set->n, i + 1);
    set->changed = true;
    return (int)i;
}

/* The past of another device is not this one's: it goes, and in the database it is another series. */
static int replace_series(struct series_set *set, size_t i, const struct series *s)
{
    uint32_t *column = set->all[i].column;
    memset(column, 0, set->points * sizeof *column);
    set->all[i] = *s;
    set->all[i].column = column;
    set->changed = true;
    return (int)i;
}

int series_of_device(struct series_set *set, int device, const char *label, uint64_t now_us, size_t hint)
{
    size_t count = 0, oldest = MONITOR_SERIES_MAX;
    if (hint < set->n && is_device(&set->all[hint], device, label)) {
        set->all[hint].seen_us = now_us;
        return (int)hint;
    }
    for (size_t i = MONITOR_FIXED_MAX; i < set->n; i++) {
        struct series *s = &set->all[i];
        if (!s->name || s->device != device)
            continue;
        if (!strcmp(s->label, label)) {
            s->seen_us = now_us;
            return (int)i;
        }
        count++;
        if (oldest == MONITOR_SERIES_MAX || s->seen_us < set->all[oldest].seen_us)
            oldest = i;
    }
    struct series s = {.name = device_series[device].name,
        .unit = device_series[device].unit,
        .help = device_series[device].help,
        .label_name = device_series[device].label_name,
        .device = device,
        .seen_us = now_us};
    memcpy(s.label, label, MIN(strlen(label), sizeof s.label - 1));
    if (count < device_series[device].max)
        return make_series(set, &s);
    bool gone = now_us > set->all[oldest].seen_us && now_us - set->all[oldest].seen_us >= SERIES_GONE_US;
    return gone ? replace_series(set, oldest, &s) : -ENOSPC;
}

int series_of_stored(struct series_set *set, const char *name, const char *label, uint64_t now_us)
{
    for (size_t i = 0; i < set->n; i++) {
        const struct series *s = &set->all[i];
        if (s->name && !strcmp(s->name, name) && !strcmp(s->label, label))
            return (int)i;
    }
    for (int device = 0; device < MONITOR_DEVICE_MAX; device++) {
        if (!strcmp(device_series[device].name, name))
            return series_of_device(set, device, label, now_us, MONITOR_SERIES_MAX);
    }
    return -ENOENT;
}

int series_add(
    struct series_set *set, const char *name, const char *unit, const char *help, double (*read)(void *ctx), void *ctx)
{
    for (int device = 0; device < MONITOR_DEVICE_MAX; device++) {
        if (!strcmp(device_series[device].name, name))
            return -EEXIST;
    }
    for (size_t i = 0; i < set->n; i++) {
        if (set->all[i].name && !strcmp(set->all[i].name, name))
            return -EEXIST;
    }
    if (set->n_added >= MONITOR_ADDED_MAX)
        return -ENOSPC;
    int i = make_series(
        set, &(struct series){.name = name, .unit = unit, .help = help, .device = -1, .read = read, .ctx = ctx});
    set->n_added += i >= 0;
    return i;
}
