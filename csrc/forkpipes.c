/* The fork point's pipes: those that a process has made, and holds both ends of, are made anew for each run. It would keep an end of
 * the old ones open, and who reads from the other waits for the last of them. Single-threaded. */
#include "forkpoint.h"
#include "shim.h"
#include "sys.h"
#include <fcntl.h>
#include <sys/ioctl.h>

#define MOST_ENDS 32

struct end { uint64_t inode; int fd, writes, flags, closes; };

static struct end ends[MOST_ENDS];
static unsigned n_ends;
static struct { uint64_t inode; int fds[2]; } fresh[MOST_ENDS];
static unsigned n_fresh;

void fl_forget_pipes(void) { n_ends = n_fresh = 0; }

uint32_t fl_note_pipe(int fd, const struct stat *st)
{
    long flags = fl_sys3(SYS_fcntl, fd, F_GETFL, 0), closes = fl_sys3(SYS_fcntl, fd, F_GETFD, 0);
    if (n_ends == MOST_ENDS || flags < 0 || closes < 0)
        return FL_FORK_DESCRIPTORS;
    ends[n_ends++] = (struct end){st->st_ino, fd, (flags & O_ACCMODE) != O_RDONLY, (int)flags, closes & FD_CLOEXEC ? O_CLOEXEC : 0};
    return FL_FORK_FINE;
}

static const struct end *other_end(const struct end *one)
{
    for (const struct end *end = ends; end < ends + n_ends; end++)
        if (end->inode == one->inode && end->writes != one->writes)
            return end;
    return 0;
}

static int index_of(uint64_t inode)
{
    for (unsigned i = 0; i < n_fresh; i++)
        if (fresh[i].inode == inode)
            return (int)i;
    return -1;
}

/* What is in a pipe by now would have to be in all of them. */
uint32_t fl_find_pipes(void)
{
    for (const struct end *end = ends; end < ends + n_ends; end++) {
        int waiting = 0;
        if (!other_end(end) || index_of(end->inode) >= 0)
            continue;
        if (fl_sys3(SYS_ioctl, end->fd, FIONREAD, (long)&waiting) || waiting)
            return FL_FORK_PIPE;
        fresh[n_fresh++].inode = end->inode;
    }
    return FL_FORK_FINE;
}

int fl_make_pipes(void)
{
    for (unsigned i = 0; i < n_fresh; i++)
        if (fl_sys3(SYS_pipe2, fresh[i].fds, O_CLOEXEC, 0)) {
            while (i--)
                for (int side = 0; side < 2; side++)
                    fl_sys1(SYS_close, fresh[i].fds[side]);
            return -1;
        }
    return 0;
}

void fl_drop_pipes(void)
{
    for (unsigned i = 0; i < n_fresh; i++)
        for (int side = 0; side < 2; side++)
            fl_sys1(SYS_close, fresh[i].fds[side]);
}

void fl_take_pipes(void)
{
    for (const struct end *end = ends; end < ends + n_ends; end++) {
        int i = index_of(end->inode);
        if (i < 0)
            continue;
        fl_sys3(SYS_dup3, fresh[i].fds[end->writes], end->fd, end->closes);
        fl_sys3(SYS_fcntl, end->fd, F_SETFL, end->flags);
    }
    fl_drop_pipes();
}
