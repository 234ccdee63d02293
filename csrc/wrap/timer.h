/* Timers that the kernel keeps, on a faked clock: timer.c knows which there are, rearm.c sets the kernel's. */
#ifndef FL_TIMER_H
#define FL_TIMER_H
#include "../clock.h"

#define FL_KEEPER_NS 50000000 /* how long the keeper naps */

enum fl_timer_kind { NO_TIMER, DESCRIPTOR, POSIX_TIMER, INTERVAL_TIMER };
enum fl_timer_state { RESTING, IN_HAND, ARMED };

struct fl_timer {
    uint32_t kind;
    uint32_t state;
    long id;
    clockid_t clock;
    int which;            /* the course that it follows: a relative time on REALTIME runs on MONOTONIC, as in the kernel */
    int signal;           /* that the process gets at each tick, of a POSIX timer; 0: a thread gets it, or nobody */
    int32_t pid;          /* whose keeper looks after it */
    uint32_t actor;       /* who set it */
    int faked;            /* as it was when the kernel's timer was set; it may become real, and faked again */
    int64_t at_ns;        /* of its clock's time: the next tick, when the kernel's timer was set */
    int64_t interval_ns;
    int64_t met_ns;       /* what its clock said when it was last looked at */
    int64_t real_ns;      /* when the kernel gives that tick, by the clock that it follows, and how often others after it */
    int64_t real_interval_ns;
    int64_t owed;         /* ticks that it was set to give at once */
    int makeshift;        /* what comes after those is not right yet */
    uint64_t epoch, seen;
};

#pragma GCC visibility push(hidden)

struct itimerspec;
int64_t fl_spec_ns(const struct timespec *t);
struct timespec fl_ns_spec(int64_t ns);
long fl_timer_kernel_set(const struct fl_timer *t, int flags, const struct itimerspec *value, struct itimerspec *old);
/* What is left, in real time. */
struct itimerspec fl_timer_kernel_get(const struct fl_timer *t);
int fl_timer_is_running(const struct fl_timer *t);
/* Sets at_ns to the first tick after this time. Returns how many it passes. */
int64_t fl_timer_pass(struct fl_timer *t, int64_t value_ns);
/* Sets the kernel's timer by what the clock is now: to give so many ticks at once, and the next one at at_ns. Once the session
 * is over it needs no keeper any more. Returns -errno. */
long fl_timer_arm(struct fl_timer *t, int64_t owed);
/* The keeper's look at an armed timer. Returns how long it may look away at the most. Uses no libc and no thread's storage. */
int64_t fl_timer_look_after(struct fl_timer *t);

#pragma GCC visibility pop

#endif
