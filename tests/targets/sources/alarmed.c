/* Writes lines to `log` while a signal's handler writes short ones, in the middle of whatever there is: so many of them, so many
 * microseconds apart. Both append, unless the third argument is "plain"; with "other file" the handler also has a file of its own. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static int fd, other = -1, handled;

static void handler(int unused)
{
    handled += write(other < 0 || handled % 2 ? fd : other, "handler\n", 8) == 8;
}

int main(int argc, char **argv)
{
    static char line[5000];
    int times = argc > 1 ? atoi(argv[1]) : 300, apart = argc > 2 ? atoi(argv[2]) : 200;
    const char *how = argc > 3 ? argv[3] : "append";
    struct itimerval often = {{0, apart}, {0, apart}}, never = {{0, 0}, {0, 0}};
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\n';
    fd = open("log", O_WRONLY | O_CREAT | (strcmp(how, "plain") ? O_APPEND : 0), 0644);
    if (!strcmp(how, "other file"))
        other = open("other", O_WRONLY | O_CREAT | O_APPEND, 0644);
    signal(SIGALRM, handler);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; handled < times; i++) { /* short ones too: more of the time goes to taking turns */
        size_t n = i % 16 ? 10 : sizeof line;
        if (write(fd, line + sizeof line - n, n) != (long)n)
            return 1;
    }
    setitimer(ITIMER_REAL, &never, NULL);
    return 0;
}
