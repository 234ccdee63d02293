/* The last one out: who is still attached, and how the session's folder goes away. Used by the guard and, should that be dead
 * too, by the last target. Raw system calls only: after a fork of a threaded controller, at the very end of a target. */
#include "cleanup.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

static struct fl_proc *slots(const struct fl_ctl *ctl) { return (struct fl_proc *)((char *)ctl + ctl->procs_off); }

int fl_pid_gone(int pid, unsigned wait_ms)
{
    if (fl_sys3(SYS_kill, pid, 0, 0) == -ESRCH)
        return 1;
    struct pollfd end = {.fd = (int)fl_sys3(SYS_pidfd_open, pid, 0, 0), .events = POLLIN};
    if (end.fd < 0)
        return 0;
    struct timespec wait = {.tv_nsec = wait_ms * 1000000l};
    long ended = fl_sys6(SYS_ppoll, (long)&end, 1, (long)&wait, 0, 0, 0);
    fl_sys1(SYS_close, end.fd);
    return ended == 1;
}

#define MOST_MARK 16

/* Whether a file of /proc/PID mentions us: `maps` the control block, `environ` the shim's link. A target in a pid namespace of
 * its own wrote down a number that here is somebody else's. What cannot be read counts as a yes. */
static int mentions(int pid, const char *file, const char *mark)
{
    char path[32] = "/proc/", text[2048 + MOST_MARK], *end = path + 6, digits[12];
    long length = (long)strlen(mark);
    int n = 0, found = 0;
    for (unsigned rest = (unsigned)pid; rest || !n; rest /= 10)
        digits[n++] = (char)('0' + rest % 10);
    while (n)
        *end++ = digits[--n];
    strcpy(end, file);
    long fd = fl_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), got, kept = 0;
    if (fd < 0)
        return 1;
    while (!found && (got = fl_sys3(SYS_read, fd, text + kept, 2048)) > 0) {
        long have = kept + got;
        for (long at = 0; !found && at + length <= have; at++)
            found = !memcmp(text + at, mark, (size_t)length);
        kept = have < length ? have : length;
        memmove(text, text + have - kept, (size_t)kept);
    }
    fl_sys1(SYS_close, fd);
    return found || got < 0;
}

static int ours(int pid, uint32_t state)
{
    if (pid == 1) /* init is nobody's target; it may not even let itself be read */
        return 0;
    return state == FL_PROC_LIVE ? mentions(pid, "/maps", "memfd:faultlib") : mentions(pid, "/environ", "/faultlib.");
}

int fl_someone_attached(const struct fl_ctl *ctl, int except)
{
    const struct fl_proc *procs = slots(ctl);
    for (int i = 0; i < FL_MAX_PROCS; i++) {
        uint32_t state = __atomic_load_n(&procs[i].state, __ATOMIC_ACQUIRE);
        if ((state == FL_PROC_LIVE || state == FL_PROC_EXEC_PENDING) && procs[i].pid > 0 && procs[i].pid != except &&
            !fl_pid_gone(procs[i].pid, 0) && ours(procs[i].pid, state))
            return procs[i].pid;
    }
    return 0;
}

int fl_continue_stopped(const struct fl_ctl *ctl, uint32_t rule)
{
    struct fl_proc *procs = slots(ctl);
    int found = 0;
    for (int i = 0; i < FL_MAX_PROCS; i++) {
        uint32_t by = __atomic_load_n(&procs[i].stopped_by, __ATOMIC_ACQUIRE);
        if (by && (!rule || by == rule) && procs[i].pid > 0 && !fl_sys3(SYS_kill, procs[i].pid, SIGCONT, 0))
            found++;
    }
    return found;
}

/* The folder holds nothing but the launches' links, the session's name and its socket. */
void fl_remove_folder(const char *folder)
{
    long dir = fl_sys(SYS_openat, AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (dir < 0)
        return;
    struct { uint64_t ino; int64_t off; unsigned short len; unsigned char type; char name[]; } *entry;
    char buffer[2048] __attribute__((aligned(8)));
    long got;
    while ((got = fl_sys3(SYS_getdents64, dir, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < got; at += entry->len) {
            entry = (void *)(buffer + at);
            fl_sys3(SYS_unlinkat, dir, entry->name, 0);
        }
    fl_sys1(SYS_close, dir);
    fl_sys3(SYS_unlinkat, AT_FDCWD, folder, AT_REMOVEDIR);
}
