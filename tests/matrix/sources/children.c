/* children WAY [ARG]...: makes a child in one way; the child is bash, writing `out`. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCRIPT "echo hi > out"
static char *const bash[] = {"bash", "-c", SCRIPT, NULL};
static char *const nothing[] = {NULL};
static char *const home[] = {"HOME=/", "PATH=/usr/bin:/bin", NULL};

static int waited(pid_t pid)
{
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return 99;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int in_clone(void *unused)
{
    (void)unused;
    execve("/bin/bash", bash, environ);
    _exit(97);
}

static pid_t vfork_child(void)
{
    pid_t pid = vfork();
    if (!pid) {
        execve("/bin/bash", bash, environ);
        _exit(97);
    }
    return pid;
}

static void exec_by(const char *way)
{
    if (!strcmp(way, "execl"))
        execl("/bin/bash", "bash", "-c", SCRIPT, (char *)NULL);
    else if (!strcmp(way, "execlp"))
        execlp("bash", "bash", "-c", SCRIPT, (char *)NULL);
    else if (!strcmp(way, "execle"))
        execle("/bin/bash", "bash", "-c", SCRIPT, (char *)NULL, home);
    else if (!strcmp(way, "execv"))
        execv("/bin/bash", bash);
    else if (!strcmp(way, "execvp"))
        execvp("bash", bash);
    else if (!strcmp(way, "execvpe"))
        execvpe("bash", bash, home);
    else if (!strcmp(way, "execve-empty"))
        execve("/bin/bash", bash, nothing);
    else if (!strcmp(way, "execve-null"))
        execve("/bin/bash", bash, NULL);
    else if (!strcmp(way, "fexecve"))
        fexecve(open("/bin/bash", O_RDONLY | O_CLOEXEC), bash, environ);
    else if (!strcmp(way, "execveat"))
        execveat(open("/bin", O_RDONLY | O_DIRECTORY), "bash", bash, environ, 0);
    else if (!strcmp(way, "syscall-execve"))
        syscall(SYS_execve, "/bin/bash", bash, nothing);
    _exit(96);
}

int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "";
    pid_t pid = -1;
    if (!strcmp(way, "system"))
        return WEXITSTATUS(system("exec bash -c '" SCRIPT "'"));
    if (!strcmp(way, "clearenv-system")) {
        clearenv();
        return WEXITSTATUS(system("exec bash -c '" SCRIPT "'"));
    }
    if (!strcmp(way, "popen")) {
        FILE *pipe = popen("exec bash -c '" SCRIPT "'", "r");
        return WEXITSTATUS(pclose(pipe));
    }
    if (!strcmp(way, "posix_spawn"))
        return posix_spawn(&pid, "/bin/bash", NULL, NULL, bash, nothing) ? 95 : waited(pid);
    if (!strcmp(way, "posix_spawnp"))
        return posix_spawnp(&pid, "bash", NULL, NULL, bash, environ) ? 95 : waited(pid);
    if (!strcmp(way, "vfork"))
        return waited(vfork_child());
    if (!strcmp(way, "clone")) {
        static char stack[65536] __attribute__((aligned(16)));
        return waited(clone(in_clone, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL));
    }
    if (!strcmp(way, "clone-fork")) {
        static char stack[65536] __attribute__((aligned(16)));
        return waited(clone(in_clone, stack + sizeof stack, SIGCHLD, NULL));
    }
    if (!strcmp(way, "syscall-clone")) {
        pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (!pid)
            in_clone(NULL);
        return waited(pid);
    }
    if (!(pid = fork()))
        exec_by(way);
    return waited(pid);
}
