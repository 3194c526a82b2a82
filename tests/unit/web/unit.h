/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka wants these four in front of it. */
#ifndef UNIT_WEB_UNIT_H
#define UNIT_WEB_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
