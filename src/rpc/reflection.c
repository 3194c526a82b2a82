/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/reflection.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/util.h"
#include "rpc/descriptors.h"
#include "rpc/server_internal.h"

#include "reflection.pb-c.h"

/* Written by proto/embed.sh from all that proto/meson.build says is served. */
extern const unsigned char proto_served[];
extern const size_t proto_served_len;

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;
#define ASKED(what) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##what
#define ANSWER(what) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##what

struct rpc_reflection {
    struct rpc_server *server;
    struct descriptors descriptors;
};

/* One request on its way to its one response. */
struct question {
    struct rpc_reflection *reflection;
    struct rpc_call *call;
    Response response;
};

static void reply_error(struct question *q, enum tw_code code, const char *what, const char *name)
{
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    char text[400];
    snprintf(text, sizeof text, "%s%.300s", what, name);
    error.error_code = (int32_t)code;
    error.error_message = text;
    q->response.message_response_case = ANSWER(ERROR_RESPONSE);
    q->response.error_response = &error;
    rpc_call_send(q->call, &q->response.base);
}

static void reply_file(struct question *q, ptrdiff_t file, const char *what, const char *name)
{
    const struct descriptors *d = &q->reflection->descriptors;
    if (file < 0) {
        reply_error(q, TW_NOT_FOUND, what, name);
        return;
    }
    size_t files[DESCRIPTOR_FILES_MAX], n = descriptors_with_imports(d, (size_t)file, files);
    ProtobufCBinaryData bytes[DESCRIPTOR_FILES_MAX];
    for (size_t i = 0; i < n; i++) {
        const struct descriptor_file *f = &d->files[files[n - 1 - i]]; /* the one that was asked for comes first */
        bytes[i] = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)f->data, .len = f->len};
    }
    Grpc__Reflection__V1__FileDescriptorResponse response = GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    response.n_file_descriptor_proto = n;
    response.file_descriptor_proto = bytes;
    q->response.message_response_case = ANSWER(FILE_DESCRIPTOR_RESPONSE);
    q->response.file_descriptor_response = &response;
    rpc_call_send(q->call, &q->response.base);
}

static void reply_extension_numbers(struct question *q, const char *type)
{
    const struct descriptors *d = &q->reflection->descriptors;
    const struct descriptor_symbol *symbol = descriptors_symbol(d, type);
    if (!symbol || !symbol->is_message) {
        reply_error(q, TW_NOT_FOUND, "no such message type: ", type);
        return;
    }
    size_t n = 0, i = 0;
    for (const struct descriptor_extension *e = d->extensions; e; e = e->next)
        n += !strcmp(e->extendee, type);
    CLEANUP_FREE int32_t *numbers = calloc(n + 1, sizeof *numbers);
    if (!numbers) {
        rpc_call_finish(q->call, TW_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    for (const struct descriptor_extension *e = d->extensions; e; e = e->next) {
        if (!strcmp(e->extendee, type))
            numbers[i++] = e->number;
    }
    Grpc__Reflection__V1__ExtensionNumberResponse response = GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
    response.base_type_name = (char *)(uintptr_t)type;
    response.n_extension_number = n;
    response.extension_number = numbers;
    q->response.message_response_case = ANSWER(ALL_EXTENSION_NUMBERS_RESPONSE);
    q->response.all_extension_numbers_response = &response;
    rpc_call_send(q->call, &q->response.base);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The services in the server's method table, sorted, each once, into names[] (as many as there are methods). */
static size_t service_names(const struct rpc_server *server, char **names)
{
    size_t n = 0, unique = 0;
    for (const struct method_entry *e = server->entries; e; e = e->next) {
        const char *path = e->method->name, *slash = strrchr(path, '/');
        char *name = slash && slash > path ? strndup(path + 1, (size_t)(slash - path - 1)) : NULL;
        if (name)
            names[n++] = name;
    }
    qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 0; i < n; i++) {
        if (unique && !strcmp(names[unique - 1], names[i]))
            free(names[i]);
        else
            names[unique++] = names[i];
    }
    return unique;
}

static void reply_services(struct question *q)
{
    const struct rpc_server *server = q->reflection->server;
    size_t max = server->methods.count + 1;
    CLEANUP_FREE char **names = calloc(max, sizeof *names);
    CLEANUP_FREE Grpc__Reflection__V1__ServiceResponse *services = calloc(max, sizeof *services);
    CLEANUP_FREE Grpc__Reflection__V1__ServiceResponse **list = calloc(max, sizeof(void *));
    if (!names || !services || !list) {
        rpc_call_finish(q->call, TW_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    Grpc__Reflection__V1__ListServiceResponse response = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    response.n_service = service_names(server, names);
    response.service = list;
    for (size_t i = 0; i < response.n_service; i++) {
        grpc__reflection__v1__service_response__init(&services[i]);
        services[i].name = names[i];
        list[i] = &services[i];
    }
    q->response.message_response_case = ANSWER(LIST_SERVICES_RESPONSE);
    q->response.list_services_response = &response;
    rpc_call_send(q->call, &q->response.base);
    for (size_t i = 0; i < response.n_service; i++)
        free(names[i]);
}

static void answer(struct question *q, const Request *request)
{
    const struct descriptors *d = &q->reflection->descriptors;
    switch (request->message_request_case) {
    case ASKED(FILE_BY_FILENAME):
        reply_file(q, descriptors_file(d, request->file_by_filename), "no such file: ", request->file_by_filename);
        break;
    case ASKED(FILE_CONTAINING_SYMBOL): {
        const struct descriptor_symbol *s = descriptors_symbol(d, request->file_containing_symbol);
        reply_file(q, s ? (ptrdiff_t)s->file : -1, "no such symbol: ", request->file_containing_symbol);
        break;
    }
    case ASKED(FILE_CONTAINING_EXTENSION): {
        const Grpc__Reflection__V1__ExtensionRequest *e = request->file_containing_extension;
        reply_file(q, descriptors_extension(d, e->containing_type, e->extension_number), "no such extension of ",
            e->containing_type);
        break;
    }
    case ASKED(ALL_EXTENSION_NUMBERS_OF_TYPE):
        reply_extension_numbers(q, request->all_extension_numbers_of_type);
        break;
    case ASKED(LIST_SERVICES):
        reply_services(q);
        break;
    default:
        reply_error(q, TW_INVALID_ARGUMENT, "the request asks nothing that is known here", "");
        break;
    }
}

static void on_message(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    Request *request = grpc__reflection__v1__server_reflection_request__unpack(NULL, len, msg);
    if (!request) {
        rpc_call_finish(call, TW_INTERNAL, "the request is not a ServerReflectionRequest");
        return;
    }
    struct question q = {.reflection = ctx, .call = call};
    grpc__reflection__v1__server_reflection_response__init(&q.response);
    q.response.valid_host = request->host;
    q.response.original_request = request;
    answer(&q, request);
    grpc__reflection__v1__server_reflection_request__free_unpacked(request, NULL);
}

static void on_half_close(struct rpc_call *call, void *ctx UNUSED)
{
    rpc_call_finish(call, TW_OK, NULL);
}

#define METHOD "/ServerReflectionInfo"
static const struct rpc_method methods[] = {
    {.name = "/grpc.reflection.v1.ServerReflection" METHOD,
        .max_request = 16384,
        .lasting = true,
        .on_message = on_message,
        .on_half_close = on_half_close},
    {.name = "/grpc.reflection.v1alpha.ServerReflection" METHOD,
        .max_request = 16384,
        .lasting = true,
        .on_message = on_message,
        .on_half_close = on_half_close},
    {.name = NULL},
};

int rpc_reflection_new(struct rpc_server *server, struct rpc_reflection **ret, struct tw_error *error)
{
    struct rpc_reflection *reflection = calloc(1, sizeof *reflection);
    if (!reflection)
        return error_oom(error);
    reflection->server = server;
    int r = descriptors_init(&reflection->descriptors, proto_served, proto_served_len);
    if (r == 0)
        r = rpc_server_add_methods(server, methods, reflection);
    if (r < 0) {
        rpc_reflection_free(reflection);
        return error_set_errno(error, r, "cannot add server reflection");
    }
    *ret = reflection;
    return 0;
}

void rpc_reflection_free(struct rpc_reflection *reflection)
{
    if (!reflection)
        return;
    descriptors_done(&reflection->descriptors);
    free(reflection);
}
