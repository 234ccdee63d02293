/* The program whose calls are measured. It says what one batch of calls cost, whenever it is asked: each line of its input is
 * `operation count`, each answer the nanoseconds. So that several of these, one under each tool, take turns batch by batch
 * and share whatever else the machine does.
 *
 *     micro FILE TINY            answers questions; FILE is written to, TINY is the program for `exec`
 *     micro FILE TINY OP COUNT   does COUNT calls and ends: for counting instructions from outside
 *
 * Only what is measured goes through libc: the clock, the pipe and the housekeeping are raw system calls, which no preloaded
 * library sees, so that a faked clock does not disturb the ruler.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long raw(long n, long a, long b, long c)
{
    long result;
#if defined(__x86_64__)
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    result = x0;
#endif
    return result;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    raw(SYS_clock_gettime, CLOCK_MONOTONIC_RAW, (long)&t, 0);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#define DATA_BYTES 4096

static const char *path, *tiny;
static int fd, plain; /* the file to append to, and one beside it to write to where one is */
static char data[DATA_BYTES];
extern char **environ;

static void stop_if(int wrong)
{
    if (wrong) {
        static const char message[] = "micro: a measured call failed\n";
        raw(SYS_write, 2, (long)message, sizeof message - 1);
        raw(SYS_exit_group, 1, 0, 0);
    }
}

static int beside(const char *name)
{
    char other[4096];
    snprintf(other, sizeof other, "%s.beside", name);
    return open(other, O_RDWR | O_CREAT, 0600);
}

static void op_write(long n)
{
    while (n--)
        stop_if(write(fd, "x", 1) != 1);
}

static void op_write_data(long n)
{
    while (n--)
        stop_if(write(plain, data, DATA_BYTES) != DATA_BYTES);
}

static void op_append_data(long n)
{
    while (n--)
        stop_if(write(fd, data, DATA_BYTES) != DATA_BYTES);
}

static void op_pwrite_data(long n)
{
    for (long i = 0; i < n; i++)
        stop_if(pwrite(plain, data, DATA_BYTES, i * DATA_BYTES) != DATA_BYTES);
}

static void op_open(long n)
{
    while (n--)
        stop_if(close(open(path, O_RDONLY)) != 0);
}

static void op_fsync(long n)
{
    while (n--)
        stop_if(fsync(fd) != 0);
}

static void op_clock(long n)
{
    struct timespec t;
    while (n--)
        stop_if(clock_gettime(CLOCK_REALTIME, &t) != 0);
}

static void op_fork(long n)
{
    while (n--) {
        pid_t pid = fork();
        if (!pid)
            raw(SYS_exit_group, 0, 0, 0);
        stop_if(pid < 0 || waitpid(pid, NULL, 0) != pid);
    }
}

static void op_exec(long n)
{
    char *argv[] = {(char *)tiny, NULL};
    while (n--) {
        pid_t pid;
        int status;
        stop_if(posix_spawn(&pid, tiny, NULL, NULL, argv, environ) != 0);
        stop_if(waitpid(pid, &status, 0) != pid || status != 0);
    }
}

static const struct op { const char *name; void (*run)(long n); } ops[] = {
    {"write", op_write}, {"write-data", op_write_data}, {"append-data", op_append_data}, {"pwrite-data", op_pwrite_data},
    {"open", op_open}, {"fsync", op_fsync}, {"clock", op_clock}, {"fork", op_fork}, {"exec", op_exec},
};

static uint64_t batch(const char *name, long n)
{
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(ops[i].name, name))
            continue;
        raw(SYS_ftruncate, fd, 0, 0); /* the file never grows beyond one batch */
        raw(SYS_lseek, fd, 0, SEEK_SET);
        raw(SYS_lseek, plain, 0, SEEK_SET); /* its pages stay: fresh ones cost more than what is to be seen */
        uint64_t begin = now_ns();
        ops[i].run(n);
        return now_ns() - begin;
    }
    stop_if(1);
    return 0;
}

static void answer(uint64_t value)
{
    char text[24], *at = text + sizeof text;
    *--at = '\n';
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    raw(SYS_write, 1, (long)at, text + sizeof text - at);
}

int main(int argc, char **argv)
{
    stop_if(argc != 3 && argc != 5);
    path = argv[1];
    tiny = argv[2];
    fd = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
    plain = beside(path);
    stop_if(fd < 0 || plain < 0);
    if (argc == 5) {
        batch(argv[3], atol(argv[4]));
        return 0;
    }
    char line[64];
    long got;
    while ((got = raw(SYS_read, 0, (long)line, sizeof line - 1)) > 0) {
        line[got] = '\0';
        char *count = strchr(line, ' ');
        stop_if(!count);
        *count++ = '\0';
        answer(batch(line, atol(count)));
    }
    return 0;
}
