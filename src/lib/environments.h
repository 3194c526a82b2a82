/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tasks' packages require, installed from an index. Nobody but a sandbox ever opens a package: first a run of its own prints what it
 * requires (RUN_REQUIREMENTS), then, unless that is there already for this owner, another one, which alone has the machine's network, has
 * pip install it. Its files come as those that a task leaves do, and become an environment (files/environments.h), which is shown to that
 * task and to all that require the same. Both runs stand in for the task: they hold what it was given of the node.
 *
 * On the loop's thread; the disk is waited for in libuv's pool. Private to src/lib.
 */
#ifndef LIB_ENVIRONMENTS_H
#define LIB_ENVIRONMENTS_H

#include <uv.h>

#include "base/list.h"
#include "task/engine.h"

struct tw_storage;

struct environments {
    uv_loop_t *loop;
    struct tw_storage *storage; /* borrowed; NULL: there are none */
    struct runtime *runtime;    /* borrowed; set by the owner */
    char *python;               /* as tasks see it */
    char *index_url;            /* NULL: nothing is fetched; "": pip's own */
    const char *version;        /* borrowed; another one where the same requirements may come to other files */
    uint64_t max_bytes, bytes;  /* of all entries */
    struct list entries;        /* struct entry: what there is */
    struct list builds;         /* struct build: what is being installed, or waits for its turn */
    unsigned building;          /* of these, those that have begun */
    unsigned jobs;              /* of the pool */
    bool closing;
    void (*idle)(void *ctx);
    void *idle_ctx;
};

struct environments_options {
    uv_loop_t *loop;
    const char *python, *index_url, *version; /* the last one is borrowed */
    uint64_t max_bytes;                       /* 0: 5 GiB */
};

/* 0 or -ENOMEM. */
int environments_init(struct environments *of, const struct environments_options *options);
/* From now on the engine's packages have their requirements installed; looks at what there is. */
void environments_begin(struct environments *of, struct tw_storage *storage, struct engine *engine);
void environments_set_max(struct environments *of, uint64_t max_bytes);
/* Nothing is installed any more: before the runtime is closed. */
void environments_close(struct environments *of);
/* After that: when nothing is on its way any more. Everything is freed then. */
void environments_stop(struct environments *of, void (*idle)(void *ctx), void *ctx);

#endif
