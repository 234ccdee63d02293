/* Reading the clocks. The plain ways never go through fl_call: libc's function reads the real clock, then its time is turned
 * into the faked one. From any context. */
#include "../clock.h"
#include <sys/time.h>
#include "wrap.h"

#define CLOCK_FAMILY (1ull << FL_FAM_CLOCK)
#define FL_GATE __atomic_load_n(&fl_ctl->gate, __ATOMIC_RELAXED)

static __attribute__((noinline)) int decided_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)FL_CALL(clock_gettime, CLOCK_GETTIME, clock, (long)now);
    if (!result && !FL_CLOCKS_REAL)
        fl_clock_fake(clock, now);
    return result;
}

FL_EXPORT int clock_gettime(clockid_t clock, struct timespec *now)
{
    uint64_t gate = FL_GATE;
    if (fl_likely(!(gate & (CLOCK_FAMILY | FL_CLOCK_GATE))))
        return FL_REAL(clock_gettime, int, clockid_t, struct timespec *)(clock, now);
    if (fl_unlikely(gate & CLOCK_FAMILY))
        return decided_gettime(clock, now);
    if (fl_unlikely(fl_vdso_gettime(clock, now)))
        return FL_REAL(clock_gettime, int, clockid_t, struct timespec *)(clock, now); /* it knows how to fail */
    fl_clock_fake(clock, now);
    return 0;
}

static struct timespec faked_now(clockid_t clock)
{
    struct timespec now = {0, 0};
    fl_vdso_gettime(clock, &now);
    fl_clock_fake(clock, &now);
    return now;
}

/* Callers do pass null, whatever the prototype says; apart, so that the compiler does not know better. */
static __attribute__((noipa)) void fake_timeval(struct timeval *now)
{
    if (!now)
        return;
    struct timespec faked = faked_now(CLOCK_REALTIME);
    *now = (struct timeval){.tv_sec = faked.tv_sec, .tv_usec = faked.tv_nsec / 1000};
}

#define GETTIMEOFDAY(symbol)                                                                  \
    FL_EXPORT int symbol(struct timeval *restrict now, void *restrict zone);                  \
    FL_EXPORT int symbol(struct timeval *restrict now, void *restrict zone)                   \
    {                                                                                         \
        uint64_t gate = FL_GATE;                                                              \
        int result = gate & CLOCK_FAMILY ? (int)FL_CALL(symbol, GETTIMEOFDAY, (long)now, (long)zone) \
                                         : FL_REAL(symbol, int, struct timeval *, void *)(now, zone); \
        if (fl_unlikely(!FL_CLOCKS_REAL) && !result)                                          \
            fake_timeval(now);                                                                \
        return result;                                                                        \
    }
GETTIMEOFDAY(gettimeofday)
GETTIMEOFDAY(__gettimeofday)

FL_EXPORT time_t time(time_t *now)
{
    time_t result = FL_GATE & CLOCK_FAMILY ? FL_CALL(time, TIME, (long)now) : FL_REAL(time, time_t, time_t *)(now);
    if (fl_unlikely(!FL_CLOCKS_REAL) && result != -1) {
        result = faked_now(CLOCK_REALTIME_COARSE).tv_sec;
        if (now)
            *now = result;
    }
    return result;
}

FL_EXPORT int timespec_get(struct timespec *now, int base)
{
    int result = FL_GATE & CLOCK_FAMILY ? (int)FL_CALL(timespec_get, TIMESPEC_GET, (long)now, base)
                                        : FL_REAL(timespec_get, int, struct timespec *, int)(now, base);
    if (fl_unlikely(!FL_CLOCKS_REAL) && result == TIME_UTC)
        fl_clock_fake(CLOCK_REALTIME, now);
    return result;
}
