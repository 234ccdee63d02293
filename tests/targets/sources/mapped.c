/* Stores to files through shared mappings, in the ways that there are, and never says so: argv[1] is how it ends. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

static int fd;

static char *map(const char *name, size_t pages, int protection)
{
    fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (ftruncate(fd, (off_t)(pages * PAGE)))
        exit(1);
    char *at = mmap(NULL, pages * PAGE, protection, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        exit(2);
    return at;
}

static void synced(void)
{
    char *at = map("synced", 8, PROT_READ | PROT_WRITE);
    strcpy(at + 10, "by msync");
    memset(at + 2 * PAGE, 'x', 2 * PAGE);
    msync(at, 4 * PAGE, MS_SYNC);
    strcpy(at + 5 * PAGE - 3, "by fsync");
    int other = open("synced", O_RDONLY);
    fsync(other);
    strcpy(at + 7 * PAGE, "never");
    strcpy(at + 10, "again");
}

static void unmapped(void)
{
    char *at = map("unmapped", 6, PROT_READ);
    close(fd);
    mprotect(at + PAGE, PAGE, PROT_READ | PROT_WRITE);
    strcpy(at + PAGE, "mprotect");
    munmap(at + PAGE, PAGE);
    mprotect(at, PAGE, PROT_READ | PROT_WRITE);
    strcpy(at, "left");
    mprotect(at + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE);
    strcpy(at + 2 * PAGE, "right");
    mmap(at + 2 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    munmap(at, PAGE);
}

static void moved(void)
{
    char *at = map("moved", 4, PROT_READ | PROT_WRITE);
    strcpy(at, "before");
    if (ftruncate(fd, 64 * PAGE + 100))
        exit(1);
    at = mremap(at, 4 * PAGE, 65 * PAGE, MREMAP_MAYMOVE);
    strcpy(at + 10, "after");
    memset(at + 64 * PAGE, 'e', PAGE); /* but 100 bytes of it behind the end of the file */
    unlink("gone");
    char *gone = map("gone", 1, PROT_READ | PROT_WRITE);
    unlink("gone");
    if (ftruncate(fd, 3))
        exit(1);
    strcpy(gone, "abcdef");
}

static void forked(void)
{
    char *at = map("forked", 3, PROT_READ | PROT_WRITE);
    strcpy(at, "parent");
    if (!fork()) {
        strcpy(at + PAGE, "child");
        _exit(0);
    }
    wait(NULL);
    strcpy(at + 2 * PAGE, "and parent");
}

static void at_exit(void) { strcpy(map("late", 1, PROT_READ | PROT_WRITE), "in a handler"); }

int main(int argc, char **argv)
{
    synced();
    unmapped();
    moved();
    forked();
    strcpy(map("left", 1, PROT_READ | PROT_WRITE), "left behind");
    atexit(at_exit);
    switch (argc > 1 ? argv[1][0] : 0) {
    case '_': at_exit(); _exit(0);
    case 'e': at_exit(); execl("/bin/true", "true", NULL); return 3;
    case 'x': exit(0);
    default: return 0;
    }
}
