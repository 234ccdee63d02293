/* Signals to oneself: kill before or after the call, another signal before it, stop until SIGCONT. */
#include "effects.h"
#include "../lend.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* The last that the process does; what has become of the call is known. */
_Noreturn void fl_die(struct fl_frame *f, long result, const struct fl_choice *choice)
{
    fl_book(f, result, choice);
    fl_journal_last(f, result, choice);
    for (;;) {
        fl_sys3(SYS_kill, fl_sys1(SYS_getpid, 0), SIGKILL, 0);
        fl_sys1(SYS_exit_group, 128 + SIGKILL); /* pid 1 of a namespace is immune to its own signals */
    }
}

FL_EFFECT(kill)
{
    long result = choice->rule->phase == FL_AFTER ? fl_invoke(f) : 0;
    if (choice->rule->phase == FL_AFTER && fl_is_new_child(f, result))
        return result;
    f->state = choice->rule->phase == FL_AFTER ? FL_CALL_DONE : FL_CALL_LAST;
    fl_die(f, result, choice);
}

FL_EFFECT(signal)
{
    fl_book_begun(f, 0, choice);
    fl_sys3(SYS_tgkill, fl_sys1(SYS_getpid, 0), fl_sys1(SYS_gettid, 0), choice->rule->signal);
    return fl_invoke(f);
}

/* The kernel sends us SIGCONT when nobody holds the other end of the lifeline any more: controller and guard are both dead.
 * Nobody sees the descriptor, as every thread of ours is stopped while it is open. */
static long hold_lifeline(long pid)
{
    char path[64];
    struct fl_loan loan;
    fl_descriptor_path(path, fl_ctl->owner_pid, fl_ctl->lifeline);
    long fd = fl_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0 && fl_borrow(fl_link_path, &loan)) {
        fl_sys1(SYS_close, loan.block);
        fd = loan.lifeline;
    }
    if (fd >= 0) {
        fl_sys3(SYS_fcntl, fd, F_SETOWN, pid);
        fl_sys3(SYS_fcntl, fd, F_SETSIG, SIGCONT);
        fl_sys3(SYS_fcntl, fd, F_SETFL, O_ASYNC | O_NONBLOCK);
    }
    return fd;
}

/* The mark lets the controller and the guard wake us. */
FL_EFFECT(stop)
{
    long pid = fl_sys1(SYS_getpid, 0);
    fl_book_begun(f, 0, choice);
    __atomic_store_n(&f->proc->stopped_by, choice->rule->id + 1, __ATOMIC_SEQ_CST);
    long lifeline = hold_lifeline(pid);
    if (fl_owner_alive())
        fl_sys3(SYS_kill, pid, SIGSTOP, 0);
    if (lifeline >= 0)
        fl_sys1(SYS_close, lifeline);
    __atomic_store_n(&f->proc->stopped_by, 0, __ATOMIC_RELEASE);
    return fl_invoke(f);
}

/* `skip` says that all went well: everything was written, the descriptor was locked. */
FL_EFFECT(return)
{
    if (!choice->rule->percent)
        return choice->rule->value;
    return f->info->result == FL_RESULT_COUNT ? (long)fl_call_size(f) : 0;
}
