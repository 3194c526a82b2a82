/* SPDX-License-Identifier: Apache-2.0 */
/* Plays libnvidia-ml.so.1; FAKE_NVML says how: "" two devices, "error", "crash", "hang". */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int nvmlInit_v2(void);
int nvmlDeviceGetCount_v2(unsigned *ret);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **ret);
int nvmlDeviceGetName(void *device, char *out, unsigned size);
int nvmlSystemGetDriverVersion(char *out, unsigned size);
int nvmlShutdown(void);

int nvmlInit_v2(void)
{
    const char *how = getenv("FAKE_NVML");
    if (how && !strcmp(how, "hang")) {
        for (;;)
            pause();
    }
    if (how && !strcmp(how, "crash"))
        (void)raise(SIGKILL);
    return how && !strcmp(how, "error") ? 18 : 0;
}

int nvmlDeviceGetCount_v2(unsigned *ret)
{
    *ret = 3;
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **ret)
{
    static char devices[3];
    *ret = &devices[index];
    return 0;
}

int nvmlDeviceGetName(void *device, char *out, unsigned size)
{
    (void)device;
    snprintf(out, size, "Test GPU");
    return 0;
}

int nvmlSystemGetDriverVersion(char *out, unsigned size)
{
    snprintf(out, size, "535.1");
    return 0;
}

int nvmlShutdown(void)
{
    return 0;
}
