/* io FILE CALL ARGUMENTS...: calls on one open file, one after another; each prints what it returned, and its errno.
 *
 *   open FLAGS        rw, append, create, trunc, joined by commas; closes the file before
 *   write N · append-free calls on data "abcdefghij...": write N, writev N M.., pwrite N OFFSET, pwritev OFFSET N M..
 *   read N · readv N M.. · pread N OFFSET · preadv OFFSET N M..   print the data too
 *   fsync · truncate N · close · fallocate N · mode_fallocate MODE OFFSET N · seek N · dup
 *   swap FILE: another file takes the descriptor, by a system call that no library sees
 * The lists of writev and its kin end with a dot.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char data[1 << 20], room[1 << 20];
static int at, count;
static char **words;

static const char *next(void) { return at < count ? words[at++] : "."; }
static long number(void) { return atol(next()); }

static long unseen_dup2(int from, int to)
{
#if defined(__x86_64__)
    long result;
    register long flags __asm__("rdx") = 0;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_dup3), "D"(from), "S"(to), "r"(flags) : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = SYS_dup3;
    register long x0 __asm__("x0") = from;
    register long x1 __asm__("x1") = to;
    register long x2 __asm__("x2") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
#endif
}

static int pieces(struct iovec *iov, char *from)
{
    int n = 0;
    for (const char *word; n < 64 && strcmp(word = next(), "."); n++) {
        iov[n] = (struct iovec){.iov_base = from, .iov_len = (size_t)atol(word)};
        from += atol(word);
    }
    return n;
}

static void say(const char *call, long result, int shows)
{
    int error = errno;
    printf("%s %ld", call, result);
    if (result < 0)
        printf(" %s", strerrorname_np(error));
    if (shows && result > 0)
        printf(" %.*s", (int)result, room);
    printf("\n");
    fflush(stdout);
}

static int opened(const char *file, const char *flags)
{
    int how = O_RDWR | (strstr(flags, "append") ? O_APPEND : 0) | (strstr(flags, "create") ? O_CREAT : 0) |
              (strstr(flags, "trunc") ? O_TRUNC : 0);
    return open(file, how, 0644);
}

static void rarer(const char *call, int fd, const char *file)
{
    if (!strcmp(call, "swap")) {
        int other = open(next(), O_RDWR | O_CREAT, 0644);
        say(call, unseen_dup2(other, fd) == fd ? 0 : -1, 0);
        close(other);
    } else if (!strcmp(call, "mode_fallocate")) {
        long mode = number(), offset = number();
        say(call, fallocate(fd, (int)mode, offset, number()), 0);
    } else if (!strcmp(call, "unlink")) {
        say(call, unlink(next()), 0);
    } else if (!strcmp(call, "rename")) {
        say(call, rename(next(), file), 0);
    }
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)('a' + i % 26);
    words = argv + 2;
    count = argc - 2;
    int fd = -1;
    struct iovec iov[64];
    while (at < count) {
        const char *call = next();
        errno = 0;
        memset(room, 0, 256);
        if (!strcmp(call, "open")) {
            if (fd >= 0)
                close(fd);
            fd = opened(argv[1], next());
            say(call, fd < 0 ? -1 : 0, 0);
        } else if (!strcmp(call, "write")) {
            say(call, write(fd, data, (size_t)number()), 0);
        } else if (!strcmp(call, "pwrite")) {
            long n = number();
            say(call, pwrite(fd, data, (size_t)n, number()), 0);
        } else if (!strcmp(call, "writev")) {
            int n = pieces(iov, data);
            say(call, writev(fd, iov, n), 0);
        } else if (!strcmp(call, "pwritev")) {
            long offset = number();
            int n = pieces(iov, data);
            say(call, pwritev(fd, iov, n, offset), 0);
        } else if (!strcmp(call, "read")) {
            say(call, read(fd, room, (size_t)number()), 1);
        } else if (!strcmp(call, "pread")) {
            long n = number();
            say(call, pread(fd, room, (size_t)n, number()), 1);
        } else if (!strcmp(call, "readv")) {
            int n = pieces(iov, room);
            say(call, readv(fd, iov, n), 1);
        } else if (!strcmp(call, "preadv")) {
            long offset = number();
            int n = pieces(iov, room);
            say(call, preadv(fd, iov, n, offset), 1);
        } else if (!strcmp(call, "fsync")) {
            say(call, fsync(fd), 0);
        } else if (!strcmp(call, "truncate")) {
            say(call, ftruncate(fd, number()), 0);
        } else if (!strcmp(call, "fallocate")) {
            say(call, posix_fallocate(fd, 0, number()), 0);
        } else if (!strcmp(call, "seek")) {
            say(call, lseek(fd, number(), SEEK_SET), 0);
        } else if (!strcmp(call, "dup")) {
            int other = dup(fd);
            close(fd);
            fd = other;
        } else if (!strcmp(call, "close")) {
            int other = fd;
            say(call, close(fd), 0);
            fd = -1;
            say("fcntl", fcntl(other, F_GETFD), 0);
        } else {
            rarer(call, fd, argv[1]);
        }
    }
    return 0;
}
