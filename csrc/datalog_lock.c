/* The session's lock: while a data log is written, one call at a time changes files, so that its order is the kernel's. Of an owner that
 * died the next one takes it over; whoever waits too long, because the owner stands still, goes on without. From any context. */
#include "datalog.h"
#include "sys.h"
#include <linux/futex.h>
#include <time.h>

#define LOOK_NS 20000000
#define PATIENCE_LOOKS 100 /* 2 s */

static void wait_a_while(uint32_t *word, uint32_t seen)
{
    struct timespec timeout = {.tv_nsec = LOOK_NS};
    fl_sys(SYS_futex, word, FUTEX_WAIT, seen, &timeout);
}

static int take(struct fl_datalog *log, uint32_t from, uint32_t me)
{
    return __atomic_compare_exchange_n(&log->lock, &from, me, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* Whoever had it was killed, and what it was writing is nothing. */
static int take_over(struct fl_datalog *log, uint32_t owner, uint32_t me)
{
    if (!owner || !fl_proc_is_dead(&FL_AREA(struct fl_proc, procs_off)[owner - 1]) || !take(log, owner, me))
        return 0;
    log->owners_died++;
    return 1;
}

int fl_datalog_lock(const struct fl_proc *proc)
{
    struct fl_datalog *log = &fl_ctl->datalog;
    uint32_t me = (uint32_t)(proc - FL_AREA(struct fl_proc, procs_off)) + 1;
    if (fl_thread.lock_depth) { /* a signal's handler, in the middle of a call that has it */
        fl_thread.lock_depth++;
        return 1;
    }
    for (int looks = 0; !take(log, 0, me); looks++) {
        uint32_t owner = __atomic_load_n(&log->lock, __ATOMIC_RELAXED);
        if (looks && take_over(log, owner, me))
            break;
        if (looks > PATIENCE_LOOKS || !fl_owner_alive()) {
            __atomic_add_fetch(&log->lock_timeouts, 1, __ATOMIC_RELAXED);
            return 0;
        }
        __atomic_add_fetch(&log->lock_waiters, 1, __ATOMIC_SEQ_CST);
        if (owner)
            wait_a_while(&log->lock, owner);
        __atomic_sub_fetch(&log->lock_waiters, 1, __ATOMIC_SEQ_CST);
    }
    fl_thread.lock_depth = 1;
    log->cursor = __atomic_load_n(&log->head, __ATOMIC_RELAXED);
    return 1;
}

void fl_datalog_unlock(void)
{
    struct fl_datalog *log = &fl_ctl->datalog;
    if (--fl_thread.lock_depth)
        return;
    __atomic_store_n(&log->head, log->cursor, __ATOMIC_RELEASE);
    __atomic_store_n(&log->lock, 0, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&log->lock_waiters, __ATOMIC_SEQ_CST))
        fl_sys(SYS_futex, &log->lock, FUTEX_WAKE, 1, 0);
}
