/* The guard: a small process that outlives the controller. When the controller is gone it disarms the targets, and once the
 * last attached process is gone too it removes the session's folder. Only raw system calls after the fork: the controller
 * may have had threads. */
#include "control.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int someone_attached(struct fl_ctl *ctl)
{
    struct fl_proc *procs = (struct fl_proc *)((char *)ctl + ctl->procs_off);
    for (int i = 0; i < FL_MAX_PROCS; i++) {
        uint32_t state = __atomic_load_n(&procs[i].state, __ATOMIC_ACQUIRE);
        if ((state == FL_PROC_LIVE || state == FL_PROC_EXEC_PENDING) && procs[i].pid > 0 &&
            (kill(procs[i].pid, 0) == 0 || errno == EPERM))
            return 1;
    }
    return 0;
}

/* The folder holds nothing but the launches' links and the session's socket. */
static void remove_folder(const char *folder)
{
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return;
    struct { uint64_t ino; int64_t off; unsigned short len; unsigned char type; char name[]; } *entry;
    char buffer[4096] __attribute__((aligned(8)));
    long got;
    while ((got = syscall(SYS_getdents64, dir, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < got; at += entry->len) {
            entry = (void *)(buffer + at);
            unlinkat(dir, entry->name, 0);
        }
    close(dir);
    rmdir(folder);
}

/* Waits until the owner is gone or says goodbye, disarms the targets, outlives the last of them. */
static void guard_main(struct fl_ctl *ctl, int owner, int goodbye, const char *folder)
{
    prctl(PR_SET_NAME, "faultlib-guard", 0, 0, 0);
    struct pollfd wait[2] = {{.fd = owner, .events = POLLIN}, {.fd = goodbye, .events = POLLIN}};
    while (poll(wait, 2, -1) < 0 && errno == EINTR)
        ;
    fl_disarm(ctl);
    struct timespec nap = {.tv_nsec = 50000000};
    while (someone_attached(ctl))
        nanosleep(&nap, NULL);
    remove_folder(folder);
}

int fl_guard_spawn(struct fl_ctl *ctl, int owner, int goodbye, const char *folder)
{
    /* Without an exit signal: the guard is a child that the program's own waits do not see (fl_guard_reap does). */
    long guard = syscall(SYS_clone, 0, 0, 0, 0, 0);
    if (guard != 0)
        return guard < 0 ? -errno : (int)guard;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    setsid();
    int high[2] = {fcntl(owner, F_DUPFD, 64), fcntl(goodbye, F_DUPFD, 64)};
    int null = open("/dev/null", O_RDWR);
    for (int i = 0; i < 3; i++)
        dup2(null, i);
    dup2(high[0], 3);
    dup2(high[1], 4);
    syscall(SYS_close_range, 5u, ~0u, 0);
    if (chdir("/"))
        _exit(1);
    guard_main(ctl, 3, 4, folder);
    _exit(0);
}

/* Collects an ended guard; 1 if it had ended. */
int fl_guard_reap(int pid) { return waitpid(pid, NULL, __WALL | WNOHANG) == pid; }
