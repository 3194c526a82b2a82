/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "machine/machine.h"

enum { SLICES = 6, SLICE_US = 10000, BLOCK = 64 << 10 };

/* Bytes a second, from one slice. Each digest goes into what is hashed next, so that every round waits for the one before. */
static uint64_t run_slice(unsigned char *block)
{
    unsigned char digest[crypto_generichash_BYTES];
    uint64_t start = clock_monotonic_us(), now, done = 0;
    do {
        (void)crypto_generichash(digest, sizeof digest, block, BLOCK, NULL, 0);
        memcpy(block, digest, sizeof digest);
        done += BLOCK;
        now = clock_monotonic_us();
    } while (now < start + SLICE_US);
    return done * 1000000 / (now - start);
}

int machine_measure_cpu_score(uint64_t *ret)
{
    uint64_t best = 0;
    if (sodium_init() < 0)
        return -ENOSYS;
    CLEANUP_FREE unsigned char *block = malloc(BLOCK);
    if (!block)
        return -ENOMEM;
    for (size_t i = 0; i < BLOCK; i++)
        block[i] = (unsigned char)i;
    for (int i = 0; i < SLICES; i++) {
        uint64_t rate = run_slice(block);
        best = MAX(best, rate);
    }
    *ret = best * machine_cpu_millis(NULL) / 1000 / (1024 * 1024);
    return 0;
}
