/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WatchTasks. Like a log's follower a watcher reads from the store, never from the engine: the store only says that there is more.
 * At any moment it is reading, blocked because the client is slow, or waiting for more, and where it stands is one number.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "rpc/taskworker_convert.h"
#include "rpc/taskworker_pending.h"

struct watcher {
    struct list link; /* the service's */
    struct taskworker_service *service;
    struct rpc_call *call; /* NULL once the call is over */
    unsigned refs;         /* the call; the store while it owes an answer */
    uint64_t after;
    uint64_t until; /* the newest when the call came: the end, with only_past */
    bool reading, blocked;
    bool from_oldest; /* what was gone by then, or goes before it is read, is not missed by who asks for what is kept */
    Taskworker__WatchTasksRequest *request; /* the filter's strings */
    struct tw_label labels[TW_LABELS_MAX];
    struct store_filter filter;
};

static void pump(struct watcher *w);

static void watcher_unref(struct watcher *w)
{
    if (--w->refs)
        return;
    taskworker__watch_tasks_request__free_unpacked(w->request, NULL);
    free(w);
}

static void on_call_done(struct rpc_call *call UNUSED, void *ctx)
{
    struct watcher *w = ctx;
    w->call = NULL;
    list_remove(&w->link);
    watcher_unref(w);
}

static void on_drain(struct rpc_call *call UNUSED, void *ctx)
{
    struct watcher *w = ctx;
    w->blocked = false;
    pump(w);
}

/* False: the client is slow. */
static bool send_event(struct watcher *w, const struct store_event *e)
{
    Taskworker__TaskEvent event = TASKWORKER__TASK_EVENT__INIT;
    event.number = e->number;
    event.time_us = (int64_t)e->time_us;
    event.kind = (Taskworker__TaskEvent__Kind)e->kind;
    event.task_id = e->id;
    event.task_type = e->type;
    event.owner = e->owner;
    event.attempt = e->attempt;
    event.reason = (Taskworker__Task__Reason)e->reason;
    return rpc_call_send(w->call, &event.base);
}

static void on_events(
    void *ctx, const struct store_event *events, size_t n, uint64_t upto, const struct tw_error *error)
{
    struct watcher *w = ctx;
    w->reading = false;
    if (w->call && error)
        rpc_call_finish_error(w->call, error);
    w->after = upto;
    bool room = true;
    for (size_t i = 0; i < n && w->call; i++) {
        if (!w->request->only_past || events[i].number <= w->until)
            room = send_event(w, &events[i]);
    }
    w->blocked = !room;
    if (!error)
        pump(w);
    watcher_unref(w);
}

static void pump(struct watcher *w)
{
    if (!w->call || w->reading || w->blocked)
        return;
    if (w->request->only_past && w->after >= w->until) {
        rpc_call_finish(w->call, TW_OK, "");
        return;
    }
    if (w->after >= store_last_event(w->service->store)) {
        if (w->service->ending)
            rpc_call_finish(w->call, TW_UNAVAILABLE, "the node is ending");
        return;
    }
    w->reading = true;
    w->refs++;
    bool holes = w->from_oldest && w->after < w->until;
    store_events(w->service->store, w->after, holes, &w->filter, on_events, w);
}

void taskworker_on_event(void *ctx)
{
    struct taskworker_service *service = ctx;
    list_for_each_safe (it, &service->watchers)
        pump(CONTAINER_OF(it, struct watcher, link));
}

static int watcher_init(struct watcher *w, struct tw_error *error)
{
    const Taskworker__WatchTasksRequest *r = w->request;
    uint64_t last = store_last_event(w->service->store);
    if (r->n_labels > TW_LABELS_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "%zu labels are too many: at most %d", r->n_labels, TW_LABELS_MAX);
    if (!r->only_new && r->after > last)
        return error_set(error, TW_OUT_OF_RANGE, "there is no event %llu yet: the newest is %llu",
            (unsigned long long)r->after, (unsigned long long)last);
    LABELS_FROM_MAP(w->labels, r->labels, r->n_labels);
    w->filter = (struct store_filter){
        .type = *r->task_type ? r->task_type : NULL,
        .owner = *r->owner ? r->owner : NULL,
        .labels = w->labels,
        .n_labels = r->n_labels,
    };
    w->after = r->only_new ? last : r->after;
    w->until = last;
    w->from_oldest = !r->only_new && r->after == 0;
    return 0;
}

void taskworker_watch_tasks(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    CLEANUP_REQUEST Taskworker__WatchTasksRequest *request = NULL;
    struct tw_error error;
    struct pending *p = pending_begin(call, ctx, &taskworker__watch_tasks_request__descriptor, msg, len, &request);
    if (!p)
        return;
    struct watcher *w = calloc(1, sizeof *w);
    int r = -1;
    if (w) {
        *w = (struct watcher){.service = ctx, .call = call, .refs = 1, .request = STEAL(request)};
        list_init(&w->link);
        r = owner_take_filter(call, &w->request->owner, &error) < 0 ? -1 : watcher_init(w, &error);
    } else {
        error_oom(&error);
    }
    if (r < 0) {
        if (w)
            watcher_unref(w);
        pending_fail(p, &error);
        pending_unref(p);
        return;
    }
    /* From here on the call is the watcher's. */
    rpc_call_set_on_done(call, on_call_done, w);
    rpc_call_set_on_drain(call, on_drain, w);
    pending_drop(p, 2);
    list_push(&w->service->watchers, &w->link);
    rpc_call_begin(call); /* whoever sees it may rely on hearing of what happens from now on */
    pump(w);
}
