/* Waits in every way that libc knows, each in a thread of its own: `waits realtime|monotonic MILLISECONDS`. Prints "ready" once
 * all are waiting, then for each wait a line: name, what it returned (as an errno; 0: it slept to its end), and for how long it
 * lasted by its own clock and really, in milliseconds. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static clockid_t own;
static long ms;

static int64_t ns_of(struct timespec t) { return t.tv_sec * 1000000000ll + t.tv_nsec; }

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(own, &now);
    return ns_of(now);
}

/* The kernel's own word, which nobody fakes: no libc function is called. */
static int64_t real_ns(void)
{
    struct timespec now;
    long result;
#if defined(__x86_64__)
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_clock_gettime), "D"(CLOCK_MONOTONIC), "S"(&now) : "rcx", "r11", "memory");
#else
    register long x8 __asm__("x8") = SYS_clock_gettime;
    register long x0 __asm__("x0") = CLOCK_MONOTONIC;
    register long x1 __asm__("x1") = (long)&now;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
    result = x0;
#endif
    return result ? 0 : ns_of(now);
}

static struct timespec from_now(void)
{
    int64_t at = now_ns() + ms * 1000000ll;
    return (struct timespec){.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
}

static struct timespec span(void) { return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}; }

static int failed(long result) { return result < 0 ? errno : 0; }

/* What everybody waits for, and nobody gives. */
static pthread_mutex_t taken = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t read_taken = PTHREAD_RWLOCK_INITIALIZER, write_taken = PTHREAD_RWLOCK_INITIALIZER;
static mtx_t taken_mtx;
static sem_t empty;
static pthread_t sleeper;
static mqd_t empty_queue = -1, full_queue = -1;
static int sem_set;
static uint32_t word;

static void *sleep_on(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static int cond_wait(clockid_t attr, int by_clock)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_condattr_t attributes;
    pthread_cond_t cond;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, attr);
    pthread_cond_init(&cond, &attributes);
    struct timespec until = from_now();
    pthread_mutex_lock(&mutex);
    /* once, without a loop: nobody signals, so a wait that comes back before its time has failed */
    int error = by_clock ? pthread_cond_clockwait(&cond, &mutex, own, &until) : pthread_cond_timedwait(&cond, &mutex, &until);
    pthread_mutex_unlock(&mutex);
    return error;
}

static int w_cond_timedwait(void) { return cond_wait(own, 0); }
static int w_cond_clockwait(void) { return cond_wait(CLOCK_REALTIME, 1); }

static int w_cnd_timedwait(void)
{
    mtx_t mutex;
    cnd_t cond;
    mtx_init(&mutex, mtx_plain);
    cnd_init(&cond);
    struct timespec until = from_now();
    mtx_lock(&mutex);
    int result = cnd_timedwait(&cond, &mutex, &until);
    mtx_unlock(&mutex);
    return result == thrd_timedout ? ETIMEDOUT : result;
}

static int w_mtx_timedlock(void)
{
    struct timespec until = from_now();
    int result = mtx_timedlock(&taken_mtx, &until);
    return result == thrd_timedout ? ETIMEDOUT : result;
}

#define UNTIL(name, CALL) static int w_##name(void) { struct timespec until = from_now(); return CALL; }
UNTIL(clock_nanosleep_until, clock_nanosleep(own, TIMER_ABSTIME, &until, NULL))
UNTIL(syscall_clock_nanosleep, failed(syscall(SYS_clock_nanosleep, own, TIMER_ABSTIME, &until, NULL)))
UNTIL(sem_timedwait, failed(sem_timedwait(&empty, &until)))
UNTIL(sem_clockwait, failed(sem_clockwait(&empty, own, &until)))
UNTIL(mutex_timedlock, pthread_mutex_timedlock(&taken, &until))
UNTIL(mutex_clocklock, pthread_mutex_clocklock(&taken, own, &until))
UNTIL(rwlock_timedrdlock, pthread_rwlock_timedrdlock(&write_taken, &until))
UNTIL(rwlock_timedwrlock, pthread_rwlock_timedwrlock(&read_taken, &until))
UNTIL(rwlock_clockrdlock, pthread_rwlock_clockrdlock(&write_taken, own, &until))
UNTIL(rwlock_clockwrlock, pthread_rwlock_clockwrlock(&read_taken, own, &until))
UNTIL(timedjoin, pthread_timedjoin_np(sleeper, NULL, &until))
UNTIL(clockjoin, pthread_clockjoin_np(sleeper, NULL, own, &until))
UNTIL(futex_realtime, failed(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &until, NULL, -1)))
UNTIL(futex_monotonic, failed(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, &until, NULL, -1)))

static int w_mq_timedreceive(void)
{
    char text[16];
    struct timespec until = from_now();
    return failed(mq_timedreceive(empty_queue, text, sizeof text, NULL, &until));
}
UNTIL(mq_timedsend, failed(mq_timedsend(full_queue, "x", 1, 0, &until)))

#define FOR(name, CALL) static int w_##name(void) { struct timespec time = span(); (void)time; return CALL; }
FOR(nanosleep, failed(nanosleep(&time, NULL)))
FOR(clock_nanosleep, clock_nanosleep(CLOCK_REALTIME, 0, &time, NULL))
FOR(usleep, failed(usleep(ms * 1000)))
FOR(sleep, sleep(ms / 1000) ? EINTR : 0)
FOR(thrd_sleep, failed(thrd_sleep(&time, NULL)))
FOR(poll, failed(poll(NULL, 0, ms)))
FOR(ppoll, failed(ppoll(NULL, 0, &time, NULL)))
FOR(pselect, failed(pselect(0, NULL, NULL, NULL, &time, NULL)))
FOR(futex_wait, failed(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &time, NULL, 0)))
FOR(syscall_ppoll, failed(syscall(SYS_ppoll, NULL, 0, &time, NULL, 8)))

static int w_semtimedop(void)
{
    struct timespec time = span();
    struct sembuf down = {.sem_op = -1};
    return failed(semtimedop(sem_set, &down, 1, &time));
}

static int w_sigtimedwait(void)
{
    struct timespec time = span();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMAX);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return failed(sigtimedwait(&set, NULL, &time));
}

/* The sets must come back empty, the timeout at zero. */
static int w_select(void)
{
    int ends[2];
    fd_set set;
    struct timeval time = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    if (pipe(ends))
        return errno;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    int result = select(ends[0] + 1, &set, NULL, NULL, &time);
    return result < 0 ? errno : result || FD_ISSET(ends[0], &set) || time.tv_sec || time.tv_usec ? EPROTO : 0;
}

static int w_epoll_wait(void)
{
    struct epoll_event event;
    return failed(epoll_wait(epoll_create1(0), &event, 1, ms));
}

static int w_epoll_pwait(void)
{
    struct epoll_event event;
    return failed(epoll_pwait(epoll_create1(0), &event, 1, ms, NULL));
}

static int w_epoll_pwait2(void)
{
    struct epoll_event event;
    struct timespec time = span();
    return failed(epoll_pwait2(epoll_create1(0), &event, 1, &time, NULL));
}

static int w_timerfd_until(void)
{
    uint64_t expirations;
    int fd = timerfd_create(own, 0);
    struct itimerspec when = {.it_value = from_now()};
    return timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL) ? errno : failed(read(fd, &expirations, 8));
}

static int w_timerfd(void)
{
    uint64_t expirations;
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec when = {.it_value = span()};
    return timerfd_settime(fd, 0, &when, NULL) ? errno : failed(read(fd, &expirations, 8));
}

static int timer_wait(clockid_t clock, int flags, struct timespec value, int number)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = number};
    struct itimerspec when = {.it_value = value};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    if (timer_create(clock, &event, &timer) || timer_settime(timer, flags, &when, NULL))
        return errno;
    return sigwaitinfo(&set, NULL) == number ? 0 : errno;
}

static int w_timer_until(void) { return timer_wait(own, TIMER_ABSTIME, from_now(), SIGRTMIN + 1); }
static int w_timer(void) { return timer_wait(CLOCK_MONOTONIC, 0, span(), SIGRTMIN + 2); }

static int w_setitimer(void)
{
    struct itimerval when = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    if (setitimer(ITIMER_REAL, &when, NULL))
        return errno;
    return sigwaitinfo(&set, NULL) == SIGALRM ? 0 : errno;
}

struct wait { const char *name; int (*wait)(void); };
#define W(name) {#name, w_##name}
static const struct wait realtime_waits[] = {
    W(clock_nanosleep_until), W(syscall_clock_nanosleep), W(sem_timedwait), W(sem_clockwait), W(mutex_timedlock), W(mutex_clocklock),
    W(rwlock_timedrdlock), W(rwlock_timedwrlock), W(rwlock_clockrdlock), W(rwlock_clockwrlock), W(timedjoin), W(clockjoin),
    W(futex_realtime), W(mq_timedreceive), W(mq_timedsend), W(cond_timedwait), W(cond_clockwait), W(cnd_timedwait), W(mtx_timedlock),
    W(timerfd_until), W(timer_until),
};
static const struct wait monotonic_waits[] = {
    W(clock_nanosleep_until), W(syscall_clock_nanosleep), W(sem_clockwait), W(mutex_clocklock), W(rwlock_clockrdlock),
    W(rwlock_clockwrlock), W(clockjoin), W(futex_monotonic), W(cond_timedwait), W(cond_clockwait), W(nanosleep), W(clock_nanosleep),
    W(usleep), W(sleep), W(thrd_sleep), W(poll), W(ppoll), W(select), W(pselect), W(epoll_wait), W(epoll_pwait), W(epoll_pwait2),
    W(futex_wait), W(syscall_ppoll), W(semtimedop), W(sigtimedwait), W(timerfd_until), W(timer_until), W(timerfd), W(timer), W(setitimer),
};

static pthread_barrier_t all_here;

static void *run(void *given)
{
    const struct wait *wait = given;
    pthread_barrier_wait(&all_here);
    int64_t began = now_ns(), really = real_ns();
    int error = wait->wait();
    int64_t lasted = now_ns() - began, really_lasted = real_ns() - really;
    printf("%s %d %.3f %.3f\n", wait->name, error, (double)lasted / 1e6, (double)really_lasted / 1e6);
    return NULL;
}

static mqd_t queue(const char *kind, int messages)
{
    char name[64];
    struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 16};
    snprintf(name, sizeof name, "/waits.%s.%d", kind, getpid());
    mqd_t made = mq_open(name, O_RDWR | O_CREAT, 0600, &attributes);
    mq_unlink(name);
    while (messages--)
        mq_send(made, "x", 1, 0);
    return made;
}

static void prepare(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    for (int i = 0; i < 4; i++)
        sigaddset(&set, SIGRTMIN + i);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_mutex_lock(&taken);
    pthread_rwlock_wrlock(&write_taken);
    pthread_rwlock_rdlock(&read_taken);
    mtx_init(&taken_mtx, mtx_timed);
    mtx_lock(&taken_mtx);
    sem_init(&empty, 0, 0);
    pthread_create(&sleeper, NULL, sleep_on, NULL);
    empty_queue = queue("empty", 0);
    full_queue = queue("full", 1);
    sem_set = semget(IPC_PRIVATE, 1, 0600);
}

int main(int argc, char **argv)
{
    int monotonic = argc > 1 && !strcmp(argv[1], "monotonic");
    const struct wait *waits = monotonic ? monotonic_waits : realtime_waits;
    int n = (int)(monotonic ? sizeof monotonic_waits : sizeof realtime_waits) / (int)sizeof *waits;
    own = monotonic ? CLOCK_MONOTONIC : CLOCK_REALTIME;
    ms = argc > 2 ? atol(argv[2]) : 1000;
    setvbuf(stdout, NULL, _IOLBF, 0);
    prepare();
    pthread_t threads[64];
    pthread_barrier_init(&all_here, NULL, (unsigned)n + 1);
    for (int i = 0; i < n; i++)
        pthread_create(&threads[i], NULL, run, (void *)&waits[i]);
    pthread_barrier_wait(&all_here);
    puts("ready");
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    semctl(sem_set, 0, IPC_RMID);
    return 0;
}
