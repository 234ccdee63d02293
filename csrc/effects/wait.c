/* Waiting in a call's place: delay before or after it, or hang until the rule is removed. Signals end the wait exactly where
 * they would end the real call: a handler with SA_RESTART restarts a lock that blocks, others end it with EINTR; a sleep ends
 * always; a regular file's I/O never. Nobody has to wake us: should controller and guard both be killed, we look ourselves. */
#include "effects.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/file.h>
#include <time.h>

#define LOOK_AGAIN_NS 400000000u
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

enum interruption { NEVER, RESTARTS, ALWAYS };

static int rule_lives(const struct fl_rule *rule)
{
    uint32_t generation;
    int found;
    do {
        const struct fl_set *set = fl_current_set(&generation);
        found = 0;
        for (uint64_t left = set->live; left; left &= left - 1)
            found |= set->slot[__builtin_ctzll(left)] == rule->id;
    } while (!fl_still_current(generation));
    return found;
}

static enum interruption interruption(const struct fl_frame *f)
{
    switch (f->op) {
    case FL_OP_FLOCK: return f->a[1] & LOCK_NB ? NEVER : RESTARTS;
    case FL_OP_FCNTL: return f->a[1] == F_SETLKW || f->a[1] == F_OFD_SETLKW ? RESTARTS : NEVER;
    case FL_OP_LOCKF: return f->a[1] == F_LOCK ? RESTARTS : NEVER;
    default:
        if (f->info->family == FL_FAM_SLEEP)
            return ALWAYS;
        return f->kind & (FL_KIND_PIPE | FL_KIND_SOCKET | FL_KIND_TTY) ? RESTARTS : NEVER;
    }
}

/* In libc since glibc 2.34, before in a library that need not be there: no reference to it. */
static void cancellation_point(void)
{
    void (*test)(void) = (void (*)(void))fl_libc_symbol("pthread_testcancel");
    if (test)
        test();
}

/* The calls that a pthread_cancel ends; our own wait is none. */
static int is_cancellation_point(const struct fl_frame *f)
{
    switch (f->info->family) {
    case FL_FAM_OPEN: case FL_FAM_CLOSE: case FL_FAM_READ: case FL_FAM_WRITE: case FL_FAM_FSYNC: case FL_FAM_SLEEP: return 1;
    case FL_FAM_LOCK: return f->op != FL_OP_FLOCK;
    default: return 0;
    }
}

/* Sleeps until the word changes or until `until`. A plain futex wait with a timeout ends at every handler; futex_waitv (Linux
 * 5.16), whose timeout is absolute, restarts as the calls do that we stand for. Where it is missing they are all ended. */
static long look_again(uint32_t seen, uint64_t until, uint64_t left, int restarts)
{
    struct timespec at = {.tv_sec = (time_t)(until / 1000000000u), .tv_nsec = (long)(until % 1000000000u)};
    if (restarts) {
        struct futex_waitv word = {.val = seen, .uaddr = (uint64_t)(uintptr_t)&fl_ctl->release, .flags = FUTEX_32};
        long woken = fl_sys6(SYS_futex_waitv, (long)&word, 1, 0, (long)&at, CLOCK_MONOTONIC, 0);
        if (woken != -ENOSYS && woken != -EPERM)
            return woken;
    }
    struct timespec timeout = {.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
    return fl_sys(SYS_futex, &fl_ctl->release, FUTEX_WAIT, seen, &timeout);
}

int fl_wait(const struct fl_frame *f, const struct fl_choice *choice, uint64_t ns)
{
    enum interruption how = interruption(f);
    uint64_t begin = fl_now_ns();
    for (;;) {
        uint32_t seen = __atomic_load_n(&fl_ctl->release, __ATOMIC_ACQUIRE);
        if (!rule_lives(choice->rule) || !fl_owner_alive())
            return 0;
        uint64_t now = fl_now_ns(), left = ns > now - begin ? ns - (now - begin) : 0;
        if (!left)
            return 0;
        if (left > LOOK_AGAIN_NS)
            left = LOOK_AGAIN_NS;
        if (look_again(seen, now + left, left, how != ALWAYS) == -EINTR && how != NEVER)
            return EINTR;
        if (is_cancellation_point(f))
            cancellation_point();
    }
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
        if (fl_is_new_child(f, result))
            return result;
        fl_book_begun(f, result, choice);
        fl_wait(f, choice, fl_delay_ns(choice));
        errno = error;
        return result;
    }
    fl_book_begun(f, 0, choice);
    int interrupted = fl_wait(f, choice, fl_delay_ns(choice));
    return interrupted ? fl_fail(f, interrupted) : fl_invoke(f);
}

FL_EFFECT(hang)
{
    fl_book_begun(f, 0, choice);
    int interrupted = fl_wait(f, choice, ~0ull);
    return interrupted ? fl_fail(f, interrupted) : fl_invoke(f);
}
