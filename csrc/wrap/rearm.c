/* Setting the kernel's timers so that they follow a faked clock. A tick is never given twice and never lost when a timer is set anew:
 * what the kernel has given is counted, and what nobody has read yet is taken back and given again. From the keeper, or with
 * signals held off; no libc, no errno, no thread's storage. */
#include "timer.h"
#include "../sys.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

#define FIRES_NS 20000
#define FIRES_LOOKS 1000
#define SOON_NS 5000000

int64_t fl_spec_ns(const struct timespec *t)
{
    return t->tv_sec > FL_FAR_NS / FL_SECOND_NS * 25 ? FL_NEVER / 2 : t->tv_sec * (int64_t)FL_SECOND_NS + t->tv_nsec;
}

struct timespec fl_ns_spec(int64_t ns) { return (struct timespec){.tv_sec = ns / FL_SECOND_NS, .tv_nsec = ns % FL_SECOND_NS}; }

static struct itimerspec finer(const struct itimerval *value)
{
    return (struct itimerspec){{value->it_interval.tv_sec, value->it_interval.tv_usec * 1000},
                               {value->it_value.tv_sec, value->it_value.tv_usec * 1000}};
}

long fl_timer_kernel_set(const struct fl_timer *t, int flags, const struct itimerspec *value, struct itimerspec *old)
{
    if (t->kind == DESCRIPTOR)
        return fl_sys(SYS_timerfd_settime, t->id, flags, value, old);
    if (t->kind == POSIX_TIMER)
        return fl_sys(SYS_timer_settime, t->id, flags, value, old);
    struct itimerval before = {{0, 0}, {0, 0}};
    struct itimerval rounded = {{value->it_interval.tv_sec, value->it_interval.tv_nsec / 1000},
                                {value->it_value.tv_sec, (value->it_value.tv_nsec + 999) / 1000}};
    if (rounded.it_value.tv_usec == 1000000)
        rounded.it_value = (struct timeval){.tv_sec = rounded.it_value.tv_sec + 1};
    long result = fl_sys3(SYS_setitimer, ITIMER_REAL, &rounded, &before);
    if (old)
        *old = finer(&before);
    return result;
}

struct itimerspec fl_timer_kernel_get(const struct fl_timer *t)
{
    struct itimerspec value = {{0, 0}, {0, 0}};
    struct itimerval interval = {{0, 0}, {0, 0}};
    if (t->kind != INTERVAL_TIMER) {
        fl_sys(t->kind == DESCRIPTOR ? SYS_timerfd_gettime : SYS_timer_gettime, t->id, &value, 0, 0);
        return value;
    }
    fl_sys(SYS_getitimer, ITIMER_REAL, &interval, 0, 0);
    return finer(&interval);
}

/* An interval timer whose signal is blocked has nothing left, but goes on once that is taken. */
int fl_timer_is_running(const struct fl_timer *t)
{
    struct itimerspec left = fl_timer_kernel_get(t);
    return fl_spec_ns(&left.it_value) || fl_spec_ns(&left.it_interval);
}

static int64_t now_of(const struct fl_timer *t)
{
    static const clockid_t own_clock[FL_CLOCKS] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
    return fl_clock_real_ns(own_clock[t->which]);
}

static long set_in(const struct fl_timer *t, int64_t wait, int64_t interval)
{
    struct itimerspec value = {.it_value = fl_ns_spec(wait), .it_interval = fl_ns_spec(interval)};
    return fl_timer_kernel_set(t, 0, &value, NULL);
}

/* No interval timer counts what it gives late: one signal now, and once that is on its way the next in time. */
static long give_signal(const struct fl_timer *t)
{
    struct timespec nap = {.tv_nsec = FIRES_NS};
    long result = set_in(t, 1, 0);
    for (int looks = FIRES_LOOKS; looks && !result && fl_timer_is_running(t); looks--)
        fl_sys(SYS_nanosleep, &nap, NULL, 0, 0);
    int64_t wait = t->real_ns - now_of(t);
    return result ? result : set_in(t, wait > 0 ? wait : 1, t->real_interval_ns);
}

/* The kernel counts what a timer that was due in the past has missed. What lies before the beginning of its time, or does not go
 * together with the next tick, is given with a shorter interval at first. */
static long give_late(struct fl_timer *t, int64_t wait)
{
    if (t->kind == INTERVAL_TIMER)
        return give_signal(t);
    int64_t now = fl_clock_real_ns(t->clock), interval = t->real_interval_ns;
    t->makeshift = wait > interval || (__int128)t->owed * interval >= (__int128)now + wait;
    if (t->makeshift) {
        t->owed = t->owed < now / 2 ? t->owed : now / 2;
        interval = now / (t->owed + 1) < wait ? now / (t->owed + 1) : wait;
        t->real_ns += interval - wait;
        t->real_interval_ns = wait = interval;
    }
    struct itimerspec value = {.it_value = fl_ns_spec(now + wait - t->owed * interval), .it_interval = fl_ns_spec(interval)};
    return fl_timer_kernel_set(t, TIMER_ABSTIME, &value, NULL);
}

/* The interval in real time, as long as the clock runs as it does. */
static int64_t scaled(int64_t interval, uint64_t rate)
{
    unsigned __int128 real = rate ? ((unsigned __int128)interval << 32) / rate : 0;
    return !interval ? 0 : !rate || real > FL_FAR_NS ? FL_FAR_NS : real < 1 ? 1 : (int64_t)real;
}

long fl_timer_arm(struct fl_timer *t, int64_t owed)
{
    struct fl_sight s;
    t->epoch = __atomic_load_n(&fl_ctl->clock_epoch, __ATOMIC_SEQ_CST);
    t->faked = fl_clock_sight(&s, t->which, t->at_ns, t->actor);
    int64_t wait = s.wait_ns;
    if (wait <= 0 || (owed && !t->interval_ns))
        wait = 1;
    t->owed = owed;
    t->makeshift = 0;
    t->real_ns = now_of(t) + wait;
    t->real_interval_ns = scaled(t->interval_ns, s.rate);
    long result = owed && t->interval_ns ? give_late(t, wait) : set_in(t, wait, t->real_interval_ns);
    t->seen = s.seen;
    t->met_ns = s.value_ns;
    if (wait < FL_KEEPER_NS) /* before the keeper looks */
        fl_clock_meet(t->which, wait, t->actor);
    if (result || !fl_owner_alive())
        t->pid = 0;
    return result;
}

int64_t fl_timer_pass(struct fl_timer *t, int64_t value_ns)
{
    if (value_ns < t->at_ns)
        return 0;
    int64_t ticks = t->interval_ns ? (value_ns - t->at_ns) / t->interval_ns + 1 : 1;
    t->at_ns += ticks * t->interval_ns;
    return ticks;
}

/* How many ticks the kernel has given by that time, and by what it says is left until the next one. */
static int64_t given_by(const struct fl_timer *t, int64_t now)
{
    return now < t->real_ns ? 0 : t->real_interval_ns ? (now - t->real_ns) / t->real_interval_ns + 1 : 1;
}

static int64_t given(const struct fl_timer *t, int64_t now, const struct itimerspec *left)
{
    int64_t until = fl_spec_ns(&left->it_value), interval = t->real_interval_ns;
    if (!until || !interval)
        return until ? 0 : interval ? given_by(t, now) : 1;
    int64_t ticks = (now + until - t->real_ns + interval / 2) / interval;
    return ticks > 0 ? ticks : 0;
}

/* Never blocks, though others may read it too: where the kernel cannot promise that (before 6.10, and a blocking descriptor), what
 * is there stays, and is taken for what was given last. */
static int64_t unread_ticks(const struct fl_timer *t)
{
    uint64_t ticks = 0;
    struct timespec now = {0, 0};
    struct pollfd fd = {.fd = (int)t->id, .events = POLLIN};
    struct iovec room = {&ticks, sizeof ticks};
    if (fl_sys6(SYS_ppoll, (long)&fd, 1, (long)&now, 0, 8, 0) != 1)
        return 0;
    long result = fl_sys6(SYS_preadv2, t->id, (long)&room, 1, -1, -1, RWF_NOWAIT);
    if ((result == -EOPNOTSUPP || result == -ENOSYS) && fl_sys3(SYS_fcntl, t->id, F_GETFL, 0) & O_NONBLOCK)
        result = fl_sys3(SYS_read, t->id, &ticks, sizeof ticks);
    return result > 0 ? (int64_t)ticks : result == -EAGAIN ? 0 : t->owed > 1 ? t->owed : 1;
}

/* Its signal, if that is blocked and pending; somebody else's of the same number is sent again. */
static int64_t pending_ticks(const struct fl_timer *t)
{
    siginfo_t info;
    struct timespec now = {0, 0};
    uint64_t set = 1ull << (t->signal - 1);
    long signal = fl_sys(SYS_rt_sigtimedwait, &set, &info, &now, sizeof set);
    if (signal <= 0)
        return 0;
    if (info.si_code == SI_TIMER && info.si_timerid == t->id)
        return 1 + (int64_t)info.si_overrun;
    fl_sys3(SYS_rt_sigqueueinfo, t->pid, signal, &info);
    return 0;
}

/* Ticks that nobody has read: they are nobody's from now on. Signals of interval timers stay where they are. */
static int64_t take_back(const struct fl_timer *t)
{
    return t->kind == DESCRIPTOR ? unread_ticks(t) : t->kind == POSIX_TIMER && t->signal ? pending_ticks(t) : 0;
}

/* Stops the timer and sets it anew. What it gave after the first taking back went with its stopping (or, as signals before Linux
 * 6.12, stayed to be taken back after it). */
static void rearm(struct fl_timer *t)
{
    struct itimerspec none = {{0, 0}, {0, 0}}, left = none;
    struct fl_sight s;
    int64_t unread = take_back(t), taken_ns = now_of(t);
    fl_timer_kernel_set(t, 0, &none, &left);
    int64_t now = now_of(t), ticks = given(t, now, &left), late = take_back(t);
    int64_t gone = t->kind == INTERVAL_TIMER ? 0 : ticks - given_by(t, taken_ns) - late;
    int64_t owed = unread + late + (gone > 0 ? gone : 0);
    int is_over = ticks && !t->interval_ns;
    t->at_ns += ticks * t->interval_ns;
    if (!fl_clock_sight(&s, t->which, t->at_ns, t->actor) && t->faked)
        t->at_ns += s.value_ns - t->met_ns; /* what was left of it */
    if (!is_over)
        owed += fl_timer_pass(t, s.value_ns);
    if (!is_over || owed)
        fl_timer_arm(t, owed);
    else
        t->pid = 0;
}

/* A timer that goes off soon meets the clock as it is then; before that, somebody should be awake. */
static int64_t meet(const struct fl_timer *t)
{
    int64_t left = t->real_ns - now_of(t);
    if (left >= 0 && left <= SOON_NS)
        fl_clock_meet(t->which, left, t->actor);
    return left > SOON_NS && left - SOON_NS < FL_KEEPER_NS ? left - SOON_NS : FL_KEEPER_NS;
}

int64_t fl_timer_look_after(struct fl_timer *t)
{
    struct fl_sight s;
    int faked = fl_clock_sight(&s, t->which, t->at_ns, t->actor);
    if (!fl_timer_is_running(t))
        t->pid = 0;
    else if (faked != t->faked || !fl_owner_alive() || t->makeshift || s.seen != t->seen || t->epoch != __atomic_load_n(&fl_ctl->clock_epoch, __ATOMIC_SEQ_CST))
        rearm(t);
    else
        t->met_ns = s.value_ns;
    return t->pid ? meet(t) : FL_KEEPER_NS;
}
