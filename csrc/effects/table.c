/* The effects by number. A new one is a file beside this, a row here and its name in abi.h. */
#include "effects.h"

const fl_effect_fn fl_effects[FL_EFFECT_COUNT] = {
    [FL_EFFECT_NONE] = fl_effect_none,     [FL_EFFECT_ERROR] = fl_effect_error,   [FL_EFFECT_SHORT] = fl_effect_short,
    [FL_EFFECT_TORN] = fl_effect_torn,     [FL_EFFECT_DELAY] = fl_effect_delay,   [FL_EFFECT_KILL] = fl_effect_kill,
    [FL_EFFECT_SIGNAL] = fl_effect_signal, [FL_EFFECT_STOP] = fl_effect_stop,     [FL_EFFECT_HANG] = fl_effect_hang,
    [FL_EFFECT_RETURN] = fl_effect_return, [FL_EFFECT_CORRUPT] = fl_effect_corrupt, [FL_EFFECT_SPACE] = fl_effect_none, /* it takes part below all others: space.c */
    [FL_EFFECT_CLOCK] = fl_effect_clock,   [FL_EFFECT_FORK] = fl_effect_fork,
};

long fl_effect_none(struct fl_frame *f, const struct fl_choice *choice)
{
    (void)choice;
    return fl_invoke(f);
}
