/* A process' slot in the control block: taken at its start, found again after an exec, given to another one after its end. From any
 * context. */
#include "append.h"
#include "attach.h"
#include "clock.h"
#include "lend.h"
#include "shim.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define NEAR 64u

static void read_comm(char *out)
{
    fl_sys6(SYS_prctl, 16 /* PR_GET_NAME */, (long)out, 0, 0, 0, 0);
}

/* A dead process' counters go to the rules' totals before its slot is given away. */
static void fold_counters(struct fl_proc *proc)
{
    struct fl_tally *tallies = FL_AREA(struct fl_tally, tallies_off);
    for (uint32_t group = 0; group < FL_LIVE_RULES; group++) {
        struct fl_counter *counters = group ? NULL : proc->counters;
        if (group && proc->page[group])
            counters = FL_AREA(struct fl_page, pages_off)[proc->page[group] - 1].counters;
        for (uint32_t i = 0; counters && i < FL_LIVE_RULES; i++) {
            uint64_t matched = __atomic_exchange_n(&counters[i].matched, 0, __ATOMIC_RELAXED);
            uint64_t fired = __atomic_exchange_n(&counters[i].fired, 0, __ATOMIC_RELAXED);
            struct fl_counter *total = &tallies[group * FL_LIVE_RULES + i].folded;
            if (matched)
                __atomic_add_fetch(&total->matched, matched, __ATOMIC_RELAXED);
            if (fired)
                __atomic_add_fetch(&total->fired, fired, __ATOMIC_RELAXED);
        }
    }
}

/* Whether the numbers in our /proc are those that the controller knows. */
static int is_controllers_proc(void)
{
    struct stat st;
    return !fl_sys(FL_SYS_FSTATAT, AT_FDCWD, "/proc", &st, 0) && st.st_dev == fl_ctl->proc_device;
}

/* `judge` is our own number where the controller lives: if that is not ours here, the others are strangers to kill(). */
static int dead(const struct fl_proc *proc, int judge)
{
    char path[64];
    if (proc->pid <= 0 || judge <= 0)
        return 0;
    if (judge == (int)fl_sys1(SYS_getpid, 0))
        return fl_sys3(SYS_kill, proc->pid, 0, 0) == -ESRCH;
    if (!is_controllers_proc())
        return 0;
    fl_append_number(fl_append(path, "/proc/"), (uint64_t)proc->pid);
    return fl_sys3(SYS_faccessat, AT_FDCWD, path, 0 /* F_OK */) == -ENOENT;
}

/* Of another process of the session. */
int fl_proc_is_dead(const struct fl_proc *proc) { return fl_attached.proc && dead(proc, fl_attached.proc->pid); }

/* It has ended, though nobody has waited for it yet. */
static int is_zombie(const struct fl_proc *proc, int tid)
{
    char path[64], text[64];
    char *end = fl_append(fl_append_number(fl_append(path, "/proc/"), (uint64_t)proc->pid), "/task/");
    fl_append(fl_append_number(end, (uint64_t)tid), "/stat");
    long fd = fl_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), n = fd < 0 ? 0 : fl_sys3(SYS_read, fd, text, sizeof text);
    if (fd >= 0)
        fl_sys1(SYS_close, fd);
    while (n > 0 && text[n - 1] != ')') /* behind its name, which may be anything */
        n--;
    return n > 0 && n + 1 < (long)sizeof text && (text[n + 1] == 'Z' || text[n + 1] == 'X');
}

/* Of a thread of the session; one of another pid namespace is taken for alive as long as its process is. */
int fl_thread_is_dead(const struct fl_proc *proc, int tid)
{
    if (fl_proc_is_dead(proc))
        return 1;
    if (proc->pid <= 0 || __atomic_load_n(&fl_ctl->namespaces, __ATOMIC_RELAXED))
        return 0;
    return fl_sys3(SYS_tgkill, proc->pid, tid, 0) == -ESRCH || (is_controllers_proc() && is_zombie(proc, tid));
}

/* Our number where the controller lives; 0: nobody can say. */
static int number_outside(void)
{
    char text[16];
    const char *at = text;
    struct fl_loan loan = {0};
    if (!is_controllers_proc()) {
        if (fl_borrow(fl_link_path, &loan)) {
            fl_sys1(SYS_close, loan.block);
            fl_sys1(SYS_close, loan.lifeline);
        }
        return loan.pid;
    }
    long n = fl_sys(SYS_readlinkat, AT_FDCWD, "/proc/self", text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return (int)fl_number_at(&at, 10);
}

/* The number by which a new process is known. It is only asked for once somebody in the session was the first of a pid namespace,
 * or went into one (setns). */
int fl_known_as(int pid)
{
    if (fl_unlikely(pid == 1))
        __atomic_store_n(&fl_ctl->namespaces, 1, __ATOMIC_RELAXED);
    return fl_likely(!__atomic_load_n(&fl_ctl->namespaces, __ATOMIC_RELAXED)) ? pid : number_outside();
}

/* Raises the reach to `distance`: no search for a process' slot has to go farther. */
static void reach(uint32_t distance)
{
    uint32_t known = __atomic_load_n(&fl_ctl->slot_reach, __ATOMIC_RELAXED);
    while (known < distance &&
           !__atomic_compare_exchange_n(&fl_ctl->slot_reach, &known, distance, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        ;
}

/* Whether a slot can be had: those of processes that ended are next, those that went on to an image without the shim and ended
 * there are last, as the report names them. */
static int is_usable(const struct fl_proc *proc, uint32_t state, int judge, int effort)
{
    switch (state) {
    case FL_PROC_FREE: return 1;
    case FL_PROC_EXITED: return effort > 0;
    case FL_PROC_LIVE: return effort > 0 && dead(proc, judge);
    case FL_PROC_EXEC_PENDING: return effort > 2 && dead(proc, judge);
    default: return 0;
    }
}

static int take_slot(struct fl_proc *proc, int pid, int effort)
{
    uint32_t state = __atomic_load_n(&proc->state, __ATOMIC_ACQUIRE);
    if (!is_usable(proc, state, pid, effort) ||
        !__atomic_compare_exchange_n(&proc->state, &state, FL_PROC_CLAIMED, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return 0;
    if (state == FL_PROC_EXEC_PENDING)
        __atomic_add_fetch(&fl_ctl->forgotten, 1, __ATOMIC_RELAXED);
    if (state != FL_PROC_FREE)
        fold_counters(proc);
    proc->pid = pid;
    proc->stopped_by = proc->flags = proc->children = proc->execs = proc->clock = 0;
    proc->lineage[0] = proc->label[0] = proc->comm[0] = proc->exe[0] = '\0';
    return 1;
}

/* A slot near the pid's own place, where it is found again: a free one, else that of a process that is gone, else farther. */
static struct fl_proc *claim_slot(int pid)
{
    struct fl_proc *procs = FL_AREA(struct fl_proc, procs_off);
    for (int effort = 0; effort < 4; effort++)
        for (uint32_t i = 0; i < (effort < 2 ? NEAR : FL_MAX_PROCS); i++) {
            struct fl_proc *proc = &procs[((uint32_t)pid + i) % FL_MAX_PROCS];
            if (take_slot(proc, pid, effort)) {
                reach(i);
                return proc;
            }
        }
    __atomic_add_fetch(&fl_ctl->attach_refused, 1, __ATOMIC_RELAXED);
    return NULL;
}

void fl_go_live(struct fl_proc *proc)
{
    proc->identity = fl_hash(proc->lineage);
    proc->uid = (uint32_t)fl_sys1(SYS_getuid, 0);
    read_comm(proc->comm);
    uint64_t epoch;
    do { /* the controller may be moving everybody to new domains at this moment */
        epoch = __atomic_load_n(&fl_ctl->clock_epoch, __ATOMIC_ACQUIRE);
        proc->clock = fl_clock_domain(proc);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    } while (epoch != __atomic_load_n(&fl_ctl->clock_epoch, __ATOMIC_ACQUIRE));
    struct timespec now; /* by system call: the page of the vDSO's data costs a new process more than that */
    fl_sys3(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0);
    proc->started_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - fl_ctl->t0_ns;
    __atomic_add_fetch(&fl_ctl->attached, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&proc->state, FL_PROC_LIVE, __ATOMIC_RELEASE);
}

/* The slot of a new child: the parent's lineage and its number. A lineage that grows too long ends in its hash. */
struct fl_proc *fl_claim_child(struct fl_proc *parent, uint32_t nth, int pid)
{
    struct fl_proc *proc = claim_slot(fl_known_as(pid));
    if (!proc || !parent)
        return proc;
    char text[sizeof proc->lineage + 16], *end = fl_append(text, parent->lineage);
    *end++ = '.';
    fl_append_number(end, nth);
    if (strlen(text) >= sizeof proc->lineage)
        fl_append_number(fl_append(text, "~"), fl_hash(text));
    fl_append(proc->lineage, text);
    fl_append(proc->label, parent->label);
    proc->launch = parent->launch;
    fl_go_live(proc);
    return proc;
}
/* An image that was exec'ed takes over its own pending slot; the launched command is the root of a tree; else an orphan. */
struct fl_proc *fl_claim_image(const struct fl_place *place, int pid)
{
    struct fl_proc *procs = FL_AREA(struct fl_proc, procs_off);
    uint32_t farthest = __atomic_load_n(&fl_ctl->slot_reach, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i <= farthest && i < FL_MAX_PROCS; i++) {
        struct fl_proc *proc = &procs[((uint32_t)pid + i) % FL_MAX_PROCS];
        uint32_t state = __atomic_load_n(&proc->state, __ATOMIC_ACQUIRE);
        if (state == FL_PROC_FREE)
            break;
        if (proc->pid == pid && state == FL_PROC_LIVE) /* its number was given to us, or it exec'ed behind our back */
            __atomic_store_n(&proc->state, FL_PROC_EXITED, __ATOMIC_RELEASE);
        if (proc->pid == pid && state == FL_PROC_EXEC_PENDING) {
            proc->flags &= ~(uint32_t)(FL_PROC_PATCHED | FL_PROC_PATCH_REFUSED | FL_PROC_PYTHON | FL_PROC_NO_STACKS);
            return proc;
        }
    }
    struct fl_proc *proc = claim_slot(pid);
    if (!proc)
        return NULL;
    struct fl_launch *launch = &FL_AREA(struct fl_launch, launches_off)[place->launch % FL_MAX_LAUNCHES];
    uint32_t earlier = __atomic_fetch_add(&launch->claimed, 1, __ATOMIC_ACQ_REL);
    char *end = fl_append_number(proc->lineage, place->launch);
    if (earlier) {
        fl_append_number(fl_append(end, "?"), earlier);
        proc->flags |= FL_PROC_ORPHAN;
    }
    fl_append(proc->label, launch->label);
    proc->launch = place->launch;
    return proc;
}
