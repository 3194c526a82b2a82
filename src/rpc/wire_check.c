/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/wire_check.h"

#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/text.h"

enum { MAX_DEPTH = 16 };

/* Wire types (protobuf encoding guide, "Message structure"). */
enum { WIRE_VARINT = 0, WIRE_I64 = 1, WIRE_LEN = 2, WIRE_I32 = 5 };

static bool take_varint(struct cursor *c, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte;
        if (!cursor_u8(c, &byte))
            return false;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = v;
            return true;
        }
    }
    return false;
}

static int malformed(const ProtobufCMessageDescriptor *d, struct tw_error *error)
{
    return error_set(error, TW_INVALID_ARGUMENT, "the request is not a valid %s message", d->name);
}

static int check_message(const ProtobufCMessageDescriptor *d, struct cursor c, unsigned depth, struct tw_error *error)
{
    while (c.left) {
        uint64_t tag, number;
        const uint8_t *bytes;
        if (!take_varint(&c, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX >> 3)
            return malformed(d, error);
        if ((tag & 7) != WIRE_LEN) {
            bool ok = (tag & 7) == WIRE_VARINT ? take_varint(&c, &number)
                : (tag & 7) == WIRE_I64        ? cursor_bytes(&c, 8, &bytes)
                : (tag & 7) == WIRE_I32        ? cursor_bytes(&c, 4, &bytes)
                                               : false;
            if (!ok)
                return malformed(d, error);
            continue;
        }
        if (!take_varint(&c, &number) || number > c.left || !cursor_bytes(&c, (size_t)number, &bytes))
            return malformed(d, error);
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
        if (!field)
            continue;
        if (field->type == PROTOBUF_C_TYPE_STRING) {
            if (!text_is_utf8(bytes, (size_t)number))
                return error_set(error, TW_INVALID_ARGUMENT, "%s is not valid UTF-8", field->name);
            if (memchr(bytes, 0, (size_t)number))
                return error_set(error, TW_INVALID_ARGUMENT, "%s has a NUL character in it", field->name);
        } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
            if (depth == MAX_DEPTH)
                return error_set(error, TW_INVALID_ARGUMENT, "%s is nested too deeply", field->name);
            if (check_message(field->descriptor, cursor_of(bytes, (size_t)number), depth + 1, error) < 0)
                return -1;
        }
    }
    return 0;
}

int wire_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t len, struct tw_error *error)
{
    return check_message(descriptor, cursor_of(data, len), 0, error);
}
