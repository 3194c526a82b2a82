/* SPDX-License-Identifier: Apache-2.0 */
/* What a task used and under which conditions it ran, as JSON and for a person. */
#ifndef CLI_RECEIPT_H
#define CLI_RECEIPT_H

#include <jansson.h>
#include <stdint.h>

#include "cli/cli.h"
#include "taskworker.pb-c.h"

enum { LABEL_WIDTH = 13 }; /* of a line of show, before its text */

/* Every field, also where there is no usage. */
json_t *json_usage(const Taskworker__Usage *usage);
/* null where there is no receipt. */
json_t *json_receipt(const Taskworker__Receipt *receipt);

/* Every field. NULL: all of them 0. */
json_t *json_limits(const Taskworker__Limits *limits);

/* Lines of show; nothing where there is none. */
void asked_print(const Taskworker__Task *task);
void usage_print(const Taskworker__Usage *usage, bool has_ended);
void receipt_print(const Taskworker__Receipt *receipt);

/* What counts as memory and as processor time where there is room for one number. */
uint64_t usage_memory(const Taskworker__Usage *usage);
uint64_t usage_cpu(const Taskworker__Usage *usage);

#endif
