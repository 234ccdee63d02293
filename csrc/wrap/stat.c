/* The stat family as programs built before glibc 2.33 call it: with a version number first. From any context. */
#include <fcntl.h>
#include <sys/stat.h>
#include "../clock.h"
#include "../sys.h"
#include <errno.h>
#include "wrap.h"

static long plain(long result)
{
    if ((unsigned long)result <= -4096ul)
        return result;
    errno = (int)-result;
    return -1;
}
static long plain_stat(long path, long st) { return plain(fl_sys(FL_SYS_FSTATAT, AT_FDCWD, path, st, 0)); }
static long plain_lstat(long path, long st) { return plain(fl_sys(FL_SYS_FSTATAT, AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW)); }
static long plain_fstat(long fd, long st) { return plain(fl_sys3(SYS_fstat, fd, st, 0)); }
static long plain_fstatat(long dir, long path, long st, long flags) { return plain(fl_sys(FL_SYS_FSTATAT, dir, path, st, flags)); }

#define XSTAT(symbol, OP, first)                                                 \
    FL_EXPORT int symbol(int version, first subject, void *st);                  \
    FL_EXPORT int symbol(int version, first subject, void *st)                   \
    {                                                                            \
        (void)version;                                                           \
        if (FL_IDLE(OP))                                                         \
            return FL_REAL(symbol, int, first, void *)(subject, st);             \
        return (int)FL_CALL(symbol, OP, (long)subject, (long)st);                \
    }
XSTAT(__xstat, STAT, const char *)
XSTAT(__xstat64, STAT, const char *)
XSTAT(__lxstat, LSTAT, const char *)
XSTAT(__lxstat64, LSTAT, const char *)
XSTAT(__fxstat, FSTAT, int)
XSTAT(__fxstat64, FSTAT, int)

#define XSTATAT(symbol)                                                          \
    FL_EXPORT int symbol(int version, int dir, const char *path, void *st, int flags); \
    FL_EXPORT int symbol(int version, int dir, const char *path, void *st, int flags) \
    {                                                                            \
        (void)version;                                                           \
        if (FL_IDLE(FSTATAT))                                                    \
            return FL_REAL(symbol, int, int, const char *, void *, int)(dir, path, st, flags); \
        return (int)FL_CALL(symbol, FSTATAT, dir, (long)path, (long)st, flags);  \
    }
XSTATAT(__fxstatat)
XSTATAT(__fxstatat64)

static long nothing(void) { return 0; }

FL_STARTUP void fl_wrap_setup(void)
{
    fl_real[FL_SYM___xstat] = fl_real[FL_SYM___xstat64] = (fl_fn)plain_stat;
    fl_real[FL_SYM___lxstat] = fl_real[FL_SYM___lxstat64] = (fl_fn)plain_lstat;
    fl_real[FL_SYM___fxstat] = fl_real[FL_SYM___fxstat64] = (fl_fn)plain_fstat;
    fl_real[FL_SYM___fxstatat] = fl_real[FL_SYM___fxstatat64] = (fl_fn)plain_fstatat;
    fl_real[FL_SYM__exit] = fl_real[FL_SYM__Exit] = (fl_fn)fl_last_exit;
    fl_real[FL_SYM_fl_openat2] = fl_real_openat2;
    fl_real[FL_SYM_fl_shm_unlink] = fl_real_shm_unlink;
    fl_real[FL_SYM_fl_sem_unlink] = fl_real_sem_unlink;
    fl_real[FL_SYM_fl_clone_range] = fl_real_clone_range;
    fl_real[FL_SYM_fl_nothing] = (fl_fn)nothing;
    fl_timed_setup();
}
