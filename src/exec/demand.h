/* SPDX-License-Identifier: Apache-2.0 */
/* How many slots there ought to be: what is in use, or was lately, and a few spare. No clock of its own. */
#ifndef EXEC_DEMAND_H
#define EXEC_DEMAND_H

struct demand {
    unsigned spare;
    unsigned peak, peak_before; /* the most at once in this span of time, and in the one before */
};

/* So many are in use or asked for at this moment. */
void demand_note(struct demand *demand, unsigned now);
/* A span of time is over: what was needed only before it is forgotten with the next. */
void demand_turn(struct demand *demand);
/* At most `max`. */
unsigned demand_slots(const struct demand *demand, unsigned max);

#endif
