/* Bookkeeping: what changes descriptors or the working directory without being anybody's operation. fcntl is here because it
 * both duplicates and locks. From any context. */
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>
#include "wrap.h"

FL_EXPORT int dup(int fd)
{
    return FL_IDLE(DUP) ? FL_REAL(dup, int, int)(fd) : (int)FL_CALL(dup, DUP, fd);
}

FL_EXPORT int dup2(int fd, int to)
{
    return FL_IDLE(DUP) ? FL_REAL(dup2, int, int, int)(fd, to) : (int)FL_CALL(dup2, DUP, fd, to);
}

FL_EXPORT int dup3(int fd, int to, int flags);
FL_EXPORT int dup3(int fd, int to, int flags)
{
    return FL_IDLE(DUP) ? FL_REAL(dup3, int, int, int, int)(fd, to, flags) : (int)FL_CALL(dup3, DUP, fd, to, flags);
}
FL_HIDDEN_TWIN(dup3)

/* A child of ours may go by another number from now on. */
FL_EXPORT int setns(int fd, int kind);
FL_EXPORT int setns(int fd, int kind)
{
    if (fl_unlikely(!fl_real[FL_SYM_setns]))
        fl_boot();
    if (fl_ctl->magic)
        __atomic_store_n(&fl_ctl->namespaces, 1, __ATOMIC_RELAXED);
    return FL_REAL(setns, int, int, int)(fd, kind);
}

FL_EXPORT int chdir(const char *path)
{
    return FL_IDLE(CHDIR) ? FL_REAL(chdir, int, const char *)(path) : (int)FL_CALL(chdir, CHDIR, (long)path);
}
FL_HIDDEN_TWIN(chdir)

FL_EXPORT int fchdir(int fd)
{
    return FL_IDLE(CHDIR) ? FL_REAL(fchdir, int, int)(fd) : (int)FL_CALL(fchdir, CHDIR, fd);
}
FL_HIDDEN_TWIN(fchdir)

static int is_lock(int command)
{
    return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

/* What the data log keeps of a descriptor's flags is stale then. */
static int sets_flags(int command) { return command == F_SETFL && fl_recording() && fl_ctl->datalog.capacity; }

static long real_set_flags(int fd, long flags) { return FL_REAL(fcntl, int, int, int, ...)(fd, F_SETFL, flags); }

static int is_dup(int command) { return command == F_DUPFD || command == F_DUPFD_CLOEXEC; }

#define FCNTL(symbol)                                                     \
    FL_EXPORT int symbol(int fd, int command, ...);                       \
    FL_EXPORT int symbol(int fd, int command, ...)                        \
    {                                                                     \
        va_list rest;                                                     \
        va_start(rest, command);                                          \
        long argument = va_arg(rest, long);                               \
        va_end(rest);                                                     \
        if (is_lock(command) && !FL_IDLE(FCNTL))                          \
            return (int)FL_CALL(symbol, FCNTL, fd, command, argument);    \
        if (is_dup(command) && !FL_IDLE(DUP))                             \
            return (int)FL_CALL(symbol, DUP, fd, command, argument);      \
        if (fl_unlikely(sets_flags(command)))                             \
            return fl_datalog_set_flags(real_set_flags, fd, argument);    \
        return FL_REAL(symbol, int, int, int, ...)(fd, command, argument); \
    }
FCNTL(fcntl)
FCNTL(fcntl64)
FCNTL(__fcntl)
