/* starter SCRIPT: runs bash. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    (void)argc;
    int status;
    pid_t pid = fork();
    if (!pid)
        execlp("bash", "bash", "-c", argv[1], (char *)NULL);
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}
