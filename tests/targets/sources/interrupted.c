/* interrupted WAY: leaving calls by other ways than returning.
 *   cancel-read cancel-write cancel-fcntl cancel-flock   a thread that blocks in the call is cancelled; its cleanup handler runs
 *   cancel-held      a thread that is held by a rule is cancelled once the rule has gone (or before)
 *   jump             siglongjmp out of a read that a signal interrupts, a thousand times
 *   eintr            a signal handler without SA_RESTART ends a read with EINTR
 *   nested           a signal handler writes to `log` while the program writes to `f`
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <unistd.h>

static const char *way;
static int ends[2], ready[2];
static sigjmp_buf back;
static volatile int rang;
static int log_fd;

static void cleaned(void *unused)
{
    (void)unused;
    printf("cleaned up\n");
    fflush(stdout);
}

static void block(void)
{
    static char big[1 << 20];
    struct flock whole = {.l_type = F_WRLCK};
    if (!strcmp(way, "cancel-read"))
        (void)!read(ends[0], big, 1);
    else if (!strcmp(way, "cancel-write"))
        (void)!write(ends[1], big, sizeof big);
    else if (!strcmp(way, "cancel-fcntl"))
        fcntl(open("locked", O_RDWR), F_SETLKW, &whole);
    else
        (void)!write(open("f", O_WRONLY | O_CREAT, 0644), "x", 1);
}

static void *thread(void *unused)
{
    pthread_cleanup_push(cleaned, NULL);
    (void)!write(ready[1], "x", 1);
    block();
    pthread_testcancel();
    printf("came back\n");
    pthread_cleanup_pop(0);
    return unused;
}

static void cancel(void)
{
    pthread_t other;
    void *result;
    char byte;
    pthread_create(&other, NULL, thread, NULL);
    (void)!read(ready[0], &byte, 1);
    usleep(100000); /* so that it blocks, as a rule; the test holds either way */
    pthread_cancel(other);
    pthread_join(other, &result);
    printf("%s\n", result == PTHREAD_CANCELED ? "cancelled" : "not cancelled");
}

static int lock_elsewhere(void)
{
    int pid = fork();
    if (!pid) {
        struct flock whole = {.l_type = F_WRLCK};
        fcntl(open("locked", O_RDWR | O_CREAT, 0644), F_SETLK, &whole);
        (void)!write(ready[1], "x", 1);
        pause();
        _exit(0);
    }
    char byte;
    (void)!read(ready[0], &byte, 1);
    return pid;
}

static void jump(int number)
{
    (void)number;
    siglongjmp(back, 1);
}

static void ring(int number)
{
    (void)number;
    rang++;
}

static void write_log(int number)
{
    (void)number;
    int before = errno;
    rang++;
    if (write(log_fd, "s", 1) < 0)
        rang += 1000000;
    errno = before;
}

static void every(long microseconds)
{
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

int main(int argc, char **argv)
{
    char byte;
    way = argv[argc - 1];
    if (pipe(ends) || pipe(ready))
        return 1;
    struct sigaction action = {.sa_flags = 0};
    if (!strncmp(way, "cancel", 6)) {
        int holder = strcmp(way, "cancel-fcntl") ? 0 : lock_elsewhere();
        cancel();
        if (holder)
            kill(holder, SIGKILL);
    } else if (!strcmp(way, "jump")) {
        volatile int jumps = 0;
        action.sa_handler = jump;
        action.sa_flags = SA_NODEFER;
        sigaction(SIGALRM, &action, NULL);
        while (sigsetjmp(back, 1))
            if (++jumps == 1000)
                break;
        if (jumps < 1000) {
            every(300);
            for (;;)
                (void)!read(ends[0], &byte, 1);
        }
        every(0);
        int fd = open("f", O_WRONLY | O_CREAT, 0644);
        printf("%d jumps, then: %s\n", jumps, write(fd, "x", 1) < 0 ? strerror(errno) : "ok");
    } else if (!strcmp(way, "eintr")) {
        action.sa_handler = ring;
        sigaction(SIGALRM, &action, NULL);
        every(50000);
        printf("%s\n", read(ends[0], &byte, 1) < 0 ? strerror(errno) : "read");
    } else {
        action.sa_handler = write_log;
        action.sa_flags = SA_RESTART;
        log_fd = open("log", O_WRONLY | O_CREAT | O_TRUNC, 0644);
        int fd = open("f", O_WRONLY | O_CREAT | O_TRUNC, 0644), failed = 0;
        sigaction(SIGALRM, &action, NULL);
        every(500);
        for (int i = 0; rang % 1000000 < 200; i++) {
            errno = 0;
            if (write(fd, "x", 1) < 0)
                failed += errno == ENOSPC ? 1 : 1000000;
        }
        every(0);
        printf("%d rang, %d failed in the handler, %s\n", rang % 1000000 >= 200, rang / 1000000, failed < 1000000 ? "errno fine" : "errno lost");
    }
    return 0;
}
