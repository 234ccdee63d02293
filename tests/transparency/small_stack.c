/* Calls with paths and forks on the smallest stacks that a program may use: threads of PTHREAD_STACK_MIN, signal handlers on an
 * alternate stack that is little more than the kernel's frame. How much was used is printed: the stacks are painted first. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAINT 0xa5

static char *guarded(size_t bytes)
{
    char *at = mmap(NULL, bytes + 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(at, 65536, PROT_NONE);
    memset(at + 65536, PAINT, bytes);
    return at + 65536;
}

static size_t used(const char *stack, size_t bytes)
{
    size_t untouched = 0;
    while (untouched < bytes && (unsigned char)stack[untouched] == PAINT)
        untouched++;
    return bytes - untouched;
}

static volatile int failures;
#define MUST(x) do { if (!(x)) failures++; } while (0)

static void calls(void)
{
    struct stat st;
    int fd = open("some/../file", O_CREAT | O_RDWR, 0600);
    MUST(fd >= 0);
    MUST(write(fd, "x", 1) == 1);
    MUST(stat("./file", &st) == 0);
    MUST(rename("./some/../file", "some/../other") == 0);
    MUST(link("other", "third") == 0);
    MUST(unlink("third") == 0);
    MUST(access("missing", F_OK) == -1 && errno == ENOENT);
    MUST(close(fd) == 0);
    MUST(mkdir("new", 0700) == 0);
    MUST(rmdir("new") == 0);
}

static void *thread(void *unused)
{
    calls();
    return unused;
}

static void handler(int signal)
{
    int error = errno;
    (void)signal;
    calls();
    errno = error;
}

int main(int argc, char **argv)
{
    size_t extra = argc > 1 ? strtoul(argv[1], NULL, 0) : 16384; /* for the handler, beyond the kernel's own frame */
    mkdir("some", 0700);
    pthread_attr_t attr;
    pthread_t id;
    size_t least = (size_t)PTHREAD_STACK_MIN;
    char *stack = guarded(least);
    pthread_attr_init(&attr);
    if (pthread_attr_setstack(&attr, stack, least) || pthread_create(&id, &attr, thread, NULL) || pthread_join(id, NULL))
        return 2;
    printf("thread %zu of %zu\n", used(stack, least), least);

    size_t room = ((size_t)sysconf(_SC_MINSIGSTKSZ) + extra + 4095) & ~4095ul;
    char *begin = guarded(room);
    stack_t alternate = {.ss_sp = begin, .ss_size = room};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    if (sigaltstack(&alternate, NULL) || sigaction(SIGUSR1, &action, NULL))
        return 3;
    fflush(stdout);
    raise(SIGUSR1);
    printf("handler %zu of %zu\n", used(begin, room), room);
    printf("failures %d\n", failures);
    return failures != 0;
}
