/* vforked: a vfork child redirects and closes descriptors before it execs; then the parent's own must still mean the same.
 * Writes to `parent` (descriptor 5) before and after; the child writes to `child`, on the same number. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(const char *when) { printf("%s: %s\n", when, write(5, "x", 1) < 0 ? strerror(errno) : "ok"); fflush(stdout); }

int main(void)
{
    int fd = open("parent", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    dup2(fd, 5);
    put("before");
    pid_t pid = vfork();
    if (!pid) {
        close(5);
        int other = open("child", O_WRONLY | O_CREAT | O_TRUNC, 0644);
        dup2(other, 5);
        if (write(5, "y", 1) < 0)
            _exit(7);
        close(other);
        execl("/bin/sh", "sh", "-c", "echo y >&5", (char *)NULL);
        _exit(9);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("child: %d\n", WEXITSTATUS(status));
    put("after");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 5, "child", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    char *argv[] = {"sh", "-c", "echo y >&5", NULL}, *envp[] = {NULL};
    posix_spawn(&pid, "/bin/sh", &actions, NULL, argv, envp);
    waitpid(pid, &status, 0);
    printf("spawned: %d\n", WEXITSTATUS(status));
    put("at last");
    return 0;
}
