/* calls OPERATION FILE [FILE]: one libc call on a file, and what it said. Built plain and fortified. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int failed(const char *what)
{
    printf("%s failed: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    const char *op = argv[1], *file = argv[2], *other = argc > 3 ? argv[3] : "";
    char buffer[64];
    volatile size_t room = sizeof buffer; /* not a constant: a fortified call has to check it */
    volatile int flags = O_RDWR;          /* a fortified open checks its flags at run time too */
    if (!strcmp(op, "rename"))
        return rename(file, other) ? failed(op) : 0;
    if (!strcmp(op, "unlink"))
        return unlink(file) ? failed(op) : 0;
    if (!strcmp(op, "remove"))
        return remove(file) ? failed(op) : 0;
    if (!strcmp(op, "mkdir"))
        return mkdir(file, 0777) ? failed(op) : 0;
    if (!strcmp(op, "stat")) {
        struct stat st;
        return stat(file, &st) ? failed(op) : 0;
    }
    if (!strcmp(op, "readlink"))
        return readlink(file, buffer, room) < 0 ? failed(op) : 0;
    if (!strcmp(op, "readlinkat"))
        return readlinkat(AT_FDCWD, file, buffer, room) < 0 ? failed(op) : 0;
    if (!strcmp(op, "readdir")) {
        DIR *dir = opendir(file);
        if (!dir)
            return failed("opendir");
        errno = 0;
        while (readdir(dir))
            ;
        if (errno)
            return failed(op);
        return closedir(dir) ? failed("closedir") : 0;
    }
    int fd = open(file, flags);
    if (fd < 0)
        return failed("open");
    if (!strcmp(op, "read") && read(fd, buffer, room) < 0)
        return failed(op);
    if (!strcmp(op, "pread") && pread(fd, buffer, room, 0) < 0)
        return failed(op);
    struct iovec iov = {.iov_base = buffer, .iov_len = room};
    if (!strcmp(op, "readv") && readv(fd, &iov, 1) < 0)
        return failed(op);
    memset(buffer, 'x', sizeof buffer);
    if (!strcmp(op, "write") && write(fd, buffer, room) < 0)
        return failed(op);
    if (!strcmp(op, "pwrite") && pwrite(fd, buffer, room, 0) < 0)
        return failed(op);
    if (!strcmp(op, "writev") && writev(fd, &iov, 1) < 0)
        return failed(op);
    if (!strcmp(op, "fsync") && fsync(fd))
        return failed(op);
    if (!strcmp(op, "truncate") && ftruncate(fd, 1))
        return failed(op);
    if (!strcmp(op, "lock") && flock(fd, LOCK_EX))
        return failed(op);
    struct flock whole = {.l_type = F_WRLCK};
    if (!strcmp(op, "fcntl") && fcntl(fd, F_SETLK, &whole))
        return failed(op);
    return close(fd) ? failed("close") : 0;
}
