/* syscall(): the numbers that stand for one of our operations are treated as the libc call would be; all others pass. Declared
 * without the ellipsis (the calling convention is the same), so that passing on is a jump: a raw clone must find its own stack. */
#include "../sys.h"
#include "wrap.h"

static const struct { short number; unsigned short symbol, op; } known[] = {
    {SYS_read, FL_SYM_read, FL_OP_READ}, {SYS_write, FL_SYM_write, FL_OP_WRITE}, {SYS_openat, FL_SYM_openat64, FL_OP_OPENAT},
    {SYS_close, FL_SYM_close, FL_OP_CLOSE}, {SYS_close_range, FL_SYM_close_range, FL_OP_CLOSE_RANGE},
    {SYS_pread64, FL_SYM_pread64, FL_OP_PREAD}, {SYS_pwrite64, FL_SYM_pwrite64, FL_OP_PWRITE},
    {SYS_readv, FL_SYM_readv, FL_OP_READV}, {SYS_writev, FL_SYM_writev, FL_OP_WRITEV},
    {SYS_preadv, FL_SYM_preadv64, FL_OP_PREADV}, {SYS_pwritev, FL_SYM_pwritev64, FL_OP_PWRITEV},
    {SYS_copy_file_range, FL_SYM_copy_file_range, FL_OP_COPY_FILE_RANGE}, {SYS_sendfile, FL_SYM_sendfile64, FL_OP_SENDFILE},
    {SYS_splice, FL_SYM_splice, FL_OP_SPLICE}, {SYS_fsync, FL_SYM_fsync, FL_OP_FSYNC},
    {SYS_fdatasync, FL_SYM_fdatasync, FL_OP_FDATASYNC}, {SYS_syncfs, FL_SYM_syncfs, FL_OP_SYNCFS},
    {SYS_sync_file_range, FL_SYM_sync_file_range, FL_OP_SYNC_FILE_RANGE}, {SYS_msync, FL_SYM_msync, FL_OP_MSYNC},
    {SYS_truncate, FL_SYM_truncate64, FL_OP_TRUNCATE}, {SYS_ftruncate, FL_SYM_ftruncate64, FL_OP_FTRUNCATE},
    {SYS_fallocate, FL_SYM_fallocate64, FL_OP_FALLOCATE}, {SYS_renameat2, FL_SYM_renameat2, FL_OP_RENAMEAT2},
    {SYS_linkat, FL_SYM_linkat, FL_OP_LINKAT}, {SYS_symlinkat, FL_SYM_symlinkat, FL_OP_SYMLINKAT},
    {SYS_mkdirat, FL_SYM_mkdirat, FL_OP_MKDIRAT}, {SYS_statx, FL_SYM_statx, FL_OP_STATX},
    {SYS_fstat, FL_SYM_fstat64, FL_OP_FSTAT}, {FL_SYS_FSTATAT, FL_SYM_fstatat64, FL_OP_FSTATAT},
    {SYS_readlinkat, FL_SYM_readlinkat, FL_OP_READLINKAT}, {SYS_getdents64, FL_SYM_getdents64, FL_OP_GETDENTS},
    {SYS_lseek, FL_SYM_lseek64, FL_OP_LSEEK}, {SYS_flock, FL_SYM_flock, FL_OP_FLOCK},
    {SYS_clock_gettime, FL_SYM_clock_gettime, FL_OP_CLOCK_GETTIME}, {SYS_gettimeofday, FL_SYM_gettimeofday, FL_OP_GETTIMEOFDAY},
    {SYS_fchmod, FL_SYM_fchmod, FL_OP_FCHMOD}, {SYS_fchown, FL_SYM_fchown, FL_OP_FCHOWN},
    {SYS_fchownat, FL_SYM_fchownat, FL_OP_FCHOWNAT}, {SYS_utimensat, FL_SYM_utimensat, FL_OP_UTIMENSAT},
    {SYS_munmap, FL_SYM_munmap, FL_OP_MUNMAP},
    {SYS_execve, FL_SYM_execve, FL_OP_EXECVE},
#ifdef SYS_open
    {SYS_open, FL_SYM_open64, FL_OP_OPEN}, {SYS_creat, FL_SYM_creat64, FL_OP_CREAT}, {SYS_rename, FL_SYM_rename, FL_OP_RENAME},
    {SYS_renameat, FL_SYM_renameat, FL_OP_RENAMEAT}, {SYS_unlink, FL_SYM_unlink, FL_OP_UNLINK}, {SYS_link, FL_SYM_link, FL_OP_LINK},
    {SYS_symlink, FL_SYM_symlink, FL_OP_SYMLINK}, {SYS_mkdir, FL_SYM_mkdir, FL_OP_MKDIR}, {SYS_rmdir, FL_SYM_rmdir, FL_OP_RMDIR},
    {SYS_stat, FL_SYM_stat64, FL_OP_STAT}, {SYS_lstat, FL_SYM_lstat64, FL_OP_LSTAT}, {SYS_access, FL_SYM_access, FL_OP_ACCESS},
    {SYS_readlink, FL_SYM_readlink, FL_OP_READLINK}, {SYS_chmod, FL_SYM_chmod, FL_OP_CHMOD}, {SYS_dup2, FL_SYM_dup2, FL_OP_DUP},
#endif
    {SYS_dup, FL_SYM_dup, FL_OP_DUP}, {SYS_dup3, FL_SYM_dup3, FL_OP_DUP}, {SYS_chdir, FL_SYM_chdir, FL_OP_CHDIR},
    {SYS_fchdir, FL_SYM_fchdir, FL_OP_CHDIR},
};

static __attribute__((noinline)) int find(long number)
{
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].number == number)
            return (int)i;
    return -1;
}

int execve(const char *, char *const[], char *const[]);
int unlinkat(int, const char *, int);
int fcntl(int, int, ...);
int faccessat(int, const char *, int, int);
void *mmap64(void *, size_t, int, int, int, long);
int mprotect(void *, size_t, int);
void *mremap(void *, size_t, size_t, int, ...);
int fchmodat(int, const char *, unsigned, int);
long preadv64v2(int, const void *, int, long, int);
long pwritev64v2(int, const void *, int, long, int);

#define REAL_SYSCALL ((long (*)(long, ...))fl_real[FL_SYM_syscall])

/* openat2 in the shape of openat, for the rules; what it gets in addition stands behind. */
long fl_real_openat2(long dir, long path, long flags, long mode, long how, long size)
{
    (void)flags, (void)mode;
    return REAL_SYSCALL(SYS_openat2, dir, path, how, size);
}

static long openat2(long dir, long path, long how, long size)
{
    const uint64_t *given = (const uint64_t *)how; /* struct open_how: flags, mode, resolve */
    if (FL_IDLE(OPENAT) || !how || size < 24)
        return REAL_SYSCALL(SYS_openat2, dir, path, how, size);
    return FL_CALL(fl_openat2, OPENAT, dir, path, (long)given[0], (long)given[1], how, size);
}

/* What works behind our back is named in the summary. */
static long note(uint32_t flag, long number, long a, long b)
{
    struct fl_proc *proc = fl_myself();
    if (proc)
        __atomic_fetch_or(&proc->flags, flag, __ATOMIC_RELAXED);
    if (proc && fl_ctl->datalog.capacity)
        __atomic_fetch_or(&fl_ctl->datalog.unseen, flag, __ATOMIC_RELAXED);
    return REAL_SYSCALL(number, a, b);
}

/* Numbers whose libc wrappers decide more than a table can say, or take other arguments, go through those. */
static int by_wrapper(long number)
{
    switch (number) {
    case SYS_execve: case SYS_unlinkat: case SYS_fcntl: case SYS_faccessat: case SYS_faccessat2: case SYS_fchmodat:
    case SYS_preadv2: case SYS_pwritev2: case SYS_openat2: case SYS_mmap: case SYS_mprotect: case SYS_mremap: case SYS_io_uring_setup:
    case SYS_io_setup:
        return 1;
    default:
        return 0;
    }
}

static __attribute__((noinline)) long wrapped(long number, long a, long b, long c, long d, long e, long f)
{
    switch (number) {
    case SYS_execve: return execve((const char *)a, (char *const *)b, (char *const *)c);
    case SYS_unlinkat: return unlinkat((int)a, (const char *)b, (int)c);
    case SYS_fcntl: return fcntl((int)a, (int)b, c);
    case SYS_faccessat: return faccessat((int)a, (const char *)b, (int)c, 0);
    case SYS_faccessat2: return faccessat((int)a, (const char *)b, (int)c, (int)d);
    case SYS_fchmodat: return fchmodat((int)a, (const char *)b, (unsigned)c, 0);
    case SYS_preadv2: return preadv64v2((int)a, (const void *)b, (int)c, d, (int)f); /* e is the offset's high half */
    case SYS_pwritev2: return pwritev64v2((int)a, (const void *)b, (int)c, d, (int)f);
    case SYS_openat2: return openat2(a, b, c, d);
    case SYS_mmap: return (long)mmap64((void *)a, (size_t)b, (int)c, (int)d, (int)e, f);
    case SYS_mprotect: return mprotect((void *)a, (size_t)b, (int)c);
    case SYS_mremap: return (long)mremap((void *)a, (size_t)b, (size_t)c, (int)d, (void *)e);
    case SYS_io_setup: return note(FL_PROC_NATIVE_AIO, number, a, b);
    default: return note(FL_PROC_IO_URING, number, a, b);
    }
}

static int makes_process(long number)
{
#ifdef SYS_fork
    if (number == SYS_fork)
        return 1;
#endif
    return number == SYS_clone || number == SYS_clone3;
}

/* A child on another stack comes back to nobody: that call is only passed on. */
static long make_process(long number, long a, long b, long c, long d, long e)
{
    fl_myself(); /* see _Fork */
    if (number == SYS_clone3 || (number == SYS_clone && b) || FL_IDLE(CLONE))
        return REAL_SYSCALL(number, a, b, c, d, e);
    if (FL_CALL(fl_nothing, CLONE, 0) < 0)
        return -1;
    long result = REAL_SYSCALL(number, a, b, c, d, e);
    if (result)
        fl_journal_late(FL_OP_CLONE, FL_CALL_DONE, result);
    return result;
}

FL_EXPORT long syscall(long number, long a, long b, long c, long d, long e, long f);
FL_EXPORT long syscall(long number, long a, long b, long c, long d, long e, long f)
{
    int at;
    long result;
    if (fl_unlikely(__atomic_load_n(&fl_ctl->gate, __ATOMIC_RELAXED) & 1ull << FL_GATE_CLOCK_BIT) &&
        fl_timed_syscall(number, (long[6]){a, b, c, d, e, f}, &result))
        return result;
    if (makes_process(number))
        return make_process(number, a, b, c, d, e);
    if (by_wrapper(number))
        return wrapped(number, a, b, c, d, e, f);
    if (!__atomic_load_n(&fl_ctl->gate, __ATOMIC_RELAXED) || (at = find(number)) < 0)
        return FL_REAL(syscall, long, long, long, long, long, long, long, long)(number, a, b, c, d, e, f);
    return fl_call(known[at].symbol, known[at].op, (long[6]){a, b, c, d, e, f});
}
