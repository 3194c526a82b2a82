/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds which GPU. A task has whole devices, or a share of one device's memory; a device of which somebody has a share is
 * given whole to nobody. Shares go where they fit most closely among those that are shared already, so that whole devices
 * stay free. What a task really uses of a device's memory is not held to its share: only counted.
 */
#ifndef TASK_GPUS_H
#define TASK_GPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GPUS_MAX = 16 };

struct gpu_need {
    uint32_t whole;        /* devices */
    uint64_t memory_bytes; /* a share of one; with whole 0 only */
};

struct gpu_slot {
    uint64_t memory_bytes; /* of the device; 0: not known, and no share can be had of it */
    uint64_t used_bytes;   /* by shares */
    unsigned sharers;
    bool whole; /* is held as such */
};

struct gpus {
    struct gpu_slot device[GPUS_MAX];
    size_t n;
};

static inline bool gpus_none(const struct gpu_need *need)
{
    return need->whole == 0 && need->memory_bytes == 0;
}

/* Whether it is free now; whether it could be, if nobody held anything. */
bool gpus_fit(const struct gpus *g, const struct gpu_need *need);
bool gpus_could_fit(const struct gpus *g, const struct gpu_need *need);
/* What fits: the devices as bits, which are held until they are given back with the same need. */
uint32_t gpus_take(struct gpus *g, const struct gpu_need *need);
/* These, whether they are free or not: by one that has them already. Bits of devices that are not there are left out. */
uint32_t gpus_hold(struct gpus *g, const struct gpu_need *need, uint32_t devices);
void gpus_give_back(struct gpus *g, const struct gpu_need *need, uint32_t devices);

/* For a person: devices that nobody holds anything of, and the largest share that could be had now. */
size_t gpus_free(const struct gpus *g);
uint64_t gpus_largest_share(const struct gpus *g);

#endif
