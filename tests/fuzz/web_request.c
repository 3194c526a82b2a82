/* SPDX-License-Identifier: Apache-2.0 */
/* What comes by HTTP: an address, a parameter, and a body that becomes a message. Lines: path, value, then the body. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/text.h"
#include "base/util.h"
#include "web/address.h"
#include "web/message.h"

#include "taskworker.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_address(const char *path)
{
    static const char *const patterns[] = {"/livez", "/api/v1/tasks/*", "/api/v1/tasks/*/log"};
    char segment[64];
    uint64_t from, len;
    if (address_range(path, 1000, &from, &len) == 0)
        assert(len > 0 && from < 1000 && len <= 1000 - from);
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
        if (address_fits(patterns[i], path, segment, sizeof segment))
            assert(text_is_utf8(segment, strlen(segment)) && (*segment != '\0') == (i > 0));
}

static void try_text(const char *name, const char *value)
{
    struct tw_error error = {0};
    ProtobufCMessage *message = message_new(&taskworker__list_tasks_request__descriptor);
    if (message && message_take_text(message, name, value, &error) == 0)
        (void)message_take_text(message, name, value, &error);
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

static void try_body(const char *text, size_t len)
{
    struct tw_error error = {0};
    json_t *object = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    ProtobufCMessage *message =
        json_is_object(object) ? message_new(&taskworker__execute_batch_request__descriptor) : NULL;
    if (message && message_take_json(message, object, &error) == 0) {
        size_t size = protobuf_c_message_get_packed_size(message);
        uint8_t *wire = malloc(size + 1);
        assert(wire && protobuf_c_message_pack(message, wire) == size);
        ProtobufCMessage *again = protobuf_c_message_unpack(message->descriptor, NULL, size, wire);
        json_t *packed = message_to_json(message), *repacked = again ? message_to_json(again) : NULL;
        assert(packed && repacked && json_equal(packed, repacked));
        json_decref(packed);
        json_decref(repacked);
        protobuf_c_message_free_unpacked(again, NULL);
        free(wire);
    } else if (message) {
        assert(error.code != TW_OK && text_is_utf8(error.message, strlen(error.message)));
    }
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
    json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = memchr(data, '\n', size);
    size_t n = line ? (size_t)(line - data) : size;
    CLEANUP_FREE char *path = text_dup(data, n);
    const uint8_t *rest = line ? line + 1 : data + size;
    size_t left = size - (size_t)(rest - data);
    line = memchr(rest, '\n', left);
    n = line ? (size_t)(line - rest) : left;
    CLEANUP_FREE char *value = text_dup(rest, n);
    char decoded[256];
    if (!path || !value)
        return 0;
    try_address(path);
    if (address_decode(path, strlen(path), decoded, sizeof decoded))
        try_text(decoded, value);
    if (line)
        try_body((const char *)line + 1, left - n - 1);
    return 0;
}
