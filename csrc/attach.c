/* Setting the shim up: find libc's functions, find the session from our own path, map the control block, take a process slot.
 * Runs in the constructor, or at the first call if something (a sanitizer's runtime) calls before that. */
#include "cleanup.h"
#include "lend.h"
#include "shim.h"
#include "clock.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/futex.h>
#include <pthread.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct fl_ctl not_booted = {.gate = ~0ull};
static struct fl_ctl no_session; /* its gate is shut */
struct fl_ctl *fl_ctl = (struct fl_ctl *)&not_booted;
fl_fn fl_real[FL_SYMS] FL_EARLY;
const char *fl_single_threaded FL_EARLY = "";
char fl_link_path[256] FL_EARLY;

/* What the compiler's start files would give, which look for five symbols that nobody has. Who registers handlers for fork under
 * it; we are never unloaded. */
__attribute__((weak, visibility("hidden"))) void *__dso_handle FL_EARLY;

union fl_self_page fl_self_page; /* first in .bss: what the kernel is told of it then cuts the mapping once, not twice */
/* After a fork: the parent's slot and the number that the prepare handler gave to the child. */
static struct fl_proc *forked_from FL_EARLY;
static __thread uint32_t fork_number;

#define NEAR 64u

static uint64_t number_at(const char **at, int base)
{
    uint64_t value = 0;
    for (;; (*at)++) {
        char c = **at;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (digit >= base)
            return value;
        value = value * (uint64_t)base + (uint64_t)digit;
    }
}

struct place { int pid, fd; uint64_t uid; uint32_t launch; };

/* Our own path says it all: .../faultlib.<pid>.<fd>.<uid>/<launch>.so */
static int read_place(const char *path, struct place *place)
{
    static const char mark[] = "/faultlib.";
    const char *at = strstr(path, mark);
    if (!at)
        return 0;
    at += sizeof mark - 1;
    place->pid = (int)number_at(&at, 10);
    if (*at++ != '.')
        return 0;
    place->fd = (int)number_at(&at, 10);
    if (*at++ != '.')
        return 0;
    place->uid = number_at(&at, 16);
    if (*at++ != '/')
        return 0;
    place->launch = (uint32_t)number_at(&at, 10);
    return !strcmp(at, ".so");
}

static char *append(char *out, const char *text)
{
    while (*text)
        *out++ = *text++;
    *out = '\0';
    return out;
}

static char *append_number(char *out, uint64_t value)
{
    char digits[24];
    int n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n)
        *out++ = digits[--n];
    *out = '\0';
    return out;
}

/* "/proc/PID/fd/N"; `out` has room for 64. */
void fl_descriptor_path(char *out, int pid, int fd)
{
    out = append_number(append(out, "/proc/"), (uint64_t)pid);
    append_number(append(out, "/fd/"), (uint64_t)fd);
}

/* The areas are looked at too: a block that was scribbled on must not take the target down. */
static int is_ours(const struct fl_ctl *ctl, const struct place *place, uint64_t size)
{
    if (ctl->magic != FL_MAGIC || ctl->abi != FL_ABI || ctl->uid != place->uid || ctl->size != size || ctl->closed)
        return 0;
    for (const uint64_t *area = &ctl->text_buckets_off; area <= &ctl->strings_off; area++)
        if (*area < sizeof *ctl || *area >= size || *area % 8)
            return 0;
    return ctl->firings.offset < size && ctl->firings.capacity && ctl->journal.offset < size && ctl->journal.capacity;
}

/* Maps the whole block and closes its descriptor; null: another file, another version, or not sealed against truncation. */
static struct fl_ctl *map_descriptor(long fd, const struct place *place)
{
    struct stat st;
    struct fl_ctl *ctl = NULL;
    long seals = fl_sys3(SYS_fcntl, fd, F_GET_SEALS, 0);
    if (seals >= 0 && (seals & F_SEAL_SHRINK) && !fl_sys3(SYS_fstat, fd, &st, 0) && st.st_size >= (off_t)sizeof *ctl) {
        long at = fl_sys6(SYS_mmap, 0, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if ((unsigned long)at < -4095ul)
            ctl = (struct fl_ctl *)at;
        if (ctl && !is_ours(ctl, place, (uint64_t)st.st_size)) {
            fl_sys3(SYS_munmap, at, st.st_size, 0);
            ctl = NULL;
        }
    }
    fl_sys1(SYS_close, fd);
    return ctl;
}

/* Null: the session is gone, or this is none of its processes. *number: our own where the controller lives, 0 if nobody said it. */
static struct fl_ctl *map_block(const char *link, const struct place *place, int *number)
{
    char path[64];
    struct fl_loan loan;
    struct fl_ctl *ctl = NULL;
    fl_descriptor_path(path, place->pid, place->fd);
    long fd = fl_sys(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    *number = 0;
    if (fd >= 0)
        ctl = map_descriptor(fd, place);
    if (ctl || !fl_borrow(link, &loan))
        return ctl;
    *number = loan.pid;
    fl_sys1(SYS_close, loan.lifeline);
    return map_descriptor(loan.block, place);
}

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
    append_number(append(path, "/proc/"), (uint64_t)proc->pid);
    return fl_sys3(SYS_faccessat, AT_FDCWD, path, 0 /* F_OK */) == -ENOENT;
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
    return (int)number_at(&at, 10);
}

/* The number by which a new process is known. It is only asked for once somebody in the session was the first of a pid namespace,
 * or went into one (setns). */
static int known_as(int pid)
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

static void go_live(struct fl_proc *proc)
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
    struct fl_proc *proc = claim_slot(known_as(pid));
    if (!proc || !parent)
        return proc;
    char text[sizeof proc->lineage + 16], *end = append(text, parent->lineage);
    *end++ = '.';
    append_number(end, nth);
    if (strlen(text) >= sizeof proc->lineage)
        append_number(append(text, "~"), fl_hash(text));
    append(proc->lineage, text);
    append(proc->label, parent->label);
    proc->launch = parent->launch;
    go_live(proc);
    return proc;
}

/* In a child, right after the fork or at its first armed call: a slot of its own, counters at zero. */
void fl_after_fork(void)
{
    if (!forked_from || fl_self_page.self.proc)
        return;
    fl_timers_after_fork();
    int pid = (int)fl_sys1(SYS_getpid, 0);
    struct fl_proc *parent = forked_from;
    uint32_t nth = fork_number ? fork_number : __atomic_add_fetch(&parent->children, 1, __ATOMIC_RELAXED);
    fork_number = 0;
    fl_thread = (struct fl_thread){.identity = fl_hash("1"), .path = "1"};
    struct fl_proc *proc = fl_claim_child(parent, nth, pid);
    fl_self_page.self.pid = pid;
    if (!proc) { /* no slot left: counted, and nothing is injected here */
        fl_ctl = &no_session;
        return;
    }
    proc->entries = parent->entries;
    proc->flags |= parent->flags & (FL_PROC_PATCHED | FL_PROC_PATCH_REFUSED | FL_PROC_PYTHON | FL_PROC_NO_STACKS);
    forked_from = proc;
    fl_self_page.self.proc = proc;
}

static void before_fork(void)
{
    fl_python_before_fork();
    if (fl_self_page.self.proc)
        fork_number = __atomic_add_fetch(&fl_self_page.self.proc->children, 1, __ATOMIC_RELAXED);
}

static void after_fork_in_parent(void)
{
    fork_number = 0;
    fl_python_after_fork(0);
}

static void after_fork_in_child(void)
{
    fl_python_after_fork(1);
    fl_after_fork();
}

/* An image that was exec'ed takes over its own pending slot; the launched command is the root of a tree; else an orphan. */
static struct fl_proc *find_place_in_tree(const struct place *place, int pid)
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
    char *end = append_number(proc->lineage, place->launch);
    if (earlier) {
        append_number(append(end, "?"), earlier);
        proc->flags |= FL_PROC_ORPHAN;
    }
    append(proc->label, launch->label);
    proc->launch = place->launch;
    return proc;
}

/* The image by the name that it was started under: the kernel passed it, while asking /proc costs as much as a thousand calls. */
static void name_image(struct fl_proc *proc)
{
    const char *name = (const char *)getauxval(AT_EXECFN);
    size_t n = name ? strlen(name) : 0;
    if (n >= sizeof proc->exe) {
        name += n - sizeof proc->exe + 1;
        n = sizeof proc->exe - 1;
    }
    memcpy(proc->exe, name, n);
    proc->exe[n] = '\0';
}

static void attach(const char *path)
{
    struct place place;
    if (strlen(path) >= sizeof fl_link_path || !read_place(path, &place))
        return;
    int number;
    struct fl_ctl *ctl = map_block(path, &place, &number);
    if (!ctl)
        return;
    append(fl_link_path, path);
    fl_ctl = ctl;
    int pid = (int)fl_sys1(SYS_getpid, 0);
    if (number && number != pid)
        __atomic_store_n(&fl_ctl->namespaces, 1, __ATOMIC_RELAXED);
    struct fl_proc *proc = find_place_in_tree(&place, number ? number : known_as(pid));
    if (!proc || pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child)) {
        fl_ctl = &no_session;
        return;
    }
    fl_sys3(SYS_madvise, &fl_self_page, sizeof fl_self_page, MADV_WIPEONFORK);
    fl_self_page.self = (struct fl_self){.proc = proc, .pid = pid};
    forked_from = proc;
    fl_thread.identity = fl_hash("1");
    append(fl_thread.path, "1");
    proc->entries = fl_patch_entries();
    proc->flags |= proc->entries ? FL_PROC_PATCHED : FL_PROC_PATCH_REFUSED;
    proc->flags |= fl_python_find() ? FL_PROC_PYTHON : 0;
    if (!proc->exe[0]) /* else whoever exec'ed us has named it */
        name_image(proc);
    go_live(proc);
}

/* The kernel marks the owner's lock when the controller dies: from then on the fault tool disarms itself, guard or no guard. */
int fl_owner_alive(void)
{
    if (__atomic_load_n(&fl_ctl->closed, __ATOMIC_ACQUIRE))
        return 0;
    if (!(__atomic_load_n((uint32_t *)fl_ctl->owner_lock, __ATOMIC_ACQUIRE) & FUTEX_OWNER_DIED))
        return 1;
    __atomic_store_n(&fl_ctl->gate, 0, __ATOMIC_SEQ_CST);
    uint32_t open = FL_OPEN;
    __atomic_compare_exchange_n(&fl_ctl->closed, &open, FL_CLOSED_BY_TARGET, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    return 0;
}

/* Controller and guard were killed both, and nobody is left whose children would look for our link: clear up for them.
 * At every end that comes by here: exit() is no call of _exit that anybody sees. */
__attribute__((destructor(101))) static void tidy_up(void)
{
    struct fl_proc *proc = fl_self_page.self.proc;
    if (!fl_ctl->magic || fl_owner_alive() || (proc && proc->pid != fl_self_page.self.pid)) /* to us there all seem dead */
        return;
    /* A guard that is not at work yet may be dying too. */
    unsigned wait_ms = __atomic_load_n(&fl_ctl->closed, __ATOMIC_ACQUIRE) == FL_CLOSED_BY_TARGET ? 300 : 0;
    char folder[sizeof fl_link_path];
    append(folder, fl_link_path);
    *strrchr(folder, '/') = '\0';
    if (fl_pid_gone(fl_ctl->guard_pid, wait_ms) && !fl_someone_attached(fl_ctl, (int)fl_sys1(SYS_getpid, 0)))
        fl_remove_folder(folder);
}

void fl_leave(void)
{
    struct fl_proc *proc = fl_self_page.self.proc;
    if (!proc || fl_self_page.self.pid != (int)fl_sys1(SYS_getpid, 0))
        return;
    __atomic_store_n(&proc->state, FL_PROC_EXITED, __ATOMIC_RELEASE);
    tidy_up();
}

void fl_find_libc(const struct link_map *maps);

void fl_boot(void)
{
    if (fl_real[0])
        return;
    struct link_map *self = NULL;
    for (struct link_map *map = _r_debug.r_map; map; map = map->l_next)
        if (map->l_ld == _DYNAMIC)
            self = map;
    fl_find_libc(_r_debug.r_map);
    fl_ctl = &no_session;
    if (self)
        attach(self->l_name);
}

__attribute__((constructor(101))) static void constructor(void) { fl_boot(); }
