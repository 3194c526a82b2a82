/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/handover.h"

#include <string.h>

#include "base/util.h"
#include "exec/pool.h"

#define HANDOVER_MAGIC 0x686d686fu
#define HELD_MAX (UINT64_C(1) << 52) /* so that sums of them do not overflow */
enum { HANDOVER_VERSION = 3, TASK_ID_MAX = 1024 };

static void encode_bytes(struct buf *out, const struct handover_bytes *b)
{
    buf_append_u32le(out, (uint32_t)b->len);
    buf_append(out, b->data, b->len);
}

void handover_encode(const struct handover *h, struct buf *out)
{
    buf_append_u32le(out, HANDOVER_MAGIC);
    buf_append_u32le(out, HANDOVER_VERSION);
#define X(name) buf_append_u64le(out, h->name);
    HANDOVER_NUMBERS(X)
#undef X
#define X(name) buf_append_u64le(out, h->limits.name);
    TW_LIMITS(X)
#undef X
#define X(name) buf_append_u64le(out, h->group.name);
    GROUP_STATE(X)
#undef X
    encode_bytes(out, &h->task_id);
    encode_bytes(out, &h->tail);
    encode_bytes(out, &h->frame_header);
    encode_bytes(out, &h->result);
    encode_bytes(out, &h->error);
}

static bool decode_bytes(struct cursor *c, uint64_t max, struct handover_bytes *ret)
{
    uint32_t len;
    if (!cursor_u32le(c, &len) || len > max || !cursor_bytes(c, len, &ret->data))
        return false;
    ret->len = len;
    return true;
}

static bool shape_ok(const struct handover *h)
{
    return h->kind > 0 && h->kind < PLAN_KIND_MAX && h->shape_tmp && h->shape_shm && h->shape_workspace &&
        h->shape_network > TW_NETWORK_DEFAULT && h->shape_network < TW_NETWORK_MAX &&
        h->shape_runtime > TW_RUNTIME_NONE && h->shape_runtime < TW_RUNTIME_MAX;
}

static bool fds_ok(const struct handover *h, size_t n_fds)
{
    return h->pipes < 1u << RUN_PIPES && h->group_files < 1u << GROUP_FILE_MAX && h->group_version <= 2 &&
        !h->group_version == !h->group_files &&
        n_fds ==
        HANDOVER_FD_PIPES + (size_t)__builtin_popcountll(h->pipes) + (size_t)__builtin_popcountll(h->group_files);
}

bool handover_decode(const void *data, size_t len, size_t n_fds, struct handover *ret)
{
    struct cursor c = cursor_of(data, len);
    uint32_t magic, version;
    *ret = (struct handover){0};
    if (!cursor_u32le(&c, &magic) || !cursor_u32le(&c, &version) || magic != HANDOVER_MAGIC ||
        version != HANDOVER_VERSION)
        return false;
#define X(name) (void)cursor_u64le(&c, &ret->name);
    HANDOVER_NUMBERS(X)
#undef X
#define X(name) (void)cursor_u64le(&c, &ret->limits.name);
    TW_LIMITS(X)
#undef X
#define X(name) (void)cursor_u64le(&c, &ret->group.name);
    GROUP_STATE(X)
#undef X
    if (c.bad)
        return false;
    if ((ret->held_cpu_millis | ret->held_memory_bytes) > HELD_MAX)
        return false;
    if (ret->serial == 0 || !shape_ok(ret) || !fds_ok(ret, n_fds) || ret->max_tail > RUN_TAIL_MAX ||
        ret->limit >= TW_REASON_MAX || ret->flaw >= RESULT_FLAW_MAX || ret->paused > 1 || ret->tail_cut > 1 ||
        ret->have_result > 1 || ret->have_error > 1 || ret->too_large > 1)
        return false;
    return decode_bytes(&c, TASK_ID_MAX, &ret->task_id) && ret->task_id.len > 0 &&
        !memchr(ret->task_id.data, 0, ret->task_id.len) && decode_bytes(&c, 2 * (uint64_t)RUN_TAIL_MAX, &ret->tail) &&
        decode_bytes(&c, RESULT_FRAME_HEADER, &ret->frame_header) && decode_bytes(&c, ret->max_result, &ret->result) &&
        decode_bytes(&c, RESULT_ERROR_MAX, &ret->error) && c.left == 0;
}
