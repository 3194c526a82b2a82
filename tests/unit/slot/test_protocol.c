/* SPDX-License-Identifier: Apache-2.0 */
/* What the message checks let through, and the channel under them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "slot/channel.h"
#include <taskworker/task.h>

#include "slot/protocol.h"

static struct launcher_request launcher_request_ok(void)
{
    return (struct launcher_request){.header = {LAUNCHER_MAGIC, PROTOCOL_VERSION, LAUNCHER_CREATE}, .index = 3};
}

static struct launcher_reply launcher_reply_ok(void)
{
    return (struct launcher_reply){
        .header = {LAUNCHER_MAGIC, PROTOCOL_VERSION, LAUNCHER_CREATE}, .index = 3, .pid = 77};
}

static struct slot_request slot_request_ok(void)
{
    return (struct slot_request){.header = {SLOT_MAGIC, PROTOCOL_VERSION, SLOT_GO}, .serial = 9};
}

static struct slot_reply slot_reply_ok(void)
{
    return (struct slot_reply){
        .header = {SLOT_MAGIC, PROTOCOL_VERSION, SLOT_EXITED}, .serial = 9, .status = 3 << 8, .usage = {.wall_us = 5}};
}

static void test_launcher_request(void **state)
{
    (void)state;
    struct launcher_request m = launcher_request_ok(), out;
    assert_int_equal(launcher_request_check(&m, sizeof m, 0, 4, &out), MESSAGE_OK);
    assert_memory_equal(&m, &out, sizeof m);
    assert_int_equal(launcher_request_check(&m, sizeof m, 0, 3, &out), MESSAGE_BAD_FIELD);
    assert_int_equal(launcher_request_check(&m, sizeof m, 1, 4, &out), MESSAGE_BAD_FDS);
    for (size_t len = 0; len < sizeof m; len++)
        assert_int_equal(launcher_request_check(&m, len, 0, 4, &out), MESSAGE_BAD_SIZE);
    m.flags = 2;
    assert_int_equal(launcher_request_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_FIELD);
    m = launcher_request_ok();
    m.header.type = LAUNCHER_HELLO; /* an index where there is none */
    assert_int_equal(launcher_request_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_FIELD);
    for (unsigned type = 0; type < 65536; type++) {
        m = launcher_request_ok();
        m.header.type = (uint16_t)type;
        enum message_error e = launcher_request_check(&m, sizeof m, 0, 4, &out);
        if (type == 0 || type >= LAUNCHER_TYPE_MAX)
            assert_int_equal(e, MESSAGE_BAD_TYPE);
    }
    m = launcher_request_ok();
    m.header.magic = SLOT_MAGIC;
    assert_int_equal(launcher_request_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_MAGIC);
    m = launcher_request_ok();
    m.header.version++;
    assert_int_equal(launcher_request_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_VERSION);
}

/* What a daemon that goes, and the one that comes, say. */
static void test_launcher_request_of_detaching(void **state)
{
    (void)state;
    struct launcher_request m = launcher_request_ok(), out;
    m.header.type = LAUNCHER_KEEP;
    for (size_t fds = 0; fds <= CHANNEL_FDS_MAX; fds++)
        assert_int_equal(launcher_request_check(&m, sizeof m, fds, 4, &out), fds ? MESSAGE_OK : MESSAGE_BAD_FDS);
    assert_int_equal(launcher_request_check(&m, sizeof m, 5, 3, &out), MESSAGE_BAD_FIELD);
    m.seconds = 1;
    assert_int_equal(launcher_request_check(&m, sizeof m, 5, 4, &out), MESSAGE_BAD_FIELD);

    m = launcher_request_ok();
    m.header.type = LAUNCHER_DETACH;
    m.index = 0;
    m.uid = UINT32_MAX;
    const struct {
        uint32_t seconds;
        enum message_error want;
    } cases[] = {{0, MESSAGE_BAD_FIELD}, {1, MESSAGE_OK}, {LAUNCHER_SECONDS_MAX, MESSAGE_OK},
        {LAUNCHER_SECONDS_MAX + 1u, MESSAGE_BAD_FIELD}, {UINT32_MAX, MESSAGE_BAD_FIELD}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        m.seconds = cases[i].seconds;
        assert_int_equal(launcher_request_check(&m, sizeof m, 1, 4, &out), cases[i].want);
    }
    m.seconds = 1;
    assert_int_equal(launcher_request_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_FDS);
    assert_int_equal(launcher_request_check(&m, sizeof m, 2, 4, &out), MESSAGE_BAD_FDS);

    m = (struct launcher_request){.header = {LAUNCHER_MAGIC, PROTOCOL_VERSION, LAUNCHER_ADOPT}};
    assert_int_equal(launcher_request_check(&m, sizeof m, 0, 4, &out), MESSAGE_OK);
    m.flags = LAUNCHER_ADOPTED;
    assert_int_equal(launcher_request_check(&m, sizeof m, 0, 4, &out), MESSAGE_OK);
    m.flags = LAUNCHER_ADOPTED << 1;
    assert_int_equal(launcher_request_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_FIELD);
    m.flags = 0;
    m.uid = 1;
    assert_int_equal(launcher_request_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_FIELD);
}

static void test_launcher_reply_of_detaching(void **state)
{
    (void)state;
    struct launcher_reply out, m = {.header = {LAUNCHER_MAGIC, PROTOCOL_VERSION, LAUNCHER_ADOPT}};
    assert_int_equal(launcher_reply_check(&m, sizeof m, 0, 4, &out), MESSAGE_OK); /* that was all */
    assert_int_equal(launcher_reply_check(&m, sizeof m, 1, 4, &out), MESSAGE_BAD_FDS);
    m.index = 3;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_FIELD);
    m.pid = 77;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 4, 4, &out), MESSAGE_OK);
    assert_int_equal(launcher_reply_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_FDS);
    assert_int_equal(launcher_reply_check(&m, sizeof m, 4, 3, &out), MESSAGE_BAD_FIELD);
    m.error = EBUSY;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 4, 4, &out), MESSAGE_BAD_FIELD);
    m.error = 0;
    m.pid = 1;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 4, 4, &out), MESSAGE_BAD_FIELD);
    m.pid = 0;
    m.error = EBUSY;
    m.header.type = LAUNCHER_KEEP;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 0, 4, &out), MESSAGE_OK);
    assert_int_equal(launcher_reply_check(&m, sizeof m, 1, 4, &out), MESSAGE_BAD_FDS);
    m.header.type = LAUNCHER_DETACH;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_FIELD); /* it is about no slot */
    m.index = 0;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 0, 4, &out), MESSAGE_OK);
}

static void test_launcher_reply(void **state)
{
    (void)state;
    struct launcher_reply m = launcher_reply_ok(), out;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 1, 4, &out), MESSAGE_OK);
    assert_int_equal(launcher_reply_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_FDS);
    m.pid = 1; /* nobody's slot is init */
    assert_int_equal(launcher_reply_check(&m, sizeof m, 1, 4, &out), MESSAGE_BAD_FIELD);
    m = launcher_reply_ok();
    m.error = ENOSPC;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_FIELD); /* a pid, and yet failed */
    m.pid = 0;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 0, 4, &out), MESSAGE_OK);
    m.error = -1;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_FIELD);
    m = launcher_reply_ok();
    m.flags = 2;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 1, 4, &out), MESSAGE_BAD_FIELD);
    m = launcher_reply_ok();
    m.group_version = 1; /* a group without files, files without a group, a version or a file that is none */
    assert_int_equal(launcher_reply_check(&m, sizeof m, 1, 4, &out), MESSAGE_BAD_FIELD);
    m.group_files = 1u << GROUP_MEMORY_MAX | 1u << GROUP_PIDS_MAX;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 3, 4, &out), MESSAGE_OK);
    for (size_t fds = 0; fds <= CHANNEL_FDS_MAX; fds++)
        assert_int_equal(launcher_reply_check(&m, sizeof m, fds, 4, &out), fds == 3 ? MESSAGE_OK : MESSAGE_BAD_FDS);
    m.group_version = 0;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 3, 4, &out), MESSAGE_BAD_FIELD);
    m.group_version = 3;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 3, 4, &out), MESSAGE_BAD_FIELD);
    m.group_version = 2;
    m.group_files = (1u << GROUP_FILE_MAX) - 1;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 1 + GROUP_FILE_MAX, 4, &out), MESSAGE_OK);
    assert_true(1 + GROUP_FILE_MAX <= CHANNEL_FDS_MAX);
    m.group_files |= 1u << GROUP_FILE_MAX;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 2 + GROUP_FILE_MAX, 4, &out), MESSAGE_BAD_FIELD);
    m = launcher_reply_ok();
    m.header.type = LAUNCHER_DESTROY; /* nothing comes with the end of a slot */
    m.pid = 0;
    m.group_version = m.group_files = 1;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 1, 4, &out), MESSAGE_BAD_FIELD);
    m = launcher_reply_ok();
    m.header.type = LAUNCHER_HELLO;
    m.index = 0;
    m.pid = 0;
    m.flags = LAUNCHER_FLAGS;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 0, 4, &out), MESSAGE_OK);
    m.flags = LAUNCHER_FLAGS + 1;
    assert_int_equal(launcher_reply_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_FIELD);
    m.flags = 0;
    memset(m.group_detail, 'x', sizeof m.group_detail); /* no NUL */
    assert_int_equal(launcher_reply_check(&m, sizeof m, 0, 4, &out), MESSAGE_BAD_FIELD);
    m = launcher_reply_ok();
    memset(m.detail, 'x', sizeof m.detail); /* no NUL */
    assert_int_equal(launcher_reply_check(&m, sizeof m, 1, 4, &out), MESSAGE_BAD_FIELD);
}

static void test_slot_request(void **state)
{
    (void)state;
    struct slot_request m = slot_request_ok(), out;
    assert_int_equal(slot_request_check(&m, sizeof m, 0, &out), MESSAGE_OK);
    assert_int_equal(slot_request_check(&m, sizeof m, 5, &out), MESSAGE_BAD_FDS);
    m.shape.network = TW_NETWORK_NONE; /* only a START has a shape */
    assert_int_equal(slot_request_check(&m, sizeof m, 0, &out), MESSAGE_BAD_FIELD);
    m.header.type = SLOT_START;
    m.shape = (struct slot_shape){.tmp_bytes = 1, .shm_bytes = 2, .workspace_bytes = 3, .network = TW_NETWORK_HOST};
    assert_int_equal(slot_request_check(&m, sizeof m, SLOT_START_FDS, &out), MESSAGE_BAD_FIELD);
    m.shape.runtime = TW_RUNTIME_SHELL;
    assert_int_equal(slot_request_check(&m, sizeof m, 4, &out), MESSAGE_BAD_FDS);
    assert_int_equal(slot_request_check(&m, sizeof m, SLOT_START_FDS, &out), MESSAGE_OK);
    m.shape.inputs = 7;
    m.shape.environment = PROTOCOL_ENVIRONMENT_BIT | 7;
    assert_int_equal(slot_request_check(&m, sizeof m, SLOT_START_FDS, &out), MESSAGE_OK);
    m.shape.environment = 7; /* that would be somebody's inputs, */
    assert_int_equal(slot_request_check(&m, sizeof m, SLOT_START_FDS, &out), MESSAGE_BAD_FIELD);
    m.shape.environment = 0;
    m.shape.inputs = PROTOCOL_ENVIRONMENT_BIT | 7; /* and that what was installed for somebody */
    assert_int_equal(slot_request_check(&m, sizeof m, SLOT_START_FDS, &out), MESSAGE_BAD_FIELD);
    m.shape.inputs = 0;
    m.serial = 0;
    assert_int_equal(slot_request_check(&m, sizeof m, SLOT_START_FDS, &out), MESSAGE_BAD_FIELD);
    for (unsigned type = SLOT_GO; type < SLOT_REQUEST_MAX;
         type++) { /* GO, KILL, TERMINATE, ...: a serial and nothing else */
        m = slot_request_ok();
        m.header.type = (uint16_t)type;
        assert_int_equal(slot_request_check(&m, sizeof m, 0, &out), MESSAGE_OK);
        assert_int_equal(slot_request_check(&m, sizeof m, 1, &out), MESSAGE_BAD_FDS);
        m.shape.tmp_bytes = 1;
        assert_int_equal(slot_request_check(&m, sizeof m, 0, &out), MESSAGE_BAD_FIELD);
    }
    m = slot_request_ok();
    m.header.type = SLOT_REQUEST_MAX;
    assert_int_equal(slot_request_check(&m, sizeof m, 0, &out), MESSAGE_BAD_TYPE);
    assert_int_equal(slot_request_check(&m, sizeof m + 1, 0, &out), MESSAGE_BAD_SIZE);
}

static void test_slot_reply(void **state)
{
    (void)state;
    struct slot_reply m = slot_reply_ok(), out;
    assert_int_equal(slot_reply_check(&m, sizeof m, 0, &out), MESSAGE_OK);
    m.status = 0x137f; /* stopped: not an end */
    assert_int_equal(slot_reply_check(&m, sizeof m, 0, &out), MESSAGE_BAD_FIELD);
    m = slot_reply_ok();
    m.header.type = SLOT_FAILED;
    m.status = 0;
    assert_int_equal(slot_reply_check(&m, sizeof m, 0, &out), MESSAGE_BAD_FIELD); /* no stage */
    m.stage = STAGE_EXEC;
    m.error = ENOENT;
    assert_int_equal(slot_reply_check(&m, sizeof m, 0, &out), MESSAGE_OK);
    m.stage = SLOT_STAGE_MAX;
    assert_int_equal(slot_reply_check(&m, sizeof m, 0, &out), MESSAGE_BAD_FIELD);
    m.stage = STAGE_EXEC;
    memcpy(m.detail, "\xff\xfe", 3);
    assert_int_equal(slot_reply_check(&m, sizeof m, 0, &out), MESSAGE_BAD_FIELD);
    m = slot_reply_ok();
    m.header.type = SLOT_READY;
    m.status = 0;
    assert_int_equal(slot_reply_check(&m, sizeof m, 1, &out), MESSAGE_BAD_FIELD); /* no layers */
    m.layers = 1;
    assert_int_equal(slot_reply_check(&m, sizeof m, 0, &out), MESSAGE_BAD_FDS);
    assert_int_equal(slot_reply_check(&m, sizeof m, 1, &out), MESSAGE_OK);
    m.layers = 0;
    m.header.type = SLOT_HELLO;
    assert_int_equal(slot_reply_check(&m, sizeof m, 0, &out), MESSAGE_BAD_FIELD); /* a serial */
    m.serial = 0;
    assert_int_equal(slot_reply_check(&m, sizeof m, 0, &out), MESSAGE_OK);
}

static void test_slot_output(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "/", "/a", "a//b", "a/", ".", "..", "a/..", "a/./b", "a\nb", "\xff", "a\x1b"};
    static const char *const good[] = {"a", "...", ".a", "a/b/c", "a b", "\xc3\xa4"};
    struct slot_output m = {.header = {SLOT_MAGIC, PROTOCOL_VERSION, SLOT_OUTPUT}, .serial = 9, .size = 4}, out;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        snprintf(m.path, sizeof m.path, "%s", good[i]);
        assert_int_equal(slot_output_check(&m, sizeof m, 1, &out), MESSAGE_OK);
        assert_memory_equal(&m, &out, sizeof m);
    }
    assert_int_equal(slot_output_check(&m, sizeof m, 0, &out), MESSAGE_BAD_FDS);
    assert_int_equal(slot_output_check(&m, sizeof m, 2, &out), MESSAGE_BAD_FDS);
    assert_int_equal(slot_output_check(&m, sizeof m - 1, 1, &out), MESSAGE_BAD_SIZE);
    struct slot_output wrong = m;
    wrong.serial = 0;
    assert_int_equal(slot_output_check(&wrong, sizeof m, 1, &out), MESSAGE_BAD_FIELD);
    wrong = m;
    wrong.executable = 2;
    assert_int_equal(slot_output_check(&wrong, sizeof m, 1, &out), MESSAGE_BAD_FIELD);
    wrong = m;
    wrong.size = UINT64_MAX;
    assert_int_equal(slot_output_check(&wrong, sizeof m, 1, &out), MESSAGE_BAD_FIELD);
    wrong = m;
    wrong.header.type = SLOT_EXITED;
    assert_int_equal(slot_output_check(&wrong, sizeof m, 1, &out), MESSAGE_BAD_TYPE);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(m.path, sizeof m.path, "%s", bad[i]);
        assert_int_equal(slot_output_check(&m, sizeof m, 1, &out), MESSAGE_BAD_FIELD);
    }
    memset(m.path, 'a', 256); /* one part of more than a file system takes, and no NUL */
    m.path[256] = '\0';
    assert_int_equal(slot_output_check(&m, sizeof m, 1, &out), MESSAGE_BAD_FIELD);
    for (size_t i = 0; i < sizeof m.path; i++)
        m.path[i] = i % 2 ? '/' : 'a';
    assert_int_equal(slot_output_check(&m, sizeof m, 1, &out), MESSAGE_BAD_FIELD);
}

static void test_names(void **state)
{
    (void)state;
    for (unsigned e = 0; e < MESSAGE_ERROR_MAX; e++)
        assert_string_not_equal(message_error_to_string((enum message_error)e), "?");
    for (unsigned s = 0; s < SLOT_STAGE_MAX; s++)
        assert_string_not_equal(slot_stage_to_string(s), "?");
    assert_string_equal(slot_stage_to_string(SLOT_STAGE_MAX), "?");
    assert_string_equal(message_error_to_string(MESSAGE_ERROR_MAX), "?");
}

static void test_channel(void **state)
{
    (void)state;
    int pair[2];
    char in[8];
    struct channel_fds fds;
    assert_int_equal(channel_pair(pair), 0);
    assert_true(fcntl(pair[0], F_GETFD) & FD_CLOEXEC);

    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), two[] = {null, null};
    assert_int_equal(channel_send(pair[0], "hello", 5, two, 2), 0);
    assert_int_equal(channel_recv(pair[1], in, sizeof in, &fds), 5);
    assert_memory_equal(in, "hello", 5);
    assert_int_equal(fds.n, 2);
    assert_true(fcntl(fds.fd[1], F_GETFD) & FD_CLOEXEC);
    int taken = fd_steal(&fds.fd[0]);
    int other = fds.fd[1];
    channel_fds_done(&fds);
    assert_int_equal(fcntl(other, F_GETFD), -1);
    assert_true(fcntl(taken, F_GETFD) >= 0);
    close(taken);

    /* Longer than the reader's room: refused whole, its fds not leaked. */
    assert_int_equal(channel_send(pair[0], "much too long", 13, &null, 1), 0);
    assert_int_equal(channel_recv(pair[1], in, sizeof in, &fds), -EMSGSIZE);
    other = fds.fd[0];
    channel_fds_done(&fds);
    assert_int_equal(fcntl(other, F_GETFD), -1);

    int many[CHANNEL_FDS_MAX + 1] = {0};
    assert_int_equal(channel_send(pair[0], "x", 1, many, CHANNEL_FDS_MAX + 1), -EINVAL);
    assert_int_equal(channel_send(pair[0], "", 0, NULL, 0), -EINVAL);
    assert_int_equal(fd_set_nonblocking(pair[1], true), 0);
    assert_int_equal(channel_recv(pair[1], in, sizeof in, &fds), -EAGAIN);
    close(pair[0]);
    assert_int_equal(channel_recv(pair[1], in, sizeof in, &fds), 0);
    assert_int_equal(channel_send(pair[1], "x", 1, NULL, 0), -EPIPE);
    close(pair[1]);
    close(null);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_launcher_request),
        cmocka_unit_test(test_launcher_request_of_detaching),
        cmocka_unit_test(test_launcher_reply),
        cmocka_unit_test(test_launcher_reply_of_detaching),
        cmocka_unit_test(test_slot_request),
        cmocka_unit_test(test_slot_reply),
        cmocka_unit_test(test_slot_output),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_channel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
