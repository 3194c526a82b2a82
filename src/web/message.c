/* SPDX-License-Identifier: Apache-2.0 */
#include "web/message.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/error.h"
#include "base/parse.h"
#include "base/text.h"
#include "base/util.h"

enum { REPEATED_MAX = 100000 };

typedef ProtobufCFieldDescriptor field_t;

static const void *member_const(const ProtobufCMessage *m, size_t offset)
{
    return (const char *)m + offset;
}

static void *member(ProtobufCMessage *m, size_t offset)
{
    return (char *)m + offset;
}

bool message_is_map(const field_t *f)
{
    const ProtobufCMessageDescriptor *type = f->type == PROTOBUF_C_TYPE_MESSAGE ? f->descriptor : NULL;
    size_t n = type ? strlen(type->short_name) : 0;
    return type && f->label == PROTOBUF_C_LABEL_REPEATED && type->n_fields == 2 && n > 5 &&
        !strcmp(type->short_name + n - 5, "Entry") && !strcmp(type->fields[0].name, "key") &&
        type->fields[0].type == PROTOBUF_C_TYPE_STRING && !strcmp(type->fields[1].name, "value") &&
        type->fields[1].type == PROTOBUF_C_TYPE_STRING;
}

/* Bytes that one value takes where it stands. */
static size_t size_of(const field_t *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

/* --- out --- */

static json_t *pack_text(const char *s)
{
    CLEANUP_FREE char *safe = NULL;
    if (s && text_is_utf8(s, strlen(s)))
        return json_string(s);
    safe = s ? text_printable(s, strlen(s), SIZE_MAX, false) : NULL;
    return json_string(safe ? safe : "");
}

static json_t *pack_bytes(const ProtobufCBinaryData *bytes)
{
    size_t size = sodium_base64_encoded_len(bytes->len, sodium_base64_VARIANT_ORIGINAL);
    CLEANUP_FREE char *text = malloc(size);
    if (!text)
        return NULL;
    sodium_bin2base64(text, size, bytes->data, bytes->len, sodium_base64_VARIANT_ORIGINAL);
    return json_string(text);
}

static json_t *pack_enum(const field_t *f, int value)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(f->descriptor, value);
    return known ? json_string(known->name) : json_integer(value);
}

static json_t *pack_value(const field_t *f, const void *at)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_integer(*(const int32_t *)at);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_integer(*(const uint32_t *)at);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return json_integer(*(const int64_t *)at);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return json_integer((json_int_t)MIN(*(const uint64_t *)at, (uint64_t)INT64_MAX));
    case PROTOBUF_C_TYPE_FLOAT:
        return json_real((double)*(const float *)at);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_real(*(const double *)at);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_ENUM:
        return pack_enum(f, *(const int *)at);
    case PROTOBUF_C_TYPE_STRING:
        return pack_text(*(char *const *)at);
    case PROTOBUF_C_TYPE_BYTES:
        return pack_bytes(at);
    case PROTOBUF_C_TYPE_MESSAGE:
        return message_to_json(*(ProtobufCMessage *const *)at);
    default:
        return NULL;
    }
}

/* `items`: pointers to messages of a key and a value. */
static json_t *pack_map(const field_t *f, void *const *items, size_t n)
{
    const ProtobufCMessageDescriptor *type = f->descriptor;
    json_t *object = json_object();
    for (size_t i = 0; object && i < n; i++) {
        const char *key = *(char *const *)member_const(items[i], type->fields[0].offset);
        if (key && text_is_utf8(key, strlen(key)))
            (void)json_object_set_new(
                object, key, pack_text(*(char *const *)member_const(items[i], type->fields[1].offset)));
    }
    return object;
}

static json_t *pack_field(const ProtobufCMessage *m, const field_t *f)
{
    const void *at = member_const(m, f->offset);
    if (f->label != PROTOBUF_C_LABEL_REPEATED)
        return pack_value(f, at);
    size_t n = *(const size_t *)member_const(m, f->quantifier_offset);
    const char *items = *(char *const *)at;
    if (message_is_map(f))
        return pack_map(f, (void *const *)(const void *)items, n);
    json_t *array = json_array();
    for (size_t i = 0; array && i < n; i++)
        if (json_array_append_new(array, pack_value(f, items + i * size_of(f))) < 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

static bool is_unset(const ProtobufCMessage *m, const field_t *f)
{
    return f->type == PROTOBUF_C_TYPE_MESSAGE && f->label != PROTOBUF_C_LABEL_REPEATED &&
        !*(void *const *)member_const(m, f->offset);
}

json_t *message_to_json(const ProtobufCMessage *m)
{
    json_t *object = json_object();
    for (unsigned i = 0; object && i < m->descriptor->n_fields; i++) {
        const field_t *f = &m->descriptor->fields[i];
        if (is_unset(m, f))
            continue;
        if (json_object_set_new(object, f->name, pack_field(m, f)) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* --- in --- */

ProtobufCMessage *message_new(const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *m = calloc(1, type->sizeof_message);
    if (m)
        type->message_init(m);
    return m;
}

static int wrong_kind(const field_t *f, const char *what, struct tw_error *error)
{
    return error_set(error, TW_INVALID_ARGUMENT, "%s has to be %s", f->name, what);
}

static int set_integer(const field_t *f, void *at, json_int_t value, struct tw_error *error)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        if (value < INT32_MIN || value > INT32_MAX)
            return wrong_kind(f, "between -2^31 and 2^31 - 1", error);
        *(int32_t *)at = (int32_t)value;
        return 0;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        if (value < 0 || value > UINT32_MAX)
            return wrong_kind(f, "between 0 and 2^32 - 1", error);
        *(uint32_t *)at = (uint32_t)value;
        return 0;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        if (value < 0)
            return wrong_kind(f, "0 or more", error);
        *(uint64_t *)at = (uint64_t)value;
        return 0;
    default:
        *(int64_t *)at = value;
        return 0;
    }
}

static int set_enum(const field_t *f, void *at, const char *name, struct tw_error *error)
{
    const ProtobufCEnumDescriptor *type = f->descriptor;
    const ProtobufCEnumValue *value = name ? protobuf_c_enum_descriptor_get_value_by_name(type, name) : NULL;
    char names[256] = "";
    for (unsigned i = 0; !value && i < type->n_values; i++) {
        size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "one of ", type->values[i].name);
    }
    if (!value)
        return wrong_kind(f, names, error);
    *(int *)at = value->value;
    return 0;
}

/* In place of what is there, which is the empty text that all messages share, or nothing. */
static int set_text(void *at, const char *text, struct tw_error *error)
{
    char *copy = strdup(text);
    if (!copy)
        return error_oom(error);
    *(char **)at = copy;
    return 0;
}

static int set_bytes(const field_t *f, void *at, const char *text, struct tw_error *error)
{
    ProtobufCBinaryData *bytes = at;
    size_t len = strlen(text), got = 0;
    /* The library takes bytes beyond ASCII for characters of the alphabet. */
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] >= 0x80)
            return wrong_kind(f, "base64", error);
    uint8_t *data = malloc(len / 4 * 3 + 3);
    if (!data)
        return error_oom(error);
    if (sodium_base642bin(data, len / 4 * 3 + 3, text, len, NULL, &got, NULL, sodium_base64_VARIANT_ORIGINAL) != 0) {
        free(data);
        return wrong_kind(f, "base64", error);
    }
    *bytes = (ProtobufCBinaryData){.len = got, .data = data};
    return 0;
}

static int set_message(const field_t *f, void *at, const json_t *value, struct tw_error *error)
{
    ProtobufCMessage **ret = at;
    if (!json_is_object(value))
        return wrong_kind(f, "an object", error);
    *ret = message_new(f->descriptor);
    if (!*ret)
        return error_oom(error);
    return message_take_json(*ret, value, error) < 0 ? error_wrap(error, "%s", f->name) : 0;
}

static int set_value(const field_t *f, void *at, const json_t *value, struct tw_error *error)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_BOOL:
        if (!json_is_boolean(value))
            return wrong_kind(f, "true or false", error);
        *(protobuf_c_boolean *)at = json_is_true(value);
        return 0;
    case PROTOBUF_C_TYPE_ENUM:
        return set_enum(f, at, json_string_value(value), error);
    case PROTOBUF_C_TYPE_STRING:
        return json_is_string(value) ? set_text(at, json_string_value(value), error) : wrong_kind(f, "a text", error);
    case PROTOBUF_C_TYPE_BYTES:
        return json_is_string(value) ? set_bytes(f, at, json_string_value(value), error)
                                     : wrong_kind(f, "base64", error);
    case PROTOBUF_C_TYPE_MESSAGE:
        return set_message(f, at, value, error);
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return wrong_kind(f, "left out: this API has no such numbers", error);
    default:
        return json_is_integer(value) ? set_integer(f, at, json_integer_value(value), error)
                                      : wrong_kind(f, "a whole number", error);
    }
}

/* Room for `more` behind what a repeated field has. They are zero, and not counted yet: NULL: no memory, or too many. */
static char *grow(ProtobufCMessage *m, const field_t *f, size_t more, struct tw_error *error)
{
    size_t *n = member(m, f->quantifier_offset);
    char **items = member(m, f->offset);
    if (more > REPEATED_MAX - *n) {
        error_set(error, TW_INVALID_ARGUMENT, "%s has more than %d values", f->name, REPEATED_MAX);
        return NULL;
    }
    char *grown = reallocarray(*items, *n + more + !(*n + more), size_of(f));
    if (!grown) {
        error_oom(error);
        return NULL;
    }
    *items = grown;
    memset(grown + *n * size_of(f), 0, more * size_of(f));
    return grown + *n * size_of(f);
}

static int add_entry(ProtobufCMessage *m, const field_t *f, const char *key, const char *value, struct tw_error *error)
{
    const ProtobufCMessageDescriptor *type = f->descriptor;
    ProtobufCMessage **at = (void *)grow(m, f, 1, error);
    if (!at)
        return -1;
    *at = message_new(type);
    if (!*at)
        return error_oom(error);
    ++*(size_t *)member(m, f->quantifier_offset);
    if (set_text(member(*at, type->fields[0].offset), key, error) < 0)
        return -1;
    return set_text(member(*at, type->fields[1].offset), value, error);
}

static int take_map(ProtobufCMessage *m, const field_t *f, const json_t *object, struct tw_error *error)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return wrong_kind(f, "an object", error);
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (!json_is_string(value))
            return wrong_kind(f, "an object of texts", error);
        if (add_entry(m, f, key, json_string_value(value), error) < 0)
            return -1;
    }
    return 0;
}

static int take_array(ProtobufCMessage *m, const field_t *f, const json_t *array, struct tw_error *error)
{
    if (!json_is_array(array))
        return wrong_kind(f, "an array", error);
    size_t n = json_array_size(array);
    char *at = grow(m, f, n, error);
    for (size_t i = 0; at && i < n; i++) {
        /* Counted first where something may be left behind by half. */
        int r = set_value(f, at + i * size_of(f), json_array_get(array, i), error);
        bool there = r == 0 || (f->type == PROTOBUF_C_TYPE_MESSAGE && *(void **)(void *)(at + i * size_of(f)));
        *(size_t *)member(m, f->quantifier_offset) += there;
        if (r < 0)
            return -1;
    }
    return at ? 0 : -1;
}

int message_take_json(ProtobufCMessage *m, const json_t *object, struct tw_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        const field_t *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
        CLEANUP_FREE char *safe = f ? NULL : text_line(name, strlen(name), 64);
        if (!f)
            return error_set(error, TW_INVALID_ARGUMENT, "there is no field \"%s\"", safe ? safe : "");
        int r = message_is_map(f)                   ? take_map(m, f, value, error)
            : f->label == PROTOBUF_C_LABEL_REPEATED ? take_array(m, f, value, error)
                                                    : set_value(f, member(m, f->offset), value, error);
        if (r < 0)
            return -1;
    }
    return 0;
}

/* --- texts --- */

/* The JSON value that the text stands for; NULL: none. */
static json_t *value_of_text(const field_t *f, const char *text)
{
    int64_t number = 0;
    bool flag = false;
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_ENUM:
        return json_string(text);
    case PROTOBUF_C_TYPE_BOOL:
        return parse_bool(text, &flag) == 0 ? json_boolean(flag) : json_string(text);
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return NULL;
    default:
        return parse_i64(text, INT64_MIN, INT64_MAX, &number) == 0 ? json_integer(number) : json_string(text);
    }
}

static int take_pair(ProtobufCMessage *m, const field_t *f, const char *text, struct tw_error *error)
{
    const char *sign = strchr(text, '=');
    CLEANUP_FREE char *key = sign ? text_dup(text, (size_t)(sign - text)) : NULL;
    if (!sign)
        return wrong_kind(f, "KEY=VALUE", error);
    return key ? add_entry(m, f, key, sign + 1, error) : error_oom(error);
}

int message_take_text(ProtobufCMessage *m, const char *field, const char *text, struct tw_error *error)
{
    const field_t *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, field);
    CLEANUP_FREE char *safe = f ? NULL : text_line(field, strlen(field), 64);
    if (f && message_is_map(f))
        return take_pair(m, f, text, error);
    json_t *value = f ? value_of_text(f, text) : NULL;
    if (!value)
        return error_set(error, TW_INVALID_ARGUMENT, "there is no parameter \"%s\"", f ? f->name : safe ? safe : "");
    int r = -1;
    json_t *one = f->label == PROTOBUF_C_LABEL_REPEATED ? json_pack("[O]", value) : json_incref(value);
    if (!one)
        error_oom(error);
    else if (f->label == PROTOBUF_C_LABEL_REPEATED)
        r = take_array(m, f, one, error);
    else
        r = f->type == PROTOBUF_C_TYPE_STRING && *(const char **)member(m, f->offset) != protobuf_c_empty_string
            ? error_set(error, TW_INVALID_ARGUMENT, "%s is given twice", f->name)
            : set_value(f, member(m, f->offset), one, error);
    json_decref(one);
    json_decref(value);
    return r;
}

/* --- what it looks like --- */

static json_t *value_schema(const field_t *f)
{
    char ref[160];
    switch (f->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return json_pack("{s:s}", "type", "boolean");
    case PROTOBUF_C_TYPE_STRING:
        return json_pack("{s:s}", "type", "string");
    case PROTOBUF_C_TYPE_BYTES:
        return json_pack("{s:s, s:s}", "type", "string", "contentEncoding", "base64");
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_pack("{s:s}", "type", "number");
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumDescriptor *type = f->descriptor;
        json_t *names = json_array();
        for (unsigned i = 0; i < type->n_values; i++)
            (void)json_array_append_new(names, json_string(type->values[i].name));
        return json_pack("{s:s, s:o}", "type", "string", "enum", names);
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        snprintf(ref, sizeof ref, "#/components/schemas/%s", ((const ProtobufCMessageDescriptor *)f->descriptor)->name);
        return json_pack("{s:s}", "$ref", ref);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return json_pack("{s:s, s:i}", "type", "integer", "minimum", 0);
    default:
        return json_pack("{s:s}", "type", "integer");
    }
}

json_t *message_field_schema(const field_t *f)
{
    if (message_is_map(f))
        return json_pack("{s:s, s:{s:s}}", "type", "object", "additionalProperties", "type", "string");
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return json_pack("{s:s, s:o}", "type", "array", "items", value_schema(f));
    return value_schema(f);
}

json_t *message_schema(const ProtobufCMessageDescriptor *type)
{
    json_t *fields = json_object();
    for (unsigned i = 0; fields && i < type->n_fields; i++)
        (void)json_object_set_new(fields, type->fields[i].name, message_field_schema(&type->fields[i]));
    return json_pack("{s:s, s:o, s:b}", "type", "object", "properties", fields, "additionalProperties", 0);
}
