/* A periodic timer that is asked for its ticks: `ticks timerfd|nonblocking|timer|itimer realtime|monotonic INTERVAL_MS [AGO_MS]`.
 * It goes off for the first time after the interval, or with AGO_MS so long ago. Prints "ready", then for each line on its input
 * one of its own, in nanoseconds of its clock:
 *   s   between which times the timer was set
 *   r   waits for the next tick: how many there were, and what time it is then
 *   l   what is left until the next one, and between which times it was asked */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static clockid_t own;
static int descriptor = -1;
static timer_t timer;
static int interval_timer;

static int64_t ns_of(struct timespec t) { return t.tv_sec * 1000000000ll + t.tv_nsec; }
static struct timespec spec_of(int64_t ns) { return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000}; }

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(own, &now);
    return ns_of(now);
}

static int set_up(const char *kind, int64_t interval, int64_t ago)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct itimerspec when = {spec_of(interval), spec_of(ago ? now_ns() - ago : own == CLOCK_REALTIME ? now_ns() + interval : interval)};
    int absolute = ago || own == CLOCK_REALTIME ? TIMER_ABSTIME : 0; /* on REALTIME relative times run on MONOTONIC */
    if (strstr("timerfd nonblocking", kind)) {
        descriptor = timerfd_create(own, *kind == 'n' ? TFD_NONBLOCK : 0);
        return timerfd_settime(descriptor, absolute, &when, NULL);
    }
    if (!strcmp(kind, "timer"))
        return timer_create(own, NULL, &timer) || timer_settime(timer, absolute, &when, NULL);
    interval_timer = 1;
    struct itimerval coarse = {{interval / 1000000000, interval / 1000 % 1000000}, {interval / 1000000000, interval / 1000 % 1000000}};
    return setitimer(ITIMER_REAL, &coarse, NULL);
}

static uint64_t next_ticks(void)
{
    uint64_t ticks = 0;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    struct pollfd fd = {.fd = descriptor, .events = POLLIN};
    if (descriptor >= 0) {
        while (poll(&fd, 1, -1) != 1 || read(descriptor, &ticks, sizeof ticks) != sizeof ticks)
            continue;
        return ticks;
    }
    while (sigwaitinfo(&set, NULL) != SIGALRM)
        continue;
    return interval_timer ? 1 : 1 + (uint64_t)timer_getoverrun(timer);
}

static int64_t left_ns(void)
{
    struct itimerspec left;
    struct itimerval coarse;
    if (interval_timer) {
        getitimer(ITIMER_REAL, &coarse);
        return coarse.it_value.tv_sec * 1000000000ll + coarse.it_value.tv_usec * 1000ll;
    }
    if (descriptor >= 0)
        timerfd_gettime(descriptor, &left);
    else
        timer_gettime(timer, &left);
    return ns_of(left.it_value);
}

int main(int argc, char **argv)
{
    char line[16];
    if (argc < 4)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    own = !strcmp(argv[2], "realtime") ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    int64_t before = now_ns();
    if (set_up(argv[1], atoll(argv[3]) * 1000000, argc > 4 ? atoll(argv[4]) * 1000000 : 0))
        return 1;
    int64_t after = now_ns();
    puts("ready");
    while (fgets(line, sizeof line, stdin)) {
        if (*line == 's') {
            printf("%lld %lld\n", (long long)before, (long long)after);
        } else if (*line == 'r') {
            uint64_t ticks = next_ticks();
            printf("%llu %lld\n", (unsigned long long)ticks, (long long)now_ns());
        } else {
            int64_t asked = now_ns(), left = left_ns();
            printf("%lld %lld %lld\n", (long long)left, (long long)asked, (long long)now_ns());
        }
    }
    return 0;
}
