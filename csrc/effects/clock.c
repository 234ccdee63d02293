/* A clock rule that fires at an exact call: the domain's clock jumps, then it is read. */
#include "effects.h"

FL_EFFECT(clock)
{
    struct fl_clock *clock = &FL_AREA(struct fl_clock, clocks_off)[f->proc->clock % FL_MAX_CLOCKS];
    for (int which = 0; which < FL_CLOCKS; which++)
        if (choice->rule->clock >> which & 1)
            __atomic_add_fetch(&clock->jump_ns[which], choice->rule->value, __ATOMIC_ACQ_REL);
    __atomic_add_fetch(&fl_ctl->clock_epoch, 1, __ATOMIC_SEQ_CST);
    return fl_invoke(f);
}
