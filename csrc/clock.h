/* The clocks as a target sees them: its domain's courses, and deadlines that follow them. May be called from any context
 * unless a function says otherwise; errno is left alone. */
#ifndef FL_CLOCK_H
#define FL_CLOCK_H
#include "shim.h"
#include <time.h>

#pragma GCC visibility push(hidden)

#define FL_SECOND_NS 1000000000
#define FL_RATE_ONE (1ull << 32)
#define FL_NEVER INT64_MAX
#define FL_CLOCK_GATE (1ull << FL_GATE_CLOCK_BIT)
/* No clock is faked anywhere in the session: the one test that the wrappers of waits cost then. */
#define FL_CLOCKS_REAL fl_likely(fl_clocks_real())

static inline int fl_clocks_real(void)
{
    if (fl_likely(!(__atomic_load_n(&fl_ctl->gate, __ATOMIC_RELAXED) & FL_CLOCK_GATE)))
        return 1;
    if (fl_likely(fl_real[0] != NULL))
        return 0;
    fl_boot(); /* a call before the constructor */
    return !(__atomic_load_n(&fl_ctl->gate, __ATOMIC_RELAXED) & FL_CLOCK_GATE);
}

/* Which course a clock follows, FL_CLOCK_*; -1: none, it is never faked. */
static inline int fl_clock_which(clockid_t id)
{
    static const signed char which[] = {
        [CLOCK_REALTIME] = FL_CLOCK_REALTIME,   [CLOCK_MONOTONIC] = FL_CLOCK_MONOTONIC, [CLOCK_PROCESS_CPUTIME_ID] = -1,
        [CLOCK_THREAD_CPUTIME_ID] = -1,         [CLOCK_MONOTONIC_RAW] = FL_CLOCK_MONOTONIC,
        [CLOCK_REALTIME_COARSE] = FL_CLOCK_REALTIME, [CLOCK_MONOTONIC_COARSE] = FL_CLOCK_MONOTONIC,
        [CLOCK_BOOTTIME] = FL_CLOCK_BOOTTIME,   [CLOCK_REALTIME_ALARM] = FL_CLOCK_REALTIME,
        [CLOCK_BOOTTIME_ALARM] = FL_CLOCK_BOOTTIME, [10] = -1, [CLOCK_TAI] = FL_CLOCK_REALTIME,
    };
    return (unsigned)id < sizeof which ? which[id] : -1;
}

int64_t fl_clock_real_ns(clockid_t id);
/* The vDSO's clock_gettime, or a function like it: 0 or -errno, and no errno. */
extern int (*fl_vdso_gettime)(clockid_t id, struct timespec *now);
/* Turns a real time, just read from clock `id`, into the faked one. */
void fl_clock_turn(clockid_t id, struct timespec *now);
/* The domain that a process belongs to. */
uint32_t fl_clock_domain(const struct fl_proc *proc);

/* Names a state of a clock for fl_self.clock_seen. Never 0: domains begin with index 0, at which nothing is faked. */
static inline uint64_t fl_clock_seen(uint32_t index, uint32_t domain, uint64_t step)
{
    return (uint64_t)index << 32 | domain << 8 | step;
}

/* The same, for the common case: REALTIME or MONOTONIC, as far off as when it was last read. */
static inline void fl_clock_fake(clockid_t id, struct timespec *now)
{
    if (fl_likely((unsigned)id <= CLOCK_MONOTONIC)) {
        const struct fl_shift *shift = &fl_self_page.self.clock_shift[id];
        uint64_t epoch = __atomic_load_n(&shift->epoch, __ATOMIC_ACQUIRE);
        int64_t s = now->tv_sec + shift->s, ns = now->tv_nsec + shift->ns;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (fl_likely(epoch == __atomic_load_n(&fl_ctl->clock_epoch, __ATOMIC_RELAXED) &&
                      epoch == __atomic_load_n(&shift->epoch, __ATOMIC_RELAXED) && epoch)) {
            int carry = ns >= FL_SECOND_NS;
            now->tv_sec = s + carry;
            now->tv_nsec = carry ? ns - FL_SECOND_NS : ns;
            return;
        }
    }
    fl_clock_turn(id, now);
}

/* A wait that ends when a faked clock reaches a time. It is waited for in slices of real time, so that a change of the clock is
 * noticed, and so that nobody waits for ever once the clock is real again: then what was left of it is waited for. */
struct fl_deadline {
    clockid_t id;         /* the clock that the wait runs on: one of the three with a course of their own */
    int which;
    int released;         /* the clock is real at the moment */
    int saved_errno;
    int64_t at_ns;        /* in the clock's time, faked or real */
    int64_t left_ns;      /* of faked time, when it was last looked at */
};

/* Whether a wait is under clock control: if not, libc's own function will do. `id` may be any clock; a relative time on
 * REALTIME runs on MONOTONIC, as in the kernel. `given` may be null (no timeout) or invalid. */
int fl_deadline_begin(struct fl_deadline *d, clockid_t id, int absolute, const struct timespec *given);
int fl_deadline_in(struct fl_deadline *d, clockid_t id, int64_t ns);
/* How long to wait now, in real time: for this long, or until this time of the clock. True: the deadline has been reached. */
int fl_deadline_slice(struct fl_deadline *d, struct timespec *wait);
int fl_deadline_slice_until(struct fl_deadline *d, struct timespec *until);
/* What is left, in faked time; and a look at the errno before the wait, for calls that succeed in the end. */
void fl_deadline_left(struct fl_deadline *d, struct timespec *left);

/* A clock of this process' domain: what it says, how long it really takes until it says `at_ns`, at what rate it runs. False: it
 * is real, and tells of real time. `actor` is whom a state of the clock that is new to the process shows itself to. Touches neither
 * errno nor any thread's storage. */
struct fl_sight { int64_t value_ns, wait_ns; uint64_t seen, rate; };
#define FL_FAR_NS (10ll * 365 * 86400 * FL_SECOND_NS)
int fl_clock_sight(struct fl_sight *sight, int which, int64_t at_ns, uint32_t actor);

/* Books what the clock will be by then, for a timer that is about to go off: its process may end at that. As above. */
void fl_clock_meet(int which, int64_t ahead_ns, uint32_t actor);

void fl_timed_setup(void);
void fl_timers_after_fork(void);

#pragma GCC visibility pop

#endif
