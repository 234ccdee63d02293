/* Hand-written wrappers around files: those with optional arguments, and fortified ones whose extra argument is checked here.
 * From any context. */
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/types.h>
#include "wrap.h"
#ifndef __O_TMPFILE
#define __O_TMPFILE 020000000
#endif
#define FICLONE_REQUEST 0x40049409
#define FICLONERANGE_REQUEST 0x4020940d
#define NEEDS_MODE(flags) (((flags) & O_CREAT) || ((flags) & __O_TMPFILE) == __O_TMPFILE)

#define MODE(last)                  \
    mode_t mode = 0;                \
    if (NEEDS_MODE(last)) {         \
        va_list rest;               \
        va_start(rest, last);       \
        mode = va_arg(rest, mode_t); \
        va_end(rest);               \
    }

#define OPEN(symbol)                                                             \
    FL_EXPORT int symbol(const char *path, int flags, ...);                      \
    FL_EXPORT int symbol(const char *path, int flags, ...)                       \
    {                                                                            \
        MODE(flags)                                                              \
        if (FL_IDLE(OPEN))                                                       \
            return FL_REAL(symbol, int, const char *, int, ...)(path, flags, mode); \
        return (int)FL_CALL(symbol, OPEN, (long)path, flags, mode);              \
    }                                                                            \
    FL_HIDDEN_TWIN(symbol)
OPEN(open)
OPEN(open64)
OPEN(__open)
OPEN(__open64)

#define OPENAT(symbol)                                                           \
    FL_EXPORT int symbol(int dir, const char *path, int flags, ...);             \
    FL_EXPORT int symbol(int dir, const char *path, int flags, ...)              \
    {                                                                            \
        MODE(flags)                                                              \
        if (FL_IDLE(OPENAT))                                                     \
            return FL_REAL(symbol, int, int, const char *, int, ...)(dir, path, flags, mode); \
        return (int)FL_CALL(symbol, OPENAT, dir, (long)path, flags, mode);       \
    }                                                                            \
    FL_HIDDEN_TWIN(symbol)
OPENAT(openat)
OPENAT(openat64)

/* The fortified functions: their check, then the plain function, as theirs would come back to us through its patched entry. */
#define FORTIFIED_OPEN(symbol, plain)                                            \
    FL_EXPORT int symbol(const char *path, int flags);                           \
    FL_EXPORT int symbol(const char *path, int flags)                            \
    {                                                                            \
        if (fl_unlikely(NEEDS_MODE(flags)))                                      \
            return FL_REAL(symbol, int, const char *, int)(path, flags); /* ends the program */ \
        if (FL_IDLE(OPEN))                                                       \
            return FL_REAL(plain, int, const char *, int, ...)(path, flags);     \
        return (int)FL_CALL(plain, OPEN, (long)path, flags);                     \
    }
FORTIFIED_OPEN(__open_2, open)
FORTIFIED_OPEN(__open64_2, open64)

#define FORTIFIED_OPENAT(symbol, plain)                                          \
    FL_EXPORT int symbol(int dir, const char *path, int flags);                  \
    FL_EXPORT int symbol(int dir, const char *path, int flags)                   \
    {                                                                            \
        if (fl_unlikely(NEEDS_MODE(flags)))                                      \
            return FL_REAL(symbol, int, int, const char *, int)(dir, path, flags); \
        if (FL_IDLE(OPENAT))                                                     \
            return FL_REAL(plain, int, int, const char *, int, ...)(dir, path, flags); \
        return (int)FL_CALL(plain, OPENAT, dir, (long)path, flags);              \
    }
FORTIFIED_OPENAT(__openat_2, openat)
FORTIFIED_OPENAT(__openat64_2, openat64)

extern void __chk_fail(void) __attribute__((noreturn));

FL_EXPORT ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
FL_EXPORT ssize_t __read_chk(int fd, void *buf, size_t n, size_t room)
{
    if (n > room)
        __chk_fail();
    if (FL_IDLE(READ) || (!fl_recording() && fl_short_way(FL_OP_READ, fd)))
        return FL_REAL(read, ssize_t, int, void *, size_t)(fd, buf, n);
    return FL_CALL(read, READ, fd, (long)buf, (long)n);
}

#define PREAD_CHK(symbol)                                                        \
    FL_EXPORT ssize_t symbol(int fd, void *buf, size_t n, off_t at, size_t room); \
    FL_EXPORT ssize_t symbol(int fd, void *buf, size_t n, off_t at, size_t room) \
    {                                                                            \
        if (n > room)                                                            \
            __chk_fail();                                                        \
        if (FL_IDLE(PREAD) || (!fl_recording() && fl_short_way(FL_OP_PREAD, fd))) \
            return FL_REAL(pread64, ssize_t, int, void *, size_t, off_t)(fd, buf, n, at); \
        return FL_CALL(pread64, PREAD, fd, (long)buf, (long)n, at);              \
    }
PREAD_CHK(__pread_chk)
PREAD_CHK(__pread64_chk)

FL_EXPORT ssize_t __readlink_chk(const char *path, char *buf, size_t n, size_t room);
FL_EXPORT ssize_t __readlink_chk(const char *path, char *buf, size_t n, size_t room)
{
    if (n > room)
        __chk_fail();
    if (FL_IDLE(READLINK))
        return FL_REAL(readlink, ssize_t, const char *, char *, size_t)(path, buf, n);
    return FL_CALL(readlink, READLINK, (long)path, (long)buf, (long)n);
}

FL_EXPORT ssize_t __readlinkat_chk(int dir, const char *path, char *buf, size_t n, size_t room);
FL_EXPORT ssize_t __readlinkat_chk(int dir, const char *path, char *buf, size_t n, size_t room)
{
    if (n > room)
        __chk_fail();
    if (FL_IDLE(READLINKAT))
        return FL_REAL(readlinkat, ssize_t, int, const char *, char *, size_t)(dir, path, buf, n);
    return FL_CALL(readlinkat, READLINKAT, dir, (long)path, (long)buf, (long)n);
}

FL_EXPORT void closefrom(int low);
FL_EXPORT void closefrom(int low)
{
    if (FL_IDLE(CLOSE_RANGE))
        FL_REAL(closefrom, void, int)(low);
    else
        FL_CALL(close_range, CLOSE_RANGE, low, (long)~0u, 0);
}

FL_EXPORT void sync(void);
FL_EXPORT void sync(void)
{
    if (FL_IDLE(SYNC))
        FL_REAL(sync, void, void)();
    else
        FL_CALL(sync, SYNC, 0);
}

/* FICLONERANGE in the shape of FICLONE, for the rules: the source by itself, the range behind it. */
long fl_real_clone_range(long fd, long request, long source, long range, long b, long c)
{
    (void)source, (void)b, (void)c;
    return FL_REAL(ioctl, int, int, unsigned long, ...)((int)fd, (unsigned long)request, range);
}

/* Only cloning is an operation; every other request passes. */
FL_EXPORT int ioctl(int fd, unsigned long request, ...);
FL_EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    long argument = va_arg(rest, long);
    va_end(rest);
    if (request == FICLONE_REQUEST && !FL_AT_REST(FICLONE))
        return (int)FL_CALL(ioctl, FICLONE, fd, (long)request, argument);
    if (request == FICLONERANGE_REQUEST && !FL_AT_REST(FICLONE) && fl_readable((void *)argument))
        return (int)FL_CALL(fl_clone_range, FICLONE, fd, (long)request, *(const int64_t *)argument, argument);
    return FL_REAL(ioctl, int, int, unsigned long, ...)(fd, request, argument);
}

/* Of an anonymous map the descriptor means nothing, whatever was given. */
#define MMAP(symbol)                                                                                        \
    FL_EXPORT void *symbol(void *at, size_t n, int protection, int flags, int fd, off_t offset);            \
    FL_ARMED void *symbol##_armed(void *at, size_t n, int protection, int flags, int fd, off_t offset)      \
    {                                                                                                       \
        return (void *)FL_CALL(symbol, MMAP, (long)at, (long)n, protection, flags, flags & MAP_ANONYMOUS ? -1 : fd, offset); \
    }                                                                                                       \
    FL_EXPORT void *symbol(void *at, size_t n, int protection, int flags, int fd, off_t offset)             \
    {                                                                                                       \
        return FL_IDLE(MMAP) ? FL_REAL(symbol, void *, void *, size_t, int, int, int, off_t)(at, n, protection, flags, fd, offset) \
                             : symbol##_armed(at, n, protection, flags, fd, offset);                        \
    }
MMAP(mmap)
MMAP(mmap64)

FL_EXPORT int unlinkat(int dir, const char *path, int flags);
FL_EXPORT int unlinkat(int dir, const char *path, int flags)
{
    if (FL_IDLE(UNLINKAT) && FL_IDLE(RMDIRAT))
        return FL_REAL(unlinkat, int, int, const char *, int)(dir, path, flags);
    return (int)fl_call(FL_SYM_unlinkat, flags & AT_REMOVEDIR ? FL_OP_RMDIRAT : FL_OP_UNLINKAT,
                        (long[6]){dir, (long)path, flags});
}
