/* Entry patch: glibc's own callers (stdio, opendir, system, popen) reach these functions without passing their symbols, so the
 * functions themselves begin with a jump into the wrapper. What the jump overwrites is not copied but done again in C: the
 * system call, as a cancellation point where the original is one. Constructor only, before there are other threads. */
#include "../shim.h"
#include "../sys.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define JUMP_BYTES 14 /* jmp *0(%rip), then the address */

static long finish(long result)
{
    if (fl_unlikely((unsigned long)result > -4096ul)) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

/* With more than one thread a cancellation point must be one, in the way of glibc up to 2.40: asynchronous for its duration. */
static long cancellable(long n, long a, long b, long c, long d)
{
    if (fl_likely(fl_alone()))
        return finish(fl_sys(n, a, b, c, d));
    int before, ignored;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
    long result = fl_sys(n, a, b, c, d);
    pthread_setcanceltype(before, &ignored);
    return finish(result);
}

static long mode_if_needed(long flags, long mode) { return (flags & O_CREAT) || (flags & __O_TMPFILE) == __O_TMPFILE ? mode : 0; }

static long again_write(long fd, long buf, long n) { return cancellable(SYS_write, fd, buf, n, 0); }
static long again_read(long fd, long buf, long n) { return cancellable(SYS_read, fd, buf, n, 0); }
static long again_close(long fd) { return cancellable(SYS_close, fd, 0, 0, 0); }
static long again_open(long path, long flags, long mode)
{
    return cancellable(SYS_openat, AT_FDCWD, path, flags, mode_if_needed(flags, mode));
}
static long again_openat(long dir, long path, long flags, long mode)
{
    return cancellable(SYS_openat, dir, path, flags, mode_if_needed(flags, mode));
}
static long again_pread(long fd, long buf, long n, long at) { return cancellable(SYS_pread64, fd, buf, n, at); }
static long again_pwrite(long fd, long buf, long n, long at) { return cancellable(SYS_pwrite64, fd, buf, n, at); }
static long again_fsync(long fd) { return cancellable(SYS_fsync, fd, 0, 0, 0); }
static long again_fdatasync(long fd) { return cancellable(SYS_fdatasync, fd, 0, 0, 0); }
static long again_execve(long path, long argv, long envp) { return finish(fl_sys3(SYS_execve, path, argv, envp)); }
static long again_fstat(long fd, long st) /* as the glibc does it whose bytes we recognise */
{
    return finish((int)fd < 0 ? -EBADF : fl_sys(SYS_newfstatat, (int)fd, "", st, AT_EMPTY_PATH));
}
static long again_mkdir(long path, long mode) { return finish(fl_sys3(SYS_mkdir, path, mode, 0)); }
static long again_readlink(long path, long buf, long n) { return finish(fl_sys3(SYS_readlink, path, buf, n)); }
static long again_dup3(long fd, long to, long flags) { return finish(fl_sys3(SYS_dup3, fd, to, flags)); }
static long again_chdir(long path) { return finish(fl_sys1(SYS_chdir, path)); }
static long again_fchdir(long fd) { return finish(fl_sys1(SYS_fchdir, fd)); }
/* The _nocancel twins: the same wrappers, no cancellation. Their callers want errno set and -1. */
static long plain_write(long fd, long buf, long n) { return finish(fl_sys3(SYS_write, fd, buf, n)); }
static long plain_read(long fd, long buf, long n) { return finish(fl_sys3(SYS_read, fd, buf, n)); }
static long plain_close(long fd) { return finish(fl_sys1(SYS_close, fd)); }
static long plain_open(long path, long flags, long mode)
{
    return finish(fl_sys(SYS_openat, AT_FDCWD, path, flags, mode_if_needed(flags, mode)));
}
static long plain_openat(long dir, long path, long flags, long mode)
{
    return finish(fl_sys(SYS_openat, dir, path, flags, mode_if_needed(flags, mode)));
}

#define NOCANCEL3(name, OP, plain)                                                        \
    static long name(long a, long b, long c)                                              \
    {                                                                                     \
        if (FL_IDLE(OP))                                                                  \
            return plain(a, b, c);                                                        \
        return fl_call(FL_SYM_fl_##plain, FL_OP_##OP, (long[6]){a, b, c});                \
    }
NOCANCEL3(enter_write, WRITE, plain_write)
NOCANCEL3(enter_read, READ, plain_read)
NOCANCEL3(enter_open, OPEN, plain_open)
static long enter_close(long fd)
{
    return FL_IDLE(CLOSE) ? plain_close(fd) : fl_call(FL_SYM_fl_plain_close, FL_OP_CLOSE, (long[6]){fd});
}
static long enter_openat(long dir, long path, long flags, long mode)
{
    if (FL_IDLE(OPENAT))
        return plain_openat(dir, path, flags, mode);
    return fl_call(FL_SYM_fl_plain_openat, FL_OP_OPENAT, (long[6]){dir, path, flags, mode});
}

extern char fl_w_write[], fl_w_read[], fl_w_close[], fl_w_open64[], fl_w_openat64[], fl_w_execve[], fl_w_pread64[], fl_w_pwrite64[],
    fl_w_fsync[], fl_w_fdatasync[], fl_w_fstat64[], fl_w_mkdir[], fl_w_readlink[], fl_w_dup3[], fl_w_chdir[], fl_w_fchdir[],
    fl_w_readdir64[];

#define NO_SYSCALL (-1) /* not one system call: its first instructions are carried out elsewhere, see copy_beginning */

static const struct entry {
    const char *name;
    void *to;      /* the wrapper */
    long number;   /* of its system call */
    void *again;   /* what the wrapper calls in the function's place */
} entries[] = {
#define FL_ENTRY(name, ...) {#name, __VA_ARGS__},
#include "x86_64_entries.def"
};
#define ENTRIES (sizeof entries / sizeof *entries)
_Static_assert(ENTRIES <= 32, "fl_proc.entries has no bit for every entry");

static void write_jump(unsigned char *at, const void *to)
{
    static const unsigned char jump[6] = {0xff, 0x25};
    memcpy(at, jump, 6);
    memcpy(at + 6, &to, 8);
}

/* Whether a system call follows, at most the arguments' moves later. */
static int soon_calls(const unsigned char *p)
{
    for (int i = 0; i <= 10; i++)
        if (p[i] == 0x0f && p[i + 1] == 0x05)
            return 1;
    return 0;
}

/* Whether the bytes are the beginning of a function we know: it loads this system call's number, directly or after glibc's
 * test for a single thread, or (the open family) sets up a frame and loads it further down. */
static int recognised(const unsigned char *p, long number)
{
    static const unsigned char endbr[] = {0xf3, 0x0f, 0x1e, 0xfa};
    unsigned char load[5] = {0xb8, (unsigned char)number, (unsigned char)(number >> 8), 0, 0};
    if (!memcmp(p, endbr, 4))
        p += 4;
    static const unsigned char fstat[] = {0x48, 0x89, 0xf2, 0x85, 0xff, 0x78}; /* mov %rsi,%rdx; test %edi,%edi; js: then fstatat */
    if (number == SYS_fstat)
        return !memcmp(p, fstat, sizeof fstat);
    if (p[0] == 0x80 && p[1] == 0x3d && p[6] == 0 && p[7] == 0x74) /* cmpb $0, __libc_single_threaded(%rip); je */
        p += 9;
    else if (p[0] == 0x80 && p[1] == 0x3d && p[6] == 0 && !memcmp(p + 7, "\x49\x89\xca\x74", 4)) /* the same about mov %rcx,%r10 */
        p += 12;
    else if (p[0] == 0x64 && p[1] == 0x8b && p[8] == 0x85 && p[9] == 0xc0 && p[10] == 0x75) /* mov %fs:0x18,%eax; test; jne */
        p += 12;
    else if (number == SYS_openat) {
        for (int i = JUMP_BYTES; i < 160; i++)
            if (!memcmp(p + i, load, 5))
                return soon_calls(p + i + 5);
        return 0;
    }
    if (number == 0 && p[0] == 0x31 && p[1] == 0xc0) /* xor %eax,%eax */
        return p[2] == 0x0f && p[3] == 0x05;
    return !memcmp(p, load, 5) && p[5] == 0x0f && p[6] == 0x05;
}

/* Bytes of the instruction at `p` if it means the same anywhere: pushes, and moves between registers or of constants. Else 0. */
static int movable(const unsigned char *p)
{
    int rex = (p[0] & 0xf0) == 0x40;
    const unsigned char *op = p + rex;
    if (!memcmp(p, "\xf3\x0f\x1e\xfa", 4)) /* endbr64 */
        return 4;
    if ((op[0] & 0xf8) == 0x50) /* push */
        return rex + 1;
    if ((op[0] & 0xf8) == 0xb8 && !(rex && p[0] & 8)) /* mov $constant,%register */
        return rex + 5;
    if ((op[0] == 0x31 || op[0] == 0x33 || op[0] == 0x89 || op[0] == 0x8b) && op[1] >= 0xc0) /* xor, mov: registers only */
        return rex + 2;
    if (op[0] == 0x83 && op[1] == 0xec) /* sub $small,%rsp */
        return rex + 3;
    if (op[0] == 0x8d && op[1] >> 6 == 1 && (op[1] & 7) != 4) /* lea offset(%register) */
        return rex + 3;
    return 0;
}

/* Puts the beginning of a function, as many whole instructions as the jump will overwrite, into `out`, and a jump to the rest
 * behind it. Returns the bytes written, 0 if some instruction cannot move. */
static int copy_beginning(const unsigned char *from, unsigned char *out)
{
    int n = 0;
    while (n < JUMP_BYTES) {
        int length = movable(from + n);
        if (!length)
            return 0;
        n += length;
    }
    if (out) {
        const unsigned char *rest = from + n;
        memcpy(out, from, (size_t)n);
        write_jump(out + n, rest);
    }
    return n + JUMP_BYTES;
}

/* Where nothing runs any more: the rest of a function that only consists of its system call and whose entry is patched. */
struct dead { unsigned char *at; uint64_t bytes; };

/* Such a beginning goes there. It is writable now, and a page of its own would cost each process more than all the patches. */
static void *move_beginning(const unsigned char *from, struct dead *dead)
{
    unsigned char *out = dead->at;
    uint64_t n = (uint64_t)copy_beginning(from, NULL);
    if (n > dead->bytes)
        return NULL;
    copy_beginning(from, out);
    *dead = (struct dead){out + n, dead->bytes - n};
    return out;
}

static struct { void *at, *again; } patched[ENTRIES] FL_EARLY;

enum {
#define FL_ENTRY(symbol, ...) ENTRY_##symbol,
#include "x86_64_entries.def"
};
const uint32_t fl_close_entries = 1u << ENTRY_close | 1u << ENTRY___close_nocancel | 1u << ENTRY_dup3;

/* The symbols that lead to a patched function have to lead to what does its work. */
void *fl_unpatched(void *function)
{
    for (unsigned i = 0; i < ENTRIES; i++)
        if (patched[i].again && patched[i].at == function)
            return patched[i].again;
    return function;
}

uint32_t fl_patch_entries(void)
{
    unsigned char *at[ENTRIES];
    uint64_t bytes = 0;
    struct dead dead = {NULL, 0};
    uint32_t done = 0;
    fl_real[FL_SYM_fl_plain_write] = (fl_fn)plain_write;
    fl_real[FL_SYM_fl_plain_read] = (fl_fn)plain_read;
    fl_real[FL_SYM_fl_plain_close] = (fl_fn)plain_close;
    fl_real[FL_SYM_fl_plain_open] = (fl_fn)plain_open;
    fl_real[FL_SYM_fl_plain_openat] = (fl_fn)plain_openat;
    uintptr_t low = ~0ul, high = 0;
    for (unsigned i = 0; i < ENTRIES; i++) {
        at[i] = fl_libc_function(entries[i].name, &bytes);
        if (at[i] && !(entries[i].number == NO_SYSCALL ? copy_beginning(at[i], NULL) : recognised(at[i], entries[i].number)))
            at[i] = NULL;
        if (!at[i])
            continue;
        low = (uintptr_t)at[i] < low ? (uintptr_t)at[i] : low;
        high = (uintptr_t)at[i] + JUMP_BYTES > high ? (uintptr_t)at[i] + JUMP_BYTES : high;
        if (entries[i].number == SYS_write && bytes > JUMP_BYTES + dead.bytes)
            dead = (struct dead){at[i] + JUMP_BYTES, bytes - JUMP_BYTES};
    }
    if (!high)
        return 0;
    low &= ~4095ul;
    if (fl_sys3(SYS_mprotect, low, high - low, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
        return 0; /* SELinux, a hardened kernel: symbols only */
    for (unsigned i = 0; i < ENTRIES; i++) {
        void *again = at[i] && entries[i].number == NO_SYSCALL ? move_beginning(at[i], &dead) : entries[i].again;
        if (!at[i] || (entries[i].number == NO_SYSCALL && !again))
            continue;
        patched[i].at = at[i];
        patched[i].again = again;
        write_jump(at[i], entries[i].to);
        done |= 1u << i;
    }
    fl_sys3(SYS_mprotect, low, high - low, PROT_READ | PROT_EXEC);
    return done;
}
