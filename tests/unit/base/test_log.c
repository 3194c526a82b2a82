/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"

/* Each test writes into a memfd, and starts with an empty ring. */
static int output = -1;

static int open_output(void **state)
{
    (void)state;
    output = memfd_create("log", MFD_CLOEXEC);
    log_set_output(output, LOG_FORMAT_JSON);
    log_set_level(LOG_INFO);
    return output < 0;
}

static int close_output(void **state)
{
    (void)state;
    log_done();
    log_set_output(STDERR_FILENO, LOG_FORMAT_AUTO);
    fd_close(&output);
    return 0;
}

/* All that was written since the last call; free it. */
static char *written(void)
{
    off_t size = lseek(output, 0, SEEK_END);
    char *text = calloc(1, (size_t)size + 1);
    assert_int_equal(pread(output, text, (size_t)size, 0), size);
    assert_int_equal(ftruncate(output, 0), 0);
    lseek(output, 0, SEEK_SET);
    return text;
}

static void json_is_one_escaped_object_a_line(void **state)
{
    (void)state;
    log_warning("say \"%s\" \\ and\nmore\t\x01\x1b[31m", "hi");
    CLEANUP_FREE char *text = written();
    assert_memory_equal(text, "{\"time\":\"20", 11);
    const char *rest = strstr(text, ",\"level\"");
    assert_non_null(rest);
    assert_string_equal(rest, ",\"level\":\"warning\",\"message\":\"say \\\"hi\\\" \\\\ and more   [31m\"}\n");
}

static void text_has_time_level_message(void **state)
{
    (void)state;
    log_set_output(output, LOG_FORMAT_TEXT);
    log_error("it \xff broke");
    CLEANUP_FREE char *text = written();
    int year, n = 0;
    assert_int_equal(sscanf(text, "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ %n", &year, &n), 1);
    assert_true(n > 0);
    assert_string_equal(text + n, "error   it \xef\xbf\xbd broke\n");
}

/* Format AUTO on a terminal is text, coloured unless NO_COLOR is set; on anything else it is JSON. */
static void terminal_decides_format_and_colour(void **state)
{
    (void)state;
    int master, slave;
    assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
    char got[500];

    unsetenv("NO_COLOR");
    log_set_output(slave, LOG_FORMAT_AUTO);
    log_error("red");
    ssize_t n = read(master, got, sizeof got - 1);
    assert_true(n > 0);
    got[n] = '\0';
    assert_memory_equal(got, "\033[31m", 5);
    assert_non_null(strstr(got, "red\033[0m"));

    setenv("NO_COLOR", "1", 1);
    log_set_output(slave, LOG_FORMAT_AUTO);
    log_error("plain");
    n = read(master, got, sizeof got - 1);
    assert_true(n > 0);
    got[n] = '\0';
    assert_null(strchr(got, '\033'));
    assert_non_null(strstr(got, "plain"));
    unsetenv("NO_COLOR");

    log_set_output(output, LOG_FORMAT_AUTO);
    log_error("json");
    CLEANUP_FREE char *text = written();
    assert_int_equal(text[0], '{');
    close(master);
    close(slave);
}

static void levels_filter(void **state)
{
    (void)state;
    log_debug("not shown");
    log_set_level(LOG_WARNING);
    log_info("not shown either");
    CLEANUP_FREE char *none = written();
    assert_string_equal(none, "");
    struct log_entry *entries;
    assert_int_equal(log_recent(10, &entries), 0); /* what is not shown is not kept */
    log_entries_free(entries, 0);
    log_set_level(LOG_DEBUG);
    log_debug("shown");
    CLEANUP_FREE char *text = written();
    assert_non_null(strstr(text, "\"debug\""));
}

static void level_names(void **state)
{
    (void)state;
    enum log_level level = LOG_DEBUG;
    for (int i = 0; i < LOG_LEVEL_MAX; i++) {
        assert_int_equal(log_level_from_string(log_level_to_string((enum log_level)i), &level), 0);
        assert_int_equal(level, i);
    }
    assert_int_equal(log_level_from_string("WARNING", &level), 0);
    assert_int_equal(level, LOG_WARNING);
    assert_int_equal(log_level_from_string("warn", &level), -EINVAL);
    assert_int_equal(log_level_from_string("", &level), -EINVAL);
    assert_int_equal(level, LOG_WARNING);
}

static void check_ring(size_t want, unsigned first)
{
    struct log_entry *entries;
    ptrdiff_t n = log_recent(SIZE_MAX, &entries);
    assert_int_equal(n, want);
    for (size_t i = 0; i < want; i++) {
        char text[20];
        snprintf(text, sizeof text, "entry %u", first + (unsigned)i);
        assert_string_equal(entries[i].message, text);
        assert_int_equal(entries[i].level, LOG_INFO);
        assert_true(entries[i].wall_us > 0);
    }
    log_entries_free(entries, want);
}

static void ring_is_cut_from_1000_to_500(void **state)
{
    (void)state;
    unsigned i = 0;
    while (i < LOG_RING_MAX)
        log_info("entry %u", i++);
    check_ring(LOG_RING_MAX, 0);
    log_info("entry %u", i++); /* the one that does not fit any more */
    check_ring(LOG_RING_KEEP + 1, LOG_RING_MAX - LOG_RING_KEEP);
    while (i < LOG_RING_MAX + LOG_RING_KEEP)
        log_info("entry %u", i++);
    check_ring(LOG_RING_MAX, LOG_RING_KEEP);

    struct log_entry *entries;
    assert_int_equal(log_recent(3, &entries), 3);
    assert_string_equal(entries[0].message, "entry 1497");
    assert_string_equal(entries[2].message, "entry 1499");
    log_entries_free(entries, 3);
    log_done();
    check_ring(0, 0);
}

static void long_messages_are_cut_at_a_character(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        char message[5000] = "";
        memset(message, '.', shift);
        while (strlen(message) + 4 < sizeof message)
            strcat(message, "\xe2\x82\xac");
        log_info("%s", message);
        struct log_entry *entries;
        assert_int_equal(log_recent(1, &entries), 1);
        size_t len = strlen(entries[0].message);
        assert_true(len <= LOG_MESSAGE_MAX && len > LOG_MESSAGE_MAX - 3);
        assert_memory_equal(entries[0].message, message, len); /* no replacement character at the cut */
        log_entries_free(entries, 1);
    }
}

static void a_broken_output_is_survived(void **state)
{
    (void)state;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    log_set_output(full, LOG_FORMAT_JSON);
    log_info("nobody reads this");
    close(full);
    log_set_output(-1, LOG_FORMAT_TEXT);
    log_info("nor this");
    struct log_entry *entries;
    assert_int_equal(log_recent(10, &entries), 2);
    log_entries_free(entries, 2);
}

enum { THREADS = 4, PER_THREAD = 400 };

static void *write_many(void *arg)
{
    for (int i = 0; i < PER_THREAD; i++) {
        log_info("thread %d line %d", (int)(intptr_t)arg, i);
        if (i % 50 == 0) {
            struct log_entry *entries;
            ptrdiff_t n = log_recent(100, &entries);
            if (n >= 0)
                log_entries_free(entries, (size_t)n);
            log_set_level(LOG_INFO);
        }
    }
    return NULL;
}

/* Under TSan this shows races; under every sanitizer and without that no line is torn or lost. */
static void many_threads_write_whole_lines(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    CLEANUP_FREE char *text = written();
    int next[THREADS] = {0}, lines = 0;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), lines++) {
        int thread, number, end = 0;
        const char *message = strstr(line, "\"message\"");
        assert_non_null(message);
        assert_int_equal(sscanf(message, "\"message\":\"thread %d line %d\"}%n", &thread, &number, &end), 2);
        assert_int_equal(message[end], '\0');
        assert_int_equal(number, next[thread]++);
    }
    assert_int_equal(lines, THREADS * PER_THREAD);
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, open_output, close_output)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(json_is_one_escaped_object_a_line),
        LOG_TEST(text_has_time_level_message),
        LOG_TEST(terminal_decides_format_and_colour),
        LOG_TEST(levels_filter),
        LOG_TEST(level_names),
        LOG_TEST(ring_is_cut_from_1000_to_500),
        LOG_TEST(long_messages_are_cut_at_a_character),
        LOG_TEST(a_broken_output_is_survived),
        LOG_TEST(many_threads_write_whole_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
