/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What protobuf-c does not check: proto3 strings must be valid UTF-8, and one with a NUL inside would silently end there
 * once it is a C string. Walks the wire format of a message before it is unpacked.
 */
#ifndef RPC_WIRE_CHECK_H
#define RPC_WIRE_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include <taskworker/error.h>

/* 0, or -1 with INVALID_ARGUMENT naming the field. */
int wire_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t len, struct tw_error *error);

#endif
