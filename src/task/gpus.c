/* SPDX-License-Identifier: Apache-2.0 */
#include "task/gpus.h"

#include <assert.h>

#include "base/util.h"

static bool is_free(const struct gpu_slot *d)
{
    return !d->whole && d->sharers == 0;
}

static uint64_t room(const struct gpu_slot *d)
{
    return d->whole || d->used_bytes > d->memory_bytes ? 0 : d->memory_bytes - d->used_bytes;
}

size_t gpus_free(const struct gpus *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++)
        n += is_free(&g->device[i]);
    return n;
}

uint64_t gpus_largest_share(const struct gpus *g)
{
    uint64_t most = 0;
    for (size_t i = 0; i < g->n; i++)
        most = MAX(most, room(&g->device[i]));
    return most;
}

bool gpus_fit(const struct gpus *g, const struct gpu_need *need)
{
    return gpus_none(need) || (need->whole ? gpus_free(g) >= need->whole : gpus_largest_share(g) >= need->memory_bytes);
}

bool gpus_could_fit(const struct gpus *g, const struct gpu_need *need)
{
    uint64_t most = 0;
    for (size_t i = 0; i < g->n; i++)
        most = MAX(most, g->device[i].memory_bytes);
    return g->n >= need->whole && most >= need->memory_bytes;
}

/* One that is shared already before one that is free, then the one with the least room that will do. */
static size_t best_for_share(const struct gpus *g, uint64_t bytes)
{
    size_t best = GPUS_MAX;
    for (size_t i = 0; i < g->n; i++) {
        const struct gpu_slot *d = &g->device[i], *b = best < GPUS_MAX ? &g->device[best] : NULL;
        if (room(d) < bytes)
            continue;
        bool better =
            !b || (d->sharers > 0) > (b->sharers > 0) || ((d->sharers > 0) == (b->sharers > 0) && room(d) < room(b));
        if (better)
            best = i;
    }
    return best;
}

uint32_t gpus_take(struct gpus *g, const struct gpu_need *need)
{
    uint32_t devices = 0;
    assert(gpus_fit(g, need));
    if (need->memory_bytes && !need->whole)
        devices = UINT32_C(1) << best_for_share(g, need->memory_bytes);
    for (size_t i = 0, left = need->whole; i < g->n && left > 0; i++) {
        if (!is_free(&g->device[i]))
            continue;
        devices |= UINT32_C(1) << i;
        left--;
    }
    return gpus_hold(g, need, devices);
}

uint32_t gpus_hold(struct gpus *g, const struct gpu_need *need, uint32_t devices)
{
    if (gpus_none(need))
        return 0;
    devices &= (UINT32_C(1) << g->n) - 1;
    for (size_t i = 0; i < g->n; i++) {
        struct gpu_slot *d = &g->device[i];
        if (!(devices & UINT32_C(1) << i))
            continue;
        if (need->whole) {
            d->whole = true;
        } else {
            d->sharers++;
            d->used_bytes += need->memory_bytes;
        }
    }
    return devices;
}

void gpus_give_back(struct gpus *g, const struct gpu_need *need, uint32_t devices)
{
    for (size_t i = 0; i < g->n; i++) {
        struct gpu_slot *d = &g->device[i];
        if (!(devices & UINT32_C(1) << i))
            continue;
        if (need->whole) {
            assert(d->whole);
            d->whole = false;
        } else {
            assert(d->sharers > 0 && d->used_bytes >= need->memory_bytes);
            d->sharers--;
            d->used_bytes -= need->memory_bytes;
        }
    }
}
