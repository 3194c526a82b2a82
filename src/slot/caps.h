/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities of the calling process. */
#ifndef SLOT_CAPS_H
#define SLOT_CAPS_H

#include <stdint.h>

#define CAP_BIT(cap) (UINT64_C(1) << (cap))

/* The effective ones as bits; 0 on failure. */
uint64_t caps_effective(void);
/* Sets permitted and effective to `keep`, inheritable and ambient to nothing. 0 or -errno. */
int caps_set(uint64_t keep);
/* The same, with `latent` permitted but not effective: a later call can raise them. */
int caps_set_latent(uint64_t keep, uint64_t latent);
/* Takes all but `keep` out of the bounding set; needs CAP_SETPCAP. 0 or -errno. */
int caps_bound(uint64_t keep);

#endif
