/* inside WAY: libc functions whose calls are libc's own, none of which passes a symbol; and system calls by number. */
#include <aio.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int say(int failed)
{
    printf("%s\n", failed ? strerror(errno) : "ok");
    return 0;
}

static int visit(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)path, (void)st, (void)kind, (void)walk;
    return 0;
}

static int by_aio(int (*start)(struct aiocb *), int sync)
{
    char byte[2] = "x";
    struct aiocb block = {.aio_fildes = open("f", O_RDWR | O_CREAT, 0644), .aio_buf = byte, .aio_nbytes = 1};
    const struct aiocb *list[] = {&block};
    if (sync ? aio_fsync(O_DSYNC, &block) : start(&block))
        return say(1);
    while ((errno = aio_error(&block)) == EINPROGRESS)
        aio_suspend(list, 1, NULL);
    return say(errno);
}

static int walk_fts(void)
{
    char *roots[] = {"d", NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL, NULL);
    int bad = 0;
    for (FTSENT *entry; (entry = fts_read(walk));)
        if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR || entry->fts_info == FTS_NS)
            bad = errno = entry->fts_errno;
    fts_close(walk);
    int fd = open("f", O_WRONLY | O_CREAT, 0644); /* the working directory is ours again */
    if (write(fd, "x", 1) < 0)
        printf("write: ");
    return say(bad);
}

int main(int argc, char **argv)
{
    const char *way = argv[argc - 1];
    char text[PATH_MAX] = "new-XXXXXX";
    struct dirent **names;
    glob_t found;
    struct open_how how = {.flags = O_RDWR | O_CREAT, .mode = 0644};
    struct iovec piece = {.iov_base = text, .iov_len = 3};
    if (!strcmp(way, "scandir"))
        return say(scandir("d", &names, NULL, alphasort) < 0);
    if (!strcmp(way, "glob"))
        return say(glob("d/*", GLOB_ERR, NULL, &found) != 0);
    if (!strcmp(way, "nftw"))
        return say(nftw("d", visit, 8, FTW_CHDIR) != 0);
    if (!strcmp(way, "fts"))
        return walk_fts();
    if (!strcmp(way, "mkstemp"))
        return say(mkstemp(text) < 0);
    if (!strcmp(way, "mkdtemp"))
        return say(!mkdtemp(text));
    if (!strcmp(way, "tmpfile"))
        return say(!tmpfile());
    if (!strcmp(way, "realpath"))
        return say(!realpath("link", text));
    if (!strcmp(way, "aio_read"))
        return by_aio(aio_read, 0);
    if (!strcmp(way, "aio_write"))
        return by_aio(aio_write, 0);
    if (!strcmp(way, "aio_fsync"))
        return by_aio(NULL, 1);
    if (!strcmp(way, "high")) { /* a descriptor beyond the shim's table */
        struct rlimit limit = {20000, 20000};
        setrlimit(RLIMIT_NOFILE, &limit);
        int fd = fcntl(open("f", O_RDWR | O_CREAT, 0644), F_DUPFD, 18000);
        return fd < 18000 ? 1 : say(write(fd, "x", 1) < 0);
    }
    if (!strcmp(way, "openat2"))
        return say(syscall(SYS_openat2, AT_FDCWD, "f", &how, sizeof how) < 0);
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    if (!strcmp(way, "pwritev2"))
        return say(syscall(SYS_pwritev2, fd, &piece, 1, 5, 0, 0) < 0);
    if (!strcmp(way, "preadv2"))
        return say(syscall(SYS_preadv2, fd, &piece, 1, 5, 0, 0) < 0);
    if (!strcmp(way, "pwritev"))
        return say(syscall(SYS_pwritev, fd, &piece, 1, 5, 0) < 0);
    if (!strcmp(way, "faccessat2"))
        return say(syscall(SYS_faccessat2, AT_FDCWD, "f", R_OK, 0) < 0);
    if (!strcmp(way, "fchmodat"))
        return say(syscall(SYS_fchmodat, AT_FDCWD, "f", 0600) < 0);
    return 1;
}
