/* SPDX-License-Identifier: Apache-2.0 */
/* The gate in front of a server: who is let in, how often, how long, and what is written down of it. */
#include "harness.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/error.h"
#include "lib/gate.h"

static const uint8_t empty_message[5] = {0};

struct fixture {
    char folder[64], accounts[96], audit[96];
    struct harness h;
    struct raw raw;
    struct gate *gate;
    struct token token; /* the last one that was made */
};

static int authorize(void *ctx, const struct rpc_call *call, struct who *ret, struct tw_error *error)
{
    return gate_authorize(((struct fixture *)ctx)->gate, call, ret, error);
}

static void on_finished(void *ctx, const struct rpc_call *call, enum tw_code code)
{
    gate_on_finished(((struct fixture *)ctx)->gate, call, code);
}

static void begin(struct fixture *f, uint32_t requests)
{
    struct tw_error error = {0};
    *f = (struct fixture){.folder = "/tmp/gate-XXXXXX"};
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->accounts, sizeof f->accounts, "%s/accounts", f->folder);
    snprintf(f->audit, sizeof f->audit, "%s/audit", f->folder);
    harness_init(
        &f->h, &(struct rpc_server_options){.authorize = authorize, .on_finished = on_finished, .authorize_ctx = f});
    const struct tw_access_options options = {
        .size = sizeof options, .path = f->accounts, .audit_path = f->audit, .max_requests = requests};
    if (gate_open(&f->h.loop, &options, &f->gate, &error) < 0)
        fail_msg("%s", error.message);
    f->gate->server = f->h.server;
    raw_init(&f->raw, &f->h, 65535);
}

static void on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static int remove_entry(const char *path, const struct stat *st UNUSED, int kind UNUSED, struct FTW *where UNUSED)
{
    return remove(path);
}

static void end(struct fixture *f)
{
    bool closed = false;
    raw_done(&f->raw);
    f->gate->server = NULL;
    gate_close(f->gate, on_closed, &closed);
    RUN_UNTIL(&f->h, closed);
    f->gate = NULL;
    harness_done(&f->h);
    assert_int_equal(nftw(f->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* A user with a token, in f->token. */
static void add(struct fixture *f, const char *name, enum role role, uint64_t expires_us)
{
    struct tw_error error = {0};
    if (accounts_add_user(f->gate->accounts, name, role, &error) < 0 ||
        accounts_add_token(f->gate->accounts, name, "t", role, expires_us, &f->token, &error) < 0)
        fail_msg("%s", error.message);
}

static struct raw_stream *call(struct fixture *f, const char *method, const char *token)
{
    char bearer[80];
    snprintf(bearer, sizeof bearer, "Bearer %s", token ? token : "");
    const char *const headers[] = {"authorization", bearer, NULL};
    return raw_call(&f->raw, method, empty_message, 5, true, token ? headers : NULL);
}

static void expect(struct fixture *f, const char *method, const char *token, enum tw_code code, const char *words)
{
    struct raw_stream *s = call(f, method, token);
    RUN_UNTIL(&f->h, s->grpc_status >= 0);
    assert_int_equal(s->grpc_status, code);
    if (!strstr(s->message, words))
        fail_msg("\"%s\" has no \"%s\"", s->message, words);
}

static struct raw_stream *wait_as(struct fixture *f, const char *token)
{
    unsigned before = f->h.echo.waiting;
    struct raw_stream *s = call(f, SERVICE "WaitTask", token);
    RUN_UNTIL(&f->h, f->h.echo.waiting == before + 1 || s->grpc_status >= 0);
    assert_int_equal(s->grpc_status, -1);
    return s;
}

/* --- who is let in --- */

static void test_who_is_let_in(void **state UNUSED)
{
    struct fixture f;
    begin(&f, 0);
    add(&f, "vic", ROLE_VIEWER, 0);
    expect(&f, SERVICE "GetStatus", NULL, TW_UNAUTHENTICATED, "send a token");
    expect(&f, SERVICE "GetStatus", "nonsense", TW_UNAUTHENTICATED, "not a token");
    expect(&f, SERVICE "GetStatus", f.token.text, TW_OK, "");
    expect(&f, SERVICE "ExecuteTask", f.token.text, TW_PERMISSION_DENIED, "takes the role submitter");
    expect(&f, "/echo.Echo/Small", f.gate->first.text, TW_PERMISSION_DENIED, "nobody may");
    expect(&f, SERVICE "GetStatus", f.gate->first.text, TW_OK, "");
    wait_as(&f, f.token.text);
    const struct who *who = rpc_call_who(f.h.echo.last_wait);
    assert_string_equal(who->user, "vic");
    assert_int_equal(who->role, ROLE_VIEWER);
    token_wipe(&f.token);
    end(&f);
}

/* --- who may stay --- */

static void change_ends(struct fixture *f, int (*change)(struct fixture *f, struct tw_error *error))
{
    struct tw_error error = {0};
    struct raw_stream *s = wait_as(f, f->token.text), *other = wait_as(f, f->gate->first.text);
    if (change(f, &error) < 0)
        fail_msg("%s", error.message);
    gate_changed(f->gate);
    RUN_UNTIL(&f->h, s->grpc_status >= 0);
    assert_int_equal(s->grpc_status, TW_UNAUTHENTICATED);
    assert_non_null(strstr(s->message, "not let in any more"));
    assert_int_equal(other->grpc_status, -1);
}

static int disable(struct fixture *f, struct tw_error *error)
{
    return accounts_set_disabled(f->gate->accounts, "sue", true, error);
}

static int lower(struct fixture *f, struct tw_error *error)
{
    return accounts_set_role(f->gate->accounts, "sue", ROLE_VIEWER, error);
}

static int drop(struct fixture *f, struct tw_error *error)
{
    return accounts_remove_user(f->gate->accounts, "sue", error);
}

static int revoke_it(struct fixture *f, struct tw_error *error)
{
    char id[TOKEN_ID_LEN + 1];
    token_id(f->token.digest, id);
    return accounts_revoke_token(f->gate->accounts, id, "sue", error);
}

static void test_a_change_ends_what_is_open(void **state UNUSED)
{
    int (*const changes[])(struct fixture * f, struct tw_error * error) = {disable, lower, drop, revoke_it};
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        struct fixture f;
        begin(&f, 0);
        add(&f, "sue", ROLE_SUBMITTER, 0);
        change_ends(&f, changes[i]);
        token_wipe(&f.token);
        end(&f);
    }
}

/* --- how often --- */

static void test_users_have_buckets_of_their_own(void **state UNUSED)
{
    struct fixture f;
    begin(&f, 2); /* and eight at once */
    add(&f, "sue", ROLE_SUBMITTER, 0);
    int refused = 0;
    for (int i = 0; i < 12; i++) {
        struct raw_stream *s = call(&f, SERVICE "GetStatus", f.token.text);
        RUN_UNTIL(&f.h, s->grpc_status >= 0);
        refused += s->grpc_status == TW_RESOURCE_EXHAUSTED;
    }
    assert_in_range(refused, 1, 4);
    expect(&f, SERVICE "GetStatus", f.gate->first.text, TW_OK, "");
    token_wipe(&f.token);
    end(&f);
}

/* --- what is written down --- */

struct seen {
    unsigned denied, submitted;
    char user[AUDIT_USER_MAX + 1];
};

static bool on_entry(void *ctx, const struct audit_entry *entry)
{
    struct seen *seen = ctx;
    seen->denied += !strcmp(entry->action, "access.denied") && entry->outcome == AUDIT_DENIED;
    if (!strcmp(entry->action, "task.submit")) {
        seen->submitted++;
        snprintf(seen->user, sizeof seen->user, "%s", entry->user);
    }
    return true;
}

static void test_what_is_written_down(void **state UNUSED)
{
    struct fixture f;
    struct seen seen = {0};
    struct tw_error error = {0};
    begin(&f, 0);
    add(&f, "sue", ROLE_SUBMITTER, 0);
    expect(&f, SERVICE "ExecuteTask", f.token.text, TW_OK, "");
    expect(&f, SERVICE "GetStatus", f.token.text, TW_OK, ""); /* reading is not */
    expect(&f, SERVICE "GetStatus", NULL, TW_UNAUTHENTICATED, "");
    expect(&f, SERVICE "Shutdown", f.token.text, TW_UNIMPLEMENTED, ""); /* the echo has none */
    assert_int_equal(audit_flush(f.gate->audit), 0);
    assert_int_equal(audit_query(f.audit, &(struct audit_filter){0}, on_entry, &seen, NULL, &error), 0);
    assert_int_equal(seen.denied, 1);
    assert_int_equal(seen.submitted, 1);
    assert_string_equal(seen.user, "sue");
    token_wipe(&f.token);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_let_in),
        cmocka_unit_test(test_a_change_ends_what_is_open),
        cmocka_unit_test(test_users_have_buckets_of_their_own),
        cmocka_unit_test(test_what_is_written_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
