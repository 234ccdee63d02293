/* What a program may be when it comes to its fork point, by the first argument; the second is the file that differs. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int handled, forked;
static void on_signal(int number) { (void)number, handled++; }
static void in_child(void) { forked++; }
static void *nothing(void *unused) { return unused; }
static pthread_mutex_t held;

static void hold(int kind)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, kind);
    pthread_mutex_init(&held, &attributes);
    pthread_mutex_lock(&held);
}

/* 0: we hold it still, and could give it back. */
static int give_back(void) { return pthread_mutex_trylock(&held) * 1000 + pthread_mutex_unlock(&held); }

static void start_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, nothing, NULL);
    pthread_join(thread, NULL);
}

static void *wait_for_ever(void *unused)
{
    pause();
    return unused;
}

static void prepare(const char *what, const char *beside)
{
    pthread_t thread;
    if (!strcmp(what, "thread"))
        pthread_create(&thread, NULL, wait_for_ever, NULL);
    if (!strcmp(what, "thread-ended"))
        start_thread();
    if (!strcmp(what, "open"))
        open(beside, O_RDONLY);
    if (!strcmp(what, "mapped"))
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, open(beside, O_RDWR), 0);
    if (!strcmp(what, "mapped-closed")) {
        int fd = open(beside, O_RDONLY);
        mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
        close(fd);
    }
    if (!strcmp(what, "child") && !fork())
        pause();
    if (!strcmp(what, "child-looks") && !fork()) {
        close(open(beside, O_RDONLY));
        _exit(0);
    }
    if (!strcmp(what, "child-looks"))
        wait(NULL);
    if (!strcmp(what, "ignores"))
        signal(SIGCHLD, SIG_IGN);
    if (!strcmp(what, "handler"))
        signal(SIGCHLD, on_signal);
    if (!strcmp(what, "recursive"))
        hold(PTHREAD_MUTEX_RECURSIVE);
    if (!strcmp(what, "errorcheck"))
        hold(PTHREAD_MUTEX_ERRORCHECK);
    if (!strcmp(what, "alarm"))
        alarm(1);
    pthread_atfork(NULL, NULL, in_child);
}

int main(int argc, char **argv)
{
    char data[100] = "", rest[100] = "", cwd[4096];
    (void)argc;
    prepare(argv[1], argv[3]);
    FILE *kept = fopen("/proc/self/status", "r"); /* outside, partly read */
    int script = open("/etc/passwd", O_RDONLY);
    if (read(script, rest, 4) != 4)
        return 3;
    fputs("before ", stdout);
    int fd = open(argv[2], O_RDONLY);
    if (fd < 0 || read(fd, data, sizeof data - 1) < 0)
        return 2;
    if (read(script, rest + 4, 4) != 4)
        return 3;
    if (!strcmp(argv[1], "recursive") || !strcmp(argv[1], "errorcheck"))
        printf("given back %d ", give_back());
    pid_t child = fork();
    if (!child)
        _exit(7);
    int status = 0;
    waitpid(child, &status, 0);
    printf("%s|%s|%s|leader %d|signals %d|forked %d|%d\n", data, rest, getcwd(cwd, sizeof cwd) ? cwd : "?", getpgrp() == getpid(), handled,
           forked, WEXITSTATUS(status));
    if (kept)
        fclose(kept);
    return data[0] == 'x' ? 9 : 0;
}
