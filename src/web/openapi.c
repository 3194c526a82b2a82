/* SPDX-License-Identifier: Apache-2.0 */
/* What there is, as OpenAPI 3.1: made of the table of routes and of the messages of the service, so it says what is true. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "web/handlers.h"
#include "web/internal.h"
#include "web/message.h"

static bool has_body(const struct web_route *route)
{
    return route->max_body > 0;
}

/* "/api/v1/tasks/{task_id}/log" */
static void path_text(const struct web_route *route, char *out, size_t size)
{
    const char *star = strchr(route->path, '*');
    if (star)
        snprintf(out, size, "%.*s{%s}%s", (int)(star - route->path), route->path,
            route->rpc.segment ? route->rpc.segment : "task_id", star + 1);
    else
        snprintf(out, size, "%s", route->path);
}

/* With all messages that it refers to. */
static void add_schema(json_t *schemas, const ProtobufCMessageDescriptor *type)
{
    if (!type || json_object_get(schemas, type->name) ||
        json_object_set_new(schemas, type->name, message_schema(type)) < 0)
        return;
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE && !message_is_map(&type->fields[i]))
            add_schema(schemas, type->fields[i].descriptor);
}

static json_t *reference(const ProtobufCMessageDescriptor *type)
{
    char ref[160];
    snprintf(ref, sizeof ref, "#/components/schemas/%s", type->name);
    return json_pack("{s:{s:{s:{s:s}}}}", "content", "application/json", "schema", "$ref", ref);
}

static json_t *parameters(const struct web_route *route)
{
    json_t *list = json_array();
    const struct web_rpc *rpc = &route->rpc;
    if (strchr(route->path, '*'))
        (void)json_array_append_new(list,
            json_pack("{s:s, s:s, s:b, s:{s:s}}", "name", rpc->segment ? rpc->segment : "task_id", "in", "path",
                "required", 1, "schema", "type", "string"));
    for (unsigned i = 0; rpc->request && !has_body(route) && i < rpc->request->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &rpc->request->fields[i];
        if (rpc->segment && !strcmp(f->name, rpc->segment))
            continue;
        json_t *schema = message_is_map(f)
            ? json_pack("{s:s, s:{s:s, s:s}}", "type", "array", "items", "type", "string", "pattern", "^[^=]+=")
            : message_field_schema(f);
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:o}", "name", f->name, "in", "query", "schema", schema));
    }
    return list;
}

static json_t *operation(const struct web_route *route, json_t *schemas)
{
    const struct web_rpc *rpc = &route->rpc;
    json_t *fine = rpc->answer && route->handle == handle_rpc ? reference(rpc->answer) : json_object();
    (void)json_object_set_new(fine, "description", json_string("It went well."));
    json_t *op = json_pack("{s:s, s:o, s:{s:o, s:{s:s}}}", "summary", route->about ? route->about : "", "parameters",
        parameters(route), "responses", route->handle == handle_submit ? "201" : "200", fine, "default", "$ref",
        "#/components/responses/Problem");
    if (route->open)
        (void)json_object_set_new(op, "security", json_array());
    if (has_body(route) && rpc->request)
        (void)json_object_set_new(op, "requestBody", reference(rpc->request));
    if (rpc->request) {
        add_schema(schemas, rpc->request);
        add_schema(schemas, rpc->answer);
    }
    return op;
}

static json_t *paths(json_t *schemas)
{
    json_t *all = json_object();
    for (size_t i = 0; i < web_n_routes; i++) {
        char path[160], method[16] = "";
        if (!web_routes[i].about) /* a page */
            continue;
        path_text(&web_routes[i], path, sizeof path);
        for (size_t n = 0; web_routes[i].method[n] && n + 1 < sizeof method; n++)
            method[n] = (char)tolower((unsigned char)web_routes[i].method[n]);
        json_t *at = json_object_get(all, path);
        if (!at) {
            at = json_object();
            (void)json_object_set_new(all, path, at);
        }
        (void)json_object_set_new(at, method, operation(&web_routes[i], schemas));
    }
    return all;
}

void handle_openapi(struct web *web UNUSED, struct web_request *r)
{
    json_t *schemas = json_object(), *all = paths(schemas);
    web_reply(r, MHD_HTTP_OK,
        json_pack("{s:s, s:{s:s, s:s, s:s}, s:o, s:{s:o, s:{s:{s:s, s:s}, s:{s:s, s:s, s:s}}, s:{s:{s:s, s:{s:{}}}}},"
                  " s:[{s:[]}, {s:[]}]}",
            "openapi", "3.1.0", "info", "title", "HiveMind Worker", "version", HIVEMIND_VERSION, "description",
            "A compute node. Below /api/v1 each route is a method of the gRPC service, field by field.", "paths", all,
            "components", "schemas", schemas, "securitySchemes", "token", "type", "http", "scheme", "bearer", "session",
            "type", "apiKey", "in", "cookie", "name", "hivemind_session", "responses", "Problem", "description",
            "What went wrong (RFC 9457).", "content", "application/problem+json", "security", "token", "session"));
}
