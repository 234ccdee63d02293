/* A signal's handler jumps out of writes, while another process writes; then threads are cancelled in the middle of writes. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf back;
static int fd;

static void handler(int unused) { (void)unused, siglongjmp(back, 1); }

static void *writes(void *line)
{
    for (;;)
        if (write(fd, line, 5000) != 5000)
            return line;
}

int main(void)
{
    static char line[5000];
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    volatile int jumps = 0;
    memset(line, 'x', sizeof line);
    fd = open("log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    signal(SIGALRM, handler);
    if (!fork()) {
        for (int i = 0; i < 2000; i++)
            if (write(fd, line, 10) != 10)
                return 1;
        return 0;
    }
    sigsetjmp(back, 1);
    setitimer(ITIMER_REAL, &often, NULL);
    if (jumps++ < 300)
        writes(line);
    setitimer(ITIMER_REAL, &never, NULL);
    if (write(fd, "main\n", 5) != 5)
        return 2;
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, writes, line);
        usleep(2000);
        pthread_cancel(thread);
        pthread_join(thread, NULL);
        if (write(fd, "main\n", 5) != 5)
            return 2;
    }
    int status;
    wait(&status);
    return status != 0;
}
