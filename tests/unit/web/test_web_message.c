/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdint.h>
#include <string.h>

#include "base/util.h"
#include "web/message.h"

#include "taskworker.pb-c.h"

#define TASK_TYPE (&taskworker__execute_task_request__descriptor)

static ProtobufCMessage *take(const ProtobufCMessageDescriptor *type, const char *text, struct tw_error *error)
{
    json_t *object = json_loads(text, 0, NULL);
    ProtobufCMessage *message = message_new(type);
    assert_non_null(object);
    if (message_take_json(message, object, error) < 0) {
        protobuf_c_message_free_unpacked(message, NULL);
        message = NULL;
    }
    json_decref(object);
    return message;
}

/* What was taken is what is packed, also by way of the wire. */
static void there_and_back(void **state)
{
    (void)state;
    static const char text[] = "{\"task_id\": \"a\", \"task_type\": \"python\", \"task_data\": \"AAH/\", "
                               "\"timeout_ms\": -9223372036854775808, \"args\": [\"\", \"\\u00e9\"],"
                               " \"env\": {\"A\": \"1\", \"B\": \"\"}, \"retries\": 4294967295, \"limits\": "
                               "{\"memory_bytes\": 9223372036854775807}, \"network\":"
                               " \"NETWORK_HOST\", \"fresh_interpreter\": true, \"priority\": -2147483648, \"inputs\": "
                               "[{\"name\": \"x\"}, {\"path\": \"y\"}], \"after\": []}";
    struct tw_error error = {0};
    ProtobufCMessage *message = take(TASK_TYPE, text, &error);
    assert_non_null(message);
    const Taskworker__ExecuteTaskRequest *task = (void *)message;
    assert_int_equal(task->task_data.len, 3);
    assert_memory_equal(task->task_data.data, "\x00\x01\xff", 3);
    assert_int_equal(task->n_inputs, 2);
    assert_string_equal(task->inputs[1]->path, "y");
    uint8_t wire[1024];
    size_t len = protobuf_c_message_pack(message, wire);
    ProtobufCMessage *again = protobuf_c_message_unpack(TASK_TYPE, NULL, len, wire);
    json_t *packed = message_to_json(again), *wanted = json_loads(text, 0, NULL);
    const char *name;
    json_t *value;
    json_object_foreach(wanted, name, value)
    {
        if (strcmp(name, "inputs") != 0 && strcmp(name, "limits") != 0 &&
            !json_equal(json_object_get(packed, name), value))
            fail_msg("%s", name);
    }
    assert_int_equal(json_integer_value(json_object_get(json_object_get(packed, "limits"), "memory_bytes")), INT64_MAX);
    assert_null(json_object_get(packed, "none"));
    json_decref(packed);
    json_decref(wanted);
    protobuf_c_message_free_unpacked(message, NULL);
    protobuf_c_message_free_unpacked(again, NULL);
}

static void what_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"{\"x\": 1}", "{\"task_id\": 1}", "{\"task_id\": null}", "{\"task_data\": \"A\"}",
        "{\"task_data\": \"AAA\"}", "{\"task_data\": \"AA=A\"}", "{\"task_data\": \"A A=\"}",
        "{\"task_data\": \"\\u00e9AAA\"}", "{\"retries\": -1}", "{\"retries\": 4294967296}", "{\"retries\": 1.0}",
        "{\"priority\": 2147483648}", "{\"priority\": -2147483649}", "{\"args\": {}}", "{\"args\": [\"a\", 1]}",
        "{\"env\": []}", "{\"env\": {\"A\": []}}", "{\"limits\": 1}", "{\"limits\": {\"x\": 1}}",
        "{\"inputs\": [{\"name\": \"a\"}, {\"name\": 1}]}", "{\"network\": \"\"}", "{\"network\": 1}",
        "{\"fresh_interpreter\": \"true\"}", "{\"limits\": {\"memory_bytes\": -1}}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct tw_error error = {0};
        if (take(TASK_TYPE, bad[i], &error))
            fail_msg("taken: %s", bad[i]);
        assert_int_equal(error.code, TW_INVALID_ARGUMENT);
        assert_true(strlen(error.message) > 0);
    }
}

static int put(ProtobufCMessage *message, const char *field, const char *text)
{
    struct tw_error error = {0};
    int r = message_take_text(message, field, text, &error);
    assert_int_equal(r == 0 ? TW_OK : TW_INVALID_ARGUMENT, error.code);
    return r;
}

static void texts(void **state)
{
    (void)state;
    ProtobufCMessage *message = message_new(&taskworker__list_tasks_request__descriptor);
    const Taskworker__ListTasksRequest *list = (void *)message;
    assert_int_equal(put(message, "page_size", "12"), 0);
    assert_int_equal(put(message, "states", "FAILED"), 0);
    assert_int_equal(put(message, "states", "STOPPED"), 0);
    assert_int_equal(put(message, "labels", "a=b=c"), 0);
    assert_int_equal(put(message, "labels", "d="), 0);
    assert_int_equal(put(message, "created_from_us", "-5"), 0);
    assert_int_equal(put(message, "dead_letters", "yes"), 0);
    assert_int_equal(put(message, "task_type", ""), 0);
    assert_int_equal(put(message, "task_type", ""), -1);
    assert_int_equal(put(message, "owner", "ann"), 0);
    assert_int_equal(put(message, "owner", "bob"), -1);
    static const char *const bad[][2] = {{"page_size", ""}, {"page_size", "1 "}, {"page_size", "-1"},
        {"page_size", "x"}, {"states", "failed"}, {"labels", "x"}, {"dead_letters", "maybe"}, {"nothing", "1"},
        {"", ""}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(put(message, bad[i][0], bad[i][1]), -1);
    assert_int_equal(list->page_size, 12);
    assert_int_equal(list->n_states, 2);
    assert_int_equal(list->states[1], TASKWORKER__TASK__STATE__STOPPED);
    assert_int_equal(list->n_labels, 2);
    assert_string_equal(list->labels[0]->value, "b=c");
    assert_int_equal(list->created_from_us, -5);
    assert_true(list->dead_letters);
    assert_string_equal(list->owner, "ann");
    protobuf_c_message_free_unpacked(message, NULL);

    message = message_new(TASK_TYPE);
    assert_int_equal(put(message, "task_data", "AA=="), -1); /* bytes and messages do not stand in addresses */
    assert_int_equal(put(message, "limits", "{}"), -1);
    assert_int_equal(put(message, "inputs", "{}"), -1);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void hostile_texts_are_shown(void **state)
{
    (void)state;
    Taskworker__Task task = TASKWORKER__TASK__INIT;
    char bytes[] = "a\xff\xfe";
    task.message = bytes;
    task.state = (Taskworker__Task__State)77;
    json_t *packed = message_to_json(&task.base);
    assert_string_equal(json_string_value(json_object_get(packed, "message")), "a\xef\xbf\xbd\xef\xbf\xbd");
    assert_int_equal(json_integer_value(json_object_get(packed, "state")), 77);
    assert_null(json_object_get(packed, "usage"));
    json_decref(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(texts),
        cmocka_unit_test(hostile_texts_are_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
