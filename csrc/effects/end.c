/* Signals to oneself: kill before or after the call, another signal before it, stop until SIGCONT. */
#include "effects.h"
#include <errno.h>
#include <signal.h>
#include <unistd.h>

_Noreturn void fl_die(void)
{
    for (;;) {
        fl_sys3(SYS_kill, fl_sys1(SYS_getpid, 0), SIGKILL, 0);
        fl_sys1(SYS_exit_group, 128 + SIGKILL); /* pid 1 of a namespace is immune to its own signals */
    }
}

FL_EFFECT(kill)
{
    long result = choice->rule->phase == FL_AFTER ? fl_invoke(f) : 0;
    fl_book(f, result, choice);
    fl_die();
}

FL_EFFECT(signal)
{
    fl_sys3(SYS_tgkill, fl_sys1(SYS_getpid, 0), fl_sys1(SYS_gettid, 0), choice->rule->signal);
    return fl_invoke(f);
}

/* The mark lets the guard wake us if nobody else is left to do it. */
FL_EFFECT(stop)
{
    fl_book(f, 0, choice);
    f->injected = 0;
    __atomic_fetch_or(&f->proc->flags, FL_PROC_STOPPED, __ATOMIC_ACQ_REL);
    fl_sys3(SYS_kill, fl_sys1(SYS_getpid, 0), SIGSTOP, 0);
    __atomic_fetch_and(&f->proc->flags, ~(uint32_t)FL_PROC_STOPPED, __ATOMIC_ACQ_REL);
    return fl_invoke(f);
}

/* `skip` says that all went well: everything was written, the descriptor was locked. */
FL_EFFECT(return)
{
    if (!choice->rule->percent)
        return choice->rule->value;
    return f->info->result == FL_RESULT_COUNT ? (long)fl_call_size(f) : 0;
}
