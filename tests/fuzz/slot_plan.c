/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder of task plans: what it accepts must survive being encoded and decoded again, unchanged. */
#include <assert.h>
#include <string.h>

#include "slot/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan plan, again;
    if (plan_decode(data, size, &plan) == PLAN_OK) {
        struct buf raw = BUF_INIT(2 * (size_t)PLAN_BYTES_MAX);
        assert(plan_encode(&plan, &raw) == PLAN_OK);
        assert(raw.len == size && memcmp(raw.data, data, size) == 0);
        assert(plan_decode(raw.data, raw.len, &again) == PLAN_OK);
        plan_done(&again);
        buf_done(&raw);
    }
    plan_done(&plan);
    return 0;
}
