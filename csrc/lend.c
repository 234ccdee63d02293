/* Who gets the session's memory from the guard: the owner's own processes, and those of the session, whatever they have become.
 * In the guard: raw system calls, no memory of libc's. */
#include "lend.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STAT_BYTES 1024
#define NS 1000000000ll
#define TICK_NS (NS / 100) /* of the times in /proc, on every architecture that we know */

struct process { int parent; int64_t started_ns; };

static int64_t now_ns(clockid_t clock)
{
    struct timespec now;
    syscall(SYS_clock_gettime, clock, &now);
    return now.tv_sec * NS + now.tv_nsec;
}

/* Reads "/proc/PID/stat": "PID (NAME) STATE PARENT ..."; the time of the start, by the clock that goes on in suspend, is the 22nd. */
static int look_at(const struct fl_ctl *ctl, int pid, struct process *found)
{
    char path[32] = "/proc/", text[STAT_BYTES], digits[12], *end = path + 6;
    int n = 0, field = 2;
    for (unsigned rest = (unsigned)pid; rest; rest /= 10)
        digits[n++] = (char)('0' + rest % 10);
    while (n)
        *end++ = digits[--n];
    strcpy(end, "/stat");
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    long got = fd < 0 ? -1 : syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    text[got > 0 ? got : 0] = '\0';
    const char *at = strrchr(text, ')');
    unsigned long long ticks = 0;
    for (; at && field < 22; field++) {
        at = strchr(at + 1, ' ');
        if (at && field == 3)
            found->parent = atoi(at);
        if (at && field == 21)
            ticks = strtoull(at, NULL, 10);
    }
    int64_t asleep_ns = now_ns(CLOCK_BOOTTIME) - now_ns(CLOCK_MONOTONIC);
    found->started_ns = (int64_t)ticks * TICK_NS - asleep_ns - (int64_t)ctl->t0_ns;
    return at != NULL;
}

/* Whether a slot is this process', and not that of an earlier one of its number: a slot is younger than its process. */
static int is_in_session(const struct fl_ctl *ctl, int pid, const struct process *process)
{
    const struct fl_proc *procs = (const struct fl_proc *)((const char *)ctl + ctl->procs_off);
    for (int i = 0; i < FL_MAX_PROCS; i++) {
        uint32_t state = __atomic_load_n(&procs[i].state, __ATOMIC_ACQUIRE);
        if (procs[i].pid == pid && (int64_t)procs[i].started_ns >= process->started_ns &&
            (state == FL_PROC_EXEC_PENDING || state == FL_PROC_LIVE))
            return 1;
    }
    return 0;
}

/* One of the session's, mostly with a new image; or a child of such a one that has no slot yet. */
static int is_entitled(const struct fl_ctl *ctl, const struct ucred *peer)
{
    struct process process, parent;
    if (peer->uid == ctl->owner_uid)
        return 1;
    if (peer->pid <= 0 || !look_at(ctl, peer->pid, &process))
        return 0;
    return is_in_session(ctl, peer->pid, &process) ||
           (look_at(ctl, process.parent, &parent) && is_in_session(ctl, process.parent, &parent));
}

static void answer(int peer, int32_t pid, int block, int lifeline)
{
    union { struct cmsghdr head; char room[CMSG_SPACE(2 * sizeof(int))]; } control = {0};
    struct iovec text = {&pid, sizeof pid};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(2 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.head), (int[]){block, lifeline}, 2 * sizeof(int));
    syscall(SYS_sendmsg, peer, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void fl_lend(const struct fl_ctl *ctl, int listener, int block, int lifeline)
{
    struct ucred who;
    socklen_t size = sizeof who;
    int peer = (int)syscall(SYS_accept4, listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (peer < 0)
        return;
    if (!syscall(SYS_getsockopt, peer, SOL_SOCKET, SO_PEERCRED, &who, &size) && is_entitled(ctl, &who))
        answer(peer, who.pid, block, lifeline);
    syscall(SYS_close, peer);
}
