/* SPDX-License-Identifier: Apache-2.0 */
/* What there may be several of, and what comes and goes: interfaces, disks, sensors. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "node/monitor/collect.h"

/* Sensors are slow, and how hot it is changes slowly. */
#define SENSORS_READ_US UINT64_C(10000000)
#define SENSORS_FIND_US UINT64_C(60000000)
enum { FOLDERS_MAX = 64, INPUTS_MAX = 16 };

/*
 * The counters of a name; *ret_new: it was not there a moment ago. NULL: there are too many. A table of 64 looked through for each
 * of at most 64 names is a few microseconds.
 */
static struct collect_counters *counters_of(struct collect_counters *all, const char *name, bool *ret_new)
{
    struct collect_counters *unused = NULL;
    for (size_t i = 0; i < COLLECT_DEVICES_MAX; i++) {
        if (all[i].name[0] && !strcmp(all[i].name, name)) {
            *ret_new = false;
            return &all[i];
        }
        if (!all[i].name[0] && !unused)
            unused = &all[i];
    }
    if (unused)
        *unused = (struct collect_counters){0};
    if (unused)
        snprintf(unused->name, sizeof unused->name, "%s", name);
    *ret_new = true;
    return unused;
}

static void begin(struct collect_counters *all)
{
    for (size_t i = 0; i < COLLECT_DEVICES_MAX; i++)
        all[i].seen = false;
}

/* What has gone is forgotten: one of the same name that comes later is another one. */
static void end(struct collect_counters *all)
{
    for (size_t i = 0; i < COLLECT_DEVICES_MAX; i++) {
        if (!all[i].seen)
            all[i].name[0] = '\0';
    }
}

static bool has_entry(const struct collector *c, const char *folder, const char *name, const char *entry)
{
    char path[COLLECT_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s%s", folder, name, entry);
    return n > 0 && n < (int)sizeof path && !strchr(name, '/') && strcmp(name, "..") != 0 && collect_exists(c, path);
}

/* One that is not known is left out of the sum, which is known if any of them is. */
static void add(double *sum, double value)
{
    if (!isnan(value))
        *sum = isnan(*sum) ? value : *sum + value;
}

/*
 * To and from outside: bridges, tunnels and the ends of containers pass on what goes through a real interface as well. Where there
 * is no real one, as in a container, all but the loopback count.
 */
static void read_interfaces(struct collector *c, double seconds, struct collect_reading *ret)
{
    const char *text = collect_text(c, "/proc/net/dev");
    double received[2] = {NAN, NAN}, sent[2] = {NAN, NAN}; /* of real ones, of the others */
    bool real = false;
    struct parse_interface i;
    begin(c->interfaces);
    while (text && parse_next_interface(&text, &i)) {
        bool is_new;
        struct collect_counters *was = counters_of(c->interfaces, i.name, &is_new);
        if (!was || was->seen)
            continue;
        if (is_new)
            was->physical = has_entry(c, "/sys/class/net", i.name, "/device");
        double in = collect_rate(was->last[0], i.received, is_new ? 0 : seconds);
        double out = collect_rate(was->last[1], i.sent, is_new ? 0 : seconds);
        collect_put(ret, MONITOR_INTERFACE_RECEIVE, i.name, in);
        collect_put(ret, MONITOR_INTERFACE_TRANSMIT, i.name, out);
        if (strcmp(i.name, "lo") != 0) {
            add(&received[!was->physical], in);
            add(&sent[!was->physical], out);
            real = real || was->physical;
        }
        was->last[0] = i.received;
        was->last[1] = i.sent;
        was->seen = true;
    }
    end(c->interfaces);
    ret->fixed[MONITOR_NETWORK_RECEIVE] = received[!real];
    ret->fixed[MONITOR_NETWORK_TRANSMIT] = sent[!real];
}

static void read_disk(
    struct collect_counters *was, const struct parse_disk *d, double seconds, struct collect_reading *ret)
{
    double in = collect_rate(was->last[0], d->read_bytes, seconds);
    double out = collect_rate(was->last[1], d->written_bytes, seconds);
    double busy = collect_rate(was->last[2], d->busy_ms, seconds) / 1000;
    if (was->shown) {
        collect_put(ret, MONITOR_DEVICE_READ, d->name, in);
        collect_put(ret, MONITOR_DEVICE_WRITE, d->name, out);
        collect_put(ret, MONITOR_DEVICE_BUSY, d->name, isnan(busy) ? NAN : MIN(busy, 1.0));
    }
    if (was->physical) {
        add(&ret->fixed[MONITOR_DISK_READ], in);
        add(&ret->fixed[MONITOR_DISK_WRITE], out);
    }
}

/* Whole disks have a folder in /sys/block, their parts have none; those that something is behind have `device` in it. */
static void read_disks(struct collector *c, double seconds, struct collect_reading *ret)
{
    const char *text = collect_text(c, "/proc/diskstats");
    struct parse_disk d;
    begin(c->disks);
    while (text && parse_next_disk(&text, &d)) {
        bool is_new, in_memory = !strncmp(d.name, "ram", 3) || !strncmp(d.name, "zram", 4);
        if (in_memory || (d.read_bytes == 0 && d.written_bytes == 0)) /* what was never used would only be in the way */
            continue;
        struct collect_counters *was = counters_of(c->disks, d.name, &is_new);
        if (!was || was->seen)
            continue;
        if (is_new) {
            was->shown = strncmp(d.name, "loop", 4) != 0 && has_entry(c, "/sys/block", d.name, "");
            was->physical = was->shown && has_entry(c, "/sys/block", d.name, "/device");
        }
        read_disk(was, &d, is_new ? 0 : seconds, ret);
        was->last[0] = d.read_bytes;
        was->last[1] = d.written_bytes;
        was->last[2] = d.busy_ms;
        was->seen = true;
    }
    end(c->disks);
}

void collect_devices(struct collector *c, double seconds, struct collect_reading *ret)
{
    read_interfaces(c, seconds, ret);
    read_disks(c, seconds, ret);
}

/* --- sensors --- */

/* The first line of a small file as a label. */
static bool read_word(struct collector *c, const char *folder, const char *name, char ret[MONITOR_LABEL_MAX])
{
    char path[COLLECT_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    const char *text = n > 0 && n < (int)sizeof path ? collect_text(c, path) : NULL;
    if (!text)
        return false;
    parse_label(text, strcspn(text, "\n"), ret);
    return ret[0] != '\0';
}

/* Two of one label (two disks of a kind) get numbers. */
static void add_sensor(struct collector *c, const char *folder, const char *file, const char *label)
{
    if (c->n_sensors == COLLECT_SENSORS_MAX)
        return;
    struct collect_sensor *s = &c->sensors[c->n_sensors];
    int n = snprintf(s->path, sizeof s->path, "%s/%s", folder, file);
    unsigned same = 1;
    for (size_t i = 0; i < c->n_sensors; i++) {
        size_t len = strlen(label);
        same +=
            !strncmp(c->sensors[i].label, label, len) && (!c->sensors[i].label[len] || c->sensors[i].label[len] == '#');
    }
    if (same > 1)
        snprintf(s->label, sizeof s->label, "%.43s#%hhu", label, (unsigned char)same);
    else
        snprintf(s->label, sizeof s->label, "%s", label);
    s->value = NAN;
    c->n_sensors += n > 0 && n < (int)sizeof s->path;
}

/* To ask drivetemp may keep a disk from going to sleep. */
static void find_hwmon(struct collector *c, const char *folder)
{
    char chip[MONITOR_LABEL_MAX], what[MONITOR_LABEL_MAX], file[32], path[COLLECT_PATH_MAX];
    if (!read_word(c, folder, "name", chip) || !strcmp(chip, "drivetemp"))
        return;
    for (int i = 1; i <= INPUTS_MAX; i++) {
        snprintf(file, sizeof file, "temp%d_input", i);
        int n = snprintf(path, sizeof path, "%s/%s", folder, file);
        if (n < 0 || n >= (int)sizeof path || !collect_exists(c, path))
            continue;
        char name[32], label[2 * MONITOR_LABEL_MAX];
        snprintf(name, sizeof name, "temp%d_label", i);
        if (!read_word(c, folder, name, what))
            snprintf(what, sizeof what, "temp%d", i);
        snprintf(label, sizeof label, "%s/%s", chip, what);
        label[MONITOR_LABEL_MAX - 5] = '\0';
        add_sensor(c, folder, file, label);
    }
}

static void find_zone(struct collector *c, const char *folder)
{
    char type[MONITOR_LABEL_MAX];
    if (read_word(c, folder, "type", type))
        add_sensor(c, folder, "temp", type);
}

/* Folders by number, so that the order, and with it the numbers of equal labels, is the same each time. */
static void find_in(
    struct collector *c, const char *folder, const char *prefix, void (*find)(struct collector *, const char *))
{
    char path[COLLECT_PATH_MAX];
    for (int i = 0; i < FOLDERS_MAX; i++) {
        snprintf(path, sizeof path, "%s/%s%d", folder, prefix, i);
        if (collect_exists(c, path))
            find(c, path);
    }
}

static void find_sensors(struct collector *c)
{
    c->n_sensors = 0;
    if (collect_exists(c, "/sys/class/hwmon"))
        find_in(c, "/sys/class/hwmon", "hwmon", find_hwmon);
    if (collect_exists(c, "/sys/class/thermal"))
        find_in(c, "/sys/class/thermal", "thermal_zone", find_zone);
}

void collect_temperatures(struct collector *c, uint64_t now_us, struct collect_reading *ret)
{
    bool find = !c->last_us || now_us - c->sensors_found_us >= SENSORS_FIND_US;
    if (find) {
        find_sensors(c);
        c->sensors_found_us = now_us;
    }
    bool again = find || now_us - c->sensors_read_us >= SENSORS_READ_US;
    for (size_t i = 0; i < c->n_sensors; i++) {
        struct collect_sensor *s = &c->sensors[i];
        const char *text = again ? collect_text(c, s->path) : NULL;
        if (again && (!text || !parse_temperature(text, &s->value)))
            s->value = NAN;
        collect_put(ret, MONITOR_TEMPERATURE, s->label, s->value);
    }
    if (again)
        c->sensors_read_us = now_us;
}
