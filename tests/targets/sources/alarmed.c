/* Writes long lines to `log` while a signal's handler appends short ones, in the middle of whatever there is. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static int fd, handled;

static void handler(int unused)
{
    handled += write(fd, "handler\n", 8) == 8;
}

int main(void)
{
    static char line[5000];
    struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\n';
    fd = open("log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    signal(SIGALRM, handler);
    setitimer(ITIMER_REAL, &often, NULL);
    while (handled < 300)
        if (write(fd, line, sizeof line) != sizeof line)
            return 1;
    setitimer(ITIMER_REAL, &never, NULL);
    return 0;
}
