/* The session's lock: while a data log is written, one call at a time changes files, so that its order is the kernel's. Of an owner that
 * died the next one takes it over; whoever waits too long, because the owner stands still, goes on without. From any context. */
#include "datalog.h"
#include "sys.h"
#include <linux/futex.h>
#include <signal.h>
#include <time.h>

#define LOOK_NS 20000000
#define PATIENCE_LOOKS 100 /* 2 s */
#define TID_MASK ((1u << FL_TID_BITS) - 1)

_Static_assert((uint64_t)FL_MAX_PROCS << FL_TID_BITS <= 1ull << 32, "the lock has no room for slot and tid");

/* No other thread goes by it: that the lock says so is the truth about being nested, whatever a handler came in between of. */
static uint32_t name_of(const struct fl_proc *proc)
{
    uint32_t tid = fl_thread.spawning ? 0 : fl_thread.tid; /* a vfork child is on its parent's memory */
    if (fl_unlikely(!tid)) {
        tid = (uint32_t)fl_sys1(SYS_gettid, 0);
        if (!fl_thread.spawning)
            fl_thread.tid = tid;
    }
    return (uint32_t)(proc - FL_AREA(struct fl_proc, procs_off)) << FL_TID_BITS | tid;
}

int fl_datalog_is_mine(const struct fl_proc *proc)
{
    return __atomic_load_n(&fl_ctl->datalog.lock, __ATOMIC_RELAXED) == name_of(proc);
}

static void wait_a_while(struct fl_datalog *log, uint32_t seen)
{
    struct timespec timeout = {.tv_nsec = LOOK_NS};
    __atomic_add_fetch(&log->lock_waiters, 1, __ATOMIC_SEQ_CST);
    if (seen)
        fl_sys(SYS_futex, &log->lock, FUTEX_WAIT, seen, &timeout);
    __atomic_sub_fetch(&log->lock_waiters, 1, __ATOMIC_SEQ_CST);
}

static int take(struct fl_datalog *log, uint32_t from, uint32_t me)
{
    return __atomic_compare_exchange_n(&log->lock, &from, me, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* From one who is gone: what that one was writing is nothing. No handler must write before this is said. */
static int take_from(struct fl_datalog *log, uint32_t owner, uint32_t me)
{
    uint64_t all = ~0ull, before;
    fl_sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    int taken = take(log, owner, me);
    if (taken) {
        log->cursor = __atomic_load_n(&log->head, __ATOMIC_RELAXED);
        log->making = 0;
        log->owners_died++;
    }
    fl_sys(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof all);
    return taken;
}

static int is_dead(uint32_t owner)
{
    return owner && fl_thread_is_dead(&FL_AREA(struct fl_proc, procs_off)[owner >> FL_TID_BITS], (int)(owner & TID_MASK));
}

/* The call that took it is none of those that we are in: a handler jumped out of it. On a stack of its own a handler may be anywhere. */
static int was_left(uintptr_t frame)
{
    stack_t stack;
    return frame >= fl_thread.lock_frame && !fl_sys3(SYS_sigaltstack, 0, &stack, 0) && !(stack.ss_flags & SS_ONSTACK);
}

static int wait_for_it(struct fl_datalog *log, uint32_t me)
{
    for (int looks = 0; !take(log, 0, me); looks++) {
        uint32_t owner = __atomic_load_n(&log->lock, __ATOMIC_RELAXED);
        if (looks && is_dead(owner) && take_from(log, owner, me))
            break;
        if (looks > PATIENCE_LOOKS || !fl_owner_alive()) {
            __atomic_add_fetch(&log->lock_timeouts, 1, __ATOMIC_RELAXED);
            return 0;
        }
        wait_a_while(log, owner);
    }
    return 1;
}

__attribute__((noinline)) int fl_datalog_lock(const struct fl_proc *proc)
{
    struct fl_datalog *log = &fl_ctl->datalog;
    uint32_t me = name_of(proc);
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    if (fl_unlikely(__atomic_load_n(&log->lock, __ATOMIC_RELAXED) == me)) {
        if (!was_left(frame) || !take_from(log, me, me))
            return FL_LOCK_NESTED;
    } else {
        fl_thread.outer_frame = fl_thread.lock_frame; /* of one that is about to take it, if we are a handler */
        fl_thread.lock_frame = frame; /* before it is taken, as a handler may come right then; and again, as one may have come */
        if (!take(log, 0, me) && !wait_for_it(log, me))
            return FL_LOCK_NONE;
    }
    fl_thread.lock_frame = frame;
    return FL_LOCK_TAKEN;
}

/* What a handler wrote when its call had published; what one writes right now is left to the next. Never backwards. */
static void publish_rest(struct fl_datalog *log)
{
    __atomic_store_n(&log->making, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&log->head, __atomic_load_n(&log->cursor, __ATOMIC_RELAXED), __ATOMIC_RELEASE);
    __atomic_store_n(&log->making, 0, __ATOMIC_SEQ_CST);
}

/* Only whoever took it. */
void fl_datalog_unlock(int lock)
{
    struct fl_datalog *log = &fl_ctl->datalog;
    if (lock != FL_LOCK_TAKEN)
        return;
    if (fl_unlikely(log->head != __atomic_load_n(&log->cursor, __ATOMIC_RELAXED)))
        publish_rest(log);
    __atomic_store_n(&log->lock, 0, __ATOMIC_SEQ_CST);
    fl_thread.lock_frame = fl_thread.outer_frame;
    if (__atomic_load_n(&log->lock_waiters, __ATOMIC_SEQ_CST))
        fl_sys(SYS_futex, &log->lock, FUTEX_WAKE, 1, 0);
}
