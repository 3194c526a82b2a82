/* SPDX-License-Identifier: Apache-2.0 */
/* Logins on a loop. What is hashed is counted: who is not there costs as much as who is. */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include <sodium.h>
#include <uv.h>

#include "access/logins.h"
#include "fixture.h"

#define RIGHT "correct horse"
#define WRONG "correct mule!"
#define HERE "10.0.0.1"

static const struct password_cost cheap = {.memory = 8192, .passes = 1};
static uint64_t now_us;
static atomic_uint verified, hashed;
static atomic_int no_memory;
static atomic_bool held; /* the thread waits within its next check until it is joined */
static sem_t joined;

int __real_crypto_pwhash_argon2id_str_verify(const char *hash, const char *password, unsigned long long len);
int __wrap_crypto_pwhash_argon2id_str_verify(const char *hash, const char *password, unsigned long long len);
int __real_crypto_pwhash_argon2id_str(
    char *out, const char *password, unsigned long long len, unsigned long long passes, size_t memory);
int __wrap_crypto_pwhash_argon2id_str(
    char *out, const char *password, unsigned long long len, unsigned long long passes, size_t memory);

int __wrap_crypto_pwhash_argon2id_str_verify(const char *hash, const char *password, unsigned long long len)
{
    verified++;
    if (held)
        (void)sem_wait(&joined);
    if (no_memory) {
        errno = ENOMEM;
        return -1;
    }
    return __real_crypto_pwhash_argon2id_str_verify(hash, password, len);
}

int __wrap_crypto_pwhash_argon2id_str(
    char *out, const char *password, unsigned long long len, unsigned long long passes, size_t memory)
{
    hashed++;
    return no_memory ? -1 : __real_crypto_pwhash_argon2id_str(out, password, len, passes, memory);
}

int __real_pthread_join(pthread_t thread, void **ret);
int __wrap_pthread_join(pthread_t thread, void **ret);

int __wrap_pthread_join(pthread_t thread, void **ret)
{
    if (held)
        (void)sem_post(&joined);
    return __real_pthread_join(thread, ret);
}

static uint64_t fake_clock(void)
{
    return now_us;
}

struct node {
    struct fixture *f;
    uv_loop_t loop;
    struct logins *logins;
    bool closed;
};

/* What came of one login. */
struct answer {
    unsigned calls;
    struct who who;
    struct tw_error error;
};

static void on_answer(void *ctx, const struct who *who, const struct tw_error *error)
{
    struct answer *a = ctx;
    assert_true(!who != !error);
    a->calls++;
    if (who)
        a->who = *who;
    if (error)
        a->error = *error;
}

static void start(struct node *n, struct password_cost cost)
{
    const struct logins_options options = {.loop = &n->loop, .accounts = n->f->a, .cost = cost, .clock_us = fake_clock};
    assert_ok(n->f, logins_new(&options, &n->logins, &n->f->error));
}

static void on_closed(void *ctx)
{
    struct node *n = ctx;
    n->closed = true;
}

static void stop(struct node *n)
{
    n->closed = false;
    logins_close(n->logins, on_closed, n);
    while (!n->closed)
        uv_run(&n->loop, UV_RUN_ONCE);
}

static int setup(void **state)
{
    struct node *n = calloc(1, sizeof *n);
    assert_non_null(n);
    fixture_setup((void **)&n->f);
    fixture_open(n->f);
    assert_int_equal(uv_loop_init(&n->loop), 0);
    now_us = 1000 * SECOND;
    no_memory = 0;
    start(n, cheap);
    *state = n;
    return 0;
}

static int teardown(void **state)
{
    struct node *n = *state;
    stop(n);
    assert_int_equal(uv_loop_close(&n->loop), 0);
    fixture_teardown((void **)&n->f);
    free(n);
    return 0;
}

static void wait_for(struct node *n, struct answer *a)
{
    while (!a->calls)
        uv_run(&n->loop, UV_RUN_ONCE);
    assert_int_equal(a->calls, 1);
}

static struct login *begin(
    struct node *n, const char *user, const char *address, const char *password, struct answer *a)
{
    struct login *login = NULL;
    *a = (struct answer){0};
    assert_ok(
        n->f, logins_check(n->logins, user, address, password, strlen(password), on_answer, a, &login, &n->f->error));
    assert_int_equal(a->calls, 0);
    return login;
}

static enum tw_code check(struct node *n, const char *user, const char *address, const char *password)
{
    struct answer a;
    (void)begin(n, user, address, password, &a);
    wait_for(n, &a);
    n->f->error = a.error;
    if (a.error.code == TW_OK) {
        assert_string_equal(a.who.user, user);
        assert_string_equal(a.who.token, "");
        assert_true(accounts_still_valid(n->f->a, &a.who, 1));
    }
    return a.error.code;
}

static void give_password(struct node *n, const char *user, const char *password)
{
    struct answer a = {0};
    struct login *login;
    assert_ok(n->f,
        logins_set_password(n->logins, user, HERE, password, strlen(password), on_answer, &a, &login, &n->f->error));
    wait_for(n, &a);
    assert_int_equal(a.error.code, TW_OK);
    assert_string_equal(a.who.user, user);
}

static void add_ann(struct node *n)
{
    fixture_add_user(n->f, "ann", ROLE_SUBMITTER);
    give_password(n, "ann", RIGHT);
}

static void test_right_and_wrong(void **state)
{
    struct node *n = *state;
    struct answer a;
    add_ann(n);
    (void)begin(n, "ann", HERE, RIGHT, &a);
    wait_for(n, &a);
    assert_int_equal(a.error.code, TW_OK);
    assert_int_equal(a.who.role, ROLE_SUBMITTER);
    assert_int_equal(a.who.user_id, fixture_user(n->f, "ann").id);
    assert_int_equal(check(n, "ann", HERE, WRONG), TW_UNAUTHENTICATED);
    assert_int_equal(check(n, "ann", HERE, ""), TW_UNAUTHENTICATED);
    fixture_reopen(n->f);
    stop(n);
    start(n, cheap);
    assert_int_equal(check(n, "ann", HERE, RIGHT), TW_OK);
}

/* By neither answer nor work does it show whether there is such a user. */
static void test_nobody_can_tell(void **state)
{
    struct node *n = *state;
    add_ann(n);
    fixture_add_user(n->f, "none", ROLE_SUBMITTER);
    fixture_add_user(n->f, "off", ROLE_SUBMITTER);
    give_password(n, "off", RIGHT);
    assert_ok(n->f, accounts_set_disabled(n->f->a, "off", true, &n->f->error));
    static const struct {
        const char *user, *password;
    } cases[] = {{"ann", WRONG}, {"ghost", RIGHT}, {"none", RIGHT}, {"none", ""}, {"off", RIGHT}, {"off", WRONG},
        {"", RIGHT}, {"../etc", RIGHT}, {"\xff", RIGHT}};
    assert_int_equal(check(n, "ann", HERE, WRONG), TW_UNAUTHENTICATED);
    const struct tw_error wrong = n->f->error;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unsigned before = verified, made = hashed;
        assert_int_equal(check(n, cases[i].user, HERE, cases[i].password), TW_UNAUTHENTICATED);
        assert_string_equal(n->f->error.message, wrong.message);
        assert_int_equal(verified, before + 1);
        assert_int_equal(hashed, made);
    }
    /* And who is not there has to wait just the same. */
    static const char *const users[] = {"ann", "ghost"};
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        struct login *login;
        struct answer a = {0};
        for (int k = 0; k < 4; k++)
            assert_int_equal(check(n, users[i], "10.0.0.9", WRONG), TW_UNAUTHENTICATED);
        assert_fails(n->f, logins_check(n->logins, users[i], "10.0.0.9", WRONG, 5, on_answer, &a, &login, &n->f->error),
            TW_RESOURCE_EXHAUSTED, "too many wrong passwords");
        assert_int_equal(n->f->error.retry_ms, 1000);
    }
}

static void test_delay(void **state)
{
    struct node *n = *state;
    struct answer a = {0};
    struct login *login;
    add_ann(n);
    for (int i = 0; i < 4; i++)
        assert_int_equal(check(n, "ann", HERE, WRONG), TW_UNAUTHENTICATED);
    unsigned before = verified;
    assert_fails(n->f, logins_check(n->logins, "ann", HERE, RIGHT, 13, on_answer, &a, &login, &n->f->error),
        TW_RESOURCE_EXHAUSTED, "try again in 1 s");
    assert_int_equal(verified, before);
    /* The owner is somewhere else and does not notice; that does not help the other one either. */
    assert_int_equal(check(n, "ann", "10.0.0.2", RIGHT), TW_OK);
    assert_fails(n->f, logins_check(n->logins, "ann", HERE, RIGHT, 13, on_answer, &a, &login, &n->f->error),
        TW_RESOURCE_EXHAUSTED, "try again in 1 s");
    now_us += SECOND;
    assert_int_equal(check(n, "ann", HERE, RIGHT), TW_OK);
    for (int i = 0; i < 4; i++) /* all is forgotten by then */
        assert_int_equal(check(n, "ann", HERE, WRONG), TW_UNAUTHENTICATED);
}

static void test_queue(void **state)
{
    struct node *n = *state;
    struct answer answers[LOGINS_QUEUED_MAX + 1] = {0}, other = {0};
    struct login *login;
    size_t in = 0;
    /* The thread may have done some by then, but they count until the loop has had them. */
    for (int address = 0; in < LOGINS_QUEUED_MAX; address++) {
        char text[20];
        snprintf(text, sizeof text, "10.0.1.%d", address);
        for (int i = 0; i < LOGINS_ADDRESS_MAX; i++)
            (void)begin(n, i % 2 ? "ghost" : "ann", text, WRONG, &answers[in++]);
        if (in < LOGINS_QUEUED_MAX)
            assert_fails(n->f, logins_check(n->logins, "bob", text, WRONG, 5, on_answer, &other, &login, &n->f->error),
                TW_RESOURCE_EXHAUSTED, "waiting");
    }
    assert_fails(n->f, logins_check(n->logins, "ann", "10.0.2.1", WRONG, 5, on_answer, &other, &login, &n->f->error),
        TW_RESOURCE_EXHAUSTED, "waiting");
    assert_true(n->f->error.retry_ms > 0);
    for (size_t i = 0; i < in; i++)
        wait_for(n, &answers[i]);
    assert_int_equal(other.calls, 0);
    assert_int_equal(check(n, "ann", "10.0.2.1", WRONG), TW_UNAUTHENTICATED);
}

static void test_rehash(void **state)
{
    struct node *n = *state;
    static const struct password_cost dearer = {.memory = 16384, .passes = 2};
    struct who before;
    add_ann(n);
    assert_ok(n->f, accounts_who(n->f->a, "ann", &before, &n->f->error));
    stop(n);
    start(n, dearer);
    assert_int_equal(check(n, "ann", HERE, WRONG), TW_UNAUTHENTICATED);
    assert_non_null(strstr(accounts_hash(n->f->a, "ann"), "$m=8,t=1,"));
    assert_int_equal(check(n, "ann", HERE, RIGHT), TW_OK);
    assert_non_null(strstr(accounts_hash(n->f->a, "ann"), "$m=16,t=2,"));
    assert_true(accounts_still_valid(n->f->a, &before, 1)); /* it is the same password */
    unsigned made = hashed;
    assert_int_equal(check(n, "ann", HERE, RIGHT), TW_OK);
    assert_int_equal(hashed, made);
}

static void test_set_password(void **state)
{
    struct node *n = *state;
    struct answer a = {0};
    struct login *login;
    struct who before;
    add_ann(n);
    assert_ok(n->f, accounts_who(n->f->a, "ann", &before, &n->f->error));
    assert_fails(n->f, logins_set_password(n->logins, "ann", HERE, "short", 5, on_answer, &a, &login, &n->f->error),
        TW_INVALID_ARGUMENT, "10 to 1024");
    assert_fails(n->f, logins_set_password(n->logins, "bob", HERE, RIGHT, 13, on_answer, &a, &login, &n->f->error),
        TW_NOT_FOUND, "'bob'");
    static char longest[PASSWORD_MAX + 1];
    assert_fails(n->f,
        logins_check(n->logins, "ann", HERE, longest, sizeof longest, on_answer, &a, &login, &n->f->error),
        TW_INVALID_ARGUMENT, "1024");
    give_password(n, "ann", WRONG);
    assert_false(accounts_still_valid(n->f->a, &before, 1));
    assert_int_equal(check(n, "ann", HERE, RIGHT), TW_UNAUTHENTICATED);
    assert_int_equal(check(n, "ann", HERE, WRONG), TW_OK);
    /* Of one who is disabled as well; it lets nobody in. */
    assert_ok(n->f, accounts_set_disabled(n->f->a, "ann", true, &n->f->error));
    give_password(n, "ann", RIGHT);
    assert_int_equal(check(n, "ann", HERE, RIGHT), TW_UNAUTHENTICATED);
    assert_int_equal(a.calls, 0);
}

/* The account is changed while the password is looked at. */
static void test_changed_meanwhile(void **state)
{
    struct node *n = *state;
    struct answer a;
    add_ann(n);
    for (int change = 0; change < 4; change++) {
        (void)begin(n, "ann", HERE, RIGHT, &a);
        if (change == 0)
            assert_ok(n->f, accounts_set_role(n->f->a, "ann", ROLE_ADMIN, &n->f->error));
        else if (change == 1)
            assert_ok(n->f, accounts_set_disabled(n->f->a, "ann", true, &n->f->error));
        else if (change == 2)
            assert_ok(n->f, accounts_set_disabled(n->f->a, "ann", false, &n->f->error));
        else
            assert_ok(n->f, accounts_remove_user(n->f->a, "ann", &n->f->error));
        wait_for(n, &a);
        assert_int_equal(a.error.code, TW_UNAUTHENTICATED);
        now_us += 1000 * SECOND;
    }
    struct login *login;
    fixture_add_user(n->f, "bob", ROLE_SUBMITTER);
    a = (struct answer){0};
    assert_ok(n->f, logins_set_password(n->logins, "bob", HERE, RIGHT, 13, on_answer, &a, &login, &n->f->error));
    assert_ok(n->f, accounts_remove_user(n->f->a, "bob", &n->f->error));
    wait_for(n, &a);
    assert_int_equal(a.error.code, TW_NOT_FOUND);
}

static void test_no_memory(void **state)
{
    struct node *n = *state;
    struct answer a = {0};
    struct login *login;
    add_ann(n);
    no_memory = 1;
    for (int i = 0; i < 10; i++) /* it is nobody's fault */
        assert_int_equal(check(n, "ann", HERE, RIGHT), TW_RESOURCE_EXHAUSTED);
    assert_int_equal(check(n, "ghost", HERE, RIGHT), TW_RESOURCE_EXHAUSTED);
    assert_ok(n->f, logins_set_password(n->logins, "ann", HERE, WRONG, 13, on_answer, &a, &login, &n->f->error));
    wait_for(n, &a);
    assert_int_equal(a.error.code, TW_RESOURCE_EXHAUSTED);
    /* Nor is there a hash for those who are not there. */
    stop(n);
    start(n, cheap);
    assert_int_equal(check(n, "ghost", HERE, RIGHT), TW_RESOURCE_EXHAUSTED);
    no_memory = 0;
    unsigned before = verified + hashed;
    assert_int_equal(check(n, "ghost", HERE, RIGHT), TW_UNAUTHENTICATED);
    assert_int_equal(verified + hashed, before + 2);
    assert_int_equal(check(n, "ghost", HERE, RIGHT), TW_UNAUTHENTICATED);
    assert_int_equal(verified + hashed, before + 3);
    assert_int_equal(check(n, "ann", HERE, RIGHT), TW_OK);
}

static void test_cancel(void **state)
{
    struct node *n = *state;
    struct answer answers[4];
    struct login *logins[4];
    add_ann(n);
    for (int round = 0; round < 20; round++) {
        now_us += 10000 * SECOND;
        for (size_t i = 0; i < ARRAY_LEN(answers); i++)
            logins[i] = begin(n, "ann", HERE, RIGHT, &answers[i]);
        login_cancel(logins[round % 4]); /* waiting, being looked at, or done */
        for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
            if ((int)i != round % 4)
                wait_for(n, &answers[i]);
        }
        assert_int_equal(answers[round % 4].calls, 0);
    }
}

struct canceller {
    struct answer answer;
    struct login *other;
};

static void on_answer_cancel(void *ctx, const struct who *who, const struct tw_error *error)
{
    struct canceller *c = ctx;
    on_answer(&c->answer, who, error);
    login_cancel(c->other);
}

/* What is under way then is answered, and an answer may call the others off; none comes twice. */
static void test_close(void **state)
{
    struct node *n = *state;
    struct canceller second = {0};
    struct answer first, cancelled, last, late = {0};
    struct login *login;
    add_ann(n);
    assert_int_equal(sem_init(&joined, 0, 0), 0);
    held = true;
    (void)begin(n, "ann", HERE, RIGHT, &first);
    assert_ok(n->f, logins_check(n->logins, "ann", HERE, RIGHT, 13, on_answer_cancel, &second, &login, &n->f->error));
    second.other = begin(n, "ann", HERE, RIGHT, &cancelled);
    (void)begin(n, "bob", HERE, RIGHT, &last);
    n->closed = false;
    logins_close(n->logins, on_closed, n);
    held = false;
    assert_fails(n->f, logins_check(n->logins, "ann", "10.0.0.2", RIGHT, 13, on_answer, &late, &login, &n->f->error),
        TW_UNAVAILABLE, "stopping");
    assert_int_equal(first.calls, 0); /* not from within */
    while (!n->closed)
        uv_run(&n->loop, UV_RUN_ONCE);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.answer.calls, 1);
    assert_int_equal(second.answer.error.code, TW_UNAVAILABLE);
    assert_int_equal(cancelled.calls, 0);
    assert_int_equal(last.calls, 1);
    assert_int_equal(last.error.code, TW_UNAVAILABLE);
    assert_int_equal(late.calls, 0);
    assert_int_equal(sem_destroy(&joined), 0);
    start(n, cheap);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_right_and_wrong),
        TEST(test_nobody_can_tell),
        TEST(test_delay),
        TEST(test_queue),
        TEST(test_rehash),
        TEST(test_set_password),
        TEST(test_changed_meanwhile),
        TEST(test_no_memory),
        TEST(test_cancel),
        TEST(test_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
