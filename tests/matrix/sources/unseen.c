/* unseen WAY: functions of libc that do part of their work by calls that pass no symbol and no patched entry. */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <pwd.h>
#include <semaphore.h>
#include <shadow.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utmp.h>

static int visit(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    return (void)path, (void)st, (void)kind, (void)walk, 0;
}

static int semaphore(void)
{
    sem_t *made = sem_open("/faultlib-unseen", O_CREAT, 0600, 1);
    return made == SEM_FAILED || sem_close(made) || sem_unlink("/faultlib-unseen");
}

static int seeking(void)
{
    FILE *file = fopen("f", "r+");
    return !file || fseek(file, 3, SEEK_SET) || fputc('x', file) < 0 || fseek(file, 0, SEEK_END) || fclose(file);
}

static int walking(void)
{
    glob_t found;
    return nftw("d", visit, 8, FTW_PHYS) || glob("d/*/*", GLOB_MARK, NULL, &found) < 0;
}

static int logins(void)
{
    struct utmp entry = {.ut_type = USER_PROCESS, .ut_id = "1"};
    close(open("u", O_CREAT | O_RDWR, 0600));
    utmpname("./u");
    setutent();
    return !pututline(&entry);
}

int main(int argc, char **argv)
{
    const char *way = argv[argc - 1];
    if (!strcmp(way, "sem_open"))
        return semaphore();
    if (!strcmp(way, "fseek"))
        return seeking();
    if (!strcmp(way, "nftw"))
        return walking();
    if (!strcmp(way, "pututline"))
        return logins();
    if (!strcmp(way, "lckpwdf"))
        return lckpwdf() || ulckpwdf();
    if (!strcmp(way, "getpwnam"))
        return !getpwnam("root");
    if (!strcmp(way, "malloc"))
        return !malloc(10 << 20);
    if (!strcmp(way, "dlopen"))
        return !dlopen("libutil.so.1", RTLD_NOW);
    return 1;
}
