/* SPDX-License-Identifier: Apache-2.0 */
/* A machine of files in a temporary folder, and time as the test says. */
#include "unit.h"

#include "node/monitor/collect.h"

struct fake {
    char root[64];
    struct collector c;
    struct collect_reading r;
    uint64_t now_us;
};

static int make(void **state)
{
    struct fake *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tree_make(f->root);
    f->now_us = 1000000;
    assert_int_equal(collect_init(&f->c, f->root, f->root), 0);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fake *f = *state;
    int r = tree_remove(f->root);
    collect_done(&f->c);
    free(f);
    return r;
}

static void read_after(struct fake *f, double seconds)
{
    f->now_us += (uint64_t)(seconds * 1e6);
    collect_read(&f->c, 1, f->now_us, &f->r);
}

/* NAN also where it is missing. */
static double device(const struct fake *f, int which, const char *label)
{
    for (size_t i = 0; i < f->r.n_devices; i++) {
        if (f->r.devices[i].device == which && !strcmp(f->r.devices[i].label, label))
            return f->r.devices[i].value;
    }
    return NAN;
}

static bool has(const struct fake *f, int which, const char *label)
{
    for (size_t i = 0; i < f->r.n_devices; i++) {
        if (f->r.devices[i].device == which && !strcmp(f->r.devices[i].label, label))
            return true;
    }
    return false;
}

static void nothing_there(void **state)
{
    struct fake *f = *state;
    for (int round = 0; round < 2; round++) {
        read_after(f, 1);
        assert_int_equal(f->r.n_devices, 0);
        for (size_t i = 0; i < MONITOR_FIXED_MAX; i++)
            assert_true(i == MONITOR_DISK_TOTAL || i == MONITOR_DISK_FREE ? f->r.fixed[i] > 0 : isnan(f->r.fixed[i]));
    }
}

static void garbage(void **state)
{
    struct fake *f = *state;
    static const char *const files[] = {"/proc/stat", "/proc/meminfo", "/proc/loadavg", "/proc/diskstats",
        "/proc/net/dev", "/proc/pressure/cpu", "/proc/pressure/io", "/proc/pressure/memory",
        "/sys/class/hwmon/hwmon0/name", "/sys/class/hwmon/hwmon0/temp1_input", "/sys/class/thermal/thermal_zone0/type",
        "/sys/class/thermal/thermal_zone0/temp"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        tree_file(f->root, files[i], "cpu \xff\xfe :: -1 999999999999999999999999 \n\n%s%n\n");
    read_after(f, 1);
    read_after(f, 1);
    assert_nan(f->r.fixed[MONITOR_CPU_BUSY]);
    assert_nan(f->r.fixed[MONITOR_MEMORY_TOTAL]);
    for (size_t i = 0; i < f->r.n_devices; i++)
        assert_nan(f->r.devices[i].value);
}

static void processors(void **state)
{
    struct fake *f = *state;
    tree_file(
        f->root, "/proc/stat", "cpu  100 0 100 800 0 0 0 0\ncpu0 50 0 50 400 0 0 0 0\ncpu1 50 0 50 400 0 0 0 0\n");
    read_after(f, 1);
    assert_nan(f->r.fixed[MONITOR_CPU_BUSY]); /* not what it was since boot */
    assert_true(has(f, MONITOR_CORE_BUSY, "0") && isnan(device(f, MONITOR_CORE_BUSY, "0")));
    tree_file(
        f->root, "/proc/stat", "cpu  140 0 120 900 20 0 0 20\ncpu0 90 0 70 400 20 0 0 20\ncpu1 50 0 50 500 0 0 0 0\n");
    read_after(f, 1);
    assert_near(f->r.fixed[MONITOR_CPU_BUSY], 0.4);
    assert_near(f->r.fixed[MONITOR_CPU_USER], 0.2);
    assert_near(f->r.fixed[MONITOR_CPU_SYSTEM], 0.1);
    assert_near(f->r.fixed[MONITOR_CPU_IOWAIT], 0.1);
    assert_near(f->r.fixed[MONITOR_CPU_STEAL], 0.1);
    assert_near(device(f, MONITOR_CORE_BUSY, "0"), 0.8);
    assert_near(device(f, MONITOR_CORE_BUSY, "1"), 0);
    /* iowait alone goes back; then all of it does, with the second processor; then there is something to compare with again. */
    tree_file(f->root, "/proc/stat", "cpu  240 0 120 900 10 0 0 20\ncpu0 190 0 70 400 10 0 0 20\n");
    read_after(f, 1);
    assert_near(f->r.fixed[MONITOR_CPU_BUSY], 1);
    assert_near(f->r.fixed[MONITOR_CPU_IOWAIT], 0);
    assert_false(has(f, MONITOR_CORE_BUSY, "1"));
    tree_file(f->root, "/proc/stat", "cpu  10 0 10 10 0 0 0 0\ncpu1 1 1 1 1\n");
    read_after(f, 1);
    assert_nan(f->r.fixed[MONITOR_CPU_BUSY]);
    assert_true(has(f, MONITOR_CORE_BUSY, "1") && isnan(device(f, MONITOR_CORE_BUSY, "1")));
    tree_file(f->root, "/proc/stat", "cpu  15 0 10 15 0 0 0 0\n");
    read_after(f, 1);
    assert_near(f->r.fixed[MONITOR_CPU_BUSY], 0.5);
}

#define LINE(name, in, out) name ": " #in " 1 0 0 0 0 0 0 " #out " 1 0 0 0 0 0 0\n"

static void interfaces(void **state)
{
    struct fake *f = *state;
    tree_folder(f->root, "/sys/class/net/eth0/device");
    tree_file(f->root, "/proc/net/dev", LINE("lo", 5, 5) LINE("eth0", 1000, 100) LINE("veth1", 1, 1));
    read_after(f, 1);
    assert_nan(f->r.fixed[MONITOR_NETWORK_RECEIVE]);
    tree_file(f->root, "/proc/net/dev",
        LINE("lo", 99, 99) LINE("eth0", 3000, 140) LINE("veth1", 801, 1) LINE("new", 7000, 7000));
    read_after(f, 2);
    assert_near(device(f, MONITOR_INTERFACE_RECEIVE, "eth0"), 1000);
    assert_near(device(f, MONITOR_INTERFACE_TRANSMIT, "eth0"), 20);
    assert_near(device(f, MONITOR_INTERFACE_RECEIVE, "veth1"), 400);
    assert_true(has(f, MONITOR_INTERFACE_RECEIVE, "new") && isnan(device(f, MONITOR_INTERFACE_RECEIVE, "new")));
    assert_near(f->r.fixed[MONITOR_NETWORK_RECEIVE], 1000); /* through the real one alone */
    /* A counter that went back; one that was away is a new one. */
    tree_file(f->root, "/proc/net/dev", LINE("eth0", 10, 240));
    read_after(f, 1);
    assert_nan(device(f, MONITOR_INTERFACE_RECEIVE, "eth0"));
    assert_near(device(f, MONITOR_INTERFACE_TRANSMIT, "eth0"), 100);
    assert_nan(f->r.fixed[MONITOR_NETWORK_RECEIVE]);
    tree_file(f->root, "/proc/net/dev", LINE("eth0", 20, 240) LINE("veth1", 900, 900));
    read_after(f, 1);
    assert_near(device(f, MONITOR_INTERFACE_RECEIVE, "eth0"), 10);
    assert_nan(device(f, MONITOR_INTERFACE_RECEIVE, "veth1"));
    /* No time has passed, or it went back: no rate, and no division by zero. */
    tree_file(f->root, "/proc/net/dev", LINE("eth0", 30, 240));
    read_after(f, 0);
    assert_nan(device(f, MONITOR_INTERFACE_RECEIVE, "eth0"));
}

/* As in a container. */
static void no_real_interface(void **state)
{
    struct fake *f = *state;
    tree_file(f->root, "/proc/net/dev", LINE("lo", 5, 5) LINE("eth0", 0, 0));
    read_after(f, 1);
    tree_file(f->root, "/proc/net/dev", LINE("lo", 999, 999) LINE("eth0", 50, 60));
    read_after(f, 1);
    assert_near(f->r.fixed[MONITOR_NETWORK_RECEIVE], 50);
    assert_near(f->r.fixed[MONITOR_NETWORK_TRANSMIT], 60);
}

static void more_than_there_is_room_for(void **state)
{
    struct fake *f = *state;
    char text[20000], line[100];
    size_t len = 0;
    for (int i = 0; i < 200; i++) {
        int n = snprintf(line, sizeof line, "if%d: 1 1 0 0 0 0 0 0 1 1\n", i);
        memcpy(text + len, line, (size_t)n + 1);
        len += (size_t)n;
    }
    tree_file(f->root, "/proc/net/dev", text);
    for (int round = 0; round < 3; round++) {
        read_after(f, 1);
        assert_int_equal(f->r.n_devices, 2 * COLLECT_DEVICES_MAX);
    }
}

static void disks(void **state)
{
    struct fake *f = *state;
    tree_folder(f->root, "/sys/block/sda/device");
    tree_folder(f->root, "/sys/block/dm-0");
    tree_folder(f->root, "/sys/block/loop0");
    const char *const before =
        "8 0 sda 1 0 100 0 1 0 100 0 0 1000 0\n8 1 sda1 1 0 100 0 1 0 100 0 0 0 0\n"
        "253 0 dm-0 1 0 100 0 1 0 100 0 0 0 0\n7 0 loop0 1 0 1 0 1 0 1 0 0 0 0\n8 16 sdb 0 0 0 0 0 0 0 0 0 0 0\n";
    const char *const after =
        "8 0 sda 1 0 102 0 1 0 104 0 0 1500 0\n8 1 sda1 1 0 102 0 1 0 104 0 0 500 0\n"
        "253 0 dm-0 1 0 102 0 1 0 104 0 0 9000 0\n7 0 loop0 1 0 9 0 1 0 9 0 0 0 0\n8 16 sdb 0 0 0 0 0 0 0 0 0 0 0\n";
    tree_file(f->root, "/proc/diskstats", before);
    read_after(f, 1);
    tree_file(f->root, "/proc/diskstats", after);
    read_after(f, 1);
    assert_near(device(f, MONITOR_DEVICE_READ, "sda"), 1024);
    assert_near(device(f, MONITOR_DEVICE_WRITE, "sda"), 2048);
    assert_near(device(f, MONITOR_DEVICE_BUSY, "sda"), 0.5);
    assert_near(device(f, MONITOR_DEVICE_BUSY, "dm-0"), 1);
    assert_false(has(f, MONITOR_DEVICE_READ, "sda1") || has(f, MONITOR_DEVICE_READ, "loop0") ||
        has(f, MONITOR_DEVICE_READ, "sdb"));
    assert_near(f->r.fixed[MONITOR_DISK_READ], 1024); /* each byte once */
    assert_near(f->r.fixed[MONITOR_DISK_WRITE], 2048);
}

static void sensors(void **state)
{
    struct fake *f = *state;
    tree_file(f->root, "/sys/class/hwmon/hwmon0/name", "nvme\n");
    tree_file(f->root, "/sys/class/hwmon/hwmon0/temp1_input", "40000\n");
    tree_file(f->root, "/sys/class/hwmon/hwmon0/temp1_label", "Composite\n");
    tree_file(f->root, "/sys/class/hwmon/hwmon1/name", "nvme\n");
    tree_file(f->root, "/sys/class/hwmon/hwmon1/temp1_input", "41000\n");
    tree_file(f->root, "/sys/class/hwmon/hwmon1/temp1_label", "Composite\n");
    tree_file(f->root, "/sys/class/hwmon/hwmon2/name", "drivetemp\n");
    tree_file(f->root, "/sys/class/hwmon/hwmon2/temp1_input", "42000\n");
    tree_file(f->root, "/sys/class/thermal/thermal_zone0/type", "acpitz\n");
    tree_file(f->root, "/sys/class/thermal/thermal_zone0/temp", "broken\n");
    read_after(f, 1);
    assert_near(device(f, MONITOR_TEMPERATURE, "nvme/Composite"), 40);
    assert_near(device(f, MONITOR_TEMPERATURE, "nvme/Composite#2"), 41);
    assert_true(has(f, MONITOR_TEMPERATURE, "acpitz") && isnan(device(f, MONITOR_TEMPERATURE, "acpitz")));
    assert_int_equal(f->r.n_devices, 3); /* none that might keep a disk awake */
    tree_file(f->root, "/sys/class/hwmon/hwmon0/temp1_input", "50000\n");
    read_after(f, 1);
    assert_near(device(f, MONITOR_TEMPERATURE, "nvme/Composite"), 40); /* not asked each second */
    read_after(f, 10);
    assert_near(device(f, MONITOR_TEMPERATURE, "nvme/Composite"), 50);
}

static void the_rest(void **state)
{
    struct fake *f = *state;
    tree_file(f->root, "/proc/loadavg", "1.50 0.25 0.10 1/2 3\n");
    tree_file(f->root, "/proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 250 kB\nSwapTotal: 10 kB\nSwapFree: 10 kB\n");
    tree_file(f->root, "/proc/pressure/cpu", "some avg10=12.50 avg60=0.00 avg300=0.00 total=1\n");
    tree_file(f->root, "/proc/pressure/io",
        "some avg10=1.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=1\n");
    read_after(f, 1);
    assert_near(f->r.fixed[MONITOR_LOAD_1], 1.5);
    assert_near(f->r.fixed[MONITOR_MEMORY_TOTAL], 1024000);
    assert_near(f->r.fixed[MONITOR_MEMORY_USED], 768000);
    assert_near(f->r.fixed[MONITOR_SWAP_USED], 0);
    assert_near(f->r.fixed[MONITOR_PRESSURE_CPU], 0.125);
    assert_near(f->r.fixed[MONITOR_PRESSURE_IO_FULL], 0.005);
    assert_nan(f->r.fixed[MONITOR_PRESSURE_MEMORY]);
}

#define ON_FAKE(test) cmocka_unit_test_setup_teardown(test, make, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FAKE(nothing_there),
        ON_FAKE(garbage),
        ON_FAKE(processors),
        ON_FAKE(interfaces),
        ON_FAKE(no_real_interface),
        ON_FAKE(more_than_there_is_room_for),
        ON_FAKE(disks),
        ON_FAKE(sensors),
        ON_FAKE(the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
