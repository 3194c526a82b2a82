/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/gate.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/timer.h"

enum {
    DEFAULT_REQUESTS = 5000,
    DEFAULT_SUBMISSIONS = 1000,
    BURST_SECONDS = 4,
    /* All users of an address together may ask for so many times what one may: many may come through one router. */
    ADDRESS_SHARE = 8,
    FAILURES_PER_SECOND = 10, /* of one address, or one user; more of them are not written down */
    FAILURES_BURST = 100,
    LOOK_MS = 10000, /* so long at most somebody whose token has expired stays */
    LOOKS_PER_FLUSH = 6,
    AUDIT_QUEUED = 16384,
};

/* --- what is written down --- */

struct action {
    const char *method, *name;
    bool submits;
};

/* What changes something, in the order of strcmp(). Reading is not written down, but for being refused. */
static const struct action actions[] = {
    {"/taskworker.FileService/CheckFiles", "storage.check", false},
    {"/taskworker.FileService/CollectGarbage", "storage.gc", false},
    {"/taskworker.FileService/DeleteFile", "file.delete", false},
    {"/taskworker.FileService/Push", "file.put", false},
    {"/taskworker.FileService/PushStream", "file.put", false},
    {"/taskworker.FileService/Revise", "file.revise", false},
    {"/taskworker.FileService/ReviseStream", "file.revise", false},
    {"/taskworker.FileService/Synchronous", "file.revise", false},
    {"/taskworker.RPCService/CallFunction", "function.call", true},
    {"/taskworker.TaskWorkerService/ExecuteBatch", "task.submit", true},
    {"/taskworker.TaskWorkerService/ExecuteTask", "task.submit", true},
    {"/taskworker.TaskWorkerService/PauseTask", "task.pause", false},
    {"/taskworker.TaskWorkerService/ResumeTask", "task.resume", false},
    {"/taskworker.TaskWorkerService/RetryTask", "task.retry", true},
    {"/taskworker.TaskWorkerService/Shutdown", "node.shutdown", false},
    {"/taskworker.TaskWorkerService/StopTask", "task.stop", false},
};

static int compare(const void *method, const void *action)
{
    return strcmp(method, ((const struct action *)action)->method);
}

static const struct action *find_action(const char *method)
{
    return bsearch(method, actions, ARRAY_LEN(actions), sizeof *actions, compare);
}

/* Grouped: what cannot be written is counted, and nobody waits. */
static void write_down(struct gate *gate, const struct audit_record *record)
{
    if (gate->audit)
        (void)audit_write(gate->audit, record, AUDIT_GROUPED, NULL, NULL);
}

/* Whether what this user is refused is written down once more. */
static bool may_write_refusal(struct gate *gate, const struct who *who)
{
    const struct rate_key key = rates_key(gate->rates, RATE_USER, who->user, strlen(who->user));
    return rates_take(gate->rates, RATE_LOGIN, &key, 1, clock_monotonic_us(), NULL);
}

/* The buckets of a call's user, address and token. */
static size_t make_keys(
    const struct gate *gate, const struct rpc_call *call, const struct who *who, struct rate_key keys[RATE_SCOPE_MAX])
{
    const struct rates *rates = gate->rates;
    size_t n = 0;
    keys[n++] = rates_key(rates, RATE_USER, who->user, strlen(who->user));
    keys[n++] = rates_key_of_peer(rates, rpc_call_peer_address(call), sizeof(struct sockaddr_storage));
    if (*who->token)
        keys[n++] = rates_key(rates, RATE_TOKEN, who->token, strlen(who->token));
    return n;
}

/* How much a call moves is known at its end only: it is paid for then. */
static void charge_bytes(struct gate *gate, const struct rpc_call *call, const struct who *who)
{
    struct rate_key keys[RATE_SCOPE_MAX];
    if (!gate->counts_bytes)
        return;
    size_t n = make_keys(gate, call, who, keys);
    for (size_t i = 0; i < n; i++)
        rates_owe(gate->rates, RATE_BYTES, &keys[i], rpc_call_bytes(call), clock_monotonic_us());
}

void gate_on_finished(void *ctx, const struct rpc_call *call, enum tw_code code)
{
    const struct action *action = find_action(rpc_call_method(call));
    const struct who *who = rpc_call_who(call);
    bool denied = code == TW_PERMISSION_DENIED || code == TW_UNAUTHENTICATED;
    if (!who || who->role == ROLE_MAX)
        return;
    charge_bytes(ctx, call, who);
    if ((!action && !denied) || (denied && !may_write_refusal(ctx, who)))
        return;
    write_down(ctx,
        &(struct audit_record){
            .user = who->user,
            .token = who->token,
            .from = rpc_call_peer(call),
            .action = action ? action->name : "access.denied",
            .object = action ? rpc_call_object(call) : rpc_call_method(call),
            .detail = code == TW_OK ? "" : error_code_name(code),
            .outcome = code == TW_OK ? AUDIT_OK
                : denied             ? AUDIT_DENIED
                                     : AUDIT_ERROR,
        });
}

/* --- who is it? --- */

static void write_refusal(
    struct gate *gate, const struct rpc_call *call, const char *user, const char *token, const char *why)
{
    write_down(gate,
        &(struct audit_record){
            .user = user,
            .token = token,
            .from = rpc_call_peer(call),
            .action = "access.denied",
            .object = rpc_call_method(call),
            .detail = why,
            .outcome = AUDIT_DENIED,
        });
}

/*
 * Nobody knows who it is. The limit of those who fail is their address's; who is let in is not held up by it, since others may share
 * the address.
 */
static int refuse(struct gate *gate, const struct rpc_call *call, const char *claimed, const char *token,
    const char *why, struct tw_error *error)
{
    const struct rate_key key =
        rates_key_of_peer(gate->rates, rpc_call_peer_address(call), sizeof(struct sockaddr_storage));
    uint64_t retry_us = 0;
    if (!rates_take(gate->rates, RATE_LOGIN, &key, 1, clock_monotonic_us(), &retry_us)) {
        error_set(error, TW_RESOURCE_EXHAUSTED, "too many calls from your address were refused: try again later");
        error->retry_ms = (uint32_t)(retry_us / 1000 + 1);
        return -1;
    }
    write_refusal(gate, call, claimed, token, why);
    return error_set(error, TW_UNAUTHENTICATED, "%s", why);
}

static int refuse_role(struct gate *gate, const struct rpc_call *call, const struct who *who, const struct right *right,
    struct tw_error *error)
{
    if (right)
        error_set(error, TW_PERMISSION_DENIED, "you are %s, and this takes the role %s", role_to_string(who->role),
            role_to_string(right->role));
    else
        error_set(error, TW_PERMISSION_DENIED, "nobody may call this method here");
    if (may_write_refusal(gate, who))
        write_refusal(gate, call, who->user, who->token, error->message);
    return -1;
}

static int refuse_token(struct gate *gate, const struct rpc_call *call, const char *text, size_t len,
    enum accounts_verdict verdict, struct tw_error *error)
{
    uint8_t digest[TOKEN_DIGEST_BYTES];
    char id[TOKEN_ID_LEN + 1] = "";
    if (token_parse(text, len, digest) == TOKEN_RIGHT)
        token_id(digest, id);
    return refuse(gate, call, "", id, accounts_verdict_to_string(verdict), error);
}

static int check_token(
    struct gate *gate, const struct rpc_call *call, const char *header, struct who *ret, struct tw_error *error)
{
    static const char scheme[] = "Bearer ";
    size_t n = sizeof scheme - 1;
    if (strncasecmp(header, scheme, n) != 0)
        return refuse(gate, call, "", "", "the header authorization has to be \"Bearer \" and a token", error);
    const char *text = header + n + strspn(header + n, " ");
    size_t len = strlen(text);
    enum accounts_verdict verdict = accounts_check_token(gate->accounts, text, len, clock_wall_us(), ret);
    return verdict == ACCOUNTS_OK ? 0 : refuse_token(gate, call, text, len, verdict, error);
}

static int check_certificate(
    struct gate *gate, const struct rpc_call *call, const char *name, struct who *ret, struct tw_error *error)
{
    struct tw_error why;
    if (accounts_who(gate->accounts, name, ret, &why) == 0)
        return 0;
    return refuse(gate, call, name, "",
        why.code == TW_PERMISSION_DENIED ? accounts_verdict_to_string(ACCOUNTS_DISABLED)
                                         : "the name in your certificate is not that of a user here",
        error);
}

static int find_caller(struct gate *gate, const struct rpc_call *call, struct who *ret, struct tw_error *error)
{
    const char *header = rpc_call_metadata(call, "authorization"), *name;
    if (rpc_call_metadata_count(call, "authorization") > 1)
        return refuse(gate, call, "", "", "the header authorization is there twice", error);
    if (header)
        return check_token(gate, call, header, ret, error);
    name = rpc_call_peer_identity(call);
    if (name)
        return check_certificate(gate, call, name, ret, error);
    return refuse(gate, call, "", "",
        "this node has to know who you are: send a token (authorization: Bearer TOKEN), or show a certificate", error);
}

/* --- how often? --- */

static int take(struct gate *gate, const struct rpc_call *call, const struct who *who, struct tw_error *error)
{
    struct rate_key keys[RATE_SCOPE_MAX];
    const struct action *action = find_action(rpc_call_method(call));
    uint64_t now = clock_monotonic_us(), retry_us = 0;
    size_t n = make_keys(gate, call, who, keys);
    bool submits = action && action->submits;
    enum rate_kind short_of = RATE_REQUEST;
    bool ok = rates_take_all(gate->rates, RATE_REQUEST, keys, n, 1, now, &retry_us);
    if (ok && submits) {
        short_of = RATE_SUBMISSION;
        ok = rates_take_all(gate->rates, RATE_SUBMISSION, keys, n, 1, now, &retry_us);
    }
    if (ok && gate->counts_bytes) {
        short_of = RATE_BYTES;
        ok = rates_take_all(gate->rates, RATE_BYTES, keys, n, 1, now, &retry_us); /* one: he owes nothing */
    }
    if (ok)
        return 0;
    static const char *const too_much[RATE_KIND_MAX] = {
        [RATE_REQUEST] = "asks too often (requests)",
        [RATE_SUBMISSION] = "asks too often (submissions)",
        [RATE_BYTES] = "has sent and fetched too many bytes",
    };
    uint32_t retry_ms = (uint32_t)MIN(retry_us / 1000 + 1, (uint64_t)UINT32_MAX);
    error_set(error, TW_RESOURCE_EXHAUSTED, "%s %s: try again in %u ms", who->user, too_much[short_of], retry_ms);
    error->retry_ms = retry_ms;
    return -1;
}

/* --- the hook --- */

int gate_authorize(void *ctx, const struct rpc_call *call, struct who *ret, struct tw_error *error)
{
    struct gate *gate = ctx;
    const char *method = rpc_call_method(call);
    const struct right *right = rights_needed(method);
    *ret = (struct who){.role = ROLE_MAX};
    if (right && right->open)
        return 0;
    if (find_caller(gate, call, ret, error) < 0)
        return -1;
    if (!rights_allow(ret->role, method))
        return refuse_role(gate, call, ret, right, error);
    return take(gate, call, ret, error);
}

/* --- who may stay? --- */

static bool is_valid(void *ctx, const struct who *who)
{
    const struct gate *gate = ctx;
    return accounts_still_valid(gate->accounts, who, clock_wall_us());
}

static void look_again(struct gate *gate)
{
    if (gate->server)
        rpc_server_recheck(gate->server, is_valid, gate);
}

static void on_soon(uv_timer_t *timer)
{
    look_again(timer->data);
}

void gate_changed(struct gate *gate)
{
    uv_timer_start(gate->soon, on_soon, TIMER_NEXT_ROUND_MS, 0);
}

static void on_look(uv_timer_t *timer)
{
    struct gate *gate = timer->data;
    struct tw_error error = {0};
    look_again(gate);
    if (++gate->looks % LOOKS_PER_FLUSH != 0)
        return;
    bool failed = accounts_flush(gate->accounts, &error) < 0;
    if (failed && !gate->flush_failed)
        log_warning("when tokens were last used cannot be written: %s", error.message);
    gate->flush_failed = failed;
}

/* --- opening, closing --- */

static struct rate_limit limit_of(uint64_t each, unsigned share)
{
    each = MIN(each, RATE_BURST_MAX) * share;
    return (struct rate_limit){.per_second_milli = MIN(each * 1000, RATE_PER_SECOND_MAX_MILLI),
        .burst = MIN(each * BURST_SECONDS, RATE_BURST_MAX)};
}

static struct rate_limit limit(uint32_t given, uint32_t otherwise, unsigned share)
{
    return limit_of(given == TW_RATE_UNLIMITED ? 0 : given ? given : otherwise, share);
}

static int set_rates(struct gate *gate, const struct tw_access_options *o)
{
    gate->rates = rates_new(0);
    if (!gate->rates)
        return -1;
    for (enum rate_scope scope = 0; scope < RATE_SCOPE_MAX; scope++) {
        unsigned share = scope == RATE_ADDRESS ? ADDRESS_SHARE : 1;
        if (rates_set(gate->rates, RATE_REQUEST, scope, limit(o->max_requests, DEFAULT_REQUESTS, share)) < 0 ||
            rates_set(gate->rates, RATE_SUBMISSION, scope, limit(o->max_submissions, DEFAULT_SUBMISSIONS, share)) < 0 ||
            rates_set(gate->rates, RATE_BYTES, scope, limit_of(o->max_bytes, share)) < 0)
            return -1;
    }
    gate->counts_bytes = o->max_bytes > 0;
    const struct rate_limit failures = {.per_second_milli = FAILURES_PER_SECOND * 1000, .burst = FAILURES_BURST};
    return rates_set(gate->rates, RATE_LOGIN, RATE_USER, failures) < 0 ||
            rates_set(gate->rates, RATE_LOGIN, RATE_ADDRESS, failures) < 0
        ? -1
        : 0;
}

static void free_rest(struct gate *gate)
{
    timer_free(&gate->look);
    timer_free(&gate->soon);
    audit_close(gate->audit);
    (void)accounts_close(gate->accounts);
    (void)rates_free(gate->rates);
    token_wipe(&gate->first);
    free(gate->audit_path);
    free(gate);
}

int gate_open(uv_loop_t *loop, const struct tw_access_options *options, struct gate **ret, struct tw_error *error)
{
    struct gate *gate = calloc(1, sizeof *gate);
    if (!gate)
        return error_oom(error);
    gate->loop = loop;
    gate->look = timer_new(loop, gate);
    gate->soon = timer_new(loop, gate);
    const struct audit_options audit = {.path = options->audit_path, .loop = loop, .max_queued = AUDIT_QUEUED};
    int r = gate->look && gate->soon && set_rates(gate, options) == 0 ? 0 : error_oom(error);
    if (r == 0)
        r = access_open_accounts(options, &gate->accounts, &gate->first, error);
    if (r == 0 && options->audit_path && !(gate->audit_path = strdup(options->audit_path)))
        r = error_oom(error);
    if (r == 0 && options->audit_path)
        r = audit_open(&audit, &gate->audit, error);
    if (r == 0) {
        const struct logins_options logins = {.loop = loop, .accounts = gate->accounts};
        r = logins_new(&logins, &gate->logins, error);
    }
    if (r < 0) {
        free_rest(gate);
        return -1;
    }
    uv_timer_start(gate->look, on_look, LOOK_MS, LOOK_MS);
    *ret = gate;
    return 0;
}

static void on_logins_closed(void *ctx)
{
    struct gate *gate = ctx;
    void (*closed)(void *ctx) = gate->closed;
    void *closed_ctx = gate->closed_ctx;
    free_rest(gate);
    closed(closed_ctx);
}

void gate_close(struct gate *gate, void (*closed)(void *ctx), void *ctx)
{
    if (!gate) {
        closed(ctx);
        return;
    }
    gate->server = NULL;
    gate->closed = closed;
    gate->closed_ctx = ctx;
    logins_close(gate->logins, on_logins_closed, gate);
}
