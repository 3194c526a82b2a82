/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/message.h"

#include <errno.h>
#include <string.h>

#include <zlib.h>

/* What zlib allocates for one inflating stream, with its 32 KiB window. */
enum { INFLATER_COST = 44 * 1024, INFLATE_STEP = 16 * 1024, GZIP_OVERHEAD = 64 };

void budget_init(struct budget *budget, size_t max)
{
    *budget = (struct budget){.max_small = max / 8, .max_big = max - max / 8};
}

static bool has_room(const struct budget *b, bool small, size_t n)
{
    size_t used = small ? b->small : b->big, max = small ? b->max_small : b->max_big;
    return n <= max && used <= max - n;
}

bool budget_take(struct budget *budget, bool small, size_t n)
{
    for (const struct budget *b = budget; b; b = b->whole) {
        if (!has_room(b, small, n))
            return false;
    }
    for (struct budget *b = budget; b; b = b->whole)
        *(small ? &b->small : &b->big) += n;
    return true;
}

void budget_give(struct budget *budget, bool small, size_t n)
{
    for (struct budget *b = budget; b; b = b->whole)
        *(small ? &b->small : &b->big) -= n;
}

bool budget_is_short(const struct budget *budget)
{
    for (const struct budget *b = budget; b; b = b->whole) {
        if (b->small > b->max_small / 2)
            return true;
    }
    return false;
}

/* Brings what the reader is charged to `total` bytes; a message that outgrows the small ones moves
 * over to the big. */
static bool charge(struct message_reader *r, size_t total)
{
    if (!r->budget)
        return true;
    bool small = r->small && total <= MESSAGE_SMALL + INFLATER_COST;
    if (small == r->small && total <= r->charged) {
        budget_give(r->budget, small, r->charged - total);
    } else if (small == r->small) {
        if (!budget_take(r->budget, small, total - r->charged))
            return false;
    } else {
        if (!budget_take(r->budget, small, total))
            return false;
        budget_give(r->budget, r->small, r->charged);
    }
    r->small = small;
    r->charged = total;
    return true;
}

static void inflater_free(struct message_reader *r)
{
    if (!r->inflater)
        return;
    inflateEnd(r->inflater);
    free(r->inflater);
    r->inflater = NULL;
    if (r->packed.data) /* it may have been a password */
        explicit_bzero(r->packed.data, MIN(r->packed.len, (size_t)MESSAGE_SMALL));
    buf_done(&r->packed);
    r->unpacking = false;
}

void message_reader_init(struct message_reader *r, size_t max, struct budget *budget, bool gzip)
{
    struct buf body = r->body; /* memory kept from the call before */
    *r = (struct message_reader){.body = body, .max = max, .budget = budget, .gzip = gzip, .small = true};
}

void message_reader_done(struct message_reader *r)
{
    inflater_free(r);
    buf_done(&r->body);
    if (r->budget && r->charged)
        budget_give(r->budget, r->small, r->charged);
    r->charged = 0;
    r->header_len = 0;
    r->left = 0;
}

void message_next(struct message_reader *r)
{
    r->header_len = 0;
    r->left = 0;
    r->inflated = false;
    r->counted = r->unpacked = 0;
    inflater_free(r);
    if (r->body.cap > MESSAGE_KEEP)
        buf_done(&r->body);
    else
        buf_reset(&r->body);
    if (r->budget && r->charged)
        budget_give(r->budget, r->small, r->charged);
    r->charged = 0;
    r->small = true;
}

static size_t held_bytes(const struct message_reader *r)
{
    return r->body.cap + r->packed.cap + (r->inflater ? INFLATER_COST : 0);
}

/* Room in the body, paid for. NULL: *ret says why not. */
static uint8_t *body_room(struct message_reader *r, size_t more, enum message_result *ret)
{
    uint8_t *to = buf_reserve(&r->body, more);
    if (!to) {
        *ret = r->body.error == -E2BIG ? MESSAGE_TOO_BIG : MESSAGE_NO_MEMORY;
        return NULL;
    }
    if (!charge(r, held_bytes(r))) {
        *ret = MESSAGE_NO_BUDGET;
        return NULL;
    }
    return to;
}

static enum message_result begin(struct message_reader *r)
{
    const uint8_t *h = r->header;
    r->left = (uint32_t)h[1] << 24 | (uint32_t)h[2] << 16 | (uint32_t)h[3] << 8 | (uint32_t)h[4];
    if (h[0] > 1)
        return MESSAGE_BAD_FLAG;
    if (h[0] == 1 && !r->gzip)
        return MESSAGE_NO_ENCODING;
    /* What does not get smaller by compression gets a little larger. */
    if (r->left > r->max + (h[0] ? r->max / 1000 + GZIP_OVERHEAD : 0))
        return MESSAGE_TOO_BIG;
    r->small = r->left <= MESSAGE_SMALL;
    if (h[0] == 0) {
        r->body.max = r->left;
        return MESSAGE_MORE;
    }
    r->body.max = MIN(r->max, (size_t)MESSAGE_SMALL);
    buf_init(&r->packed, r->left);
    r->inflater = calloc(1, sizeof *r->inflater);
    if (!r->inflater)
        return MESSAGE_NO_MEMORY;
    if (inflateInit2(r->inflater, 15 + 16) != Z_OK) { /* 15: largest window, 16: gzip only */
        free(r->inflater);
        r->inflater = NULL;
        return MESSAGE_NO_MEMORY;
    }
    return charge(r, held_bytes(r)) ? MESSAGE_MORE : MESSAGE_NO_BUDGET;
}

static enum message_result take_plain(struct message_reader *r, const uint8_t *data, size_t len)
{
    enum message_result result = MESSAGE_MORE;
    uint8_t *to = body_room(r, len, &result);
    if (!to)
        return result;
    memcpy(to, data, len);
    r->body.len += len;
    return MESSAGE_MORE;
}

static bool may_inflate(const struct message_reader *r)
{
    return !r->allowance || *r->allowance > 0;
}

/* Inflates into `to`, at most `room` bytes. */
static enum message_result inflate_step(struct message_reader *r, uint8_t *to, size_t room, size_t *ret_made)
{
    z_stream *z = r->inflater;
    z->next_out = to;
    z->avail_out = (uInt)room;
    int e = inflate(z, Z_NO_FLUSH);
    *ret_made = room - z->avail_out;
    if (r->allowance)
        *r->allowance -= MIN(*r->allowance, *ret_made);
    r->inflated = e == Z_STREAM_END;
    if (e == Z_MEM_ERROR)
        return MESSAGE_NO_MEMORY;
    if ((e != Z_OK && e != Z_STREAM_END && e != Z_BUF_ERROR) || (e == Z_BUF_ERROR && z->avail_in))
        return MESSAGE_BAD_GZIP;
    return MESSAGE_MORE;
}

/* What was made belongs to the body as long as that is small; after that it is only counted. */
static enum message_result keep_small(struct message_reader *r, const uint8_t *made, size_t len)
{
    r->counted += len;
    if (r->counted > r->max)
        return MESSAGE_TOO_BIG;
    if (r->counted > MESSAGE_SMALL) {
        buf_done(&r->body);
        return charge(r, held_bytes(r)) ? MESSAGE_MORE : MESSAGE_NO_BUDGET;
    }
    enum message_result result = MESSAGE_MORE;
    uint8_t *to = len ? body_room(r, len, &result) : NULL;
    if (to) {
        memcpy(to, made, len);
        r->body.len += len;
    }
    return result;
}

/* Keeps the bytes, and sees what they are; *ret_taken of them, as far as the allowance goes. */
static enum message_result take_gzip(struct message_reader *r, const uint8_t *data, size_t len, size_t *ret_taken)
{
    uint8_t made[INFLATE_STEP];
    z_stream *z = r->inflater;
    enum message_result result = MESSAGE_MORE;
    z->next_in = (Bytef *)(uintptr_t)data;
    z->avail_in = (uInt)len;
    do {
        size_t n;
        if (r->inflated) {
            result = z->avail_in ? MESSAGE_BAD_GZIP : MESSAGE_MORE;
            break;
        }
        enum message_result inflated = inflate_step(r, made, sizeof made, &n);
        result = keep_small(r, made, n); /* which comes before what is wrong behind it */
        result = result == MESSAGE_MORE ? inflated : result;
    } while (result == MESSAGE_MORE && (z->avail_in ? may_inflate(r) : !r->inflated && z->avail_out == 0));
    explicit_bzero(made, sizeof made);
    *ret_taken = len - z->avail_in;
    if (result != MESSAGE_MORE)
        return result;
    if (buf_append(&r->packed, data, *ret_taken) < 0)
        return MESSAGE_NO_MEMORY;
    return charge(r, held_bytes(r)) ? MESSAGE_MORE : MESSAGE_NO_BUDGET;
}

/* All has come, and its length is known. */
static enum message_result begin_unpacking(struct message_reader *r)
{
    enum message_result result = MESSAGE_MORE;
    if (!r->inflated)
        return MESSAGE_BAD_GZIP;
    if (r->counted <= MESSAGE_SMALL)
        return MESSAGE_READY;
    r->body.max = r->counted;
    if (!body_room(r, r->counted, &result))
        return result;
    if (inflateReset(r->inflater) != Z_OK)
        return MESSAGE_NO_MEMORY;
    r->inflated = false;
    r->unpacking = true;
    return MESSAGE_MORE;
}

static enum message_result unpack(struct message_reader *r)
{
    z_stream *z = r->inflater;
    while (!r->inflated) {
        if (!may_inflate(r))
            return MESSAGE_MORE;
        size_t n;
        z->next_in = r->packed.data + r->unpacked;
        z->avail_in = (uInt)(r->packed.len - r->unpacked);
        enum message_result result =
            inflate_step(r, r->body.data + r->body.len, MIN((size_t)INFLATE_STEP, r->counted - r->body.len), &n);
        if (result != MESSAGE_MORE)
            return result;
        r->unpacked = r->packed.len - z->avail_in;
        r->body.len += n;
    }
    return MESSAGE_READY;
}

static enum message_result feed(struct message_reader *r, const uint8_t **data, size_t *len)
{
    while (r->header_len < MESSAGE_HEADER) {
        if (!*len)
            return MESSAGE_MORE;
        r->header[r->header_len++] = *(*data)++;
        --*len;
        if (r->header_len < MESSAGE_HEADER)
            continue;
        enum message_result result = begin(r);
        if (result != MESSAGE_MORE)
            return result;
    }
    size_t n = MIN((size_t)r->left, *len);
    if (n && (!r->inflater || may_inflate(r))) {
        enum message_result result = r->inflater ? take_gzip(r, *data, n, &n) : take_plain(r, *data, n);
        *data += n;
        *len -= n;
        r->left -= (uint32_t)n;
        if (result != MESSAGE_MORE)
            return result;
    }
    if (r->left)
        return MESSAGE_MORE;
    if (!r->inflater)
        return MESSAGE_READY;
    enum message_result result = r->unpacking ? MESSAGE_MORE : begin_unpacking(r);
    return result == MESSAGE_MORE ? unpack(r) : result;
}

enum message_result message_feed(struct message_reader *r, const uint8_t **data, size_t *len)
{
    enum message_result result = feed(r, data, len);
    if (result == MESSAGE_READY) {
        inflater_free(r);
        (void)charge(r, r->body.cap); /* only ever less than before */
    } else if (result != MESSAGE_MORE) {
        message_reader_done(r);
    }
    return result;
}

int message_append(struct buf *out, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    if (len > UINT32_MAX)
        return -E2BIG;
    uint8_t *to = buf_reserve(out, MESSAGE_HEADER + len);
    if (!to)
        return out->error;
    to[0] = 0;
    for (int i = 0; i < 4; i++)
        to[1 + i] = (uint8_t)(len >> (24 - 8 * i));
    protobuf_c_message_pack(message, to + MESSAGE_HEADER);
    out->len += MESSAGE_HEADER + len;
    return 0;
}
