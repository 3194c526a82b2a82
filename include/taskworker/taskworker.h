/* SPDX-License-Identifier: Apache-2.0 */
/* Everything of libtaskworker. */
#ifndef TASKWORKER_TASKWORKER_H
#define TASKWORKER_TASKWORKER_H

#include <taskworker/access.h>
#include <taskworker/error.h>
#include <taskworker/rpc.h>
#include <taskworker/storage.h>
#include <taskworker/task.h>
#include <taskworker/worker.h>

#endif
