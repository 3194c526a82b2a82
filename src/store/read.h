/* SPDX-License-Identifier: Apache-2.0 */
/* One read: what read.c queues and hands to its readers, and find.c carries out where it looks for more than one thing. */
#ifndef STORE_READ_H
#define STORE_READ_H

#include "store/internal.h"

/* A store_filter, copied. */
struct find {
    uint32_t states;
    char *type, *owner;            /* NULL: all */
    char *label_key, *label_value; /* the first label; NULL: none */
    char *labels;                  /* all of them, as JSON; NULL: none */
    uint64_t created_from_us, created_to_us;
    bool dead_letters;
    uint64_t before;
    size_t limit;
};
/* -ENOMEM leaves nothing. */
int find_init(struct find *find, const struct store_filter *filter);
void find_done(struct find *find);

enum read_kind {
    READ_TASK,
    READ_CACHED,
    READ_LIST,
    READ_ATTEMPTS,
    READ_EVENTS,
    READ_INPUT,
    READ_RESULT,
    READ_LOG,
};

struct read {
    struct list link;
    enum read_kind kind;
    void *ctx;
    struct tw_error *error; /* the outcome, NULL: success; owned unless it is &no_memory */
    union {
        store_task_cb task;
        store_list_cb list;
        store_attempts_cb attempts;
        store_events_cb events;
        store_bytes_cb bytes;
    } cb;

    char *id;
    uint64_t seq;
    struct find find;
    uint64_t offset, limit; /* of a log; nothing from limit on is looked at */
    size_t max_bytes;
    bool verified;

    struct store_task *tasks; /* what was found */
    size_t n_tasks;
    struct tw_attempt_info *attempts;
    size_t n_attempts;
    bool holes; /* events that are gone are no error */
    struct store_event *events;
    size_t n_events;
    uint64_t next; /* where to go on */
    uint8_t *data;
    size_t len;
};

/* Each on a reader's connection, in the pool. */
int read_list(struct db *db, struct read *r, struct tw_error *error);
int read_attempts(struct db *db, struct read *r, struct tw_error *error);
int read_events(struct db *db, struct read *r, struct tw_error *error);

#endif
