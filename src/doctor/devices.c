/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs, by the library of their driver; WireGuard, by what the kernel has or could load. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "doctor/internal.h"
#include "base/try.h"
#include "machine/machine.h"

#define NVML_US UINT64_C(1500000)
enum { DEVICES_MAX = 64 };

static void try_nvml(const void *arg, void *ret)
{
    (void)arg;
    machine_gpus_find(ret);
}

/* How many /dev/nvidia0, 1, ... there are, and how many of them this user may open. */
static unsigned count_devices(const struct doctor *d, unsigned *ret_usable)
{
    unsigned found = 0;
    *ret_usable = 0;
    for (unsigned i = 0; i < DEVICES_MAX; i++) {
        char path[64], full[PATH_MAX];
        snprintf(path, sizeof path, "/dev/nvidia%u", i);
        if (!doctor_path(d, path, full) || access(full, F_OK) < 0)
            continue;
        found++;
        *ret_usable += access(full, R_OK | W_OK) == 0;
    }
    return found;
}

void check_gpu(struct doctor *d, struct doctor_check *c)
{
    struct machine_gpus g = {0};
    unsigned usable, devices = count_devices(d, &usable);
    check_cost(c, "The node reports no GPU, and tasks that want one go elsewhere.");
    check_fix(c, "for an NVIDIA GPU its driver: apt-get install nvidia-driver");
    int r = try_run(doctor_time(d, NVML_US), try_nvml, NULL, &g, sizeof g);
    if (r < 0) {
        check_untried(c, r);
        if (devices)
            check_add(c, "%u devices /dev/nvidia*", devices);
    } else if (!g.loaded && devices == 0) {
        check_set(c, DOCTOR_MISSING, "no NVIDIA library and no device");
    } else if (!g.loaded) {
        check_set(c, DOCTOR_DEGRADED, "%u devices /dev/nvidia*, but no libnvidia-ml.so.1", devices);
        check_fix(c, "apt-get install libnvidia-ml1 (in a container: nvidia-container-toolkit)");
    } else if (g.error || g.count == 0) {
        check_set(c, devices ? DOCTOR_DEGRADED : DOCTOR_MISSING, "the NVIDIA library finds none (error %d)", g.error);
        if (devices)
            check_fix(
                c, "nvidia-smi tells more; often the driver and its library are of two versions: restart the machine");
    } else {
        check_set(c, DOCTOR_OK, "%u: %s%s%s%s, driver %s", g.count, g.gpus[0].name, g.n_gpus > 1 ? ", " : "",
            g.n_gpus > 1 ? g.gpus[1].name : "", g.count > 2 ? ", ..." : "", g.driver);
        if (devices > usable) {
            c->status = DOCTOR_DEGRADED;
            check_add(c, "this user may not use %u of them", devices - usable);
            check_fix(c, "let this user open /dev/nvidia* (usermod -aG video USER)");
        }
    }
}

/* Whether a list of the kernel's modules names this one. */
static bool module_listed(const struct doctor *d, const char *release, const char *list)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "/lib/modules/%s/%s", release, list);
    CLEANUP_FREE char *text = n > 0 && n < PATH_MAX ? doctor_read(d, path) : NULL;
    return text && strstr(text, "/wireguard.ko");
}

void check_wireguard(struct doctor *d, struct doctor_check *c)
{
    char release[128] = "";
    struct utsname name;
    if (!doctor_line(d, "/proc/sys/kernel/osrelease", release, sizeof release) && uname(&name) == 0)
        snprintf(release, sizeof release, "%s", name.release);
    check_cost(c, "The node cannot join a private network of nodes; alone it needs none.");
    check_fix(c, "modprobe wireguard, or apt-get install wireguard-go");
    if (doctor_exists(d, "/sys/module/wireguard") || module_listed(d, release, "modules.builtin"))
        check_set(c, DOCTOR_OK, "the kernel has it");
    else if (module_listed(d, release, "modules.dep"))
        check_set(c, DOCTOR_OK, "the kernel can load it");
    else if (doctor_on_path("wireguard-go")) {
        check_set(c, DOCTOR_DEGRADED, "not in the kernel, but there is wireguard-go");
        check_cost(c, "Private networks are slower outside the kernel.");
        check_fix(c, "a kernel with CONFIG_WIREGUARD");
    } else
        check_set(c, DOCTOR_MISSING, "neither in the kernel nor as wireguard-go");
}
