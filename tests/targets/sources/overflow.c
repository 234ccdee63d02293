/* overflow: a write that fails, then a read past the end of a heap block, for a sanitizer to find. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    (void)argv;
    if (write(open("f", O_WRONLY | O_CREAT, 0644), "x", 1) < 0)
        printf("write failed\n");
    fflush(stdout);
    volatile char *block = malloc(10);
    volatile int at = 9 + argc;
    return block[at];
}
