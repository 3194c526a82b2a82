/* SPDX-License-Identifier: Apache-2.0 */
/* What a runtime says of a run's end, as what becomes of the task. */
#include <string.h>

#include "base/text.h"
#include "task/attempt.h"

/* What a bad end comes from: the limit that the task ran into may be why it failed. */
static enum tw_reason explained(const struct run_outcome *outcome, enum tw_reason reason)
{
    return outcome->limit == TW_REASON_PIDS_LIMIT || outcome->limit == TW_REASON_DISK_LIMIT ? outcome->limit : reason;
}

enum tw_reason verdict_reason(const struct run_outcome *outcome, bool begun)
{
    /* The kernel's word: part of the task was killed for it, whatever the rest made of that. */
    if (begun && (outcome->limit == TW_REASON_OOM || outcome->limit == TW_REASON_TIMEOUT_CPU))
        return outcome->limit;
    switch (outcome->end) {
    case RUN_EXITED:
        if (outcome->exit_code)
            return explained(outcome, TW_REASON_EXIT_CODE);
        return outcome->result_too_large ? TW_REASON_OUTPUT_LIMIT
            : outcome->bad_result        ? TW_REASON_BAD_RESULT
                                         : TW_REASON_NONE;
    case RUN_SIGNALED:
        return explained(outcome, TW_REASON_SIGNAL);
    case RUN_BAD_INPUT:
        return TW_REASON_BAD_INPUT;
    case RUN_SANDBOX_ERROR:
        return TW_REASON_SANDBOX_ERROR;
    case RUN_LOST:
        break;
    }
    return TW_REASON_LOST;
}

void verdict_take_result(struct verdict *v, const struct attempt *a, const struct run_outcome *outcome)
{
    /* What was asked to end and did, in order, may have left one too. */
    bool asked = a->terminated && outcome->exit_code == 0 && !outcome->result_too_large && !outcome->bad_result;
    if (outcome->end != RUN_EXITED ||
        (!asked && v->reason != TW_REASON_NONE && v->reason != TW_REASON_EXIT_CODE &&
            v->reason != TW_REASON_PIDS_LIMIT && v->reason != TW_REASON_DISK_LIMIT &&
            v->reason != TW_REASON_STORAGE_ERROR))
        return;
    v->result = (uint8_t *)text_dup(outcome->result, outcome->result_len);
    v->result_len = outcome->result_len;
    if (!v->result && v->state == TW_TASK_COMPLETED) {
        v->state = TW_TASK_FAILED;
        v->reason = TW_REASON_STORAGE_ERROR;
        v->message = "out of memory while its result was kept";
    }
}

/* What the store would not take, or a client not read, is left out: a mistake there must not cost the end of a task. */
struct tw_receipt verdict_receipt(const struct run_outcome *outcome, const struct attempt *a, bool begun)
{
    struct tw_receipt r = outcome->receipt;
    const uint64_t known = (UINT64_C(1) << TW_LAYER_MAX) - 1;
    size_t len = strnlen(r.denied_calls, sizeof r.denied_calls);
    if (len == sizeof r.denied_calls || !text_is_utf8(r.denied_calls, len))
        r.denied_calls[0] = '\0';
    r.layers &= known;
    r.missing &= known;
    r.runtime = tw_runtime_to_string(r.runtime) ? r.runtime : TW_RUNTIME_NONE;
    r.network = tw_network_to_string(r.network) ? r.network : TW_NETWORK_DEFAULT;
    r.gpus = begun ? a->task->entry.gpus : 0;
    r.limits.output_bytes = begun ? a->limits.output_bytes : 0;
    return r;
}
