/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>

#include "rpc/descriptors.h"
#include "rpc/health.h"
#include "rpc/reflection.h"

#include "reflection.pb-c.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;
#define ASKED(what) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##what
#define ANSWER(what) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##what

struct fixture {
    struct harness h;
    struct rpc_health *health;
    struct rpc_reflection *reflection;
    struct raw raw;
    struct raw_stream *stream;
    size_t read;
};

static void fixture_init(struct fixture *f, const char *path)
{
    struct tw_error error;
    harness_init(&f->h, NULL);
    assert_int_equal(rpc_health_new(f->h.server, &f->health, &error), 0);
    assert_int_equal(rpc_reflection_new(f->h.server, &f->reflection, &error), 0);
    raw_init(&f->raw, &f->h, 65535);
    f->stream = raw_call(&f->raw, path, NULL, 0, false, NULL);
    f->read = 0;
}

static void fixture_done(struct fixture *f)
{
    raw_more(&f->raw, f->stream, NULL, 0, true);
    RUN_UNTIL(&f->h, f->stream->closed);
    assert_int_equal(f->stream->grpc_status, TW_OK);
    raw_done(&f->raw);
    harness_done(&f->h);
    rpc_health_free(f->health);
    rpc_reflection_free(f->reflection);
}

static Response *ask(struct fixture *f, const Request *request)
{
    struct buf out = BUF_INIT(100000);
    size_t len = grpc__reflection__v1__server_reflection_request__get_packed_size(request);
    buf_append(&out, (uint8_t[]){0, 0, 0, (uint8_t)(len >> 8), (uint8_t)len}, 5);
    grpc__reflection__v1__server_reflection_request__pack(request, buf_reserve(&out, len));
    out.len += len;
    raw_more(&f->raw, f->stream, out.data, out.len, false);
    size_t need = f->read + 5;
    RUN_UNTIL(&f->h, f->stream->data.len >= need);
    const uint8_t *p = f->stream->data.data + f->read;
    size_t size = (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    need += size;
    RUN_UNTIL(&f->h, f->stream->data.len >= need);
    Response *r =
        grpc__reflection__v1__server_reflection_response__unpack(NULL, size, f->stream->data.data + f->read + 5);
    assert_non_null(r);
    f->read = need;
    buf_done(&out);
    assert_string_equal(r->valid_host, "here");
    assert_int_equal(r->original_request->message_request_case, request->message_request_case);
    return r;
}

static Response *ask_text(struct fixture *f, int what, const char *text)
{
    Request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    request.host = (char *)"here";
    request.message_request_case = what;
    request.file_by_filename = (char *)(uintptr_t)text; /* all texts share one place */
    return ask(f, &request);
}

static void done(Response *r)
{
    grpc__reflection__v1__server_reflection_response__free_unpacked(r, NULL);
}

static void test_services(void **state UNUSED)
{
    static const char *const expected[] = {"echo.Echo", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection", "taskworker.TaskWorkerService"};
    static const char *const paths[] = {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"};
    for (size_t p = 0; p < ARRAY_LEN(paths); p++) {
        struct fixture f;
        fixture_init(&f, paths[p]);
        Response *r = ask_text(&f, ASKED(LIST_SERVICES), "");
        assert_int_equal(r->message_response_case, ANSWER(LIST_SERVICES_RESPONSE));
        assert_int_equal(r->list_services_response->n_service, ARRAY_LEN(expected));
        for (size_t i = 0; i < ARRAY_LEN(expected); i++)
            assert_string_equal(r->list_services_response->service[i]->name, expected[i]);
        done(r);
        fixture_done(&f);
    }
}

static void check_file(struct fixture *f, int what, const char *text, const char *file)
{
    Response *r = ask_text(f, what, text);
    if (file) {
        if (r->message_response_case != ANSWER(FILE_DESCRIPTOR_RESPONSE))
            fail_msg("%s was not found", text);
        assert_int_equal(r->file_descriptor_response->n_file_descriptor_proto, 1);
        const ProtobufCBinaryData *d = &r->file_descriptor_response->file_descriptor_proto[0];
        assert_true(d->len > strlen(file) + 2 && d->data[0] == 0x0a);
        assert_int_equal(d->data[1], strlen(file));
        assert_memory_equal(d->data + 2, file, strlen(file));
    } else {
        if (r->message_response_case != ANSWER(ERROR_RESPONSE))
            fail_msg("%s was found", text);
        assert_int_equal(r->error_response->error_code, TW_NOT_FOUND);
        assert_non_null(strstr(r->error_response->error_message, text));
    }
    done(r);
}

static void test_files(void **state UNUSED)
{
    static const char health[] = "grpc/health/v1/health.proto";
    static const struct {
        const char *symbol, *file;
    } symbols[] = {
        {"taskworker.TaskWorkerService", "taskworker.proto"},
        {"taskworker.TaskWorkerService.ExecuteTask", "taskworker.proto"},
        {"taskworker.Task", "taskworker.proto"},
        {"taskworker.Task.State", "taskworker.proto"},
        {"taskworker.Task.RUNNING", "taskworker.proto"},
        {"taskworker.Task.task_id", "taskworker.proto"},
        {"taskworker.ExecuteTaskRequest.EnvEntry", "taskworker.proto"},
        {"grpc.health.v1.Health.Watch", health},
        {"grpc.health.v1.HealthCheckResponse.SERVING", health},
        {"grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto"},
        {"grpc.reflection.v1.ServerReflectionRequest.message_request", "grpc/reflection/v1/reflection.proto"},
        {"grpc.reflection.v1alpha.ErrorResponse", "grpc/reflection/v1alpha/reflection.proto"},
        {"taskworker", NULL},
        {"taskworker.Nothing", NULL},
        {"taskworker.Task.State.RUNNING", NULL},
        {"TaskWorkerService", NULL},
        {"", NULL},
    };
    struct fixture f;
    fixture_init(&f, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++)
        check_file(&f, ASKED(FILE_CONTAINING_SYMBOL), symbols[i].symbol, symbols[i].file);
    check_file(&f, ASKED(FILE_BY_FILENAME), health, health);
    check_file(&f, ASKED(FILE_BY_FILENAME), "health.proto", NULL);
    fixture_done(&f);
}

static void test_extensions_and_nothing(void **state UNUSED)
{
    struct fixture f;
    fixture_init(&f, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    Response *r = ask_text(&f, ASKED(ALL_EXTENSION_NUMBERS_OF_TYPE), "taskworker.Task");
    assert_int_equal(r->message_response_case, ANSWER(ALL_EXTENSION_NUMBERS_RESPONSE));
    assert_string_equal(r->all_extension_numbers_response->base_type_name, "taskworker.Task");
    assert_int_equal(r->all_extension_numbers_response->n_extension_number, 0);
    done(r);
    r = ask_text(&f, ASKED(ALL_EXTENSION_NUMBERS_OF_TYPE), "taskworker.Task.State");
    assert_int_equal(r->error_response->error_code, TW_NOT_FOUND);
    done(r);
    Grpc__Reflection__V1__ExtensionRequest extension = GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;
    extension.containing_type = (char *)"taskworker.Task";
    extension.extension_number = 100;
    Request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    request.host = (char *)"here";
    r = ask(&f, &request);
    assert_int_equal(r->error_response->error_code, TW_INVALID_ARGUMENT);
    done(r);
    request.message_request_case = ASKED(FILE_CONTAINING_EXTENSION);
    request.file_containing_extension = &extension;
    r = ask(&f, &request);
    assert_int_equal(r->error_response->error_code, TW_NOT_FOUND);
    done(r);
    fixture_done(&f);
}

/* A set of two files: b.proto imports a.proto and extends its message M by number 100. */
static const uint8_t two_files[] = "\x0a\x11"
                                   "\x0a\x07"
                                   "a.proto"
                                   "\x12\x01p\x22\x03\x0a\x01M"
                                   "\x0a\x22"
                                   "\x0a\x07"
                                   "b.proto"
                                   "\x12\x01q\x1a\x07"
                                   "a.proto"
                                   "\x3a\x0b\x0a\x01x\x12\x04.p.M\x18\x64";
enum { FIRST_FILE = 0x13 };

static void test_descriptors(void **state UNUSED)
{
    struct descriptors d;
    size_t files[DESCRIPTOR_FILES_MAX];
    assert_int_equal(descriptors_init(&d, two_files, sizeof two_files - 1), 0);
    assert_int_equal(d.n_files, 2);
    assert_int_equal(descriptors_file(&d, "b.proto"), 1);
    assert_int_equal(descriptors_extension(&d, "p.M", 100), 1);
    assert_int_equal(descriptors_extension(&d, "p.M", 101), -1);
    assert_true(descriptors_symbol(&d, "p.M")->is_message);
    assert_false(descriptors_symbol(&d, "q.x")->is_message);
    assert_int_equal(descriptors_with_imports(&d, 1, files), 2);
    assert_int_equal(files[0], 0);
    assert_int_equal(descriptors_with_imports(&d, 0, files), 1);
    descriptors_done(&d);
    for (size_t cut = 1; cut < sizeof two_files - 1; cut++) {
        int r = descriptors_init(&d, two_files, cut);
        assert_true(r == -EBADMSG || (r == 0 && cut == FIRST_FILE));
        descriptors_done(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_services),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_extensions_and_nothing),
        cmocka_unit_test(test_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
