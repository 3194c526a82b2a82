/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to know who somebody is: the check of a token that is right, of one that is not known and of one that is mistyped,
 * among so many of them; reading all of them at the start; and one check of a password, which is not made on the loop.
 *
 *   access_bench FOLDER TOKENS           (FOLDER: an empty one, for its owner alone)
 *
 * Prints nanoseconds (medians of several rounds) and milliseconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "access/accounts.h"
#include "access/password.h"
#include "base/clock.h"
#include "base/parse.h"

enum { ROUNDS = 9, CHECKS = 200000, TOKENS_EACH = 100 };

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "access_bench: %s\n", what);
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct accounts *open_accounts(const char *path)
{
    const struct accounts_options options = {.path = path};
    struct accounts *a = NULL;
    struct token first;
    struct tw_error error;
    if (accounts_open(&options, &a, &first, &error) < 0)
        die(error.message);
    return a;
}

/* The token that has this number. */
static struct token token_number(uint64_t n)
{
    uint8_t secret[TOKEN_SECRET_BYTES] = {0};
    struct token token;
    memcpy(secret, &n, sizeof n);
    token_of_secret(secret, &token);
    return token;
}

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        die(sqlite3_errmsg(db));
}

/* All in one transaction, as nobody else would. */
static void fill(const char *path, uint64_t tokens)
{
    sqlite3 *db;
    char sql[400], hex[2 * TOKEN_DIGEST_BYTES + 1];
    if (sqlite3_open(path, &db) != SQLITE_OK)
        die("cannot open the database");
    run(db, "BEGIN");
    for (uint64_t i = 0; i < tokens; i++) {
        unsigned long long user = i / TOKENS_EACH;
        struct token token = token_number(i);
        if (i % TOKENS_EACH == 0) {
            snprintf(sql, sizeof sql,
                "INSERT INTO users (id, name, role, disabled, generation, created_us, changed_us) "
                "VALUES (%llu, 'user-%llu', 1, 0, 1, 1, 1)",
                user + 100, user);
            run(db, sql);
        }
        for (size_t k = 0; k < TOKEN_DIGEST_BYTES; k++)
            snprintf(hex + 2 * k, 3, "%02x", token.digest[k]);
        snprintf(sql, sizeof sql,
            "INSERT INTO tokens (digest, user, name, role, created_us, expires_us, first) "
            "VALUES (x'%s', %llu, 't%llu', 1, 1, 0, 0)",
            hex, user + 100, (unsigned long long)i);
        run(db, sql);
    }
    run(db, "COMMIT");
    sqlite3_close(db);
}

/* Over as many texts as there are, so that not all of it lies in the processor's nearest cache. */
static double check_ns(struct accounts *a, const struct token *texts, size_t n, enum accounts_verdict expected)
{
    double ns[ROUNDS];
    struct who who;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t begun = clock_monotonic_us();
        for (size_t i = 0; i < CHECKS; i++) {
            if (accounts_check_token(a, texts[i * 7919 % n].text, TOKEN_TEXT_LEN, 2, &who) != expected)
                die("not the verdict that was expected");
        }
        ns[round] = (double)(clock_monotonic_us() - begun) * 1000 / CHECKS;
    }
    qsort(ns, ROUNDS, sizeof *ns, compare);
    return ns[ROUNDS / 2];
}

static double password_ms(void)
{
    const struct password_cost usual = {0};
    struct password_hash hash;
    double ms[ROUNDS];
    if (password_hash("correct horse", 13, &usual, &hash) < 0)
        die("out of memory");
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t begun = clock_monotonic_us();
        if (password_matches(&hash, "correct horse", 13) != 1)
            die("not the password");
        ms[round] = (double)(clock_monotonic_us() - begun) / 1000;
    }
    qsort(ms, ROUNDS, sizeof *ms, compare);
    return ms[ROUNDS / 2];
}

int main(int argc, char **argv)
{
    uint64_t tokens;
    char path[400];
    if (argc != 3 || parse_u64(argv[2], 1, 1000000, &tokens) < 0 || strlen(argv[1]) > 300)
        die("usage: access_bench FOLDER TOKENS");
    snprintf(path, sizeof path, "%s/accounts.db", argv[1]);
    accounts_close(open_accounts(path));
    fill(path, tokens);
    uint64_t begun = clock_monotonic_us();
    struct accounts *a = open_accounts(path);
    double open_ms = (double)(clock_monotonic_us() - begun) / 1000;
    struct token *texts = calloc(tokens, sizeof *texts);
    if (!texts)
        die("out of memory");
    for (uint64_t i = 0; i < tokens; i++)
        texts[i] = token_number(i);
    double right = check_ns(a, texts, tokens, ACCOUNTS_OK);
    for (uint64_t i = 0; i < tokens; i++)
        texts[i] = token_number(tokens + i);
    double unknown = check_ns(a, texts, tokens, ACCOUNTS_UNKNOWN);
    for (uint64_t i = 0; i < tokens; i++)
        texts[i].text[TOKEN_TEXT_LEN / 2] = texts[i].text[TOKEN_TEXT_LEN / 2] == 'A' ? 'B' : 'A';
    double mistyped = check_ns(a, texts, tokens, ACCOUNTS_MISTYPED);
    printf("right_ns %.0f unknown_ns %.0f mistyped_ns %.0f open_ms %.1f password_ms %.1f\n", right, unknown, mistyped,
        open_ms, password_ms());
    free(texts);
    accounts_close(a);
    return 0;
}
