/* Waits for locks, conditions, semaphores, messages and threads until an absolute time. Under clock control libc's function
 * waits in slices, each until a real time. From wherever the function itself may be called. */
#include "../clock.h"
#include <errno.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/sem.h>
#include <threads.h>
#include "wrap.h"

/* The result of CALL, in which `until` is the time to wait to: as given where the clock is real, else slice by slice as long
 * as LATE says that only the slice was too short. A call that succeeds leaves errno as it was. */
#define UNTIL(type, clock, given, CALL, LATE)                                  \
    do {                                                                       \
        struct fl_deadline d_;                                                 \
        const struct timespec *until = (given);                                \
        if (FL_CLOCKS_REAL || !fl_deadline_begin(&d_, (clock), 1, until))      \
            return CALL;                                                       \
        struct timespec slice_;                                                \
        until = &slice_;                                                       \
        type result;                                                           \
        int last_;                                                             \
        do {                                                                   \
            last_ = fl_deadline_slice_until(&d_, &slice_);                     \
            result = CALL;                                                     \
        } while (!last_ && (LATE));                                            \
        if (result >= 0)                                                       \
            errno = d_.saved_errno;                                            \
        return result;                                                         \
    } while (0)

#define LATE_CODE (result == ETIMEDOUT)
#define LATE_ERRNO (result < 0 && errno == ETIMEDOUT)

#define TIMED(symbol, A)                                                                        \
    FL_EXPORT int symbol(A *object, const struct timespec *deadline)                            \
    {                                                                                           \
        UNTIL(int, CLOCK_REALTIME, deadline, FL_REAL(symbol, int, A *, const struct timespec *)(object, until), LATE_##symbol); \
    }
#define CLOCKED(symbol, A)                                                                      \
    FL_EXPORT int symbol(A *object, clockid_t clock, const struct timespec *deadline)           \
    {                                                                                           \
        UNTIL(int, clock, deadline, FL_REAL(symbol, int, A *, clockid_t, const struct timespec *)(object, clock, until), \
              LATE_##symbol);                                                                   \
    }
#define LATE_sem_timedwait LATE_ERRNO
#define LATE_sem_clockwait LATE_ERRNO
#define LATE_pthread_mutex_timedlock LATE_CODE
#define LATE_pthread_mutex_clocklock LATE_CODE
#define LATE_pthread_rwlock_timedrdlock LATE_CODE
#define LATE_pthread_rwlock_timedwrlock LATE_CODE
#define LATE_pthread_rwlock_clockrdlock LATE_CODE
#define LATE_pthread_rwlock_clockwrlock LATE_CODE
#define LATE_mtx_timedlock (result == thrd_timedout)
TIMED(sem_timedwait, sem_t)
CLOCKED(sem_clockwait, sem_t)
TIMED(pthread_mutex_timedlock, pthread_mutex_t)
CLOCKED(pthread_mutex_clocklock, pthread_mutex_t)
TIMED(pthread_rwlock_timedrdlock, pthread_rwlock_t)
TIMED(pthread_rwlock_timedwrlock, pthread_rwlock_t)
CLOCKED(pthread_rwlock_clockrdlock, pthread_rwlock_t)
CLOCKED(pthread_rwlock_clockwrlock, pthread_rwlock_t)
TIMED(mtx_timedlock, mtx_t)

FL_EXPORT int pthread_timedjoin_np(pthread_t thread, void **value, const struct timespec *deadline)
{
    UNTIL(int, CLOCK_REALTIME, deadline,
          FL_REAL(pthread_timedjoin_np, int, pthread_t, void **, const struct timespec *)(thread, value, until), LATE_CODE);
}

FL_EXPORT int pthread_clockjoin_np(pthread_t thread, void **value, clockid_t clock, const struct timespec *deadline)
{
    UNTIL(int, clock, deadline,
          FL_REAL(pthread_clockjoin_np, int, pthread_t, void **, clockid_t, const struct timespec *)(thread, value, clock, until),
          LATE_CODE);
}

FL_EXPORT ssize_t mq_timedreceive(mqd_t queue, char *restrict text, size_t size, unsigned *restrict priority,
                                  const struct timespec *restrict deadline)
{
    UNTIL(ssize_t, CLOCK_REALTIME, deadline,
          FL_REAL(mq_timedreceive, ssize_t, mqd_t, char *, size_t, unsigned *, const struct timespec *)(queue, text, size, priority, until),
          LATE_ERRNO);
}

FL_EXPORT int mq_timedsend(mqd_t queue, const char *text, size_t size, unsigned priority, const struct timespec *deadline)
{
    UNTIL(int, CLOCK_REALTIME, deadline,
          FL_REAL(mq_timedsend, int, mqd_t, const char *, size_t, unsigned, const struct timespec *)(queue, text, size, priority, until),
          LATE_ERRNO);
}

/* The one relative time among these; it runs on MONOTONIC. */
FL_EXPORT int semtimedop(int set, struct sembuf *ops, size_t n, const struct timespec *timeout)
{
    struct fl_deadline d;
    if (FL_CLOCKS_REAL || !fl_deadline_begin(&d, CLOCK_MONOTONIC, 0, timeout))
        return FL_REAL(semtimedop, int, int, struct sembuf *, size_t, const struct timespec *)(set, ops, n, timeout);
    struct timespec slice;
    int last, result;
    do {
        last = fl_deadline_slice(&d, &slice);
        result = FL_REAL(semtimedop, int, int, struct sembuf *, size_t, const struct timespec *)(set, ops, n, &slice);
    } while (result < 0 && errno == EAGAIN && !last);
    if (result >= 0)
        errno = d.saved_errno;
    return result;
}

/* Conditions. After a slice the mutex is held again, and a signal sent in between would have found nobody waiting. So a wait goes
 * on only if no signal was sent since it began; else it returns, as every wait may, for the caller to look at its predicate. A
 * signal that slips in just before the next slice begins is noticed after it. Conditions shared between processes
 * return after each slice: their signals may come from elsewhere. */
#define BELLS 1024
static uint32_t bells[BELLS];

static uint32_t *bell(const void *cond) { return &bells[((uintptr_t)cond >> 4) * 2654435761u >> 7 & (BELLS - 1)]; }

/* glibc's own marks in a condition, since 2.25: shared, and on MONOTONIC. */
#define WREFS_SHARED 1u
#define WREFS_MONOTONIC 2u

static unsigned marks(const pthread_cond_t *cond) { return __atomic_load_n(&cond->__data.__wrefs, __ATOMIC_RELAXED); }

/* Nobody can have rung since `rings` was read, as far as can be known. */
static int undisturbed(const pthread_cond_t *cond, uint32_t rings)
{
    return !(marks(cond) & WREFS_SHARED) && __atomic_load_n(bell(cond), __ATOMIC_SEQ_CST) == rings;
}

/* LATE tells a slice that ended; NONE is what success returns. */
#define COND_UNTIL(cond, clock, given, CALL, TIMEOUT, NONE)                    \
    do {                                                                       \
        struct fl_deadline d_;                                                 \
        const struct timespec *until = (given);                                \
        if (FL_CLOCKS_REAL || !fl_deadline_begin(&d_, (clock), 1, until))      \
            return CALL;                                                       \
        uint32_t rings_ = __atomic_load_n(bell(cond), __ATOMIC_SEQ_CST);       \
        struct timespec slice_;                                                \
        until = &slice_;                                                       \
        for (;;) {                                                             \
            int last_ = fl_deadline_slice_until(&d_, &slice_), result = CALL;  \
            errno = d_.saved_errno;                                            \
            if (result != (TIMEOUT) || last_)                                  \
                return result;                                                 \
            if (!undisturbed((cond), rings_))                                  \
                return NONE;                                                   \
        }                                                                      \
    } while (0)

FL_EXPORT int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                                     const struct timespec *restrict deadline)
{
    COND_UNTIL(cond, marks(cond) & WREFS_MONOTONIC ? CLOCK_MONOTONIC : CLOCK_REALTIME, deadline,
               FL_REAL(pthread_cond_timedwait, int, pthread_cond_t *, pthread_mutex_t *, const struct timespec *)(cond, mutex, until),
               ETIMEDOUT, 0);
}

FL_EXPORT int pthread_cond_clockwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, clockid_t clock,
                                     const struct timespec *restrict deadline)
{
    COND_UNTIL(cond, clock, deadline,
               FL_REAL(pthread_cond_clockwait, int, pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *)(cond, mutex, clock,
                                                                                                                     until),
               ETIMEDOUT, 0);
}

FL_EXPORT int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict deadline)
{
    COND_UNTIL((pthread_cond_t *)cond, CLOCK_REALTIME, deadline,
               FL_REAL(cnd_timedwait, int, cnd_t *, mtx_t *, const struct timespec *)(cond, mutex, until), thrd_timedout, thrd_success);
}

#define RING(symbol, A)                                                        \
    FL_EXPORT int symbol(A *cond)                                              \
    {                                                                          \
        if (!FL_CLOCKS_REAL)                                                   \
            __atomic_add_fetch(bell(cond), 1, __ATOMIC_SEQ_CST);               \
        return FL_REAL(symbol, int, A *)(cond);                                \
    }
RING(pthread_cond_signal, pthread_cond_t)
RING(pthread_cond_broadcast, pthread_cond_t)
RING(cnd_signal, cnd_t)
RING(cnd_broadcast, cnd_t)
