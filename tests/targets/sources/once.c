/* Calls each symbol once: between a mark that names it and a mark that ends it, and nothing else in between. Those that do not
 * come back are called in a child. Arguments: nothing, or the name of one symbol. */
#include <aio.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *only;
static int fd, other;
static char buffer[4096] __attribute__((aligned(16))), *none[] = {NULL};
static struct iovec iov = {buffer, 8};
static void *page;
static DIR *dir;

typedef long (*any)();
pid_t __vfork(void) __attribute__((returns_twice));

static any find(const char *name)
{
    if (only && strcmp(only, name))
        return NULL;
    any found = (any)dlsym(RTLD_DEFAULT, name);
    if (!found)
        printf("%s is missing\n", name);
    return found;
}

static void mark(const char *name)
{
    char text[64] = "mark:";
    access(strcat(text, name), F_OK);
}

static void end(void)
{
    mark("");
}

static void fresh(const char *name)
{
    close(open(name, O_CREAT | O_RDWR, 0644));
}

static void leave(void) { syscall(231 /* exit_group */, 0); }

#define ONCE_AFTER(before, symbol, ...)   \
    do {                                  \
        any call = find(#symbol);         \
        if (!call)                        \
            break;                        \
        before;                           \
        mark(#symbol);                    \
        call(__VA_ARGS__);                \
        end();                            \
    } while (0)
#define ONCE(symbol, ...) ONCE_AFTER((void)0, symbol, __VA_ARGS__)
/* Carried out by a thread of libc's. */
#define ONCE_ASYNC(symbol, ...)           \
    do {                                  \
        any call = find(#symbol);         \
        if (!call)                        \
            break;                        \
        mark(#symbol);                    \
        call(__VA_ARGS__);                \
        while (aio_error(&block) == EINPROGRESS) \
            sched_yield();                \
        end();                            \
    } while (0)
/* Of those that may come back twice, or never. */
#define IN_CHILD(symbol, ...)             \
    do {                                  \
        any call = find(#symbol);         \
        if (!call)                        \
            break;                        \
        int child = fork();               \
        if (!child) {                     \
            mark(#symbol);                \
            if (call(__VA_ARGS__))        \
                mark("");                 \
            leave();                      \
        }                                 \
        waitpid(child, NULL, 0);          \
    } while (0)

#define VFORK(symbol)                     \
    do {                                  \
        if (only && strcmp(only, #symbol)) \
            break;                        \
        mark(#symbol);                    \
        if (!symbol())                    \
            leave();                      \
        end();                            \
    } while (0)

static void opens(void)
{
    ONCE(open, "f", O_RDWR);
    ONCE(open64, "f", O_RDWR);
    ONCE(__open, "f", O_RDWR);
    ONCE(__open64, "f", O_RDWR);
    ONCE(__open_2, "f", O_RDWR);
    ONCE(__open64_2, "f", O_RDWR);
    ONCE(openat, AT_FDCWD, "f", O_RDWR);
    ONCE(openat64, AT_FDCWD, "f", O_RDWR);
    ONCE(__openat_2, AT_FDCWD, "f", O_RDWR);
    ONCE(__openat64_2, AT_FDCWD, "f", O_RDWR);
    ONCE(creat, "new", 0644);
    ONCE(creat64, "new", 0644);
    ONCE_AFTER(int made = dup(fd), close, made);
    ONCE_AFTER(int made = dup(fd), __close, made);
    ONCE(close_range, 900, 1000, 0);
    ONCE(closefrom, 900);
    ONCE(dup, fd);
    ONCE(dup2, fd, 800);
    ONCE(dup3, fd, 801, 0);
    ONCE(chdir, ".");
    ONCE_AFTER(int here = open(".", O_RDONLY), fchdir, here);
}

static void reads(void)
{
    ONCE(read, fd, buffer, (size_t)8);
    ONCE(__read, fd, buffer, (size_t)8);
    ONCE(__read_chk, fd, buffer, (size_t)8, sizeof buffer);
    ONCE(pread, fd, buffer, (size_t)8, (off_t)0);
    ONCE(pread64, fd, buffer, (size_t)8, (off_t)0);
    ONCE(__pread64, fd, buffer, (size_t)8, (off_t)0);
    ONCE(__pread_chk, fd, buffer, (size_t)8, (off_t)0, sizeof buffer);
    ONCE(__pread64_chk, fd, buffer, (size_t)8, (off_t)0, sizeof buffer);
    ONCE(readv, fd, &iov, 1);
    ONCE(preadv, fd, &iov, 1, (off_t)0);
    ONCE(preadv64, fd, &iov, 1, (off_t)0);
    ONCE(preadv2, fd, &iov, 1, (off_t)0, 0);
    ONCE(preadv64v2, fd, &iov, 1, (off_t)0, 0);
    ONCE_AFTER(dir = opendir("."), readdir, dir);
    ONCE_AFTER(dir = opendir("."), readdir64, dir);
    struct dirent *entry;
    ONCE_AFTER(dir = opendir("."), readdir_r, dir, buffer, &entry);
    ONCE_AFTER(dir = opendir("."), readdir64_r, dir, buffer, &entry);
    ONCE_AFTER(int here = open(".", O_RDONLY), getdents64, here, buffer, sizeof buffer);
    ONCE(lseek, fd, (off_t)0, SEEK_SET);
    ONCE(lseek64, fd, (off_t)0, SEEK_SET);
    ONCE(mmap, NULL, (size_t)4096, PROT_READ, MAP_PRIVATE, fd, (off_t)0);
    ONCE(mmap64, NULL, (size_t)4096, PROT_READ, MAP_PRIVATE, fd, (off_t)0);
    ONCE_AFTER(page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), munmap, page, (size_t)4096);
    ONCE_AFTER(page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), msync, page, (size_t)4096, MS_ASYNC);
}

static void writes(void)
{
    ONCE(write, fd, buffer, (size_t)8);
    ONCE(__write, fd, buffer, (size_t)8);
    ONCE(pwrite, fd, buffer, (size_t)8, (off_t)0);
    ONCE(pwrite64, fd, buffer, (size_t)8, (off_t)0);
    ONCE(__pwrite64, fd, buffer, (size_t)8, (off_t)0);
    ONCE(writev, fd, &iov, 1);
    ONCE(pwritev, fd, &iov, 1, (off_t)0);
    ONCE(pwritev64, fd, &iov, 1, (off_t)0);
    ONCE(pwritev2, fd, &iov, 1, (off_t)0, 0);
    ONCE(pwritev64v2, fd, &iov, 1, (off_t)0, 0);
    ONCE(copy_file_range, fd, NULL, other, NULL, (size_t)8, 0);
    ONCE(sendfile, other, fd, NULL, (size_t)8);
    ONCE(sendfile64, other, fd, NULL, (size_t)8);
    ONCE(splice, fd, NULL, other, NULL, (size_t)8, 0);
    ONCE(ioctl, other, 0x40049409ul /* FICLONE */, fd);
    ONCE(fsync, fd);
    ONCE(fdatasync, fd);
    ONCE(sync);
    ONCE(syncfs, fd);
    ONCE(sync_file_range, fd, (off_t)0, (off_t)0, 0);
    ONCE(truncate, "new", (off_t)5);
    ONCE(truncate64, "new", (off_t)5);
    ONCE(ftruncate, other, (off_t)5);
    ONCE(ftruncate64, other, (off_t)5);
    ONCE(fallocate, other, 0, (off_t)0, (off_t)9);
    ONCE(fallocate64, other, 0, (off_t)0, (off_t)9);
    ONCE(posix_fallocate, other, (off_t)0, (off_t)9);
    ONCE(posix_fallocate64, other, (off_t)0, (off_t)9);
    ONCE(flock, fd, LOCK_SH);
    struct flock lock = {.l_type = F_WRLCK};
    ONCE(fcntl, other, F_SETLK, &lock);
    ONCE(fcntl64, other, F_SETLK, &lock);
    ONCE(__fcntl, other, F_SETLK, &lock);
    ONCE(lockf, other, F_TLOCK, (off_t)0);
    ONCE(lockf64, other, F_TLOCK, (off_t)0);
}

static void names(void)
{
    ONCE_AFTER(fresh("a"), rename, "a", "b");
    ONCE_AFTER(fresh("a"), renameat, AT_FDCWD, "a", AT_FDCWD, "b");
    ONCE_AFTER(fresh("a"), renameat2, AT_FDCWD, "a", AT_FDCWD, "b", 0);
    ONCE_AFTER(fresh("a"), unlink, "a");
    ONCE_AFTER(fresh("a"), unlinkat, AT_FDCWD, "a", 0);
    ONCE_AFTER(fresh("a"), remove, "a");
    ONCE_AFTER(close(shm_open("/faultlib-once", O_RDWR | O_CREAT, 0600)), shm_unlink, "/faultlib-once");
    ONCE_AFTER(sem_close(sem_open("/faultlib-once", O_CREAT, 0600, 1)), sem_unlink, "/faultlib-once");
    ONCE(link, "f", "l1");
    ONCE(linkat, AT_FDCWD, "f", AT_FDCWD, "l2", 0);
    ONCE(symlink, "f", "l3");
    ONCE(symlinkat, "f", AT_FDCWD, "l4");
    ONCE(mkdir, "d1", 0755);
    ONCE(mkdirat, AT_FDCWD, "d2", 0755);
    ONCE_AFTER(mkdir("d3", 0755), rmdir, "d3");
}

static void stats(void)
{
    ONCE(stat, "f", buffer);
    ONCE(stat64, "f", buffer);
    ONCE(lstat, "f", buffer);
    ONCE(lstat64, "f", buffer);
    ONCE(fstat, fd, buffer);
    ONCE(fstat64, fd, buffer);
    ONCE(fstatat, AT_FDCWD, "f", buffer, 0);
    ONCE(fstatat64, AT_FDCWD, "f", buffer, 0);
    ONCE(__xstat, 1, "f", buffer);
    ONCE(__xstat64, 1, "f", buffer);
    ONCE(__lxstat, 1, "f", buffer);
    ONCE(__lxstat64, 1, "f", buffer);
    ONCE(__fxstat, 1, fd, buffer);
    ONCE(__fxstat64, 1, fd, buffer);
    ONCE(__fxstatat, 1, AT_FDCWD, "f", buffer, 0);
    ONCE(__fxstatat64, 1, AT_FDCWD, "f", buffer, 0);
    ONCE(statx, AT_FDCWD, "f", 0, STATX_SIZE, buffer);
    ONCE(access, "f", R_OK);
    ONCE(faccessat, AT_FDCWD, "f", R_OK, 0);
    ONCE(euidaccess, "f", R_OK);
    ONCE(eaccess, "f", R_OK);
    ONCE(readlink, "link", buffer, (size_t)99);
    ONCE(readlinkat, AT_FDCWD, "link", buffer, (size_t)99);
    ONCE(__readlink_chk, "link", buffer, (size_t)99, sizeof buffer);
    ONCE(__readlinkat_chk, AT_FDCWD, "link", buffer, (size_t)99, sizeof buffer);
    ONCE(statfs, ".", buffer);
    ONCE(statfs64, ".", buffer);
    ONCE(fstatfs, fd, buffer);
    ONCE(fstatfs64, fd, buffer);
    ONCE(statvfs, ".", buffer);
    ONCE(statvfs64, ".", buffer);
    ONCE(fstatvfs, fd, buffer);
    ONCE(fstatvfs64, fd, buffer);
}

static void attributes(void)
{
    ONCE(chmod, "f", 0600);
    ONCE(fchmod, fd, 0600);
    ONCE(fchmodat, AT_FDCWD, "f", 0600, 0);
    ONCE(chown, "f", -1, -1);
    ONCE(lchown, "f", -1, -1);
    ONCE(fchown, fd, -1, -1);
    ONCE(fchownat, AT_FDCWD, "f", -1, -1, 0);
    ONCE(utimensat, AT_FDCWD, "f", NULL, 0);
    ONCE(futimens, fd, NULL);
    ONCE(futimes, fd, NULL);
    ONCE(utimes, "f", NULL);
    ONCE(lutimes, "f", NULL);
    ONCE(utime, "f", NULL);
    ONCE(setxattr, "f", "user.a", "b", (size_t)1, 0);
    ONCE(lsetxattr, "f", "user.a", "b", (size_t)1, 0);
    ONCE(fsetxattr, fd, "user.a", "b", (size_t)1, 0);
    ONCE(getxattr, "f", "user.a", buffer, (size_t)9);
    ONCE(lgetxattr, "f", "user.a", buffer, (size_t)9);
    ONCE(fgetxattr, fd, "user.a", buffer, (size_t)9);
    ONCE(listxattr, "f", buffer, (size_t)99);
    ONCE(llistxattr, "f", buffer, (size_t)99);
    ONCE(flistxattr, fd, buffer, (size_t)99);
    ONCE(removexattr, "f", "user.a");
    ONCE(lremovexattr, "f", "user.a");
    ONCE(fremovexattr, fd, "user.a");
}

static void times(void)
{
    struct timespec moment = {0, 1};
    struct timeval day;
    ONCE(clock_gettime, CLOCK_REALTIME, &moment);
    ONCE(gettimeofday, &day, NULL);
    ONCE(__gettimeofday, &day, NULL);
    ONCE(time, NULL);
    ONCE(timespec_get, &moment, TIME_UTC);
    moment = (struct timespec){0, 1};
    ONCE(nanosleep, &moment, NULL);
    ONCE(__nanosleep, &moment, NULL);
    ONCE(clock_nanosleep, CLOCK_MONOTONIC, 0, &moment, NULL);
    ONCE(sleep, 0);
    ONCE(usleep, 1);
}

static void *nothing(void *given) { return given; }
static int no_child(void *given) { return given != NULL; }

static void processes(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    int pid;
    pthread_t thread;
    IN_CHILD(fork);
    IN_CHILD(__fork);
    IN_CHILD(_Fork);
    VFORK(vfork);
    VFORK(__vfork);
    ONCE(clone, no_child, stack + sizeof stack, SIGCHLD, NULL);
    ONCE(posix_spawn, &pid, "/no/such", NULL, NULL, none, none);
    ONCE(posix_spawnp, &pid, "/no/such", NULL, NULL, none, none);
    ONCE(pthread_create, &thread, NULL, nothing, NULL);
    ONCE(system, "exit 0");
    ONCE(popen, "exit 0", "r");
    ONCE(execve, "/no/such", none, none);
    ONCE(execv, "/no/such", none);
    ONCE(execvp, "/no/such", none);
    ONCE(execvpe, "/no/such", none, none);
    ONCE(execl, "/no/such", "a", NULL);
    ONCE(execle, "/no/such", "a", NULL, none);
    ONCE(execlp, "/no/such", "a", NULL);
    ONCE(execveat, AT_FDCWD, "/no/such", none, none, 0);
    ONCE(fexecve, fd, none, none);
    IN_CHILD(exit, 0);
    IN_CHILD(_exit, 0);
    IN_CHILD(_Exit, 0);
    IN_CHILD(quick_exit, 0);
}

static void asynchronous(void)
{
    struct aiocb block = {.aio_fildes = fd, .aio_buf = buffer, .aio_nbytes = 8}, *list[] = {&block};
    ONCE_ASYNC(aio_read, &block);
    ONCE_ASYNC(aio_read64, &block);
    ONCE_ASYNC(aio_write, &block);
    ONCE_ASYNC(aio_write64, &block);
    ONCE_ASYNC(aio_fsync, O_SYNC, &block);
    ONCE_ASYNC(aio_fsync64, O_SYNC, &block);
    block.aio_lio_opcode = LIO_WRITE; /* libc writes its own there */
    ONCE_ASYNC(lio_listio, LIO_WAIT, list, 1, NULL);
    block.aio_lio_opcode = LIO_WRITE;
    ONCE_ASYNC(lio_listio64, LIO_WAIT, list, 1, NULL);
}

/* Functions of libc that are no symbols of the shim's, whose own calls are. */
static void inside(void)
{
    char name[] = "new-XXXXXX", name2[] = "new-XXXXXX", name3[] = "new-XXXXXX";
    ONCE(mkstemp, name);
    ONCE(mkostemp64, name2, 0);
    ONCE(mkdtemp, name3);
    ONCE(opendir, ".");
    ONCE(fopen, "f", "r");
    ONCE(fopen64, "f", "r");
    ONCE_AFTER(FILE *stream = fopen("f", "r"), fclose, stream);
    ONCE_AFTER(FILE *stream = fopen("f", "r"), fgetc, stream);
    ONCE_AFTER(FILE *stream = fopen("new", "w"); fputc('x', stream), fflush, stream);
    ONCE_AFTER(fd = open("f", O_RDWR), fdopen, fd, "r");
    ONCE_AFTER(int here = open(".", O_RDONLY), fdopendir, here);
    ONCE_AFTER(DIR *made = opendir("."), closedir, made);
    ONCE(tmpfile);
    ONCE(realpath, "link", NULL);
}

int main(int argc, char **argv)
{
    only = argc > 1 ? argv[1] : NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    fd = open("f", O_RDWR | O_CREAT, 0644);
    other = open("other", O_RDWR | O_CREAT, 0644);
    if (write(fd, buffer, sizeof buffer) != sizeof buffer || symlink("f", "link"))
        return 1;
    opens();
    reads();
    writes();
    names();
    stats();
    attributes();
    times();
    processes();
    asynchronous();
    inside();
    leave();
}
