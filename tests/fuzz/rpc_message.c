/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of length-prefixed messages, plain and gzip. The first byte says in which pieces the rest arrives and what
 * the call allows; the result must not depend on the pieces, and the budget must be even at the end.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "rpc/descriptors.h"
#include "rpc/message.h"

enum { MESSAGE_LIMIT = 64 * 1024, BUDGET = 1024 * 1024 };

#define CHECK(condition)  \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum message_result last;
    unsigned messages;
    uint64_t hash;
};

static struct outcome feed(const uint8_t *data, size_t size, size_t step, bool gzip)
{
    struct outcome o = {.last = MESSAGE_MORE};
    struct budget budget;
    struct message_reader reader = {0};
    budget_init(&budget, BUDGET);
    message_reader_init(&reader, MESSAGE_LIMIT, &budget, gzip);
    while (size && (o.last == MESSAGE_MORE || o.last == MESSAGE_READY)) {
        size_t piece = MIN(step, size), left = piece;
        const uint8_t *p = data;
        o.last = message_feed(&reader, &p, &left);
        CHECK(o.last == MESSAGE_READY || o.last != MESSAGE_MORE || !left);
        CHECK(budget.big + budget.small <= BUDGET);
        data += piece - left;
        size -= piece - left;
        if (o.last != MESSAGE_READY)
            continue;
        CHECK(reader.body.len <= MESSAGE_LIMIT);
        o.messages++;
        for (size_t i = 0; i < reader.body.len; i++)
            o.hash = (o.hash ^ reader.body.data[i]) * 1099511628211u;
        o.hash += reader.body.len;
        message_next(&reader);
        CHECK(budget.big + budget.small == 0);
    }
    message_reader_done(&reader);
    CHECK(budget.big + budget.small == 0);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    bool gzip = data[0] & 1;
    struct outcome whole = feed(data + 1, size - 1, size, gzip);
    struct outcome pieces = feed(data + 1, size - 1, (size_t)(data[0] >> 1) + 1, gzip);
    CHECK(whole.messages == pieces.messages && whole.hash == pieces.hash && whole.last == pieces.last);

    struct descriptors d;
    (void)descriptors_init(&d, data, size);
    descriptors_done(&d);
    return 0;
}
