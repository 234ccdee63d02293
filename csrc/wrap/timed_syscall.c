/* syscall() with a number that has to do with time: goes by the wrapper of libc's function where that means the same, futex
 * is sliced here. From any context. */
#include "../clock.h"
#include "../sys.h"
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <mqueue.h>
#include "wrap.h"

static long code(int error)
{
    if (!error)
        return 0;
    errno = error;
    return -1;
}

/* The kernel's signal sets are one word. */
static const sigset_t *set_of(const void *word, sigset_t *room)
{
    if (!word)
        return NULL;
    memset(room, 0, sizeof *room);
    memcpy(room, word, sizeof(uint64_t));
    return room;
}

static long raw(long number, const long *a)
{
    return FL_REAL(syscall, long, long, long, long, long, long, long, long)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* Which timeout a futex operation has: relative on MONOTONIC, absolute on one of the two, or none. */
static int futex_clock(long op, int *absolute, clockid_t *clock)
{
    *clock = op & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    *absolute = 1;
    switch (op & FUTEX_CMD_MASK) {
    case FUTEX_WAIT: *absolute = 0; return 1;
    case FUTEX_LOCK_PI: *clock = CLOCK_REALTIME; return 1;
    case FUTEX_WAIT_BITSET: case 13 /* FUTEX_LOCK_PI2 */: return 1;
    default: return 0;
    }
}

/* A wake-up between two slices is not lost: who wakes has changed the word first, and the next slice looks at it. */
static int futex(const long *given, long *result)
{
    struct fl_deadline d;
    clockid_t clock;
    int absolute, last;
    if (!futex_clock(given[1], &absolute, &clock) || !fl_deadline_begin(&d, clock, absolute, (const struct timespec *)given[3]))
        return 0;
    struct timespec slice;
    long a[6] = {given[0], given[1], given[2], (long)&slice, given[4], given[5]};
    do {
        last = absolute ? fl_deadline_slice_until(&d, &slice) : fl_deadline_slice(&d, &slice);
        *result = raw(SYS_futex, a);
    } while (*result < 0 && errno == ETIMEDOUT && !last);
    if (*result >= 0)
        errno = d.saved_errno;
    return 1;
}

/* pselect6's last argument is the address of a set and its size. */
static long by_pselect(const long *a)
{
    sigset_t room;
    const struct { const void *set; size_t size; } *last = (const void *)a[5];
    return pselect((int)a[0], (fd_set *)a[1], (fd_set *)a[2], (fd_set *)a[3], (const struct timespec *)a[4],
                   last ? set_of(last->set, &room) : NULL);
}

static int by_wait(long number, const long *a, long *result)
{
    sigset_t room;
    switch (number) {
#ifdef SYS_poll
    case SYS_poll: *result = poll((struct pollfd *)a[0], (nfds_t)a[1], (int)a[2]); return 1;
    case SYS_select:
        *result = select((int)a[0], (fd_set *)a[1], (fd_set *)a[2], (fd_set *)a[3], (struct timeval *)a[4]);
        return 1;
    case SYS_epoll_wait: *result = epoll_wait((int)a[0], (struct epoll_event *)a[1], (int)a[2], (int)a[3]); return 1;
#endif
    case SYS_ppoll:
        *result = ppoll((struct pollfd *)a[0], (nfds_t)a[1], (const struct timespec *)a[2], set_of((void *)a[3], &room));
        return 1;
    case SYS_pselect6: *result = by_pselect(a); return 1;
    case SYS_epoll_pwait:
        *result = epoll_pwait((int)a[0], (struct epoll_event *)a[1], (int)a[2], (int)a[3], set_of((void *)a[4], &room));
        return 1;
#ifdef SYS_epoll_pwait2
    case SYS_epoll_pwait2:
        *result = epoll_pwait2((int)a[0], (struct epoll_event *)a[1], (int)a[2], (const struct timespec *)a[3], set_of((void *)a[4], &room));
        return 1;
#endif
    case SYS_rt_sigtimedwait:
        *result = sigtimedwait(set_of((void *)a[0], &room), (siginfo_t *)a[1], (const struct timespec *)a[2]);
        return 1;
    case SYS_mq_timedreceive:
        *result = mq_timedreceive((mqd_t)a[0], (char *)a[1], (size_t)a[2], (unsigned *)a[3], (const struct timespec *)a[4]);
        return 1;
    case SYS_mq_timedsend:
        *result = mq_timedsend((mqd_t)a[0], (const char *)a[1], (size_t)a[2], (unsigned)a[3], (const struct timespec *)a[4]);
        return 1;
    case SYS_semtimedop:
        *result = semtimedop((int)a[0], (struct sembuf *)a[1], (size_t)a[2], (const struct timespec *)a[3]);
        return 1;
    case SYS_timerfd_settime:
        *result = timerfd_settime((int)a[0], (int)a[1], (const struct itimerspec *)a[2], (struct itimerspec *)a[3]);
        return 1;
    case SYS_futex: return futex(a, result);
    default: return 0;
    }
}

int fl_timed_syscall(long number, const long *a, long *result)
{
    switch (number) {
    case SYS_clock_gettime: *result = clock_gettime((clockid_t)a[0], (struct timespec *)a[1]); return 1;
    case SYS_gettimeofday: *result = gettimeofday((struct timeval *)a[0], (void *)a[1]); return 1;
#ifdef SYS_time
    case SYS_time: *result = time((time_t *)a[0]); return 1;
#endif
    case SYS_nanosleep: *result = nanosleep((const struct timespec *)a[0], (struct timespec *)a[1]); return 1;
    case SYS_clock_nanosleep:
        *result = code(clock_nanosleep((clockid_t)a[0], (int)a[1], (const struct timespec *)a[2], (struct timespec *)a[3]));
        return 1;
    default: return by_wait(number, a, result);
    }
}
