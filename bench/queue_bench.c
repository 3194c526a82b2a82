/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one decision of the queue costs: the next task is taken, ends, and another takes its place.
 *
 *   queue_bench WAITING OWNERS
 *
 * Prints nanoseconds, the median of several rounds, and the bytes that an entry takes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/util.h"
#include "task/queue.h"

enum { ROUNDS = 9, DECISIONS = 100000 };

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "queue_bench: %s\n", what);
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double round_ns(struct queue *q)
{
    uint64_t begun = clock_monotonic_us();
    for (int i = 0; i < DECISIONS; i++) {
        queue_wake(q, 1);
        struct queue_entry *e = queue_take(q, 1);
        if (!e)
            die("nothing to take");
        queue_finished(q, e);
        queue_add(q, e, false, 1);
    }
    return (double)(clock_monotonic_us() - begun) * 1000 / DECISIONS;
}

int main(int argc, char **argv)
{
    uint64_t waiting, owners;
    if (argc != 3 || parse_u64(argv[1], 1, 10000000, &waiting) < 0 || parse_u64(argv[2], 1, waiting, &owners) < 0)
        die("usage: queue_bench WAITING OWNERS");
    struct queue q;
    struct queue_entry *entries = calloc(waiting, sizeof *entries);
    if (!entries)
        die("out of memory");
    queue_init(&q, 0);
    for (uint64_t i = 0; i < waiting; i++) {
        char name[32];
        snprintf(name, sizeof name, "owner-%llu", (unsigned long long)(i % owners));
        entries[i].owner = queue_owner_get(&q, name);
        entries[i].priority = (int)(i % 3) - 1;
        if (!entries[i].owner)
            die("out of memory");
        queue_add(&q, &entries[i], false, 1);
    }
    double ns[ROUNDS];
    for (int i = 0; i < ROUNDS; i++)
        ns[i] = round_ns(&q);
    qsort(ns, ROUNDS, sizeof *ns, compare);
    printf("ns %.1f bytes %zu\n", ns[ROUNDS / 2], sizeof *entries);
    for (uint64_t i = 0; i < waiting; i++) {
        queue_remove(&q, &entries[i]);
        queue_owner_put(&q, entries[i].owner);
    }
    queue_done(&q);
    free(entries);
    return 0;
}
