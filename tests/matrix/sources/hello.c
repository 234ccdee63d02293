/* Writes `out`. */
#include <fcntl.h>
#include <unistd.h>

int main(void)
{
    int fd = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    return fd < 0 || write(fd, "hi\n", 3) != 3;
}
