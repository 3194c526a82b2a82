/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher seen from the pool: what it is asked for, what it answers, and what becomes of all when it has gone. */
#include "exec/pool.h"

#include <errno.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "exec/run_limits.h"

enum { ASKED_MAX = 16, ANSWER_MS = 15000 };

void sandbox_tell_broken(struct sandbox *s)
{
    if (!s->closing && !s->told_broken && s->rt.on_broken) {
        s->told_broken = true;
        s->rt.on_broken(s->rt.owner_ctx, &s->problem);
    }
}

static void launcher_lost(struct sandbox *s, const char *what)
{
    if (s->launcher_dead)
        return;
    s->launcher_dead = true;
    uv_timer_stop(s->answer);
    sandbox_poll_free(&s->launcher_poll);
    launcher_hang_up(s->launcher);
    error_set(
        &s->problem, TW_UNAVAILABLE, "hivemind-launcher %s: no sandbox can be made until the node is restarted", what);
    for (uint32_t i = 0; i < s->used; i++) {
        if (s->slots[i].former)
            continue;
        pool_slot_break(&s->slots[i], "hivemind-launcher is gone");
        s->slots[i].state = SLOT_IS_EMPTY;
    }
    s->asked = 0;
    sandbox_on_detached(s, s->launcher, 0);
    sandbox_tell_broken(s);
}

void pool_launcher_died(struct sandbox *s)
{
    launcher_lost(s, "has died");
}

static void on_no_answer(uv_timer_t *timer)
{
    struct sandbox *s = timer->data;
    launcher_lost(s, "does not answer");
    sandbox_pump(s);
}

/* While requests are open, one of them is answered within ANSWER_MS. */
static void await_answer(struct sandbox *s)
{
    if (s->asked)
        uv_timer_start(s->answer, on_no_answer, ANSWER_MS, 0);
    else
        uv_timer_stop(s->answer);
}

static void create_failed(struct sandbox *s, const struct launcher_reply *reply)
{
    const char *detail = reply->detail[0] ? reply->detail : "the launcher could not make a slot";
    error_set_errno(&s->problem, reply->error, "cannot make a sandbox: %s", detail);
    s->failures++;
    if (s->failures <= 3 || s->failures % 100 == 0)
        log_warning("%s", s->problem.message);
}

static int on_launcher_reply(struct sandbox *s, const struct launcher_reply *reply, struct channel_fds *fds)
{
    struct pool_slot *slot = &s->slots[reply->index];
    bool create = reply->header.type == LAUNCHER_CREATE;
    if (reply->header.type == LAUNCHER_KEEP) {
        sandbox_on_kept(s, reply);
        return 0;
    }
    if (reply->header.type == LAUNCHER_DETACH) {
        sandbox_on_detached(s, s->launcher, reply->error);
        return 0;
    }
    if ((!create && reply->header.type != LAUNCHER_DESTROY) || slot->former ||
        slot->state != (create ? SLOT_IS_CREATING : SLOT_IS_DROPPED))
        return -EPROTO;
    s->asked--;
    await_answer(s);
    if (create && !reply->error) {
        run_limits_attach(slot, reply, fds->fd + 1, fds->n - 1);
        pool_slot_connect(slot, fd_steal(&fds->fd[0]));
        return 0;
    }
    slot->state = SLOT_IS_EMPTY;
    if (create)
        create_failed(s, reply);
    return 0;
}

void pool_on_launcher(uv_poll_t *poll, int status, int events)
{
    struct sandbox *s = poll->data;
    (void)events;
    if (status < 0)
        pool_launcher_died(s);
    while (!s->launcher_dead) {
        struct launcher_reply reply;
        CLEANUP_FDS struct channel_fds fds;
        int r = launcher_receive(s->launcher, &reply, &fds);
        if (r == -EAGAIN)
            break;
        if (r == 0)
            r = on_launcher_reply(s, &reply, &fds);
        if (r < 0) {
            pool_launcher_died(s);
            break;
        }
    }
    sandbox_pump(s);
}

bool pool_ask(struct sandbox *s, struct pool_slot *slot, enum launcher_type type, enum slot_state then)
{
    if (s->asked >= ASKED_MAX)
        return false;
    bool host_network = type == LAUNCHER_CREATE && slot->host_network;
    int r = launcher_request(s->launcher, type, slot->index, host_network ? LAUNCHER_HOST_NETWORK : 0);
    if (r < 0) {
        if (r != -EAGAIN)
            pool_launcher_died(s);
        return false;
    }
    if (s->asked++ == 0)
        await_answer(s);
    slot->state = then;
    return true;
}
