/* SPDX-License-Identifier: Apache-2.0 */
#include "account_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

/* --- what becomes of durable records --- */

enum { HELD_MAX = 8 };

static struct {
    enum audit_mood mood;
    unsigned n;
    audit_done_fn done[HELD_MAX];
    void *ctx[HELD_MAX];
} log_state;

int __real_audit_write(
    struct audit *audit, const struct audit_record *record, enum audit_mode mode, audit_done_fn done, void *ctx);
int __wrap_audit_write(
    struct audit *audit, const struct audit_record *record, enum audit_mode mode, audit_done_fn done, void *ctx);

int __wrap_audit_write(
    struct audit *audit, const struct audit_record *record, enum audit_mode mode, audit_done_fn done, void *ctx)
{
    if (mode == AUDIT_GROUPED || log_state.mood == AUDIT_WORKS)
        return __real_audit_write(audit, record, mode, done, ctx);
    if (log_state.mood == AUDIT_IS_FULL)
        return -ENOBUFS;
    assert_true(log_state.n < HELD_MAX);
    log_state.done[log_state.n] = done;
    log_state.ctx[log_state.n++] = ctx;
    return 0;
}

void account_set_mood(enum audit_mood mood)
{
    log_state.mood = mood;
}

unsigned account_audit_waiting(void)
{
    return log_state.n;
}

void account_audit_answers(int result)
{
    assert_true(log_state.n > 0);
    audit_done_fn done = log_state.done[0];
    void *ctx = log_state.ctx[0];
    log_state.n--;
    memmove(log_state.done, log_state.done + 1, log_state.n * sizeof log_state.done[0]);
    memmove(log_state.ctx, log_state.ctx + 1, log_state.n * sizeof log_state.ctx[0]);
    done(ctx, result);
}

/* --- beginning and end --- */

static int authorize(void *ctx, const struct rpc_call *call, struct who *ret, struct tw_error *error)
{
    struct account_fixture *f = ctx;
    const char *token = rpc_call_metadata(call, "x-token");
    *ret = (struct who){.role = ROLE_MAX};
    if (!token)
        return 0; /* whether nobody may is what the service has to know as well */
    enum accounts_verdict verdict = accounts_check_token(f->accounts, token, strlen(token), clock_wall_us(), ret);
    return verdict == ACCOUNTS_OK ? 0 : error_set(error, TW_UNAUTHENTICATED, "%s", accounts_verdict_to_string(verdict));
}

static void on_changed(void *ctx)
{
    ((struct account_fixture *)ctx)->changes++;
}

/* Nobody has to be quick, or to wait. */
static uint64_t stopped_clock(void)
{
    return UINT64_C(1000000000000);
}

static void open_access(struct account_fixture *f, const struct account_fixture_options *o)
{
    struct tw_error error = {0};
    const struct accounts_options accounts = {.path = f->accounts_path};
    const struct audit_options audit = {.path = f->audit_path, .loop = &f->h.loop, .max_queued = 1 << 17};
    if (accounts_open(&accounts, &f->accounts, &f->admin, &error) < 0 ||
        (!o->no_audit && audit_open(&audit, &f->audit, &error) < 0))
        fail_msg("%s", error.message);
    /* As cheap as a hash can be: it is not the hash that is tested. */
    const struct logins_options logins = {
        .loop = &f->h.loop, .accounts = f->accounts, .cost = {.memory = 8192, .passes = 1}, .clock_us = stopped_clock};
    if (logins_new(&logins, &f->logins, &error) < 0)
        fail_msg("%s", error.message);
    f->rates = rates_new(16);
    assert_non_null(f->rates);
}

void account_begin_test(struct account_fixture *f, const struct account_fixture_options *options)
{
    static const struct account_fixture_options none = {0};
    const struct account_fixture_options *o = options ? options : &none;
    struct tw_error error = {0};
    *f = (struct account_fixture){.folder = "/tmp/account-XXXXXX"};
    log_state.mood = AUDIT_WORKS;
    log_state.n = 0;
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->accounts_path, sizeof f->accounts_path, "%s/accounts.db", f->folder);
    snprintf(f->audit_path, sizeof f->audit_path, "%s/audit", f->folder);
    harness_init(
        &f->h, &(struct rpc_server_options){.authorize = o->asks_nobody ? NULL : authorize, .authorize_ctx = f});
    struct account_service_options service = {.loop = &f->h.loop};
    if (!o->asks_nobody) {
        open_access(f, o);
        service = (struct account_service_options){.loop = &f->h.loop,
            .accounts = f->accounts,
            .logins = f->logins,
            .audit = f->audit,
            .audit_path = f->audit ? f->audit_path : NULL,
            .rates = f->rates,
            .on_changed = on_changed,
            .ctx = f};
    }
    if (account_service_new(f->h.server, &service, &f->service, &error) < 0)
        fail_msg("%s", error.message);
    raw_init(&f->raw, &f->h, o->window ? o->window : 65535);
}

static void set_true(void *ctx)
{
    *(bool *)ctx = true;
}

static int remove_entry(const char *path, const struct stat *st UNUSED, int kind UNUSED, struct FTW *where UNUSED)
{
    return remove(path);
}

/* In the order in which a worker does it: the server, the service, what the service uses. */
void account_end_test(struct account_fixture *f)
{
    bool stopped = false, closed = !f->logins;
    raw_done(&f->raw);
    rpc_server_free(STEAL(f->h.server));
    account_service_stop(f->service, set_true, &stopped);
    RUN_UNTIL(&f->h, stopped);
    if (f->logins)
        logins_close(f->logins, set_true, &closed);
    RUN_UNTIL(&f->h, closed);
    audit_close(f->audit);
    (void)accounts_close(f->accounts);
    (void)rates_free(f->rates);
    token_wipe(&f->admin);
    harness_done(&f->h);
    assert_int_equal(nftw(f->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* --- people --- */

struct token account_token(
    struct account_fixture *f, const char *user, const char *name, enum role role, uint64_t expires_us)
{
    struct tw_error error = {0};
    struct token token;
    if (accounts_add_token(f->accounts, user, name, role, expires_us, &token, &error) < 0)
        fail_msg("%s", error.message);
    return token;
}

struct token account_person(struct account_fixture *f, const char *name, enum role role)
{
    struct tw_error error = {0};
    if (accounts_add_user(f->accounts, name, role, &error) < 0)
        fail_msg("%s", error.message);
    return account_token(f, name, "first", role, 0);
}

void account_give_password(struct account_fixture *f, const char *user, const char *password)
{
    struct tw_error error = {0};
    struct password_hash hash;
    const struct password_cost cost = {.memory = 8192, .passes = 1};
    assert_int_equal(password_hash(password, strlen(password), &cost, &hash), 0);
    if (accounts_set_password(f->accounts, user, hash.text, &error) < 0)
        fail_msg("%s", error.message);
}

/* --- calls --- */

struct raw_stream *account_ask_bytes(
    struct account_fixture *f, const char *method, const char *token, const void *bytes, size_t len)
{
    char path[100];
    const char *const headers[] = {"x-token", token, NULL};
    struct buf body CLEANUP_BUF = BUF_INIT(1 << 20);
    if (f->raw.count == RAW_STREAMS) {
        bool reading = f->raw.reading;
        raw_done(&f->raw);
        raw_init(&f->raw, &f->h, 65535);
        f->raw.reading = reading;
    }
    snprintf(path, sizeof path, ACCOUNTS "%s", method);
    const uint8_t header[5] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};
    buf_append(&body, header, sizeof header);
    buf_append(&body, bytes, len);
    assert_int_equal(body.error, 0);
    struct raw_stream *s = raw_call(&f->raw, path, body.data, body.len, true, token ? headers : NULL);
    assert_int_equal(s->upload_len, 0);
    return s;
}

struct raw_stream *account_ask(struct account_fixture *f, const char *method, const char *token, const void *request)
{
    uint8_t bytes[4096];
    assert_true(protobuf_c_message_get_packed_size(request) <= sizeof bytes);
    return account_ask_bytes(f, method, token, bytes, protobuf_c_message_pack(request, bytes));
}

void account_expect_stream(struct account_fixture *f, struct raw_stream *s, enum tw_code code, const char *words)
{
    RUN_UNTIL(&f->h, s->grpc_status >= 0);
    if (s->grpc_status != (int)code || !strstr(s->message, words))
        fail_msg("%d \"%s\" instead of %d \"%s\"", s->grpc_status, s->message, (int)code, words);
}

void account_expect(struct account_fixture *f, const char *method, const char *token, const void *request,
    enum tw_code code, const char *words)
{
    account_expect_stream(f, account_ask(f, method, token, request), code, words);
}

void *account_message(const struct raw_stream *s, size_t n, const ProtobufCMessageDescriptor *descriptor)
{
    const uint8_t *p = s->data.data;
    size_t left = s->data.len;
    while (left >= 5) {
        size_t len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
        if (left - 5 < len)
            return NULL;
        if (n-- == 0)
            return protobuf_c_message_unpack(descriptor, NULL, len, p + 5);
        p += 5 + len;
        left -= 5 + len;
    }
    return NULL;
}

void *account_get(struct account_fixture *f, const char *method, const char *token, const void *request,
    const ProtobufCMessageDescriptor *descriptor)
{
    struct raw_stream *s = account_ask(f, method, token, request);
    account_expect_stream(f, s, TW_OK, "");
    void *message = account_message(s, 0, descriptor);
    assert_non_null(message);
    assert_null(account_message(s, 1, descriptor));
    return message;
}

/* --- the log --- */

char *account_audit_text(struct account_fixture *f)
{
    char pattern[120];
    glob_t files;
    struct buf text = BUF_INIT(64 << 20);
    assert_int_equal(audit_flush(f->audit), 0);
    snprintf(pattern, sizeof pattern, "%s/audit-*.jsonl", f->audit_path);
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        char piece[4096];
        ssize_t n;
        int fd = open(files.gl_pathv[i], O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        while ((n = read(fd, piece, sizeof piece)) > 0)
            buf_append(&text, piece, (size_t)n);
        close(fd);
    }
    globfree(&files);
    char *ret = buf_steal(&text, NULL);
    assert_non_null(ret);
    return ret;
}
