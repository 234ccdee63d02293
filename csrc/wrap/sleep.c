/* Sleeps, and waits for descriptors: relative times on MONOTONIC. Under clock control they are made of slices, between which
 * signals are blocked, so that none is missed: it interrupts the next slice as it would have the whole wait. */
#include "../clock.h"
#include "../sys.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <threads.h>
#include <unistd.h>
#include "wrap.h"

#define REAL_PPOLL FL_REAL(ppoll, int, struct pollfd *, nfds_t, const struct timespec *, const sigset_t *)

static void block_signals(sigset_t *before)
{
    uint64_t all = ~0ull, mask = 0;
    fl_sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &mask, sizeof mask);
    memset(before, 0, sizeof *before);
    memcpy(before, &mask, sizeof mask);
}

/* A result of 0 leaves errno as it was before the wait. */
static int unblock_signals(const struct fl_deadline *d, const sigset_t *before, int result)
{
    int error = errno;
    fl_sys(SYS_rt_sigprocmask, SIG_SETMASK, before, 0, sizeof(uint64_t));
    errno = result < 0 ? error : d->saved_errno;
    return result;
}

/* Runs CALL, an int, with `slice` and `mask` until it is not 0 or the deadline has come. */
#define IN_SLICES(d, result, mask, slice, CALL)           \
    do {                                                  \
        sigset_t before_;                                 \
        struct timespec slice;                            \
        int last_;                                        \
        block_signals(&before_);                          \
        const sigset_t *own_mask_ = &before_;             \
        do {                                              \
            const sigset_t *mask = own_mask_;             \
            last_ = fl_deadline_slice(&(d), &slice);      \
            result = CALL;                                \
        } while (!result && !last_);                      \
        result = unblock_signals(&(d), &before_, result); \
    } while (0)

/* 0, or EINTR. */
static int sleep_under_control(struct fl_deadline *d)
{
    int result;
    IN_SLICES(*d, result, mask, slice, REAL_PPOLL(NULL, 0, &slice, mask));
    return result < 0 ? errno : 0;
}

static int timed_nanosleep(const struct timespec *wanted, struct timespec *left)
{
    struct fl_deadline d;
    if (FL_CLOCKS_REAL || !fl_deadline_begin(&d, CLOCK_MONOTONIC, 0, wanted))
        return FL_REAL(nanosleep, int, const struct timespec *, struct timespec *)(wanted, left);
    int error = sleep_under_control(&d);
    if (error && left)
        fl_deadline_left(&d, left);
    return error ? -1 : 0;
}

static int timed_clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left)
{
    struct fl_deadline d;
    int absolute = flags & TIMER_ABSTIME;
    if (FL_CLOCKS_REAL || (flags & ~TIMER_ABSTIME) || !fl_deadline_begin(&d, clock, absolute, wanted))
        return FL_REAL(clock_nanosleep, int, clockid_t, int, const struct timespec *, struct timespec *)(clock, flags, wanted, left);
    int error = sleep_under_control(&d);
    if (error && left && !absolute)
        fl_deadline_left(&d, left);
    errno = d.saved_errno;
    return error;
}

static unsigned timed_sleep(unsigned seconds)
{
    struct fl_deadline d;
    struct timespec wanted = {.tv_sec = seconds};
    if (FL_CLOCKS_REAL || !fl_deadline_begin(&d, CLOCK_MONOTONIC, 0, &wanted))
        return FL_REAL(sleep, unsigned, unsigned)(seconds);
    if (!sleep_under_control(&d))
        return 0;
    fl_deadline_left(&d, &wanted);
    return (unsigned)wanted.tv_sec;
}

static int timed_usleep(useconds_t us)
{
    struct fl_deadline d;
    if (FL_CLOCKS_REAL || !fl_deadline_in(&d, CLOCK_MONOTONIC, (int64_t)us * 1000))
        return FL_REAL(usleep, int, useconds_t)(us);
    return sleep_under_control(&d) ? -1 : 0;
}

/* A rule on the family goes by fl_call, which then carries out the function that knows the clocks. */
#define SLEEPS_UNWATCHED fl_likely(!(__atomic_load_n(&fl_ctl->gate, __ATOMIC_RELAXED) & 1ull << FL_FAM_SLEEP))

FL_STARTUP void fl_timed_setup(void)
{
    fl_real[FL_SYM_fl_timed_nanosleep] = (fl_fn)timed_nanosleep;
    fl_real[FL_SYM_fl_timed_clock_nanosleep] = (fl_fn)timed_clock_nanosleep;
    fl_real[FL_SYM_fl_timed_sleep] = (fl_fn)timed_sleep;
    fl_real[FL_SYM_fl_timed_usleep] = (fl_fn)timed_usleep;
}

#define NANOSLEEP(symbol)                                                     \
    FL_EXPORT int symbol(const struct timespec *wanted, struct timespec *left); \
    FL_EXPORT int symbol(const struct timespec *wanted, struct timespec *left) \
    {                                                                         \
        if (SLEEPS_UNWATCHED)                                                 \
            return timed_nanosleep(wanted, left);                             \
        return (int)FL_CALL(fl_timed_nanosleep, NANOSLEEP, (long)wanted, (long)left); \
    }
NANOSLEEP(nanosleep)
NANOSLEEP(__nanosleep)

FL_EXPORT int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left)
{
    if (SLEEPS_UNWATCHED)
        return timed_clock_nanosleep(clock, flags, wanted, left);
    return (int)FL_CALL(fl_timed_clock_nanosleep, CLOCK_NANOSLEEP, clock, flags, (long)wanted, (long)left);
}

FL_EXPORT unsigned sleep(unsigned seconds)
{
    return SLEEPS_UNWATCHED ? timed_sleep(seconds) : (unsigned)FL_CALL(fl_timed_sleep, SLEEP, seconds);
}

FL_EXPORT int usleep(useconds_t us)
{
    return SLEEPS_UNWATCHED ? timed_usleep(us) : (int)FL_CALL(fl_timed_usleep, USLEEP, us);
}

/* C11: 0, -1 if interrupted, another negative value otherwise. */
FL_EXPORT int thrd_sleep(const struct timespec *wanted, struct timespec *left)
{
    struct fl_deadline d;
    if (FL_CLOCKS_REAL || !fl_deadline_begin(&d, CLOCK_MONOTONIC, 0, wanted))
        return FL_REAL(thrd_sleep, int, const struct timespec *, struct timespec *)(wanted, left);
    int error = sleep_under_control(&d);
    if (error && left)
        fl_deadline_left(&d, left);
    return error ? -1 : 0;
}

static int timed_poll(struct fl_deadline *d, struct pollfd *fds, nfds_t n, const sigset_t *theirs)
{
    int result;
    IN_SLICES(*d, result, mask, slice, REAL_PPOLL(fds, n, &slice, theirs ? theirs : mask));
    return result;
}

/* No timeout, or none to speak of, is nothing to translate. */
static int begin_ms(struct fl_deadline *d, int ms)
{
    return ms > 0 && fl_deadline_in(d, CLOCK_MONOTONIC, (int64_t)ms * 1000000);
}

static int begin_timeout(struct fl_deadline *d, const struct timespec *timeout)
{
    return timeout && (timeout->tv_sec || timeout->tv_nsec) && fl_deadline_begin(d, CLOCK_MONOTONIC, 0, timeout);
}

#define POLL(symbol)                                                          \
    FL_EXPORT int symbol(struct pollfd *fds, nfds_t n, int ms);               \
    FL_EXPORT int symbol(struct pollfd *fds, nfds_t n, int ms)                \
    {                                                                         \
        struct fl_deadline d;                                                 \
        if (FL_CLOCKS_REAL || !begin_ms(&d, ms))                              \
            return FL_REAL(poll, int, struct pollfd *, nfds_t, int)(fds, n, ms); \
        return timed_poll(&d, fds, n, NULL);                                  \
    }
POLL(poll)
POLL(__poll)

FL_EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t room);
FL_EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t room)
{
    struct fl_deadline d;
    if (FL_CLOCKS_REAL || room / sizeof *fds < n || !begin_ms(&d, ms))
        return FL_REAL(__poll_chk, int, struct pollfd *, nfds_t, int, size_t)(fds, n, ms, room);
    return timed_poll(&d, fds, n, NULL);
}

FL_EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
    struct fl_deadline d;
    if (FL_CLOCKS_REAL || !begin_timeout(&d, timeout))
        return REAL_PPOLL(fds, n, timeout, mask);
    return timed_poll(&d, fds, n, mask);
}

FL_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t room);
FL_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t room)
{
    struct fl_deadline d;
    if (FL_CLOCKS_REAL || room / sizeof *fds < n || !begin_timeout(&d, timeout))
        return FL_REAL(__ppoll_chk, int, struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t)(fds, n, timeout, mask,
                                                                                                              room);
    return timed_poll(&d, fds, n, mask);
}

/* The sets are wanted anew for each slice. What does not fit here (more than 16,384 descriptors) is not sliced. */
#define SET_WORDS (FL_MAX_FDS / 64)

struct sets { int n; size_t bytes; fd_set *set[3]; };

static void copy_sets(const struct sets *s, uint64_t kept[3][SET_WORDS], int restore)
{
    for (int i = 0; i < 3; i++)
        if (s->set[i])
            memcpy(restore ? (void *)s->set[i] : kept[i], restore ? kept[i] : (void *)s->set[i], s->bytes);
}

static int select_slice(const struct sets *s, uint64_t kept[3][SET_WORDS], const struct timespec *slice, const sigset_t *mask)
{
    copy_sets(s, kept, 1);
    return FL_REAL(pselect, int, int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *)(s->n, s->set[0], s->set[1],
                                                                                                        s->set[2], slice, mask);
}

static __attribute__((noinline)) int timed_select(struct fl_deadline *d, const struct sets *s, const sigset_t *theirs)
{
    uint64_t kept[3][SET_WORDS];
    copy_sets(s, kept, 0);
    int result;
    IN_SLICES(*d, result, mask, slice, select_slice(s, kept, &slice, theirs ? theirs : mask));
    return result;
}

#define SETS(n, r, w, x) {(n), ((size_t)(n) + 63) / 64 * 8, {(r), (w), (x)}}

#define SELECT(symbol)                                                        \
    FL_EXPORT int symbol(int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *timeout); \
    FL_EXPORT int symbol(int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *timeout) \
    {                                                                         \
        struct fl_deadline d;                                                 \
        struct timespec time = {0, 0};                                        \
        if (!FL_CLOCKS_REAL && timeout && (uint64_t)timeout->tv_usec < 1000000) \
            time = (struct timespec){.tv_sec = timeout->tv_sec, .tv_nsec = timeout->tv_usec * 1000}; \
        if (n < 0 || n > FL_MAX_FDS || !begin_timeout(&d, &time))             \
            return FL_REAL(symbol, int, int, fd_set *, fd_set *, fd_set *, struct timeval *)(n, r, w, x, timeout); \
        struct sets sets = SETS(n, r, w, x);                                  \
        int result = timed_select(&d, &sets, NULL);                           \
        fl_deadline_left(&d, &time);                                          \
        *timeout = (struct timeval){.tv_sec = time.tv_sec, .tv_usec = time.tv_nsec / 1000}; \
        return result;                                                        \
    }
SELECT(select)
SELECT(__select)

FL_EXPORT int pselect(int n, fd_set *r, fd_set *w, fd_set *x, const struct timespec *timeout, const sigset_t *mask)
{
    struct fl_deadline d;
    if (FL_CLOCKS_REAL || n < 0 || n > FL_MAX_FDS || !begin_timeout(&d, timeout))
        return FL_REAL(pselect, int, int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *)(n, r, w, x, timeout, mask);
    struct sets sets = SETS(n, r, w, x);
    return timed_select(&d, &sets, mask);
}

/* epoll_pwait2 where there is one; else whole milliseconds, rounded up. */
static int epoll_slice(int ep, struct epoll_event *events, int most, const struct timespec *slice, const sigset_t *mask)
{
    int result =
        FL_REAL(epoll_pwait2, int, int, struct epoll_event *, int, const struct timespec *, const sigset_t *)(ep, events, most, slice, mask);
    if (result >= 0 || errno != ENOSYS)
        return result;
    int ms = (int)((slice->tv_nsec + 999999) / 1000000);
    return FL_REAL(epoll_pwait, int, int, struct epoll_event *, int, int, const sigset_t *)(ep, events, most, ms, mask);
}

static int timed_epoll(struct fl_deadline *d, int ep, struct epoll_event *events, int most, const sigset_t *theirs)
{
    int result;
    IN_SLICES(*d, result, mask, slice, epoll_slice(ep, events, most, &slice, theirs ? theirs : mask));
    return result;
}

FL_EXPORT int epoll_wait(int ep, struct epoll_event *events, int most, int ms)
{
    struct fl_deadline d;
    if (FL_CLOCKS_REAL || !begin_ms(&d, ms))
        return FL_REAL(epoll_wait, int, int, struct epoll_event *, int, int)(ep, events, most, ms);
    return timed_epoll(&d, ep, events, most, NULL);
}

FL_EXPORT int epoll_pwait(int ep, struct epoll_event *events, int most, int ms, const sigset_t *mask)
{
    struct fl_deadline d;
    if (FL_CLOCKS_REAL || !begin_ms(&d, ms))
        return FL_REAL(epoll_pwait, int, int, struct epoll_event *, int, int, const sigset_t *)(ep, events, most, ms, mask);
    return timed_epoll(&d, ep, events, most, mask);
}

FL_EXPORT int epoll_pwait2(int ep, struct epoll_event *events, int most, const struct timespec *timeout, const sigset_t *mask)
{
    struct fl_deadline d;
    if (FL_CLOCKS_REAL || !begin_timeout(&d, timeout))
        return FL_REAL(epoll_pwait2, int, int, struct epoll_event *, int, const struct timespec *, const sigset_t *)(ep, events, most,
                                                                                                             timeout, mask);
    return timed_epoll(&d, ep, events, most, mask);
}

#define REAL_SIGTIMEDWAIT FL_REAL(sigtimedwait, int, const sigset_t *, siginfo_t *, const struct timespec *)

/* The signals waited for are blocked by the caller and stay pending between slices; others are as in the kernel. */
FL_EXPORT int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
    struct fl_deadline d;
    if (FL_CLOCKS_REAL || !begin_timeout(&d, timeout))
        return REAL_SIGTIMEDWAIT(set, info, timeout);
    struct timespec slice;
    int last, result;
    do {
        last = fl_deadline_slice(&d, &slice);
        result = REAL_SIGTIMEDWAIT(set, info, &slice);
    } while (result < 0 && errno == EAGAIN && !last);
    if (result >= 0)
        errno = d.saved_errno;
    return result;
}
