/* raw OPERATION FILE [FILE]: the same through syscall(). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int failed(const char *what)
{
    printf("%s failed: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    const char *op = argv[1], *file = argv[2], *other = argc > 3 ? argv[3] : "";
    char buffer[1024];
    struct statx st;
    if (!strcmp(op, "rename"))
        return syscall(SYS_renameat2, AT_FDCWD, file, AT_FDCWD, other, 0) ? failed(op) : 0;
    if (!strcmp(op, "unlink"))
        return syscall(SYS_unlinkat, AT_FDCWD, file, 0) ? failed(op) : 0;
    if (!strcmp(op, "mkdir"))
        return syscall(SYS_mkdirat, AT_FDCWD, file, 0777) ? failed(op) : 0;
    if (!strcmp(op, "stat"))
        return syscall(SYS_statx, AT_FDCWD, file, 0, STATX_SIZE, &st) ? failed(op) : 0;
    long fd = syscall(SYS_openat, AT_FDCWD, file, !strcmp(op, "readdir") ? O_RDONLY | O_DIRECTORY : O_RDWR, 0);
    if (fd < 0)
        return failed("open");
    if (!strcmp(op, "readdir") && syscall(SYS_getdents64, fd, buffer, sizeof buffer) < 0)
        return failed(op);
    if (!strcmp(op, "read") && syscall(SYS_read, fd, buffer, sizeof buffer) < 0)
        return failed(op);
    if (!strcmp(op, "write") && syscall(SYS_write, fd, "x", 1) < 0)
        return failed(op);
    if (!strcmp(op, "fsync") && syscall(SYS_fsync, fd) < 0)
        return failed(op);
    if (!strcmp(op, "truncate") && syscall(SYS_ftruncate, fd, 1) < 0)
        return failed(op);
    if (!strcmp(op, "lock") && syscall(SYS_flock, fd, LOCK_EX) < 0)
        return failed(op);
    struct flock whole = {.l_type = F_WRLCK};
    if (!strcmp(op, "fcntl") && syscall(SYS_fcntl, fd, F_SETLK, &whole) < 0)
        return failed(op);
    return syscall(SYS_close, fd) ? failed("close") : 0;
}
