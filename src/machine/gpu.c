/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs, by the library of their driver, which is there where the driver is and is never linked. */
#include <dlfcn.h>
#include <limits.h>
#include <stddef.h>

#include "base/util.h"
#include "machine/machine.h"

enum { CLOCK_SM = 1, MIB_SHIFT = 20 }; /* nvmlClockType_t: NVML_CLOCK_SM */

/* nvmlMemory_t. */
struct nvml_memory {
    unsigned long long total, free, used;
};

/* The functions of the library that are used, by its documented interface: all return 0 for success. */
struct nvml {
    int (*init)(void);
    int (*count)(unsigned *ret);
    int (*handle)(unsigned index, void **ret);
    int (*name)(void *device, char *out, unsigned size);
    int (*driver)(char *out, unsigned size);
    int (*shutdown)(void);
    /* Any of these may be missing in an older one. */
    int (*uuid)(void *device, char *out, unsigned size);
    int (*minor)(void *device, unsigned *ret);
    int (*memory)(void *device, struct nvml_memory *ret);
    int (*cores)(void *device, unsigned *ret);
    int (*max_clock)(void *device, int which, unsigned *ret_mhz);
};

static const struct {
    const char *name;
    size_t offset;
    bool needed;
} symbols[] = {
    {"nvmlInit_v2", offsetof(struct nvml, init), true},
    {"nvmlDeviceGetCount_v2", offsetof(struct nvml, count), true},
    {"nvmlDeviceGetHandleByIndex_v2", offsetof(struct nvml, handle), true},
    {"nvmlDeviceGetName", offsetof(struct nvml, name), true},
    {"nvmlSystemGetDriverVersion", offsetof(struct nvml, driver), true},
    {"nvmlShutdown", offsetof(struct nvml, shutdown), true},
    {"nvmlDeviceGetUUID", offsetof(struct nvml, uuid), false},
    {"nvmlDeviceGetMinorNumber", offsetof(struct nvml, minor), false},
    {"nvmlDeviceGetMemoryInfo", offsetof(struct nvml, memory), false},
    {"nvmlDeviceGetNumGpuCores", offsetof(struct nvml, cores), false},
    {"nvmlDeviceGetMaxClockInfo", offsetof(struct nvml, max_clock), false},
};

static bool find_symbols(void *library, struct nvml *n)
{
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
        void *symbol = dlsym(library, symbols[i].name);
        if (!symbol && symbols[i].needed)
            return false;
        *(void **)((char *)n + symbols[i].offset) = symbol;
    }
    return true;
}

static unsigned score_of(const struct nvml *n, void *device, uint64_t memory_bytes)
{
    unsigned cores = 0, mhz = 0;
    uint64_t score = (memory_bytes >> MIB_SHIFT) / 2;
    if (n->cores && n->max_clock && n->cores(device, &cores) == 0 && n->max_clock(device, CLOCK_SM, &mhz) == 0 &&
        cores > 0 && mhz > 0)
        score = (uint64_t)cores * mhz / 1000;
    return (unsigned)MIN(score, (uint64_t)UINT_MAX);
}

/* What the library leaves open on failure is put right here: it is not relied on for an end of its strings either. */
static void describe(const struct nvml *n, void *device, struct machine_gpu *g)
{
    struct nvml_memory memory = {0};
    if (n->name(device, g->name, sizeof g->name) != 0)
        g->name[0] = '\0';
    if (!n->uuid || n->uuid(device, g->uuid, sizeof g->uuid) != 0)
        g->uuid[0] = '\0';
    g->name[sizeof g->name - 1] = g->uuid[sizeof g->uuid - 1] = '\0';
    if (!n->minor || n->minor(device, &g->minor) != 0)
        g->minor = MACHINE_MINOR_UNKNOWN;
    if (n->memory && n->memory(device, &memory) == 0)
        g->memory_bytes = memory.total;
    g->score = score_of(n, device, g->memory_bytes);
}

static void look(const struct nvml *n, struct machine_gpus *ret)
{
    if ((ret->error = n->init()))
        return;
    (void)n->driver(ret->driver, sizeof ret->driver);
    ret->driver[sizeof ret->driver - 1] = '\0';
    ret->error = n->count(&ret->count);
    if (ret->error)
        ret->count = 0;
    for (unsigned i = 0; i < ret->count && ret->n_gpus < MACHINE_GPUS_MAX; i++) {
        void *device = NULL;
        if (n->handle(i, &device) != 0) /* lost, or not for us */
            continue;
        struct machine_gpu *g = &ret->gpus[ret->n_gpus++];
        *g = (struct machine_gpu){.index = i};
        describe(n, device, g);
    }
    (void)n->shutdown();
}

void machine_gpus_find(struct machine_gpus *ret)
{
    struct nvml n = {0};
    *ret = (struct machine_gpus){0};
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return;
    ret->loaded = find_symbols(library, &n);
    if (ret->loaded)
        look(&n, ret);
    (void)dlclose(library);
}
