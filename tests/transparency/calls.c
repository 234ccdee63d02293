/* One of everything that the shim stands in front of, between two marks that a system call trace can find. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void mark(int which) { syscall(SYS_fadvise64, -1, which, 0, 0); }

static void *thread(void *unused)
{
    int fd = open("in-thread", O_CREAT | O_WRONLY, 0600);
    close(fd);
    return unused;
}

static void files(void)
{
    char buf[64];
    struct stat st;
    struct iovec iov = {"vector", 6};
    int fd = open("a", O_CREAT | O_RDWR | O_TRUNC, 0600);
    write(fd, "hello", 5), pwrite(fd, "x", 1, 9), writev(fd, &iov, 1), lseek(fd, 0, SEEK_SET), read(fd, buf, 5), pread(fd, buf, 5, 1);
    fsync(fd), ftruncate(fd, 100), fallocate(fd, 0, 0, 200), flock(fd, LOCK_EX), lockf(fd, F_TLOCK, 0), fstat(fd, &st), fchmod(fd, 0640);
    munmap(mmap(NULL, 100, PROT_READ, MAP_SHARED, fd, 0), 100);
    int copy = dup(fd), other = openat(AT_FDCWD, "b", O_CREAT | O_WRONLY, 0600);
    dup2(copy, 40), close(40), fcntl(fd, F_DUPFD_CLOEXEC, 50), close(50);
    sendfile(other, fd, &(off_t){0}, 5), copy_file_range(fd, &(off_t){0}, other, NULL, 5, 0), close(other), close(copy), close(fd);
    rename("a", "c"), link("c", "d"), symlink("c", "e"), readlink("e", buf, sizeof buf), stat("c", &st), lstat("e", &st), access("c", R_OK);
    chmod("c", 0600), mkdir("m", 0700), rmdir("m"), unlink("d"), unlink("e"), truncate("c", 3), chdir("."), utimensat(AT_FDCWD, "c", NULL, 0);
    FILE *f = fopen("stdio", "w+");
    fputs("line\n", f), fflush(f), rewind(f), fgets(buf, sizeof buf, f), fclose(f);
    DIR *d = opendir(".");
    while (readdir(d))
        ;
    closedir(d);
    open("missing", O_RDONLY), close(-1), write(-1, "x", 1);
}

static void processes(void)
{
    int status;
    pid_t pid = fork();
    if (!pid) {
        write(1, "forked\n", 7);
        _exit(3);
    }
    waitpid(pid, &status, 0);
    if (!(pid = vfork()))
        _exit(4);
    waitpid(pid, &status, 0);
    posix_spawn(&pid, "/bin/true", NULL, NULL, (char *[]){"true", NULL}, environ);
    waitpid(pid, &status, 0);
    system("true");
    pclose(popen("true", "r"));
    pthread_t t;
    pthread_create(&t, NULL, thread, NULL);
    pthread_join(t, NULL);
}

int main(int argc, char **argv)
{
    (void)argv;
    mark(1);
    files();
    clock_gettime(CLOCK_REALTIME, &(struct timespec){0}), time(NULL), nanosleep(&(struct timespec){0, 1000}, NULL), usleep(1);
    if (argc > 1)
        processes();
    mark(2);
    return 0;
}
