/* SPDX-License-Identifier: Apache-2.0 */
#include "node/config.h"
#include "node/monitor/parse.h"
