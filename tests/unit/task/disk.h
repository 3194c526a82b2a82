/* SPDX-License-Identifier: Apache-2.0 */
/* A disk under the store's database that is full when the test says so. */
#ifndef TEST_TASK_DISK_H
#define TEST_TASK_DISK_H

#include <stdbool.h>

/* Before the store is opened. */
void disk_install(void);
void disk_uninstall(void);
/* Every write to the database fails from now on, or none. Any thread. */
void disk_set_full(bool full);
/* Writes that have failed so far. */
unsigned disk_failures(void);

#endif
