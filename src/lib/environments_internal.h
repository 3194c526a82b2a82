/* SPDX-License-Identifier: Apache-2.0 */
/* environments.c: who asks for what, and what there is; environment_build.c: how it comes to be. */
#ifndef LIB_ENVIRONMENTS_INTERNAL_H
#define LIB_ENVIRONMENTS_INTERNAL_H

#include "base/buf.h"
#include "files/environments.h"
#include "lib/environments.h"

/* One that is there. */
struct entry {
    struct list link;
    struct environment_info info;
    unsigned pins; /* tasks that have it */
};

/* One task that is being prepared. */
struct preparation {
    struct list link; /* in its build's waiters */
    struct environments *of;
    const struct engine_prepare_events *events;
    void *ctx;
    char *task_id, *owner;
    struct tw_limits limits;
    struct run *look;    /* the run that prints what it requires */
    struct build *build; /* that it waits for then */
    struct buf required; /* what it requires, in canonical form */
    uv_timer_t *timer;   /* the look's deadline; after a cancellation, what tells of that */
    bool late, cancelled;
};

/* An installation. Shared by all that require the same; the first one's id and limits are its own. */
struct build {
    struct list link;
    struct environments *of;
    struct list waiters; /* struct preparation */
    struct environment_info info;
    char *task_id, *owner, *script;
    struct tw_limits limits;
    int folder;
    struct run *run;
    uv_timer_t *deadline;
    struct buf said; /* what pip printed: the beginning and, behind it, the end */
    bool begun, late;
    bool abandoned;        /* nobody waits for it any more */
    enum tw_reason reason; /* why it fails; NONE so far */
    struct tw_error why;
};

/* Its end: all that it held of `p` is freed. message: borrowed, may be NULL. */
void preparation_tell(struct preparation *p, enum tw_reason reason, const char *message, uint64_t environment);

/* Waits for this build, or for a new one, where none is under way. -ENOMEM. */
int build_join(struct preparation *p, const uint8_t key[ENVIRONMENT_KEY_BYTES]);
/* It waits no more. */
void build_leave(struct preparation *p);
/* Ends all. */
void builds_close(struct environments *of);

/* What a build has made is there. False: no memory. It counts, and is pinned `pins` times. */
bool environments_add(struct environments *of, const struct environment_info *info, unsigned pins);
/* In the pool; nobody has it, or is going to. */
void environments_remove_folder(struct environments *of, uint64_t number);
/* A job of the pool is over, and its memory freed. */
void environments_job_over(struct environments *of);

#endif
