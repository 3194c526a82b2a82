/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays libnvidia-ml.so.1; FAKE_NVML says how: "" three devices, "error", "crash", "hang", "many" (20 devices), "lost" (the
 * second cannot be opened), "long" (strings without an end), "refused" (whatever may be missing fails). Compiled with
 * FAKE_NVML_OLD it has none of the functions that an old one lacks, with FAKE_NVML_BROKEN not even what is needed.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEVICES = 3, DEVICES_MANY = 20, NOT_SUPPORTED = 3, IS_LOST = 15, UNKNOWN = 18 };

struct memory {
    unsigned long long total, free, used;
};

int nvmlInit_v2(void);
int nvmlDeviceGetCount_v2(unsigned *ret);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **ret);
int nvmlDeviceGetName(void *device, char *out, unsigned size);
int nvmlSystemGetDriverVersion(char *out, unsigned size);
int nvmlShutdown(void);
int nvmlDeviceGetUUID(void *device, char *out, unsigned size);
int nvmlDeviceGetMinorNumber(void *device, unsigned *ret);
int nvmlDeviceGetMemoryInfo(void *device, struct memory *ret);
int nvmlDeviceGetNumGpuCores(void *device, unsigned *ret);
int nvmlDeviceGetMaxClockInfo(void *device, int which, unsigned *ret);

static char devices[DEVICES_MANY];

static bool plays(const char *how)
{
    const char *wanted = getenv("FAKE_NVML");
    return wanted && !strcmp(wanted, how);
}

static unsigned index_of(const void *device)
{
    return (unsigned)((const char *)device - devices);
}

#ifndef FAKE_NVML_BROKEN
int nvmlInit_v2(void)
{
    if (plays("hang")) {
        for (;;)
            pause();
    }
    if (plays("crash"))
        (void)raise(SIGKILL);
    return plays("error") ? UNKNOWN : 0;
}
#endif

int nvmlDeviceGetCount_v2(unsigned *ret)
{
    *ret = plays("many") ? DEVICES_MANY : DEVICES;
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **ret)
{
    if (index == 1 && plays("lost"))
        return IS_LOST;
    *ret = &devices[index];
    return 0;
}

int nvmlDeviceGetName(void *device, char *out, unsigned size)
{
    (void)device;
    if (plays("long"))
        memset(out, 'x', size);
    else
        snprintf(out, size, "Test GPU");
    return 0;
}

int nvmlSystemGetDriverVersion(char *out, unsigned size)
{
    if (plays("long"))
        memset(out, '5', size);
    else
        snprintf(out, size, "535.1");
    return 0;
}

int nvmlShutdown(void)
{
    return 0;
}

#ifndef FAKE_NVML_OLD
int nvmlDeviceGetUUID(void *device, char *out, unsigned size)
{
    if (plays("long"))
        memset(out, 'y', size);
    else
        snprintf(out, size, "GPU-%u", index_of(device));
    return plays("refused") ? NOT_SUPPORTED : 0;
}

/* The other way round than the index, as it may be. */
int nvmlDeviceGetMinorNumber(void *device, unsigned *ret)
{
    *ret = DEVICES_MANY - index_of(device);
    return plays("refused") ? NOT_SUPPORTED : 0;
}

int nvmlDeviceGetNumGpuCores(void *device, unsigned *ret)
{
    *ret = 1000 * (1 + index_of(device));
    return plays("refused") ? NOT_SUPPORTED : 0;
}

int nvmlDeviceGetMaxClockInfo(void *device, int which, unsigned *ret)
{
    (void)device;
    *ret = which == 1 ? 1500 : 1;
    return plays("refused") ? NOT_SUPPORTED : 0;
}
#endif

int nvmlDeviceGetMemoryInfo(void *device, struct memory *ret)
{
    *ret = (struct memory){.total = (1ull + index_of(device)) << 30, .free = 1, .used = 2};
    return 0;
}
