/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request: MHD calls web_on_request() when its headers are there, for each piece of its body, and at its end, and once more when it was
 * resumed with an answer. What can be refused by its headers is refused before its body comes.
 */
#include "web/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/parse.h"
#include "base/text.h"
#include "base/util.h"
#include "web/address.h"
#include "web/stream.h"

#define COOKIE_NAME "hivemind_session"

enum { CALL_SECONDS = 30, VALUES_MAX = 200000, PARAM_MAX = 4096, BODIES_RETRY_MS = 1000 };

struct web *web_of(const struct web_request *request)
{
    return request->web;
}

const char *web_request_segment(const struct web_request *request)
{
    return request->segment;
}

const struct web_route *web_request_route(const struct web_request *request)
{
    return request->route;
}

bool web_request_has_body(const struct web_request *request)
{
    return request->body.len > 0;
}

const char *web_request_token(const struct web_request *request)
{
    return request->token;
}

const char *web_request_header(const struct web_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

bool web_request_is_secure(const struct web_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info && info->tls_session;
}

/* --- answering --- */

/* Unless the answer says otherwise. */
static const char *const fixed_headers[][2] = {
    {"Cache-Control", "no-store"},
    {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

void web_answer(struct web_request *r, unsigned status, struct MHD_Response *response)
{
    for (size_t i = 0; response && i < ARRAY_LEN(fixed_headers); i++)
        if (!MHD_get_response_header(response, fixed_headers[i][0]))
            (void)MHD_add_response_header(response, fixed_headers[i][0], fixed_headers[i][1]);
    if (response && *r->cookie)
        (void)MHD_add_response_header(response, "Set-Cookie", r->cookie);
    r->response = response;
    r->status = status;
    if (r->suspended) {
        r->suspended = false;
        MHD_resume_connection(r->connection);
        web_wake(r->web);
    }
}

/* NULL: no memory. */
static struct MHD_Response *make_response(json_t *body, const char *type)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE) : NULL;
    json_decref(body);
    if (!response)
        free(text);
    else
        (void)MHD_add_response_header(response, "Content-Type", type);
    return response;
}

void web_reply(struct web_request *r, unsigned status, json_t *body)
{
    web_answer(r, status, body ? make_response(body, "application/json") : NULL);
}

void web_answer_text(struct web_request *r, const char *type, struct buf *body)
{
    size_t len = 0;
    bool whole = !body->error;
    char *text = buf_steal(body, &len);
    struct MHD_Response *response =
        text && whole ? MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE) : NULL;
    if (response)
        (void)MHD_add_response_header(response, "Content-Type", type);
    else
        free(text);
    web_answer(r, MHD_HTTP_OK, response);
}

void web_problem(struct web_request *r, unsigned status, const char *detail, uint32_t retry_ms)
{
    CLEANUP_FREE char *safe = text_printable(detail, strlen(detail), SIZE_MAX, false);
    json_t *body = json_pack("{s:s, s:s, s:i, s:s}", "type", "about:blank", "title", MHD_get_reason_phrase_for(status),
        "status", (int)status, "detail", safe ? safe : "");
    struct MHD_Response *response = make_response(body, "application/problem+json");
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%u", (unsigned)((retry_ms + UINT64_C(999)) / 1000));
    if (response && retry_ms)
        (void)MHD_add_response_header(response, "Retry-After", seconds);
    if (response && status == MHD_HTTP_UNAUTHORIZED)
        (void)MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (response && status == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(response, "Allow", r->segment);
    web_answer(r, status, response);
}

static unsigned status_of(enum tw_code code)
{
    switch (code) {
    case TW_OK:
        return MHD_HTTP_OK;
    case TW_INVALID_ARGUMENT:
    case TW_OUT_OF_RANGE:
        return MHD_HTTP_BAD_REQUEST;
    case TW_UNAUTHENTICATED:
        return MHD_HTTP_UNAUTHORIZED;
    case TW_PERMISSION_DENIED:
        return MHD_HTTP_FORBIDDEN;
    case TW_NOT_FOUND:
        return MHD_HTTP_NOT_FOUND;
    case TW_ALREADY_EXISTS:
    case TW_FAILED_PRECONDITION:
    case TW_ABORTED:
        return MHD_HTTP_CONFLICT;
    case TW_RESOURCE_EXHAUSTED:
        return MHD_HTTP_TOO_MANY_REQUESTS;
    case TW_UNAVAILABLE:
    case TW_CANCELLED:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    case TW_DEADLINE_EXCEEDED:
        return MHD_HTTP_GATEWAY_TIMEOUT;
    default:
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}

void web_problem_of(struct web_request *r, const struct tw_error *error)
{
    web_problem(r, status_of(error->code), error->message,
        error->retry_ms                            ? error->retry_ms
            : error->code == TW_RESOURCE_EXHAUSTED ? 1000
                                                   : 0);
}

void web_set_cookie(struct web_request *r, const char *token, uint64_t seconds)
{
    snprintf(r->cookie, sizeof r->cookie, COOKIE_NAME "=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%llu%s", token,
        (unsigned long long)seconds, web_request_is_secure(r) ? "; Secure" : "");
}

/* --- calls of the service --- */

/* "1.2.3.4:5" or "[::1]:5": whom the service takes the call to be from. */
const char *web_from(const struct web_request *r, char out[static WEB_FROM_MAX])
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    char host[INET6_ADDRSTRLEN];
    if (!address)
        return NULL;
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        snprintf(out, WEB_FROM_MAX, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)(const void *)address;
        inet_ntop(AF_INET, &in4->sin_addr, host, sizeof host);
        snprintf(out, WEB_FROM_MAX, "%s:%u", host, ntohs(in4->sin_port));
    }
    return out;
}

static void on_message(struct rpc_client_call *call UNUSED, const uint8_t *msg, size_t len, void *ctx)
{
    struct web_request *r = ctx;
    if (r->message) {
        r->bad_message = true;
        return;
    }
    r->message = protobuf_c_message_unpack(r->doing.answer, NULL, len, msg);
    r->bad_message = !r->message;
}

static void on_done(struct rpc_client_call *call UNUSED, const struct tw_error *status, void *ctx)
{
    struct web_request *r = ctx;
    struct web_call doing = r->doing;
    ProtobufCMessage *message = STEAL(r->message);
    struct tw_error error = *status;
    r->call = NULL;
    if (error.code == TW_OK && (!message || r->bad_message))
        error_set(&error, TW_INTERNAL, "the service has not answered with one message");
    r->bad_message = false;
    if (error.code == TW_OK)
        doing.done(r, message);
    else if (doing.failed)
        doing.failed(r, &error);
    else
        web_problem_of(r, &error);
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

void web_call(struct web *web, struct web_request *r, const struct web_call *call)
{
    static const struct rpc_client_callbacks callbacks = {.on_message = on_message, .on_done = on_done};
    char from[WEB_FROM_MAX];
    const struct rpc_client_caller caller = {
        .token = *r->token && !call->as_nobody ? r->token : NULL,
        .from = web_from(r, from),
    };
    r->doing = *call;
    r->doing.request = NULL;
    r->call = web->service ? rpc_client_start_for(web->service, &caller, call->method, call->request,
                                 CALL_SECONDS * UINT64_C(1000000), &callbacks, r)
                           : NULL;
    if (!r->call)
        web_problem(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the node is ending, or has no memory left", 0);
}

/* --- what was asked --- */

/* A parsed value takes up to 80 bytes of memory, and three of text: what no request has any use for is not parsed. */
static bool is_simple_enough(const char *text, size_t len)
{
    size_t values = 0;
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        if (quoted && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && (text[i] == ',' || text[i] == '[' || text[i] == '{'))
            values++;
    }
    return values <= VALUES_MAX;
}

const json_t *web_request_json(struct web_request *r)
{
    const char *type = web_request_header(r, "Content-Type");
    size_t n = type ? strcspn(type, "; \t") : 0;
    json_error_t error;
    if (n != strlen("application/json") || strncasecmp(type, "application/json", n) != 0) {
        web_problem(
            r, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "the body has to be JSON, with Content-Type: application/json", 0);
        return NULL;
    }
    if (!is_simple_enough((const char *)r->body.data, r->body.len)) {
        web_problem(r, MHD_HTTP_CONTENT_TOO_LARGE, "the body has too many values", 0);
        return NULL;
    }
    r->json = json_loadb(r->body.len ? (const char *)r->body.data : "", r->body.len, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(r->json))
        return r->json;
    char text[256];
    snprintf(text, sizeof text, "the body is not a JSON object%s%s", r->json ? "" : ": ", r->json ? "" : error.text);
    web_problem(r, MHD_HTTP_BAD_REQUEST, text, 0);
    return NULL;
}

const char *web_request_param(const struct web_request *r, const char *name, char *out, size_t size)
{
    const char *value = MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
    return value && address_decode(value, strlen(value), out, size) ? out : NULL;
}

struct params {
    web_param each;
    void *ctx;
    bool bad, stopped;
};

static enum MHD_Result on_param(void *ctx, enum MHD_ValueKind kind UNUSED, const char *name, const char *value)
{
    struct params *p = ctx;
    char key[128], text[PARAM_MAX];
    if (!value)
        value = "";
    p->bad = !address_decode(name, strlen(name), key, sizeof key) ||
        !address_decode(value, strlen(value), text, sizeof text);
    p->stopped = !p->bad && !p->each(p->ctx, key, text);
    return p->bad || p->stopped ? MHD_NO : MHD_YES;
}

bool web_request_params(struct web_request *r, web_param each, void *ctx)
{
    struct params p = {.each = each, .ctx = ctx};
    MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, on_param, &p);
    if (p.bad)
        web_problem(r, MHD_HTTP_BAD_REQUEST, "a parameter of the address is too long, or is no text", 0);
    return !p.bad && !p.stopped;
}

/* NULL: it was answered. */
static const struct web_route *find_route(struct web_request *r, const char *method, const char *path)
{
    char allowed[64] = "";
    bool head = !strcmp(method, MHD_HTTP_METHOD_HEAD);
    for (size_t i = 0; i < web_n_routes; i++) {
        const struct web_route *route = &web_routes[i];
        if (!address_fits(route->path, path, r->segment, sizeof r->segment))
            continue;
        if (!strcmp(method, route->method) || (head && !strcmp(route->method, MHD_HTTP_METHOD_GET)))
            return route;
        size_t n = strlen(allowed);
        snprintf(allowed + n, sizeof allowed - n, "%s%s", n ? ", " : "", route->method);
    }
    if (!*allowed) {
        web_problem(r, MHD_HTTP_NOT_FOUND, "there is nothing at this path", 0);
        return NULL;
    }
    snprintf(r->segment, sizeof r->segment, "%s", allowed);
    web_problem(r, MHD_HTTP_METHOD_NOT_ALLOWED, "this path takes another method", 0);
    return NULL;
}

/* --- who may have things done --- */

static bool is_loopback_name(const char *host)
{
    size_t n = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    return (n == 9 && !strncasecmp(host, "localhost", n)) || (n == 5 && !strncmp(host, "[::1]", n)) ||
        (!strncmp(host, "127.", 4) && strspn(host, "0123456789.") == n);
}

/*
 * A browser does what any page tells it. Two things keep other sites' pages from here: SameSite of the cookie, and their Origin, which a
 * browser sends with whatever changes something. Where nobody is asked who he is, the name under which the node was reached has to be
 * loopback's as well, so that no other name can be made to lead here.
 */
static bool may_come_from(struct web_request *r)
{
    const char *host = web_request_header(r, "Host"), *origin = web_request_header(r, "Origin");
    if (r->web->options.open && (!host || !is_loopback_name(host))) {
        web_problem(r, MHD_HTTP_MISDIRECTED_REQUEST, "this node is for its own machine: ask for localhost", 0);
        return false;
    }
    const char *name = origin ? strstr(origin, "://") : NULL;
    if (!r->route->changes || !origin || (name && host && !strcasecmp(name + 3, host)))
        return true;
    web_problem(r, MHD_HTTP_FORBIDDEN, "pages of other sites may not do this", 0);
    return false;
}

static bool is_token_text(const char *s)
{
    while (*s > ' ' && *s < 0x7f)
        s++;
    return !*s;
}

/* False: it was answered. */
static bool find_token(struct web_request *r)
{
    const char *header = web_request_header(r, "Authorization"), *cookie;
    if (header && strncasecmp(header, "Bearer ", 7) != 0) {
        web_problem(r, MHD_HTTP_UNAUTHORIZED, "the header Authorization has to be \"Bearer \" and a token", 0);
        return false;
    }
    cookie = MHD_lookup_connection_value(r->connection, MHD_COOKIE_KIND, COOKIE_NAME);
    const char *token = header ? header + 7 + strspn(header + 7, " ") : cookie ? cookie : "";
    r->by_cookie = !header && cookie;
    if (strlen(token) < sizeof r->token && is_token_text(token))
        snprintf(r->token, sizeof r->token, "%s", token);
    if (*r->token || r->route->open || r->web->options.open)
        return true;
    web_problem(
        r, MHD_HTTP_UNAUTHORIZED, "log in first (POST /login), or send a token (Authorization: Bearer TOKEN)", 0);
    return false;
}

/* Whether a body of that length may come. */
static bool body_fits(struct web_request *r)
{
    const char *length = web_request_header(r, "Content-Length");
    uint64_t n = 0;
    if (!length || (parse_u64(length, 0, UINT64_MAX, &n) == 0 && n <= r->route->max_body))
        return true;
    web_problem(r, MHD_HTTP_CONTENT_TOO_LARGE, r->route->max_body ? "the body is too long" : "this takes no body", 0);
    return false;
}

bool web_take_room(struct web_request *r, size_t more)
{
    if (more > WEB_BODIES_MAX - MIN(r->web->held, (size_t)WEB_BODIES_MAX))
        return false;
    r->web->held += more;
    r->held += more;
    return true;
}

/* --- MHD --- */

static enum MHD_Result queue(struct web_request *r)
{
    if (!r->response)
        return MHD_NO; /* out of memory: the connection ends */
    enum MHD_Result result = MHD_queue_response(r->connection, r->status, r->response);
    MHD_destroy_response(STEAL(r->response));
    return result;
}

static enum MHD_Result begin(
    struct web *web, struct MHD_Connection *connection, const char *method, const char *url, void **state)
{
    struct web_request *r = calloc(1, sizeof *r);
    if (!r)
        return MHD_NO;
    r->web = web;
    r->connection = connection;
    list_push(&web->requests, &r->link);
    *state = r;
    r->route = find_route(r, method, url);
    if (r->route) {
        buf_init(&r->body, r->route->max_body);
        r->refused = !(may_come_from(r) && find_token(r) && body_fits(r));
    } else {
        r->refused = true;
    }
    return r->refused ? queue(r) : MHD_YES;
}

enum MHD_Result web_on_request(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version UNUSED, const char *upload, size_t *upload_size, void **state)
{
    struct web *web = ctx;
    struct web_request *r = *state;
    if (!r)
        return begin(web, connection, method, url, state);
    if (*upload_size) {
        /* Without a Content-Length nothing was said about how much would come. */
        r->starved = r->starved || !web_take_room(r, *upload_size);
        if (!r->starved && buf_append(&r->body, upload, *upload_size) < 0)
            return MHD_NO;
        *upload_size = 0;
        return MHD_YES;
    }
    if (!r->begun) {
        r->begun = true;
        if (r->starved)
            web_problem(r, MHD_HTTP_SERVICE_UNAVAILABLE, "too many large requests are under way", BODIES_RETRY_MS);
        else
            r->route->handle(web, r);
        if (!r->response && (r->call || r->stream)) {
            r->suspended = true;
            MHD_suspend_connection(connection);
            return MHD_YES;
        }
    }
    return queue(r);
}

void web_on_completed(void *ctx UNUSED, struct MHD_Connection *connection UNUSED, void **state,
    enum MHD_RequestTerminationCode code UNUSED)
{
    struct web_request *r = *state;
    if (!r)
        return;
    *state = NULL;
    list_remove(&r->link);
    stream_detach(STEAL(r->stream));
    r->web->held -= r->held;
    if (r->response)
        MHD_destroy_response(r->response);
    json_decref(r->json);
    json_decref(r->building);
    explicit_bzero(r->token, sizeof r->token);
    explicit_bzero(r->cookie, sizeof r->cookie);
    if (r->body.data)
        explicit_bzero(r->body.data, r->body.cap);
    buf_done(&r->body);
    free(r);
}
