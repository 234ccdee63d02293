/* threads: the main thread and two more, each creating one of its own, write a line with their number to `f`. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <unistd.h>

static void put(const char *text)
{
    char name[32];
    snprintf(name, sizeof name, "t%s", text);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (write(fd, text, strlen(text)) < 0)
        printf("%s: %s\n", text, strerror(errno));
    close(fd);
}

static void *inner(void *text)
{
    put(text);
    return NULL;
}

static void *outer(void *text)
{
    put(text);
    char mine[16];
    snprintf(mine, sizeof mine, "%s.1", (char *)text);
    pthread_t child;
    pthread_create(&child, NULL, inner, mine);
    pthread_join(child, NULL);
    return NULL;
}

int main(void)
{
    pthread_t first, second;
    pthread_create(&first, NULL, outer, "1.1");
    pthread_create(&second, NULL, outer, "1.2");
    put("1");
    pthread_join(first, NULL);
    pthread_join(second, NULL);
    return 0;
}
