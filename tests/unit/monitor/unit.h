/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UNIT_MONITOR_UNIT_H
#define UNIT_MONITOR_UNIT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../tree.h"
#include "base/util.h"
#include "node/monitor/monitor.h"

#define assert_near(a, b) assert_true(fabs((double)(a) - (double)(b)) < 1e-6 * (1 + fabs((double)(b))))
#define assert_nan(a) assert_true(isnan(a))

#endif
