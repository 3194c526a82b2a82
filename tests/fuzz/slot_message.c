/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of all five kinds of message; the first byte is the number of fds that came along. */
#include <assert.h>
#include <string.h>

#include "slot/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint32_t slots = 16;
    struct launcher_request launcher_request;
    struct launcher_reply launcher_reply;
    struct slot_request slot_request;
    struct slot_reply slot_reply;
    struct slot_output output;
    if (size == 0)
        return 0;
    size_t fds = data[0];
    data++;
    size--;
    if (launcher_request_check(data, size, fds, slots, &launcher_request) == MESSAGE_OK)
        assert(launcher_request.index < slots && launcher_request.seconds <= LAUNCHER_SECONDS_MAX &&
            (fds == 0 || launcher_request.header.type == LAUNCHER_KEEP ||
                launcher_request.header.type == LAUNCHER_DETACH));
    if (launcher_reply_check(data, size, fds, slots, &launcher_reply) == MESSAGE_OK)
        assert(launcher_reply.index < slots &&
            (launcher_reply.header.type == LAUNCHER_ADOPT ||
                fds <= 1 + (size_t)__builtin_popcount(launcher_reply.group_files)) &&
            strnlen(launcher_reply.detail, sizeof launcher_reply.detail) < sizeof launcher_reply.detail);
    if (slot_request_check(data, size, fds, &slot_request) == MESSAGE_OK)
        assert(slot_request.serial != 0 && (fds == SLOT_START_FDS || fds == 0));
    if (slot_reply_check(data, size, fds, &slot_reply) == MESSAGE_OK)
        assert(slot_reply.stage < SLOT_STAGE_MAX && fds <= 1 &&
            strnlen(slot_reply.detail, sizeof slot_reply.detail) < sizeof slot_reply.detail);
    if (slot_output_check(data, size, fds, &output) == MESSAGE_OK)
        assert(fds == 1 && output.path[0] && output.path[0] != '/' && !strstr(output.path, "//"));
    return 0;
}
