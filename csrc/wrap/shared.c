/* Shared memory and semaphores are files in /dev/shm, which libc removes by a call of its own: an unlink of that path, to rules.
 * From any context. */
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include "wrap.h"

#define PREFIX_MOST 16

/* 0 for what is no name: libc says so itself. */
static int make_path(char *out, const char *prefix, const char *name)
{
    if (!fl_readable(name))
        return 0;
    while (*name == '/')
        name++;
    size_t n = strnlen(name, NAME_MAX + 1);
    strcpy(out, prefix);
    memcpy(out + strlen(prefix), name, n + 1);
    return n && n <= NAME_MAX && !strchr(name, '/');
}

#define UNLINK(symbol, prefix)                                                                            \
    long fl_real_##symbol(long path, long name, long c, long d, long e, long f)                           \
    {                                                                                                     \
        (void)path, (void)c, (void)d, (void)e, (void)f;                                                   \
        return FL_REAL(symbol, int, const char *)((const char *)name);                                    \
    }                                                                                                     \
    FL_EXPORT int symbol(const char *name)                                                                \
    {                                                                                                     \
        char path[PREFIX_MOST + NAME_MAX + 2];                                                            \
        if (FL_IDLE(UNLINK) || !make_path(path, prefix, name))                                            \
            return FL_REAL(symbol, int, const char *)(name);                                              \
        return (int)FL_CALL(fl_##symbol, UNLINK, (long)path, (long)name);                                 \
    }
UNLINK(shm_unlink, "/dev/shm/")
UNLINK(sem_unlink, "/dev/shm/sem.")
