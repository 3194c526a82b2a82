/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds how much of a server, by address: an IPv4 address, or the /64 of an IPv6 one, of which a single host usually has
 * all. Each kind of thing has a bound for all together and a lower one for each address, so that nobody can keep all the
 * others out. Everything belongs to the loop's thread.
 */
#ifndef RPC_PEERS_H
#define RPC_PEERS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/map.h"
#include "rpc/message.h"

enum peer_share {
    PEER_CONNECTIONS,
    PEER_HANDSHAKES, /* of TLS, that are not done */
    PEER_CALLS,
    PEER_REFUSALS, /* calls beyond those, which are open only until their client has read that there are too many */
    PEER_LASTING,  /* calls that may stay open for long: waits, followers, watchers, streams of files */
    PEER_SHARE_MAX
};

enum peer_verdict {
    PEER_FINE,
    PEER_TOO_MANY, /* of this address */
    PEER_FULL,     /* of all */
};

struct peers {
    struct map map;
    size_t max[PEER_SHARE_MAX], each[PEER_SHARE_MAX], used[PEER_SHARE_MAX];
};

enum { PEER_KEY_MAX = 24 };

/* What was done for somebody in this round of the loop. */
struct turn {
    uint64_t round;
    uint64_t us;      /* of work on its connections */
    size_t allowance; /* bytes that may still be inflated */
};

struct peer {
    size_t used[PEER_SHARE_MAX];
    struct turn turn;
    struct budget budget; /* of the bytes that are held for it: a part of its server's */
    unsigned refs;
    char key[PEER_KEY_MAX];
};

void peers_init(struct peers *peers);
void peers_done(struct peers *peers);

/*
 * The one of this address, made if it is new, with a budget of half of `whole`: give it back with peers_put(), which frees the
 * last one. Addresses of other families are all one. NULL: no memory.
 */
struct peer *peers_get(struct peers *peers, const struct sockaddr *address, struct budget *whole);
void peers_put(struct peers *peers, struct peer *peer);

/* One more of these, if there may be. A peer of NULL is counted with all, and has no bound of its own. */
enum peer_verdict peers_take(struct peers *peers, struct peer *peer, enum peer_share share);
void peers_give(struct peers *peers, struct peer *peer, enum peer_share share);

#endif
