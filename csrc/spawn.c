/* Starting the target of a command line as a shell would: posix_spawn leaves libc's two signals ignored in the child. */
#include "control.h"
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Python ignores two signals for itself, and we have SIGCHLD back. */
static void set_signals(uint64_t mask, int ignores_children)
{
    struct sigaction usual = {.sa_handler = SIG_DFL}, ignored = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &usual, NULL);
    sigaction(SIGXFSZ, &usual, NULL);
    if (ignores_children)
        sigaction(SIGCHLD, &ignored, NULL);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
}

int fl_spawn(const char *file, char *const argv[], char *const envp[], uint64_t mask, int ignores_children)
{
    volatile int error = 0;
    uint64_t all = ~0ull, before;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof before); /* no handler may run in the child */
    pid_t pid = vfork();
    if (!pid) {
        set_signals(mask, ignores_children);
        execve(file, argv, envp);
        error = errno;
        _exit(127);
    }
    int failed = pid < 0 ? errno : error;
    if (pid > 0 && failed)
        waitpid(pid, NULL, 0);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
    return failed ? -failed : pid;
}
