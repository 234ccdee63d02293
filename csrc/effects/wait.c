/* Waiting in a call's place: delay before or after it, or hang until the rule is removed. A signal handler ends the wait with
 * EINTR only where the real call can be interrupted: locks that block, pipes, sockets and terminals. */
#include "effects.h"
#include <errno.h>
#include <linux/futex.h>
#include <sys/file.h>
#include <fcntl.h>
#include <time.h>

#define LOOK_AGAIN_NS 200000000u

static int rule_lives(const struct fl_rule *rule)
{
    uint32_t generation;
    const struct fl_set *set = fl_current_set(&generation);
    for (uint64_t left = set->live; left; left &= left - 1)
        if (set->slot[__builtin_ctzll(left)] == rule->id)
            return 1;
    return 0;
}

static int interruptible(const struct fl_frame *f)
{
    switch (f->op) {
    case FL_OP_FLOCK: return !(f->a[1] & LOCK_NB);
    case FL_OP_FCNTL: return f->a[1] == F_SETLKW || f->a[1] == F_OFD_SETLKW;
    case FL_OP_LOCKF: return f->a[1] == F_LOCK;
    case FL_OP_NANOSLEEP: case FL_OP_CLOCK_NANOSLEEP: return 1;
    default: return (f->kind & (FL_KIND_PIPE | FL_KIND_SOCKET | FL_KIND_TTY)) != 0;
    }
}

int fl_wait(const struct fl_frame *f, const struct fl_choice *choice, uint64_t ns)
{
    uint64_t begin = fl_now_ns();
    while (rule_lives(choice->rule) && fl_owner_alive()) {
        uint32_t seen = __atomic_load_n(&fl_ctl->release, __ATOMIC_ACQUIRE);
        uint64_t passed = fl_now_ns() - begin, left = ns > passed ? ns - passed : 0;
        if (!left)
            break;
        if (left > LOOK_AGAIN_NS)
            left = LOOK_AGAIN_NS;
        struct timespec timeout = {.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
        long woken = fl_sys(SYS_futex, &fl_ctl->release, FUTEX_WAIT, seen, &timeout);
        if (woken == -EINTR && interruptible(f))
            return EINTR;
    }
    return 0;
}

uint64_t fl_delay_ns(const struct fl_choice *choice)
{
    const struct fl_rule *rule = choice->rule;
    if (!rule->jitter_ns)
        return rule->delay_ns;
    return rule->delay_ns - rule->jitter_ns + choice->draw % (2 * rule->jitter_ns + 1);
}

FL_EFFECT(delay)
{
    if (choice->rule->phase == FL_AFTER) {
        long result = fl_invoke(f);
        int error = errno;
        fl_wait(f, choice, fl_delay_ns(choice));
        errno = error;
        return result;
    }
    int interrupted = fl_wait(f, choice, fl_delay_ns(choice));
    return interrupted ? fl_fail(f, interrupted) : fl_invoke(f);
}

/* Booked at once: whoever watches should see that somebody hangs. */
FL_EFFECT(hang)
{
    fl_book(f, 0, choice);
    f->injected = 0;
    int interrupted = fl_wait(f, choice, ~0ull);
    return interrupted ? fl_fail(f, interrupted) : fl_invoke(f);
}
