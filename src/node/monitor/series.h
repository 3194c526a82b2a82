/* SPDX-License-Identifier: Apache-2.0 */
/* The series of a monitor: what each index stands for, and its part of the history's memory. For the loop's thread. */
#ifndef NODE_MONITOR_SERIES_H
#define NODE_MONITOR_SERIES_H

#include "node/monitor/monitor.h"

/* How long a device has to be gone until its index goes to another one of its kind. */
#define SERIES_GONE_US UINT64_C(900000000)

/* A column is made of floats whose bits are changed so that memory of zeros, which costs nothing until written, is all NAN. */
#define SERIES_NAN_BITS UINT32_C(0x7fc00000)

struct series {
    const char *name, *unit, *help; /* name NULL: the index is free */
    const char *label_name;
    char label[MONITOR_LABEL_MAX];
    int device;                /* enum monitor_device; -1: none */
    double (*read)(void *ctx); /* of one that the daemon added */
    void *ctx;
    uint64_t seen_us; /* monotonic */
    uint32_t id;      /* in the database; 0: none yet */
    uint32_t *column; /* see history.h */
};

struct series_set {
    struct series all[MONITOR_SERIES_MAX];
    size_t n;      /* indices in use, with gaps */
    size_t points; /* length of a column */
    size_t n_added;
    bool changed; /* the database has not heard of it */
};

/* 0 or -ENOMEM. series_set_done() is right in both cases. */
int series_set_init(struct series_set *set, size_t points);
void series_set_done(struct series_set *set);

/* The index of a device's series, made where it is new; -ENOSPC, -ENOMEM: none. The hint is an index that it probably has. */
int series_of_device(struct series_set *set, int device, const char *label, uint64_t now_us, size_t hint);
/* Of one that was stored: fixed, added, or a device's, which is made. -ENOENT: nothing knows it any more. */
int series_of_stored(struct series_set *set, const char *name, const char *label, uint64_t now_us);
int series_add(
    struct series_set *set, const char *name, const char *unit, const char *help, double (*read)(void *ctx), void *ctx);

static inline uint32_t series_bits(double value)
{
    union {
        float f;
        uint32_t bits;
    } u = {.f = (float)value};
    return value == value ? u.bits ^ SERIES_NAN_BITS : 0; /* one NAN, whichever it was */
}

static inline double series_value(uint32_t bits)
{
    union {
        uint32_t bits;
        float f;
    } u = {.bits = bits ^ SERIES_NAN_BITS};
    return (double)u.f;
}

#endif
