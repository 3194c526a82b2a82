/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "node/notify.h"

/* Plays the service manager on this address ('@' for abstract) and expects one message. */
static void talk_over(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    memcpy(address.sun_path, name, len);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    CLEANUP_FD int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(manager >= 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
    assert_int_equal(bind(manager, (struct sockaddr *)&address, size), 0);

    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    struct notify n;
    assert_int_equal(notify_init(&n), 0);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_int_equal(notify_send(&n, "READY=%d\nSTATUS=%s", 1, "fine"), 0);
    char got[64] = "";
    assert_int_equal(recv(manager, got, sizeof got - 1, 0), strlen("READY=1\nSTATUS=fine"));
    assert_string_equal(got, "READY=1\nSTATUS=fine");
    notify_done(&n);
    assert_int_equal(n.fd, -1);
}

static void a_path(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_notify.XXXXXX", name[64];
    assert_non_null(mkdtemp(folder));
    snprintf(name, sizeof name, "%s/socket", folder);
    talk_over(name);
    unlink(name);
    rmdir(folder);
}

static void an_abstract_name(void **state)
{
    (void)state;
    char name[64];
    snprintf(name, sizeof name, "@test_notify.%d", (int)getpid());
    talk_over(name);
}

static void nobody_listens(void **state)
{
    (void)state;
    struct notify n;
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(notify_init(&n), 0);
    assert_int_equal(notify_send(&n, "READY=1"), 0);
    setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
    assert_true(notify_init(&n) < 0);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_int_equal(notify_send(&n, "READY=1"), 0);
}

static void bad_names(void **state)
{
    (void)state;
    struct notify n;
    char name[300];
    memset(name, 'a', sizeof name - 1);
    name[0] = '/';
    name[sizeof name - 1] = '\0';
    const char *const names[] = {"relative", "vsock:2:1", "@", "/", name};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        assert_true(notify_init(&n) < 0);
        assert_int_equal(n.fd, -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path),
        cmocka_unit_test(an_abstract_name),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(bad_names),
    };
    return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
