/* The turn: while a history is written, one call at a time changes files, so that the order of the history is the kernel's. Whoever is
 * killed leaves it to the next; whoever waits too long, because somebody stands still with it, goes on without. From any context. */
#include "history.h"
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

static int take(struct fl_history *history, uint32_t from, uint32_t me)
{
    return __atomic_compare_exchange_n(&history->turn, &from, me, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* Whoever had it was killed, and what it was writing is nothing. */
static int inherit(struct fl_history *history, uint32_t holder, uint32_t me)
{
    if (!holder || !fl_proc_is_dead(&FL_AREA(struct fl_proc, procs_off)[holder - 1]) || !take(history, holder, me))
        return 0;
    history->turns_inherited++;
    return 1;
}

int fl_turn_take(const struct fl_proc *proc)
{
    struct fl_history *history = &fl_ctl->history;
    uint32_t me = (uint32_t)(proc - FL_AREA(struct fl_proc, procs_off)) + 1;
    if (fl_thread.turns) { /* a signal's handler, in the middle of a call that has it */
        fl_thread.turns++;
        return 1;
    }
    for (int looks = 0; !take(history, 0, me); looks++) {
        uint32_t holder = __atomic_load_n(&history->turn, __ATOMIC_RELAXED);
        if (looks && inherit(history, holder, me))
            break;
        if (looks > PATIENCE_LOOKS || !fl_owner_alive()) {
            __atomic_add_fetch(&history->out_of_turn, 1, __ATOMIC_RELAXED);
            return 0;
        }
        __atomic_add_fetch(&history->turn_waiters, 1, __ATOMIC_SEQ_CST);
        if (holder)
            wait_a_while(&history->turn, holder);
        __atomic_sub_fetch(&history->turn_waiters, 1, __ATOMIC_SEQ_CST);
    }
    fl_thread.turns = 1;
    history->cursor = __atomic_load_n(&history->head, __ATOMIC_RELAXED);
    return 1;
}

void fl_turn_give(void)
{
    struct fl_history *history = &fl_ctl->history;
    if (--fl_thread.turns)
        return;
    __atomic_store_n(&history->head, history->cursor, __ATOMIC_RELEASE);
    __atomic_store_n(&history->turn, 0, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&history->turn_waiters, __ATOMIC_SEQ_CST))
        fl_sys(SYS_futex, &history->turn, FUTEX_WAKE, 1, 0);
}
