/* The processor's own counter: half of what reading the clock costs. Whether it runs evenly, and alike on all processors, the
 * kernel says (FL_OPT_TICKS). */
#ifndef FL_TICKS_H
#define FL_TICKS_H
#include <stdint.h>

static inline uint64_t fl_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#endif
}

#endif
