/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the machine once. It may block (a file system that hangs, a slow sensor), so it runs in libuv's pool; a collector is for one
 * thread at a time.
 */
#ifndef NODE_MONITOR_COLLECT_H
#define NODE_MONITOR_COLLECT_H

#include "node/monitor/monitor.h"
#include "node/monitor/parse.h"

enum { COLLECT_TEXT_MAX = 1 << 20, COLLECT_DEVICES_MAX = 64, COLLECT_SENSORS_MAX = 16, COLLECT_PATH_MAX = 320 };

/* What a counter was, and whether it is to be believed what comes of it now. */
struct collect_counters {
    char name[MONITOR_LABEL_MAX];
    bool physical; /* the device is made of something: what goes through it goes through no other one */
    bool shown;
    bool seen; /* in this sample */
    uint64_t last[3];
};

struct collect_sensor {
    char path[COLLECT_PATH_MAX]; /* below the root */
    char label[MONITOR_LABEL_MAX];
    double value;
};

struct collector {
    const char *root, *disk_path;                  /* borrowed */
    char *text;                                    /* COLLECT_TEXT_MAX, for the file that is read right now */
    uint64_t last_us;                              /* monotonic; 0: nothing was read yet */
    struct parse_cpu cpus[MONITOR_SERIES_MAX / 2]; /* the first one: all together; then by core */
    bool have_cpu[MONITOR_SERIES_MAX / 2];
    struct collect_counters interfaces[COLLECT_DEVICES_MAX], disks[COLLECT_DEVICES_MAX];
    struct collect_sensor sensors[COLLECT_SENSORS_MAX];
    size_t n_sensors;
    uint64_t sensors_found_us, sensors_read_us;
};

struct collect_value {
    int device; /* enum monitor_device */
    char label[MONITOR_LABEL_MAX];
    double value;
};

struct collect_reading {
    uint64_t wall_us;
    double fixed[MONITOR_FIXED_MAX];
    struct collect_value devices[MONITOR_DEVICES_MAX];
    size_t n_devices;
};

/* 0 or -ENOMEM. */
int collect_init(struct collector *c, const char *root, const char *disk_path);
void collect_done(struct collector *c);
/* What cannot be read or is not understood is NAN or missing. now_us is monotonic. Rates need two readings. */
void collect_read(struct collector *c, uint64_t wall_us, uint64_t now_us, struct collect_reading *ret);

/* --- inside the collector --- */

/* The text of a file below the root; NULL: it cannot be read, or is too long. Until the next call. */
const char *collect_text(struct collector *c, const char *path);
bool collect_exists(const struct collector *c, const char *path);
void collect_put(struct collect_reading *r, int device, const char *label, double value);
/* What is gained a second; a counter that goes back (it wrapped, or its device is a new one) says nothing. */
double collect_rate(uint64_t before, uint64_t now, double seconds);
/* seconds: since the reading before; 0: there was none. */
void collect_devices(struct collector *c, double seconds, struct collect_reading *ret);
void collect_temperatures(struct collector *c, uint64_t now_us, struct collect_reading *ret);

#endif
