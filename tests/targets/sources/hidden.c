/* Makes a child by a system call of its own, which neither libc nor anybody in front of it sees. Arguments: fork (on a copy of the
 * memory) or vfork (on the same memory, until its exec), and whether to write to a file before (early) or not (late). */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static inline __attribute__((always_inline)) long hidden_clone(unsigned long flags)
{
    long result;
    register long tls __asm__("r8") = 0, child_tid __asm__("r10") = 0;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_clone), "D"(flags), "S"(0), "d"(0), "r"(child_tid), "r"(tls) : "rcx", "r11", "memory");
    return result;
}

static void say(const char *name)
{
    int fd = open(name, O_CREAT | O_WRONLY | O_APPEND, 0644);
    if (write(fd, "x", 1) != 1)
        perror(name);
    close(fd);
}

int main(int argc, char **argv)
{
    int status, is_fork = argc > 1 && !strcmp(argv[1], "fork");
    if (argc > 2 && !strcmp(argv[2], "early"))
        say("parent");
    long pid = hidden_clone(SIGCHLD | (is_fork ? 0 : CLONE_VM | CLONE_VFORK));
    if (!pid) {
        if (is_fork)
            say("child");
        execl("/bin/sh", "sh", "-c", "echo x >> child", (char *)NULL);
        _exit(9);
    }
    if (pid < 0 || waitpid((pid_t)pid, &status, 0) != pid)
        return 1;
    say("parent");
    return 0;
}
