/* Clocks and sleeps. From any context. */
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "wrap.h"

FL_EXPORT int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (FL_IDLE(CLOCK_GETTIME))
        return FL_REAL(clock_gettime, int, clockid_t, struct timespec *)(clock, now);
    return (int)FL_CALL(clock_gettime, CLOCK_GETTIME, clock, (long)now);
}

FL_EXPORT int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    if (FL_IDLE(GETTIMEOFDAY))
        return FL_REAL(gettimeofday, int, struct timeval *, void *)(now, zone);
    return (int)FL_CALL(gettimeofday, GETTIMEOFDAY, (long)now, (long)zone);
}

FL_EXPORT time_t time(time_t *now)
{
    return FL_IDLE(TIME) ? FL_REAL(time, time_t, time_t *)(now) : FL_CALL(time, TIME, (long)now);
}

FL_EXPORT int timespec_get(struct timespec *now, int base)
{
    if (FL_IDLE(TIMESPEC_GET))
        return FL_REAL(timespec_get, int, struct timespec *, int)(now, base);
    return (int)FL_CALL(timespec_get, TIMESPEC_GET, (long)now, base);
}

FL_EXPORT int nanosleep(const struct timespec *wanted, struct timespec *left)
{
    if (FL_IDLE(NANOSLEEP))
        return FL_REAL(nanosleep, int, const struct timespec *, struct timespec *)(wanted, left);
    return (int)FL_CALL(nanosleep, NANOSLEEP, (long)wanted, (long)left);
}

FL_EXPORT int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left)
{
    if (FL_IDLE(CLOCK_NANOSLEEP))
        return FL_REAL(clock_nanosleep, int, clockid_t, int, const struct timespec *, struct timespec *)(clock, flags, wanted, left);
    return (int)FL_CALL(clock_nanosleep, CLOCK_NANOSLEEP, clock, flags, (long)wanted, (long)left);
}

FL_EXPORT unsigned int sleep(unsigned int seconds)
{
    return FL_IDLE(SLEEP) ? FL_REAL(sleep, unsigned int, unsigned int)(seconds) : (unsigned int)FL_CALL(sleep, SLEEP, seconds);
}

FL_EXPORT int usleep(useconds_t us)
{
    return FL_IDLE(USLEEP) ? FL_REAL(usleep, int, useconds_t)(us) : (int)FL_CALL(usleep, USLEEP, us);
}
