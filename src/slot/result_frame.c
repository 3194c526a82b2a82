/* SPDX-License-Identifier: Apache-2.0 */
#include "slot/result_frame.h"

#include <string.h>

#include "base/json.h"
#include "base/util.h"

const char *result_flaw_to_string(enum result_flaw flaw)
{
    static const char *const texts[] = {
        [RESULT_FINE] = "fine",
        [RESULT_BAD_FRAME] = "something else wrote to the result pipe",
        [RESULT_CUT] = "it was cut short",
        [RESULT_NOT_JSON] = "it is not JSON",
        [RESULT_NO_MEMORY] = "the node had no memory for it",
    };
    return (unsigned)flaw < ARRAY_LEN(texts) ? texts[flaw] : "?";
}

void result_reader_init(struct result_reader *r, size_t max_result)
{
    *r = (struct result_reader){0};
    buf_init(&r->result, max_result);
    buf_init(&r->error, RESULT_ERROR_MAX);
}

void result_reader_done(struct result_reader *r)
{
    buf_done(&r->result);
    buf_done(&r->error);
}

static void begin_frame(struct result_reader *r)
{
    struct cursor c = cursor_of(r->header, sizeof r->header);
    uint8_t type = 0;
    (void)cursor_u8(&c, &type);
    (void)cursor_u64le(&c, &r->left);
    bool *have = type == 'R' ? &r->have_result : type == 'E' ? &r->have_error : NULL;
    if (!have || *have) {
        r->flaw = RESULT_BAD_FRAME;
        return;
    }
    *have = true;
    if (type == 'R')
        r->too_large = r->left > r->result.max;
    if (r->left == 0)
        r->header_len = 0;
}

void result_reader_feed(struct result_reader *r, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0 && !r->flaw) {
        if (r->header_len < sizeof r->header) {
            size_t n = MIN(len, sizeof r->header - r->header_len);
            memcpy(r->header + r->header_len, p, n);
            r->header_len += n;
            p += n;
            len -= n;
            if (r->header_len == sizeof r->header)
                begin_frame(r);
            continue;
        }
        size_t n = (size_t)MIN((uint64_t)len, r->left);
        bool result = r->header[0] == 'R';
        struct buf *to = result ? &r->result : &r->error;
        size_t keep = result && r->too_large ? 0 : MIN(n, to->max - to->len);
        if (buf_append(to, p, keep) < 0)
            r->flaw = RESULT_NO_MEMORY;
        p += n;
        len -= n;
        r->left -= n;
        if (r->left == 0)
            r->header_len = 0;
    }
}

void result_reader_finish(struct result_reader *r)
{
    if (!r->flaw && r->header_len > 0)
        r->flaw = RESULT_CUT;
    if (!r->flaw && r->have_result && !r->too_large && !json_is_valid(r->result.data, r->result.len))
        r->flaw = RESULT_NOT_JSON;
    if (r->flaw || r->too_large)
        buf_done(&r->result);
}
