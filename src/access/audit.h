/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: who did what, from where, when, and what came of it. It is a folder of files that are only ever added to, one
 * JSON object a line, and each line has the hash of the one before:
 *
 *   {"seq":7,"time":"2026-01-31T12:00:00.123Z","user":"ann","token":"t1","from":"10.0.0.1:4711","action":"task.submit",
 *    "object":"4f1c","outcome":"ok","detail":"","prev":"<64 hex digits>","hash":"<64 hex digits>"}
 *
 * in one line, with these members in this order, without white space, ended by a newline. `seq` counts from 1. `time` is UTC, in
 * milliseconds, of a clock that may be set. In strings only " and \ are escaped, as \u0022 and \u005c; there are no control
 * characters, and they are UTF-8. `hash` is the SHA-256 of the line's bytes from its first to the quote that ends the value of
 * `prev`. `prev` is the hash of the record before, in whichever file that is; of the first one it is zeros. There is one way
 * only to write a record, so each changed byte shows.
 *
 * Files are called audit-<seq of the first record, 20 digits>.jsonl. The file `head` remembers the newest record, which is how a cut
 * tail is seen: {"seq":7,"hash":"..."} and a newline. It is written aside and renamed, after the record is on disk, at most once a
 * second: of a log that is cut less than a second after its last record, this may not be seen.
 *
 * What it is worth: whoever can write to the folder as the node does (its user, or root) can write another history, with other hashes
 * and another head. The chain shows every change by those who do not reckon all of it anew, and by accidents; against the former, keep
 * `audit_verify`'s last seq and hash elsewhere, from time to time: a history that was changed later does not lead to them.
 */
#ifndef ACCESS_AUDIT_H
#define ACCESS_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <taskworker/error.h>

#define AUDIT_OUTCOMES(X) \
    X(OK, "ok")           \
    X(DENIED, "denied")   \
    X(ERROR, "error")

enum audit_outcome {
#define X(name, text) AUDIT_##name,
    AUDIT_OUTCOMES(X)
#undef X
        AUDIT_OUTCOME_MAX
};

enum {
    AUDIT_HASH_BYTES = 32,
    AUDIT_NAME_MAX = 40, /* of a file, with its end */
    /* Bytes of the texts; what is longer is cut. */
    AUDIT_USER_MAX = 128,
    AUDIT_TOKEN_MAX = 64,
    AUDIT_FROM_MAX = 128,
    AUDIT_ACTION_MAX = 64,
    AUDIT_OBJECT_MAX = 256,
    AUDIT_DETAIL_MAX = 512,
};

/* --- writing --- */

/* Any of the texts may be hostile: what cannot be shown is replaced. NULL: "". */
struct audit_record {
    const char *user;   /* who it was shown to be, or claimed to be where the outcome is not ok */
    const char *token;  /* its id, never itself */
    const char *from;   /* the peer's address */
    const char *action; /* such as "task.submit"; not empty, and not "audit.", which are the log's own */
    const char *object; /* what it was done to: an id */
    const char *detail; /* a short sentence */
    enum audit_outcome outcome;
};

enum audit_mode {
    AUDIT_GROUPED, /* on disk within a second */
    AUDIT_DURABLE, /* on disk before `done` is told so */
};

/*
 * 0: the record is on disk. Else it is not, or nobody knows (-EIO): what it stands for must not be done. On the loop, or without one on
 * the log's own thread; in the order of the calls.
 */
typedef void (*audit_done_fn)(void *ctx, int result);

struct uv_loop_s;

struct audit_options {
    const char *path;        /* the folder; made if it is not there, in one that is */
    struct uv_loop_s *loop;  /* where callbacks come; NULL: on the log's own thread */
    uint64_t max_file_bytes; /* begin the next file at this size; 0: 16 MiB */
    size_t keep_files;       /* with the one that is written, at least 2; 0: 16 */
    size_t max_queued;       /* records that wait for the disk; 0: 1024. A quarter of it is for durable ones alone. */
};

struct audit;

/* Locks the folder, looks for what a crash may have left, and starts the thread. */
int audit_open(const struct audit_options *options, struct audit **ret, struct tw_error *error);

/*
 * Writes what waits, calls the callbacks that have not come (here), and frees it. On the loop's thread; the loop has to go round once
 * more after that. NULL is taken.
 */
void audit_close(struct audit *audit);

/*
 * [any thread] Never waits for the disk. The record is copied. `done` may be NULL, and is not called for AUDIT_GROUPED, nor when this
 * fails: -EINVAL: the action; -ENOBUFS: too many wait; -ENOMEM. A grouped record that could not be taken or written is counted, and the
 * log says how many there were as soon as it can.
 */
int audit_write(
    struct audit *audit, const struct audit_record *record, enum audit_mode mode, audit_done_fn done, void *ctx);

/* [any thread but the loop's] Waits until all that was written before is on disk, or lost. -errno: something was, while it waited. */
int audit_flush(struct audit *audit);

struct audit_stats {
    uint64_t written; /* records since the start, the log's own too */
    uint64_t lost;    /* records that could not be written and that the log does not know of yet */
    uint64_t refused; /* durable ones among all */
    size_t queued;
    int error; /* why the last try to write failed, as -errno; 0: it did not */
};
/* [any thread] */
void audit_get_stats(struct audit *audit, struct audit_stats *ret);

/* --- reading: any process, also while the log is written; none of this changes anything --- */

struct audit_entry {
    uint64_t seq;
    uint64_t wall_us; /* whole milliseconds */
    char user[AUDIT_USER_MAX + 1];
    char token[AUDIT_TOKEN_MAX + 1];
    char from[AUDIT_FROM_MAX + 1];
    char action[AUDIT_ACTION_MAX + 1];
    char object[AUDIT_OBJECT_MAX + 1];
    char detail[AUDIT_DETAIL_MAX + 1];
    enum audit_outcome outcome;
    uint8_t prev[AUDIT_HASH_BYTES], hash[AUDIT_HASH_BYTES];
};

#define AUDIT_PROBLEMS(X)   \
    X(NONE, "none")         \
    X(CHANGED, "changed")   \
    X(REMOVED, "removed")   \
    X(INSERTED, "inserted") \
    X(SWAPPED, "swapped")   \
    X(CUT, "cut")           \
    X(HEAD, "head")

enum audit_problem {
#define X(name, text) AUDIT_PROBLEM_##name,
    AUDIT_PROBLEMS(X)
#undef X
        AUDIT_PROBLEM_MAX
};

struct audit_report {
    uint64_t files, records;      /* that were looked at */
    uint64_t first_seq, last_seq; /* 0: none */
    uint8_t last_hash[AUDIT_HASH_BYTES];
    uint64_t head_seq;
    uint64_t
        unfinished_bytes; /* at the end: a line that is being written, or was when the node was killed; no problem */
    enum audit_problem problem; /* the first one; looking ends there */
    char file[AUDIT_NAME_MAX];  /* where */
    uint64_t line;
    char message[256]; /* one sentence */
};

/* -1: it could not be looked at. What it found is in the report. */
int audit_verify(const char *path, struct audit_report *ret, struct tw_error *error);

struct audit_filter {
    uint64_t since_us, until_us; /* of the time, inclusive; until 0: no end */
    uint64_t after_seq;          /* those behind it */
    uint64_t before_seq;         /* those in front of it; 0: all */
    const char *user;            /* NULL: any */
    const char *action_prefix;   /* "task.", or "" */
    const char *object;          /* NULL: any */
    bool by_outcome;             /* `outcome` counts */
    enum audit_outcome outcome;
    uint64_t limit;    /* 0: all */
    bool oldest_first; /* else the newest is */
    /* Called for each record that is looked at, also if the rest does not match; false: that is enough, and this one is not. NULL: none */
    bool (*look)(void *ctx, uint64_t seq);
};

/* The entry is valid during the call. False: that is enough. `ctx` is that of `look` as well. */
typedef bool (*audit_entry_fn)(void *ctx, const struct audit_entry *entry);

/* Lines that are no records are passed over and counted in *ret_damaged (may be NULL). Reads files, in little memory; it may take long. */
int audit_query(const char *path, const struct audit_filter *filter, audit_entry_fn fn, void *ctx,
    uint64_t *ret_damaged, struct tw_error *error);

const char *audit_outcome_to_string(enum audit_outcome outcome);
int audit_outcome_from_string(const char *s, enum audit_outcome *ret); /* 0 or -EINVAL */
const char *audit_problem_to_string(enum audit_problem problem);

#endif
