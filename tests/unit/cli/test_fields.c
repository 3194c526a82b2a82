/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/fields.h"

static void fields_become_options(void **state)
{
    (void)state;
    static const struct {
        const char *said, *shown;
    } cases[] = {
        {"limits.memory_bytes is 1048576: it has to be at least 16777216, or 0 for what the node gives (MAX_MEMORY_GB)",
            "--memory is 1M: it has to be at least 16M (MAX_MEMORY_GB)"},
        {"limits.file_bytes is 4294967297: this node gives a task at most 4294967296 (TASK_FILE_SIZE)",
            "--file-size is 4294967297: this node gives a task at most 4G (TASK_FILE_SIZE)"},
        {"limits.cpu_millis is 64500: this node gives a task at most 2000 (MAX_CPU_CORES)",
            "--cpu is 64.5: this node gives a task at most 2 (MAX_CPU_CORES)"},
        {"limits.cpu_time_us is 1500000: this node gives a task at most 60000000 (TASK_CPU_TIME)",
            "--cpu-time is 1500ms: this node gives a task at most 60s (TASK_CPU_TIME)"},
        {"limits.processes is 1025: this node gives a task at most 1024 (TASK_PROCESSES)",
            "--processes is 1025: this node gives a task at most 1024 (TASK_PROCESSES)"},
        {"timeout_ms is longer than a year", "--timeout is longer than a year"},
        {"queue_timeout_ms is longer than a year", "--queue-timeout is longer than a year"},
        {"gpu_memory_bytes is 17179869184: this node's largest GPU has 8589934592",
            "--gpu is 16G: this node's largest GPU has 8G"},
        {"network is \"host\": this node gives a task at most \"loopback\" (MAX_TASK_NETWORK)",
            "--network is \"host\": this node gives a task at most \"loopback\" (MAX_TASK_NETWORK)"},
        {"task 3: limits.tmp_bytes is 1024: it has to be", "task 3: --tmp is 1K: it has to be"},
        {"label \"network\" is given twice after 12", "label \"network\" is given twice after 12"},
        {"a limits.memory_bytes_b my_timeout_ms 99999999999999999999999999",
            "a limits.memory_bytes_b my_timeout_ms 99999999999999999999999999"},
        {"task 007: limits.processes is 1025", "task 007: --processes is 1025"},
        {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *shown = fields_to_options(cases[i].said);
        assert_string_equal(shown, cases[i].shown);
        free(shown);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fields_become_options)};
    return cmocka_run_group_tests_name("fields", tests, NULL, NULL);
}
