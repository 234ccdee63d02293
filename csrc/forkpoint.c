/* The fork point: where a process was on the point of looking at what differs between runs, it does not go on. For each run that the
 * controller asks for by shared memory it forks, and the child goes on with that very call, undisturbed; the process itself waits
 * for it, and tells how it ended. It keeps no descriptor, and ends with the session. What would tie the runs together (threads,
 * children, files of the roots) is refused: the process goes on as if nothing had been asked. Single-threaded from here on, so
 * there are static buffers. */
#include "append.h"
#include "forkpoint.h"
#include "shim.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define MOST_FILES 64
#define LOOK_AGAIN_NS 300000000

/* As the kernel has it. */
struct kernel_action { void *handler; uint64_t flags; void *restorer; uint64_t mask; };

static struct { int fd; long at; } files[MOST_FILES]; /* regular files, and where they stand */
static unsigned n_files;
static int *own_name; /* the number under which the C library has our thread own locks; none: that is not known */
static int is_quick; /* the run that is asked for may end quickly */
static char directory[FL_PATH_MAX];
static char buffer[FL_PATH_MAX + 512];

static void change_state(uint32_t state)
{
    __atomic_store_n(&fl_ctl->fork.state, state, __ATOMIC_SEQ_CST);
    fl_sys3(SYS_futex, &fl_ctl->fork.state, FUTEX_WAKE, 0x7fffffff);
}

static int begin(void)
{
    uint32_t armed = FL_FORK_ARMED;
    return __atomic_compare_exchange_n(&fl_ctl->fork.state, &armed, FL_FORK_BUSY, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static void refuse(uint32_t why)
{
    fl_ctl->fork.why = why;
    change_state(FL_FORK_REFUSED);
}

void fl_refuse_forks(uint32_t why)
{
    if (begin())
        refuse(why);
}

/* The kernel counts a directory's entries in its links: two and the threads. */
static int has_threads(void)
{
    struct stat st;
    return fl_sys(FL_SYS_FSTATAT, AT_FDCWD, "/proc/self/task", &st, 0) || st.st_nlink != 3;
}

static int has_children(void)
{
    siginfo_t info;
    return fl_sys6(SYS_waitid, P_ALL, 0, (long)&info, WEXITED | WNOHANG | WNOWAIT | __WALL, 0, 0) != -ECHILD;
}

static int is_below_roots(const char *path)
{
    for (const char *root = FL_STRINGS + fl_ctl->fork.roots; *root; root += strlen(root) + 1) {
        size_t n = strlen(root);
        if (!strncmp(path, root, n) && (path[n] == '/' || !path[n]))
            return 1;
    }
    return 0;
}

/* Whether the file is one for whose sake a process stops here. */
int fl_differs_between_runs(const char *path)
{
    uint32_t generation;
    const struct fl_set *set = fl_current_set(&generation);
    const struct fl_rule *rules = FL_AREA(struct fl_rule, rules_off);
    struct fl_subject subject = {.path = path, .fd = -1};
    for (uint64_t left = set->live; left; left &= left - 1) {
        const struct fl_rule *rule = &rules[set->slot[__builtin_ctzll(left)]];
        if (rule->effect == FL_EFFECT_FORK && rule->value == FL_FORK_AT_ANY && fl_accepts(rule, FL_STRINGS, &subject))
            return 1;
    }
    return 0;
}

/* A run has opened a file: who watches what runs look at, by names, is told if this name is not the file's. */
void fl_note_name(int fd, const char *name, const char *path)
{
    struct stat st;
    if (is_below_roots(path) && (!name || strcmp(name, path)) && (fl_sys3(SYS_fstat, fd, &st, 0) || st.st_dev != fl_ctl->fork.aside))
        __atomic_add_fetch(&fl_ctl->fork.strayed, 1, __ATOMIC_RELAXED);
}

/* One line of /proc/self/maps: "from-to rwxp offset device inode   path". A private mapping of what is always the same may stay. */
static int is_tying(const char *line)
{
    const char *path = strchr(line, '/'), *rights = strchr(line, ' ');
    if (!path || !rights || !is_below_roots(path))
        return 0;
    return (rights[2] == 'w' && rights[4] == 's') || fl_differs_between_runs(path);
}

static int has_maps(void)
{
    long fd = fl_sys(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0), got;
    size_t kept = 0;
    int found = fd < 0;
    while (!found && (got = fl_sys3(SYS_read, fd, buffer + kept, sizeof buffer - 1 - kept)) > 0) {
        char *line = buffer, *end;
        for (buffer[kept += (size_t)got] = '\0'; !found && (end = strchr(line, '\n')); line = end + 1) {
            *end = '\0';
            found = is_tying(line);
        }
        kept = (size_t)(buffer + kept - line);
        memmove(buffer, line, kept);
    }
    if (fd >= 0)
        fl_sys1(SYS_close, fd);
    return found;
}

/* Where the program's output goes, under whatever number: that is the controller's. */
static int is_output(const struct stat *one)
{
    struct stat st;
    for (int fd = 1; fd <= 2; fd++)
        if (!fl_sys3(SYS_fstat, fd, &st, 0) && st.st_dev == one->st_dev && st.st_ino == one->st_ino)
            return 1;
    return 0;
}

/* A script, say: it is in all runs what it was when it was opened. */
static int is_steady(int fd, const struct stat *st, const char *path)
{
    return S_ISREG(st->st_mode) && (fl_sys3(SYS_fcntl, fd, F_GETFL, 0) & O_ACCMODE) == O_RDONLY && !fl_differs_between_runs(path);
}

/* A descriptor of ours: none of a file below the roots that differs, and where a regular one stands. Returns why that cannot be. */
static uint32_t look_at(int fd)
{
    struct stat st;
    char link[32];
    if (fl_sys3(SYS_fstat, fd, &st, 0))
        return FL_FORK_FINE;
    if (S_ISFIFO(st.st_mode))
        return fl_note_pipe(fd, &st);
    if (fd <= 2 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) || is_output(&st))
        return FL_FORK_FINE;
    fl_fd_link(link, fd);
    long n = fl_sys(SYS_readlinkat, AT_FDCWD, link, buffer, FL_PATH_MAX - 1);
    if (n <= 0)
        return FL_FORK_OPEN_FILES;
    buffer[n] = '\0';
    if (is_below_roots(buffer) && !is_steady(fd, &st, buffer))
        return FL_FORK_OPEN_FILES;
    if (!S_ISREG(st.st_mode))
        return FL_FORK_FINE;
    if (n_files == MOST_FILES)
        return FL_FORK_DESCRIPTORS;
    files[n_files].fd = fd;
    files[n_files++].at = fl_sys3(SYS_lseek, fd, 0, SEEK_CUR);
    return FL_FORK_FINE;
}

struct entry { uint64_t inode, offset; uint16_t length; uint8_t type; char name[]; };

uint32_t fl_each_descriptor(uint32_t (*look)(int fd))
{
    char room[1024] __attribute__((aligned(8)));
    uint32_t answer = 0;
    long got, fd = fl_sys(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return FL_FORK_DESCRIPTORS;
    while (!answer && (got = fl_sys3(SYS_getdents64, fd, room, sizeof room)) > 0)
        for (long at = 0; !answer && at < got; at += ((struct entry *)(room + at))->length) {
            const char *name = ((struct entry *)(room + at))->name;
            int one = *name == '.' ? -1 : (int)fl_number_at(&name, 10);
            answer = one < 0 || one == (int)fd ? 0 : look(one);
        }
    fl_sys1(SYS_close, fd);
    return answer;
}

static uint32_t why_not(void)
{
    if (has_threads())
        return FL_FORK_THREADS;
    if (has_children())
        return FL_FORK_CHILDREN;
    n_files = 0;
    fl_forget_pipes();
    uint32_t why = fl_each_descriptor(look_at);
    if (why || (why = fl_find_pipes()))
        return why;
    if (fl_sys3(SYS_getcwd, directory, sizeof directory, 0) <= 0 || directory[0] != '/')
        return FL_FORK_NOWHERE;
    return has_maps() ? FL_FORK_MAPPED : FL_FORK_FINE;
}

/* Until a run is asked for. 0: the session is over. */
static int wait_for_order(uint32_t done)
{
    struct timespec patience = {.tv_nsec = LOOK_AGAIN_NS};
    while (fl_owner_alive()) {
        if (__atomic_load_n(&fl_ctl->fork.asked, __ATOMIC_ACQUIRE) != done)
            return 1;
        fl_sys(SYS_futex, &fl_ctl->fork.asked, FUTEX_WAIT, done, &patience);
    }
    return 0;
}

/* SIGCHLD is blocked, so it waits for us. Who is left alone ends, and the run with it. */
static int wait_for_child(int pid, int *status)
{
    struct timespec patience = {.tv_nsec = LOOK_AGAIN_NS};
    uint64_t child = 1ull << (SIGCHLD - 1);
    for (;;) {
        long ended = fl_sys(SYS_wait4, pid, status, WNOHANG, 0);
        if (ended)
            return ended == pid;
        if (!fl_owner_alive()) {
            fl_sys3(SYS_kill, -pid, SIGKILL, 0);
            fl_sys3(SYS_kill, pid, SIGKILL, 0);
            return 0;
        }
        fl_sys(SYS_rt_sigtimedwait, &child, 0, &patience, sizeof child);
    }
}

/* Who reads a file moves the place at which all of us stand. */
static void put_back(void)
{
    for (unsigned i = 0; i < n_files; i++)
        if (files[i].at >= 0)
            fl_sys3(SYS_lseek, files[i].fd, files[i].at, SEEK_SET);
}

/* The C library has the kernel keep it up to date, so the kernel knows where it is. */
static void find_own_name(void)
{
    if (fl_sys6(SYS_prctl, PR_GET_TID_ADDRESS, (long)&own_name, 0, 0, 0, 0) || (own_name && *own_name != fl_sys1(SYS_gettid, 0)))
        own_name = NULL;
}

/* One run, in the directory as it is now. Returns in the child, which owns the recursive locks that we hold: libraries keep them
 * across the opening of a file, as SQLite does, and a child under a name of its own would wait for us for ever. */
static int run(void)
{
    struct fl_fork *all = &fl_ctl->fork;
    int status = FL_FORK_IMPOSSIBLE, pid = -1, name = own_name ? *own_name : 0;
    put_back();
    is_quick = __atomic_load_n(&all->quick, __ATOMIC_ACQUIRE) != 0;
    if (!fl_sys1(SYS_chdir, directory) && !fl_make_pipes()) {
        if (!(pid = all->watched ? fl_fork_along() : fl_fork_apart())) {
            fl_take_pipes();
            if (own_name)
                *own_name = name;
            return 1;
        }
        fl_drop_pipes();
    }
    fl_sys1(SYS_chdir, "/"); /* holds no mount */
    if (pid > 0) {
        __atomic_store_n(&all->pid, pid, __ATOMIC_RELEASE);
        if (!wait_for_child(pid, &status))
            status = FL_FORK_IMPOSSIBLE;
        __atomic_store_n(&all->pid, 0, __ATOMIC_RELEASE);
    }
    all->status = status;
    __atomic_add_fetch(&all->done, 1, __ATOMIC_SEQ_CST);
    fl_sys3(SYS_futex, &all->done, FUTEX_WAKE, 0x7fffffff);
    return 0;
}

/* Signals are for the runs: none reaches the server, and how its children end is always told. */
static void serve(void)
{
    uint64_t all = ~0ull, before = 0;
    struct kernel_action usual = {.handler = SIG_DFL}, action;
    fl_sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    fl_sys(SYS_rt_sigaction, SIGCHLD, &usual, &action, sizeof all);
    fl_sys1(SYS_chdir, "/");
    fl_make_python_quick();
    find_own_name();
    change_state(FL_FORK_READY);
    for (uint32_t done = 0; wait_for_order(done); done++)
        if (run()) {
            if (!is_quick)
                fl_leave_python_alone();
            fl_sys1(SYS_setsid, 0);
            fl_sys(SYS_rt_sigaction, SIGCHLD, &action, 0, sizeof all);
            fl_sys(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof all);
            return;
        }
    fl_leave();
    fl_sys1(SYS_exit_group, 0);
}

int fl_serve_forks(void)
{
    int error = errno, is_run = 0;
    if (begin()) {
        uint32_t why = why_not();
        if (why) {
            refuse(why);
        } else {
            serve();
            is_run = 1;
        }
    }
    errno = error;
    return is_run;
}
