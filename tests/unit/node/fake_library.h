/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libtaskworker that runs no task: it writes a line for each call to a file descriptor, and shuts down as it is told to.
 * With it the daemon's own part can be tested alone.
 */
#ifndef TESTS_FAKE_LIBRARY_H
#define TESTS_FAKE_LIBRARY_H

#include <stdbool.h>

struct fake_library {
    int events_fd;
    bool new_fails;
    bool listen_fails;
    bool drain_hangs; /* a task runs that does not end */
    bool breaks_down; /* stops by itself as soon as the loop runs */
};
extern struct fake_library fake_library;

#endif
