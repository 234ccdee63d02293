/* Reads a directory to its end: how many calls it took, and what errno is then that was 77 before. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    DIR *dir = opendir(argv[argc - 1]);
    int times = 1;
    for (errno = 77; readdir(dir); errno = 77)
        times++;
    printf("%d times, errno %d\n", times, errno);
    return 0;
}
