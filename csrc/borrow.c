/* Asking the guard for the session's memory, where /proc does not lead to it: lend.h. From any context; takes three descriptors for
 * a moment. */
#include "lend.h"
#include "shim.h"
#include "sys.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define PATIENCE_NS 2000000000ll
#define NAP_NS 5000000ll

static int gave_up; /* nobody of us and our children asks again */

static int64_t now_ns(void)
{
    struct timespec now;
    fl_sys3(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/* "FOLDER/1.so" becomes "FOLDER/block". */
static int name_socket(struct sockaddr_un *address, const char *link)
{
    const char *slash = strrchr(link, '/');
    size_t n = slash ? (size_t)(slash + 1 - link) : 0;
    if (!n || n + sizeof FL_LEND_SOCKET > sizeof address->sun_path)
        return 0;
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, link, n);
    memcpy(address->sun_path + n, FL_LEND_SOCKET, sizeof FL_LEND_SOCKET);
    return 1;
}

/* Connecting is at once, unless there is a queue. */
static int connected(long fd, const struct sockaddr_un *address, int64_t until)
{
    long result;
    while ((result = fl_sys3(SYS_connect, fd, (long)address, sizeof *address)) == -EAGAIN || result == -EINTR) {
        struct timespec nap = {.tv_nsec = NAP_NS};
        if (now_ns() > until)
            gave_up = 1;
        if (gave_up)
            break;
        fl_sys3(SYS_nanosleep, (long)&nap, 0, 0);
    }
    return !result;
}

static int answered(long fd, int64_t until)
{
    for (;;) {
        int64_t left = until - now_ns();
        struct timespec wait = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        struct pollfd poll = {.fd = (int)fd, .events = POLLIN};
        long ready = left <= 0 ? 0 : fl_sys6(SYS_ppoll, (long)&poll, 1, (long)&wait, 0, 0, 0);
        if (!ready)
            gave_up = 1;
        if (ready != -EINTR)
            return ready == 1;
    }
}

/* An end without an answer is a no. */
static int receive(long fd, struct fl_loan *loan)
{
    union { struct cmsghdr head; char room[CMSG_SPACE(2 * sizeof(int))]; } control;
    struct iovec text = {&loan->pid, sizeof loan->pid};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    long got = fl_sys3(SYS_recvmsg, fd, (long)&message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got != sizeof loan->pid || message.msg_controllen < sizeof control.head || control.head.cmsg_type != SCM_RIGHTS)
        return 0;
    int fds[2] = {-1, -1};
    size_t bytes = control.head.cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(&control.head), bytes < sizeof fds ? bytes : sizeof fds);
    loan->block = fds[0];
    loan->lifeline = fds[1];
    if (fds[1] < 0) /* no room for both */
        fl_sys1(SYS_close, fds[0]);
    return fds[1] >= 0;
}

int fl_borrow(const char *link, struct fl_loan *loan)
{
    struct sockaddr_un address = {0};
    if (gave_up || !name_socket(&address, link))
        return 0;
    long fd = fl_sys3(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int64_t until = now_ns() + PATIENCE_NS;
    int done = fd >= 0 && connected(fd, &address, until) && answered(fd, until) && receive(fd, loan);
    if (fd >= 0)
        fl_sys1(SYS_close, fd);
    return done;
}
