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

static int check_message(
    const ProtobufCMessageDescriptor *d, struct cursor c, unsigned depth, const char *parent, struct tw_error *error);

/* A field with a length in front: a string, a message, or bytes and packed numbers, which can be anything. */
static int check_field(
    const ProtobufCFieldDescriptor *field, struct cursor c, unsigned depth, const char *parent, struct tw_error *error)
{
    const char *dot = *parent ? "." : "";
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        if (!text_is_utf8(c.data, c.left))
            return error_set(error, TW_INVALID_ARGUMENT, "%s%s%s is not valid UTF-8", parent, dot, field->name);
        if (memchr(c.data, 0, c.left))
            return error_set(error, TW_INVALID_ARGUMENT, "%s%s%s has a NUL character in it", parent, dot, field->name);
    } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        if (depth == MAX_DEPTH)
            return error_set(error, TW_INVALID_ARGUMENT, "%s%s%s is nested too deeply", parent, dot, field->name);
        return check_message(field->descriptor, c, depth + 1, field->name, error);
    }
    return 0;
}

static int check_message(
    const ProtobufCMessageDescriptor *d, struct cursor c, unsigned depth, const char *parent, struct tw_error *error)
{
    while (c.left) {
        uint64_t tag, number;
        const uint8_t *bytes;
        if (!take_varint(&c, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX >> 3)
            return malformed(d, error);
        switch (tag & 7) {
        case WIRE_VARINT:
            if (!take_varint(&c, &number))
                return malformed(d, error);
            break;
        case WIRE_I64:
            if (!cursor_bytes(&c, 8, &bytes))
                return malformed(d, error);
            break;
        case WIRE_I32:
            if (!cursor_bytes(&c, 4, &bytes))
                return malformed(d, error);
            break;
        case WIRE_LEN: {
            if (!take_varint(&c, &number) || number > c.left || !cursor_bytes(&c, (size_t)number, &bytes))
                return malformed(d, error);
            const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
            if (field && check_field(field, cursor_of(bytes, (size_t)number), depth, parent, error) < 0)
                return -1;
            break;
        }
        default:
            return malformed(d, error);
        }
    }
    return 0;
}

int wire_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t len, struct tw_error *error)
{
    return check_message(descriptor, cursor_of(data, len), 0, "", error);
}
