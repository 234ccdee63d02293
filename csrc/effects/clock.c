/* A clock rule that fires at an exact call: the domain's clock jumps, then it is read. */
#include "effects.h"

FL_EFFECT(clock)
{
    struct fl_clock *clock = &FL_AREA(struct fl_clock, clocks_off)[f->proc->clock];
    __atomic_add_fetch(&clock->jump_ns, choice->rule->value, __ATOMIC_ACQ_REL);
    return fl_invoke(f);
}
