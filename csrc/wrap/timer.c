/* Timers that the kernel keeps: timerfd, timer_settime, setitimer, alarm. They go off by themselves, so nobody could wait for
 * them in slices: each is armed for the real time at which its clock will get there, and a keeper, a thread without anything of
 * libc's that is made when the first timer is set on a faked clock, arms them anew when the clock changes (rearm.c).
 * From where the function itself may be called; signals are held off while an entry is in hand. */
#include "../sys.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "timer.h"
#include "wrap.h"

#define TIMERS 256
#define KEEPER_STACK 16384

static struct fl_timer timers[TIMERS]; /* the first place is the interval timer's */
static uint32_t armed_word; /* futex: grows when a timer is armed */
static int32_t keeper_pid FL_EARLY;
static char keeper_stack[KEEPER_STACK] __attribute__((aligned(64)));

static int my_pid(void) { return (int)fl_sys1(SYS_getpid, 0); }

static struct itimerspec finer(const struct itimerval *value)
{
    return (struct itimerspec){{value->it_interval.tv_sec, value->it_interval.tv_usec * 1000},
                               {value->it_value.tv_sec, value->it_value.tv_usec * 1000}};
}

static struct itimerval coarser(const struct itimerspec *value)
{
    return (struct itimerval){{value->it_interval.tv_sec, value->it_interval.tv_nsec / 1000},
                              {value->it_value.tv_sec, value->it_value.tv_nsec / 1000}};
}

/* Uses no libc and no thread's storage: it has none of its own. */
static _Noreturn void keep(void)
{
    fl_sys6(SYS_prctl, 15 /* PR_SET_NAME */, (long)"faultlib-timers", 0, 0, 0, 0);
    int pid = my_pid();
    for (;;) {
        uint32_t seen = __atomic_load_n(&armed_word, __ATOMIC_ACQUIRE), changes = __atomic_load_n(&fl_ctl->release, __ATOMIC_ACQUIRE);
        int some = 0;
        struct timespec nap = {.tv_nsec = FL_KEEPER_NS};
        fl_owner_alive();
        for (int i = 0; i < TIMERS; i++) {
            uint32_t armed = ARMED;
            struct fl_timer *t = &timers[i];
            if (__atomic_load_n(&t->state, __ATOMIC_ACQUIRE) != ARMED || t->pid != pid ||
                !__atomic_compare_exchange_n(&t->state, &armed, IN_HAND, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
                continue;
            int64_t most = fl_timer_look_after(t);
            nap.tv_nsec = most < nap.tv_nsec ? most : nap.tv_nsec;
            some |= t->pid == pid;
            __atomic_store_n(&t->state, t->pid == pid ? ARMED : RESTING, __ATOMIC_RELEASE);
        }
        if (some)
            fl_sys(SYS_futex, &fl_ctl->release, FUTEX_WAIT, changes, &nap);
        else
            fl_sys(SYS_futex, &armed_word, FUTEX_WAIT_PRIVATE, seen, NULL);
    }
}

/* A bare thread of this process, on a stack of its own; all signals are blocked, and stay so for it. */
static long make_keeper(void)
{
    long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    void *top = keeper_stack + sizeof keeper_stack;
    long result;
#if defined(__x86_64__)
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    register void (*r9)(void) __asm__("r9") = keep;
    __asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\txor %%ebp, %%ebp\n\tcall *%%r9\n1:"
                     : "=a"(result)
                     : "a"(SYS_clone), "D"(flags), "S"(top), "d"(0), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = SYS_clone;
    register long x0 __asm__("x0") = flags;
    register void *x1 __asm__("x1") = top;
    register long x2 __asm__("x2") = 0;
    register long x3 __asm__("x3") = 0;
    register long x4 __asm__("x4") = 0;
    register void (*x9)(void) __asm__("x9") = keep;
    __asm__ volatile("svc 0\n\tcbnz x0, 1f\n\tblr x9\n1:" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x9) : "memory");
    result = x0;
#endif
    return result;
}

/* Without a keeper (a sandbox forbids it) the timer keeps the time that it was given at first. */
static void wake_keeper(int pid)
{
    int32_t before = __atomic_load_n(&keeper_pid, __ATOMIC_ACQUIRE);
    __atomic_add_fetch(&armed_word, 1, __ATOMIC_RELEASE);
    if (before != pid && __atomic_compare_exchange_n(&keeper_pid, &before, pid, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        make_keeper();
    fl_sys(SYS_futex, &armed_word, FUTEX_WAKE_PRIVATE, 1, 0);
}

static void take(struct fl_timer *t)
{
    for (uint32_t state = __atomic_load_n(&t->state, __ATOMIC_RELAXED);;) {
        if (state == IN_HAND) { /* the keeper, or another thread, for the length of a system call */
            fl_sys1(SYS_sched_yield, 0);
            state = __atomic_load_n(&t->state, __ATOMIC_RELAXED);
        } else if (__atomic_compare_exchange_n(&t->state, &state, IN_HAND, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            return;
        }
    }
}

/* In a forked child: no keeper, and whatever another thread had in hand is nobody's. Descriptors' clocks stay known. */
void fl_timers_after_fork(void)
{
    for (int i = 0; keeper_pid && i < TIMERS; i++) {
        timers[i].pid = 0;
        timers[i].state = RESTING;
    }
    keeper_pid = 0;
}

static void put_back(struct fl_timer *t) { __atomic_store_n(&t->state, t->pid ? ARMED : RESTING, __ATOMIC_RELEASE); }

static struct fl_timer *find(enum fl_timer_kind kind, long id)
{
    if (kind == INTERVAL_TIMER) {
        timers[0].clock = CLOCK_MONOTONIC;
        __atomic_store_n(&timers[0].kind, INTERVAL_TIMER, __ATOMIC_RELEASE);
        return &timers[0];
    }
    for (int i = 1; i < TIMERS; i++)
        if (__atomic_load_n(&timers[i].kind, __ATOMIC_ACQUIRE) == (uint32_t)kind && timers[i].id == id)
            return &timers[i];
    return NULL;
}

static uint64_t hold_signals(void)
{
    uint64_t all = ~0ull, before = 0;
    fl_sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof before);
    return before;
}

static void let_signals(uint64_t before) { fl_sys(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof before); }

static void forget(enum fl_timer_kind kind, long id)
{
    struct fl_timer *t;
    uint64_t signals = hold_signals();
    while ((t = find(kind, id))) {
        take(t);
        t->pid = 0;
        __atomic_store_n(&t->kind, NO_TIMER, __ATOMIC_RELEASE);
        put_back(t);
    }
    let_signals(signals);
}

/* A new timer; what was known of an older one with its number is out of date. With a full table it keeps real time. */
static void remember(enum fl_timer_kind kind, long id, clockid_t clock, int signal)
{
    forget(kind, id);
    uint64_t signals = hold_signals();
    for (int i = 1; i < TIMERS; i++) {
        uint32_t resting = RESTING;
        struct fl_timer *t = &timers[i];
        if (t->kind != NO_TIMER || !__atomic_compare_exchange_n(&t->state, &resting, IN_HAND, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            continue;
        if (t->kind == NO_TIMER) {
            *t = (struct fl_timer){.state = IN_HAND, .id = id, .clock = clock, .signal = signal};
            __atomic_store_n(&t->kind, kind, __ATOMIC_RELEASE);
            put_back(t);
            break;
        }
        put_back(t);
    }
    let_signals(signals);
}

/* What is left by its clock. */
static void tell(struct fl_timer *t, struct itimerspec *old)
{
    struct fl_sight s;
    memset(old, 0, sizeof *old);
    old->it_interval = fl_ns_spec(t->interval_ns);
    if (!fl_timer_is_running(t))
        return;
    if (fl_clock_sight(&s, t->which, t->at_ns, t->actor) != t->faked) { /* since a moment ago */
        old->it_value = fl_timer_kernel_get(t).it_value;
        return;
    }
    int64_t left = t->at_ns - s.value_ns;
    if (left <= 0 && t->interval_ns)
        left += (-left / t->interval_ns + 1) * t->interval_ns;
    old->it_value = fl_ns_spec(left > 0 ? left : 1);
}

/* Sets the timer under clock control, with `result` 0 or -errno; false: libc's function has to do it. */
static int set(struct fl_timer *t, int absolute, const struct itimerspec *value, struct itimerspec *old, long *result)
{
    struct fl_sight s;
    int64_t at = fl_spec_ns(&value->it_value);
    int was_ours = t->pid == my_pid(), which = fl_clock_which(t->clock);
    if (old && was_ours)
        tell(t, old);
    else if (old)
        *old = fl_timer_kernel_get(t);
    t->pid = 0;
    t->which = absolute || which == FL_CLOCK_BOOTTIME ? which : FL_CLOCK_MONOTONIC;
    if (!at && was_ours) {
        *result = fl_timer_kernel_set(t, 0, value, NULL);
        return 1;
    }
    t->actor = fl_actor(fl_myself(), 0);
    if (!at || !fl_clock_sight(&s, t->which, 0, t->actor))
        return 0;
    t->at_ns = absolute ? at : s.value_ns + at;
    t->interval_ns = fl_spec_ns(&value->it_interval);
    t->met_ns = s.value_ns;
    t->pid = my_pid();
    *result = fl_timer_arm(t, fl_timer_pass(t, s.value_ns));
    return 1;
}

static int is_valid(const struct itimerspec *value)
{
    return value && value->it_value.tv_sec >= 0 && value->it_interval.tv_sec >= 0 &&
           (uint64_t)value->it_value.tv_nsec < FL_SECOND_NS && (uint64_t)value->it_interval.tv_nsec < FL_SECOND_NS;
}

static int set_timer(enum fl_timer_kind kind, long id, int absolute, const struct itimerspec *value, struct itimerspec *old, long *result)
{
    if ((FL_CLOCKS_REAL && !keeper_pid) || !is_valid(value) || !fl_myself())
        return 0;
    uint64_t signals = hold_signals();
    struct fl_timer *t = find(kind, id);
    int done = 0;
    if (t && fl_clock_which(t->clock) >= 0) {
        take(t);
        done = set(t, absolute, value, old, result);
        put_back(t);
        if (t->pid)
            wake_keeper(t->pid);
    }
    let_signals(signals);
    if (done && *result) {
        errno = (int)-*result;
        *result = -1;
    }
    return done;
}

static int get_timer(enum fl_timer_kind kind, long id, struct itimerspec *value)
{
    struct fl_timer *t = keeper_pid ? find(kind, id) : NULL;
    if (!t)
        return 0;
    uint64_t signals = hold_signals();
    take(t);
    int ours = t->pid && t->pid == my_pid();
    if (ours)
        tell(t, value);
    put_back(t);
    let_signals(signals);
    return ours;
}

FL_EXPORT int timerfd_create(int clock, int flags)
{
    if (fl_unlikely(!fl_real[0]))
        fl_boot();
    int fd = FL_REAL(timerfd_create, int, int, int)(clock, flags);
    if (fd >= 0 && fl_myself())
        remember(DESCRIPTOR, fd, clock, 0);
    return fd;
}

FL_EXPORT int timerfd_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *old)
{
    long result;
    if (set_timer(DESCRIPTOR, fd, flags & TFD_TIMER_ABSTIME, value, old, &result))
        return (int)result;
    return FL_REAL(timerfd_settime, int, int, int, const struct itimerspec *, struct itimerspec *)(fd, flags, value, old);
}

FL_EXPORT int timerfd_gettime(int fd, struct itimerspec *value)
{
    return !FL_CLOCKS_REAL && get_timer(DESCRIPTOR, fd, value) ? 0
                                                               : FL_REAL(timerfd_gettime, int, int, struct itimerspec *)(fd, value);
}

/* glibc gives timers with SIGEV_THREAD a name that is not the kernel's (negative); those are left to themselves. */
FL_EXPORT int timer_create(clockid_t clock, struct sigevent *restrict event, timer_t *restrict timer)
{
    if (fl_unlikely(!fl_real[0]))
        fl_boot();
    int result = FL_REAL(timer_create, int, clockid_t, struct sigevent *, timer_t *)(clock, event, timer);
    if (!result && fl_myself() && (intptr_t)*timer >= 0)
        remember(POSIX_TIMER, (long)*timer, clock, !event ? SIGALRM : event->sigev_notify == SIGEV_SIGNAL ? event->sigev_signo : 0);
    return result;
}

FL_EXPORT int timer_delete(timer_t timer)
{
    if (fl_myself())
        forget(POSIX_TIMER, (long)timer);
    return FL_REAL(timer_delete, int, timer_t)(timer);
}

FL_EXPORT int timer_settime(timer_t timer, int flags, const struct itimerspec *restrict value, struct itimerspec *restrict old)
{
    long result;
    if (set_timer(POSIX_TIMER, (long)timer, flags & TIMER_ABSTIME, value, old, &result))
        return (int)result;
    return FL_REAL(timer_settime, int, timer_t, int, const struct itimerspec *, struct itimerspec *)(timer, flags, value, old);
}

FL_EXPORT int timer_gettime(timer_t timer, struct itimerspec *value)
{
    return !FL_CLOCKS_REAL && get_timer(POSIX_TIMER, (long)timer, value)
               ? 0
               : FL_REAL(timer_gettime, int, timer_t, struct itimerspec *)(timer, value);
}

FL_EXPORT int setitimer(__itimer_which_t which, const struct itimerval *restrict value, struct itimerval *restrict old)
{
    long result;
    struct itimerspec before = {{0, 0}, {0, 0}};
    if (which == ITIMER_REAL && value) {
        struct itimerspec given = finer(value);
        if (set_timer(INTERVAL_TIMER, 0, 0, &given, &before, &result)) {
            if (old && !result)
                *old = coarser(&before);
            return (int)result;
        }
    }
    return FL_REAL(setitimer, int, __itimer_which_t, const struct itimerval *, struct itimerval *)(which, value, old);
}

FL_EXPORT int getitimer(__itimer_which_t which, struct itimerval *value)
{
    struct itimerspec left;
    if (FL_CLOCKS_REAL || which != ITIMER_REAL || !get_timer(INTERVAL_TIMER, 0, &left))
        return FL_REAL(getitimer, int, __itimer_which_t, struct itimerval *)(which, value);
    *value = coarser(&left);
    return 0;
}

FL_EXPORT unsigned alarm(unsigned seconds)
{
    long result;
    struct itimerspec given = {.it_value = {.tv_sec = seconds}}, before = {{0, 0}, {0, 0}};
    if (!set_timer(INTERVAL_TIMER, 0, 0, &given, &before, &result))
        return FL_REAL(alarm, unsigned, unsigned)(seconds);
    return (unsigned)before.it_value.tv_sec + (before.it_value.tv_nsec >= 500000000 || (before.it_value.tv_nsec && !before.it_value.tv_sec));
}

FL_EXPORT useconds_t ualarm(useconds_t us, useconds_t interval)
{
    long result;
    struct itimerval given = {{.tv_sec = interval / 1000000, .tv_usec = interval % 1000000}, {.tv_sec = us / 1000000, .tv_usec = us % 1000000}};
    struct itimerspec finest = finer(&given), before = {{0, 0}, {0, 0}};
    if (!set_timer(INTERVAL_TIMER, 0, 0, &finest, &before, &result))
        return FL_REAL(ualarm, useconds_t, useconds_t, useconds_t)(us, interval);
    return (useconds_t)(before.it_value.tv_sec * 1000000 + before.it_value.tv_nsec / 1000);
}
