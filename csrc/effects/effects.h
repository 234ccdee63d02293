/* The effects: each carries out one decision and returns what libc would. From any context. */
#ifndef FL_EFFECTS_H
#define FL_EFFECTS_H
#include "../shim.h"
#include "../sys.h"

#define FL_EFFECT(name) long fl_effect_##name(struct fl_frame *f, const struct fl_choice *choice)
FL_EFFECT(none);
FL_EFFECT(error);
FL_EFFECT(short);
FL_EFFECT(torn);
FL_EFFECT(delay);
FL_EFFECT(kill);
FL_EFFECT(signal);
FL_EFFECT(stop);
FL_EFFECT(hang);
FL_EFFECT(return);
FL_EFFECT(corrupt);
FL_EFFECT(clock);
FL_EFFECT(fork);

#endif
