/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/peers.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void peers_init(struct peers *peers)
{
    *peers = (struct peers){0};
    map_init(&peers->map);
}

void peers_done(struct peers *peers)
{
    map_done(&peers->map);
}

/* As text: "4" and the address, "6" and its first half, or "?". A mapped IPv4 address is one of IPv4. */
static void write_key(const struct sockaddr *address, char out[PEER_KEY_MAX])
{
    const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    const uint8_t *raw = in6->s6_addr;
    size_t len = 8;
    snprintf(out, PEER_KEY_MAX, "?");
    if (address->sa_family == AF_INET) {
        raw = (const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
        len = 4;
    } else if (address->sa_family != AF_INET6) {
        return;
    } else if (IN6_IS_ADDR_V4MAPPED(in6)) {
        raw += 12;
        len = 4;
    }
    out[0] = len == 4 ? '4' : '6';
    for (size_t i = 0; i < len; i++)
        snprintf(out + 1 + 2 * i, PEER_KEY_MAX - 1 - 2 * i, "%02x", raw[i]);
}

struct peer *peers_get(struct peers *peers, const struct sockaddr *address, struct budget *whole)
{
    char key[PEER_KEY_MAX];
    write_key(address, key);
    struct peer *peer = map_get(&peers->map, key);
    if (!peer) {
        peer = calloc(1, sizeof *peer);
        if (!peer)
            return NULL;
        memcpy(peer->key, key, sizeof key);
        peer->budget =
            (struct budget){.max_big = whole->max_big / 2, .max_small = whole->max_small / 2, .whole = whole};
        if (map_put(&peers->map, peer->key, peer) < 0) {
            free(peer);
            return NULL;
        }
    }
    peer->refs++;
    return peer;
}

void peers_put(struct peers *peers, struct peer *peer)
{
    if (!peer || --peer->refs)
        return;
    map_remove(&peers->map, peer->key);
    free(peer);
}

enum peer_verdict peers_take(struct peers *peers, struct peer *peer, enum peer_share share)
{
    if (peer && peer->used[share] >= peers->each[share])
        return PEER_TOO_MANY;
    if (peers->used[share] >= peers->max[share])
        return PEER_FULL;
    peers->used[share]++;
    if (peer)
        peer->used[share]++;
    return PEER_FINE;
}

void peers_give(struct peers *peers, struct peer *peer, enum peer_share share)
{
    peers->used[share]--;
    if (peer)
        peer->used[share]--;
}
