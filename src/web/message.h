/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the service as JSON, by their descriptors: so REST has every field that gRPC has, under the name that it has in the .proto.
 *
 *   integers    numbers, of 64 bits too (times are microseconds: exact in JavaScript until the year 2255)
 *   enums       the name in the .proto
 *   bytes       base64 (RFC 4648, with padding)
 *   map<>       an object; its values are texts everywhere in this API
 *   messages    objects; one that is not set is not there
 *
 * All other fields are always there in what the node says; in what it is told each may be left out.
 */
#ifndef WEB_MESSAGE_H
#define WEB_MESSAGE_H

#include <stdbool.h>

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#include <taskworker/error.h>

/* NULL: no memory. Texts that are not UTF-8 are made showable. */
json_t *message_to_json(const ProtobufCMessage *message);

/* An empty message; free it with protobuf_c_message_free_unpacked(message, NULL). NULL: no memory. */
ProtobufCMessage *message_new(const ProtobufCMessageDescriptor *type);
/*
 * Puts the members of an object into the fields of these names. A name that is no field, a value of another kind and a number that has no
 * room are INVALID_ARGUMENT, and the sentence names the field. 0 or -1; the message is to be freed in both cases.
 */
int message_take_json(ProtobufCMessage *message, const json_t *object, struct tw_error *error);
/*
 * Puts a text into a field, as parameters of an address have it: a number, true or false, a name of an enum; one more for a repeated field,
 * KEY=VALUE for a map. 0 or -1.
 */
int message_take_text(ProtobufCMessage *message, const char *field, const char *text, struct tw_error *error);

/* What message_take_json() takes and message_to_json() makes, as a JSON Schema with references to "#/components/schemas/NAME". */
json_t *message_schema(const ProtobufCMessageDescriptor *type);
/* The same for one field. */
json_t *message_field_schema(const ProtobufCFieldDescriptor *field);
/* A map<> is a repeated message of two fields. */
bool message_is_map(const ProtobufCFieldDescriptor *field);

#endif
