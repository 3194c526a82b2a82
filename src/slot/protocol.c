/* SPDX-License-Identifier: Apache-2.0 */
#include "slot/protocol.h"

#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>

#include <taskworker/task.h>

#include "base/text.h"
#include "base/util.h"

const char *message_error_to_string(enum message_error error)
{
    static const char *const texts[] = {
        [MESSAGE_OK] = "ok",
        [MESSAGE_BAD_SIZE] = "wrong size",
        [MESSAGE_BAD_MAGIC] = "not of this protocol",
        [MESSAGE_BAD_VERSION] = "another version of the protocol",
        [MESSAGE_BAD_TYPE] = "unknown type",
        [MESSAGE_BAD_FIELD] = "a field out of range",
        [MESSAGE_BAD_FDS] = "wrong number of file descriptors",
    };
    return (unsigned)error < ARRAY_LEN(texts) ? texts[error] : "?";
}

const char *slot_stage_to_string(uint32_t stage)
{
    static const char *const texts[] = {
#define X(name, text) [STAGE_##name] = text,
        SLOT_STAGES(X)
#undef X
    };
    return stage < ARRAY_LEN(texts) ? texts[stage] : "?";
}

static enum message_error header_check(const void *data, size_t len, size_t want, uint32_t magic, unsigned type_max)
{
    struct protocol_header header;
    if (len != want)
        return MESSAGE_BAD_SIZE;
    memcpy(&header, data, sizeof header);
    if (header.magic != magic)
        return MESSAGE_BAD_MAGIC;
    if (header.version != PROTOCOL_VERSION)
        return MESSAGE_BAD_VERSION;
    if (header.type == 0 || header.type >= type_max)
        return MESSAGE_BAD_TYPE;
    return MESSAGE_OK;
}

/* A detail ends up in logs and in messages to users. */
static bool detail_ok(const char detail[PROTOCOL_DETAIL_MAX])
{
    size_t len = strnlen(detail, PROTOCOL_DETAIL_MAX);
    return len < PROTOCOL_DETAIL_MAX && text_is_utf8(detail, len);
}

static bool errno_ok(int32_t error)
{
    return error >= 0 && error < 4096;
}

static bool is_about_slot(unsigned type)
{
    return type == LAUNCHER_CREATE || type == LAUNCHER_DESTROY || type == LAUNCHER_KEEP;
}

enum message_error launcher_request_check(
    const void *data, size_t len, size_t n_fds, uint32_t slots, struct launcher_request *ret)
{
    enum message_error e = header_check(data, len, sizeof *ret, LAUNCHER_MAGIC, LAUNCHER_TYPE_MAX);
    if (e)
        return e;
    struct launcher_request m;
    memcpy(&m, data, sizeof m);
    bool detach = m.header.type == LAUNCHER_DETACH, keep = m.header.type == LAUNCHER_KEEP;
    uint32_t flags = m.header.type == LAUNCHER_CREATE ? LAUNCHER_HOST_NETWORK
        : m.header.type == LAUNCHER_ADOPT             ? LAUNCHER_ADOPTED
                                                      : 0;
    if (m.flags & ~flags || (is_about_slot(m.header.type) ? m.index >= slots : m.index != 0))
        return MESSAGE_BAD_FIELD;
    if (detach ? m.seconds - 1 >= LAUNCHER_SECONDS_MAX : m.seconds || m.uid)
        return MESSAGE_BAD_FIELD;
    if (keep ? n_fds < 1 : n_fds != detach)
        return MESSAGE_BAD_FDS;
    *ret = m;
    return MESSAGE_OK;
}

/* A slot has a group of a known version with some files of it, or none of all that. */
static bool group_ok(const struct launcher_reply *m, bool created)
{
    const uint32_t all = (UINT32_C(1) << GROUP_FILE_MAX) - 1;
    if (m->group_files & ~all || m->group_version > 2 || (m->group_version != 0) != (m->group_files != 0))
        return false;
    return created || m->group_files == 0;
}

enum message_error launcher_reply_check(
    const void *data, size_t len, size_t n_fds, uint32_t slots, struct launcher_reply *ret)
{
    enum message_error e = header_check(data, len, sizeof *ret, LAUNCHER_MAGIC, LAUNCHER_TYPE_MAX);
    if (e)
        return e;
    struct launcher_reply m;
    memcpy(&m, data, sizeof m);
    bool created = m.header.type == LAUNCHER_CREATE && m.error == 0;
    bool kept = m.header.type == LAUNCHER_ADOPT && m.pid != 0;
    if (!errno_ok(m.error) || !detail_ok(m.detail) || !detail_ok(m.group_detail) || !group_ok(&m, created) ||
        m.flags & (m.header.type == LAUNCHER_HELLO ? ~(uint32_t)LAUNCHER_FLAGS : ~0u) || (kept && m.error) ||
        (kept || is_about_slot(m.header.type) ? m.index >= slots : m.index != 0) ||
        (created || kept ? m.pid <= 1 : m.pid != 0))
        return MESSAGE_BAD_FIELD;
    if (kept ? n_fds < 1 : n_fds != (created ? 1 + (size_t)__builtin_popcount(m.group_files) : 0))
        return MESSAGE_BAD_FDS;
    *ret = m;
    return MESSAGE_OK;
}

static bool shape_ok(const struct slot_shape *s, bool start)
{
    static const struct slot_shape none;
    if (!start)
        return !memcmp(s, &none, sizeof none);
    if (s->inputs & PROTOCOL_ENVIRONMENT_BIT || (s->environment && !(s->environment & PROTOCOL_ENVIRONMENT_BIT)))
        return false;
    return s->outputs <= 1 && s->tmp_bytes && s->shm_bytes && s->workspace_bytes && s->network > TW_NETWORK_DEFAULT &&
        s->network < TW_NETWORK_MAX && s->runtime > TW_RUNTIME_NONE && s->runtime < TW_RUNTIME_MAX;
}

enum message_error slot_request_check(const void *data, size_t len, size_t n_fds, struct slot_request *ret)
{
    enum message_error e = header_check(data, len, sizeof *ret, SLOT_MAGIC, SLOT_REQUEST_MAX);
    if (e)
        return e;
    struct slot_request m;
    memcpy(&m, data, sizeof m);
    if (m.serial == 0 || !shape_ok(&m.shape, m.header.type == SLOT_START))
        return MESSAGE_BAD_FIELD;
    if (n_fds != (m.header.type == SLOT_START ? SLOT_START_FDS : 0))
        return MESSAGE_BAD_FDS;
    *ret = m;
    return MESSAGE_OK;
}

enum message_error slot_reply_check(const void *data, size_t len, size_t n_fds, struct slot_reply *ret)
{
    enum message_error e = header_check(data, len, sizeof *ret, SLOT_MAGIC, SLOT_OUTPUT);
    if (e)
        return e;
    struct slot_reply m;
    memcpy(&m, data, sizeof m);
    bool failed = m.header.type == SLOT_FAILED, exited = m.header.type == SLOT_EXITED;
    bool serial_ok = m.header.type == SLOT_HELLO ? m.serial == 0 : failed || m.serial != 0;
    if (m.folder_full > 1 || !serial_ok || !errno_ok(m.error) || !detail_ok(m.detail) || m.stage >= SLOT_STAGE_MAX ||
        failed != (m.stage != STAGE_NONE))
        return MESSAGE_BAD_FIELD;
    if (exited ? !WIFEXITED(m.status) && !WIFSIGNALED(m.status)
               : m.status || m.folder_full || m.denied || m.outputs || m.outputs_left)
        return MESSAGE_BAD_FIELD;
    if ((m.header.type == SLOT_READY) != (m.layers != 0))
        return MESSAGE_BAD_FIELD;
    if (n_fds != (m.header.type == SLOT_READY ? 1 : 0))
        return MESSAGE_BAD_FDS;
    *ret = m;
    return MESSAGE_OK;
}

/* What becomes a name elsewhere must not lead anywhere. */
static bool path_part_ok(const char *part, size_t len)
{
    return len > 0 && len <= 255 && !(len == 1 && part[0] == '.') && !(len == 2 && !memcmp(part, "..", 2));
}

bool slot_output_path_ok(const char *path)
{
    size_t len = strnlen(path, PROTOCOL_PATH_MAX);
    if (len == PROTOCOL_PATH_MAX || text_has_control(path, len))
        return false;
    for (;;) {
        size_t part = strcspn(path, "/");
        if (!path_part_ok(path, part))
            return false;
        if (path[part] == '\0')
            return true;
        path += part + 1;
    }
}

enum message_error slot_output_check(const void *data, size_t len, size_t n_fds, struct slot_output *ret)
{
    enum message_error e = header_check(data, len, sizeof *ret, SLOT_MAGIC, SLOT_REPLY_MAX);
    if (e)
        return e;
    struct slot_output m;
    memcpy(&m, data, sizeof m);
    if (m.header.type != SLOT_OUTPUT)
        return MESSAGE_BAD_TYPE;
    if (m.serial == 0 || m.size > INT64_MAX || m.executable > 1 || !slot_output_path_ok(m.path))
        return MESSAGE_BAD_FIELD;
    if (n_fds != 1)
        return MESSAGE_BAD_FDS;
    *ret = m;
    return MESSAGE_OK;
}
