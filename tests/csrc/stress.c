/* Everything at once: processes of several threads that open, write, close, rename, dup2, fork, vfork, spawn and exec without pause,
 * while somebody else changes the rules. Every call's result is checked against what it may be: right, or one of the errors that
 * the rules inject. Prints the number of rounds and of injected errors; ends with 1 and a line for each thing that cannot be.
 *
 *     stress PROCESSES THREADS ROUNDS        in an empty directory */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static int rounds, wrong;
static char *self;
static long injected;

/* The rules of the test inject these two, which nothing here meets otherwise. */
static int is_injected(void)
{
    if (errno != ENOSPC && errno != EDQUOT)
        return 0;
    __atomic_add_fetch(&injected, 1, __ATOMIC_RELAXED);
    return 1;
}

#define CHECK(call, ok)                                                                     \
    ({                                                                                      \
        errno = 0;                                                                          \
        long r_ = (long)(call);                                                             \
        if (!(r_ ok) && !is_injected()) {                                                   \
            fprintf(stderr, "%d: %s gave %ld, errno %d\n", getpid(), #call, r_, errno);     \
            __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);                                  \
        }                                                                                   \
        r_;                                                                                 \
    })

static void use_files(int thread, int round)
{
    char name[64], other[64], text[64], back[64];
    snprintf(name, sizeof name, "%d-%d/.././%d-%d/f%d", getpid(), thread, getpid(), thread, round % 5);
    snprintf(other, sizeof other, "%d-%d/g%d", getpid(), thread, round % 3);
    int n = snprintf(text, sizeof text, "%d %d %d", getpid(), thread, round);
    int fd = (int)CHECK(open(name, O_CREAT | O_RDWR | O_TRUNC, 0600), >= 0);
    if (fd < 0)
        return;
    int copy = (int)CHECK(dup(fd), >= 0);
    if (CHECK(write(fd, text, (size_t)n), == n) == n && CHECK(pread(copy, back, sizeof back, 0), == n) == n && memcmp(text, back, (size_t)n)) {
        fprintf(stderr, "read other bytes than were written\n");
        __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);
    }
    CHECK(dup2(fd, copy), == copy);
    CHECK(flock(copy, LOCK_EX), == 0);
    CHECK(fsync(copy), == 0);
    CHECK(close(copy), == 0);
    CHECK(close(fd), == 0);
    CHECK(rename(name, other), == 0);
    struct stat st;
    errno = 0;
    if (stat(other, &st) < 0 && errno != ENOENT && !is_injected())
        __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);
}

static void expect(pid_t pid, int status)
{
    int got = -1;
    if (waitpid(pid, &got, 0) != pid || !WIFEXITED(got) || WEXITSTATUS(got) != status) {
        fprintf(stderr, "child %d ended with %x, not with %d\n", pid, got, status);
        __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);
    }
}

static void use_processes(int thread, int round)
{
    char *again[] = {self, "child", NULL};
    pid_t pid = -1;
    switch (round % 3) {
    case 0:
        if (!(pid = fork())) {
            int fd = open("shared", O_CREAT | O_WRONLY | O_APPEND, 0600);
            if (fd >= 0 && (write(fd, "x", 1) != 1 || close(fd)) && errno != ENOSPC && errno != EDQUOT)
                _exit(9);
            _exit(thread + 1);
        }
        expect(pid, thread + 1);
        break;
    case 1:
        if (!(pid = vfork())) {
            execve(self, again, (char *[]){NULL});
            _exit(8);
        }
        expect(pid, 42);
        break;
    case 2:
        if (!CHECK(posix_spawn(&pid, self, NULL, NULL, again, environ), == 0))
            expect(pid, 42);
    }
}

static void *work(void *given)
{
    int thread = (int)(long)given;
    char name[64];
    snprintf(name, sizeof name, "%d-%d", getpid(), thread);
    mkdir(name, 0700);
    for (int round = 0; round < rounds; round++) {
        use_files(thread, round);
        if (round % 50 == thread)
            use_processes(thread, round / 50 + thread);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc == 2) { /* the exec'ed child */
        int fd = open("/dev/null", O_WRONLY);
        return fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0 ? 42 : 7;
    }
    if (argc != 4)
        return 2;
    int processes = atoi(argv[1]), threads = atoi(argv[2]), failed = 0;
    rounds = atoi(argv[3]);
    self = realpath("/proc/self/exe", NULL);
    for (int p = 0; p < processes; p++) {
        if (fork())
            continue;
        pthread_t ids[64];
        for (long t = 0; t < threads; t++)
            if (pthread_create(&ids[t], NULL, work, (void *)t))
                return 3;
        for (int t = 0; t < threads; t++)
            pthread_join(ids[t], NULL);
        printf("rounds %d injected %ld\n", rounds * threads, injected);
        fflush(stdout);
        free(self);
        _exit(wrong);
    }
    for (int p = 0; p < processes; p++) {
        int status;
        wait(&status);
        failed |= status;
    }
    free(self);
    return failed != 0;
}
