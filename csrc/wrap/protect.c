/* What changes a mapping without being anybody's operation: the data log follows those of files. From any context. */
#include <stdarg.h>
#include <sys/mman.h>
#include "../mapped.h"
#include "wrap.h"

static int follows(void)
{
    if (fl_unlikely(!fl_real[FL_SYM_mprotect]))
        fl_boot();
    return fl_recording() && fl_ctl->datalog.capacity;
}

FL_EXPORT int mprotect(void *at, size_t n, int protection)
{
    int is_followed = follows();
    int (*real)(void *, size_t, int) = FL_REAL(mprotect, int, void *, size_t, int);
    return fl_unlikely(is_followed) ? fl_mapped_protect(real, at, n, protection) : real(at, n, protection);
}

static void *move(void *from, size_t n, size_t bytes, int flags, void *to)
{
    return FL_REAL(mremap, void *, void *, size_t, size_t, int, ...)(from, n, bytes, flags, to);
}

FL_EXPORT void *mremap(void *from, size_t n, size_t bytes, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    void *to = va_arg(rest, void *);
    va_end(rest);
    return fl_unlikely(follows()) ? fl_mapped_move(move, from, n, bytes, flags, to) : move(from, n, bytes, flags, to);
}
