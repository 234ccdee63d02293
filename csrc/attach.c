/* Setting the shim up: find libc's functions, find the session from our own path, map the control block, take a process slot.
 * Runs in the constructor, or at the first call if something (a sanitizer's runtime) calls before that. */
#include "append.h"
#include "attach.h"
#include "cleanup.h"
#include "clock.h"
#include "mapped.h"
#include "shim.h"
#include "sys.h"
#include <link.h>
#include <linux/futex.h>
#include <pthread.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

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

struct fl_attached fl_attached FL_EARLY;
static int is_wiped FL_EARLY; /* the kernel has been told of fl_self_page */
static __thread uint32_t fork_number; /* that the prepare handler gave to the child */

/* In a child, right after the fork or at its first armed call: a slot of its own, counters at zero. */
static struct fl_proc *become_child(int pid)
{
    struct fl_proc *parent = fl_attached.proc;
    fl_timers_after_fork();
    uint32_t nth = fork_number ? fork_number : __atomic_add_fetch(&parent->children, 1, __ATOMIC_RELAXED);
    fork_number = 0;
    fl_thread = (struct fl_thread){.identity = fl_hash("1"), .path = "1"};
    struct fl_proc *proc = fl_claim_child(parent, nth, pid);
    fl_attached = (struct fl_attached){proc, pid};
    if (!proc) { /* no slot left: counted, and nothing is injected here */
        fl_ctl = &no_session;
        return NULL;
    }
    proc->entries = parent->entries;
    proc->flags |= parent->flags & (FL_PROC_PATCHED | FL_PROC_PATCH_REFUSED | FL_PROC_PYTHON | FL_PROC_NO_STACKS);
    if (is_wiped) /* or ought to be: the kernel may have refused */
        fl_self_page.self = (struct fl_self){.proc = proc};
    fl_mapped_after_fork();
    return proc;
}

/* Has the kernel tell us of forks from now on. It cuts a mapping in two for that, which would cost a program that starts and ends
 * more than anything else of ours: so not before somebody asks. */
static struct fl_proc *have_forks_told(void)
{
    if (!is_wiped)
        fl_sys3(SYS_madvise, &fl_self_page, sizeof fl_self_page, MADV_WIPEONFORK);
    fl_self_page.self.proc = fl_attached.proc;
    is_wiped = 1;
    return fl_attached.proc;
}

/* A child that was made behind libc's back runs on its parent's memory, or on a copy: the kernel knows. */
static int shares_memory_with(int pid, int parent)
{
    return fl_sys3(SYS_kcmp, pid, parent, 1 /* KCMP_VM */) == 0;
}

/* When the wiped page does not say who we are. */
__attribute__((noinline)) struct fl_proc *fl_find_self(void)
{
    if (!fl_attached.proc)
        return NULL;
    int pid = (int)fl_sys1(SYS_getpid, 0);
    if (is_wiped)
        return become_child(pid);
    if (pid != fl_attached.pid && (shares_memory_with(pid, fl_attached.pid) || !become_child(pid)))
        return fl_attached.proc;
    return have_forks_told();
}

/* For whoever has its number at hand and needs nothing more: the kernel need not be told for it. */
struct fl_proc *fl_self_by_pid(int pid) { return pid == fl_attached.pid ? fl_attached.proc : fl_myself(); }

static void before_fork(void)
{
    fl_python_before_fork();
    struct fl_proc *proc = fl_self_by_pid((int)fl_sys1(SYS_getpid, 0));
    if (proc)
        fork_number = __atomic_add_fetch(&proc->children, 1, __ATOMIC_RELAXED);
}

static void after_fork_in_parent(void)
{
    fork_number = 0;
    fl_python_after_fork(0);
}

static void after_fork_in_child(void)
{
    fl_python_after_fork(1);
    if (fork_number) /* nobody has asked since */
        become_child((int)fl_sys1(SYS_getpid, 0));
}

/* A child that is none of the session's: nothing is counted, and in it the gate is shut for good. Single-threaded only. */
int fl_fork_apart(void)
{
    struct fl_attached mine = fl_attached;
    fl_attached.proc = NULL;
    int pid = (int)fl_real[FL_SYM_fork](0, 0, 0, 0, 0, 0);
    if (pid)
        fl_attached = mine;
    else {
        fl_ctl = &no_session;
        fl_self_page.self.proc = NULL;
    }
    return pid;
}

/* A child like any other that is forked. */
int fl_fork_along(void) { return (int)fl_real[FL_SYM_fork](0, 0, 0, 0, 0, 0); }

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
    struct fl_place place;
    if (strlen(path) >= sizeof fl_link_path || !fl_read_place(path, &place))
        return;
    int number;
    struct fl_ctl *ctl = fl_map_block(path, &place, &number);
    if (!ctl)
        return;
    fl_append(fl_link_path, path);
    fl_ctl = ctl;
    int pid = (int)fl_sys1(SYS_getpid, 0);
    if (number && number != pid)
        __atomic_store_n(&fl_ctl->namespaces, 1, __ATOMIC_RELAXED);
    struct fl_proc *proc = fl_claim_image(&place, number ? number : fl_known_as(pid));
    if (!proc || pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child)) {
        fl_ctl = &no_session;
        return;
    }
    fl_attached = (struct fl_attached){proc, pid};
    fl_thread.identity = fl_hash("1");
    fl_append(fl_thread.path, "1");
    proc->entries = fl_patch_entries();
    proc->flags |= proc->entries ? FL_PROC_PATCHED : FL_PROC_PATCH_REFUSED;
    proc->flags |= fl_python_find() ? FL_PROC_PYTHON : 0;
    if (!proc->exe[0]) /* else whoever exec'ed us has named it */
        name_image(proc);
    fl_go_live(proc);
    if (fl_ctl->datalog.capacity)
        fl_datalog_look_around(_r_debug.r_map);
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
    if (fl_ctl->datalog.capacity)
        fl_mapped_leave();
    int is_elsewhere = fl_attached.proc && fl_attached.proc->pid != fl_attached.pid; /* where all seem dead to us */
    if (!fl_ctl->magic || fl_owner_alive() || is_elsewhere)
        return;
    /* A guard that is not at work yet may be dying too. */
    unsigned wait_ms = __atomic_load_n(&fl_ctl->closed, __ATOMIC_ACQUIRE) == FL_CLOSED_BY_TARGET ? 300 : 0;
    char folder[sizeof fl_link_path];
    fl_append(folder, fl_link_path);
    *strrchr(folder, '/') = '\0';
    if (fl_pid_gone(fl_ctl->guard_pid, wait_ms) && !fl_someone_attached(fl_ctl, (int)fl_sys1(SYS_getpid, 0)))
        fl_remove_folder(folder);
}

void fl_leave(void)
{
    if (!fl_attached.proc || fl_attached.pid != (int)fl_sys1(SYS_getpid, 0))
        return;
    __atomic_store_n(&fl_attached.proc->state, FL_PROC_EXITED, __ATOMIC_RELEASE);
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
