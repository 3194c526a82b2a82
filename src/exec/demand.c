/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/demand.h"

#include "base/util.h"

void demand_note(struct demand *demand, unsigned now)
{
    demand->peak = MAX(demand->peak, now);
}

void demand_turn(struct demand *demand)
{
    demand->peak_before = demand->peak;
    demand->peak = 0;
}

unsigned demand_slots(const struct demand *demand, unsigned max)
{
    unsigned peak = MAX(demand->peak, demand->peak_before);
    return peak >= max || demand->spare >= max - peak ? max : peak + demand->spare;
}
