/* System calls without libc: no errno, no cancellation, no interposition. From any context. Results are -errno. */
#ifndef FL_SYS_H
#define FL_SYS_H
#include <sys/syscall.h>

#ifdef SYS_newfstatat
#define FL_SYS_FSTATAT SYS_newfstatat
#else
#define FL_SYS_FSTATAT SYS_fstatat
#endif

#if defined(__x86_64__)
static inline long fl_sys6(long n, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static inline long fl_sys6(long n, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#else
#error "faultlib knows x86-64 and aarch64"
#endif

#define fl_sys(n, a, b, c, d) fl_sys6((n), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define fl_sys1(n, a) fl_sys6((n), (long)(a), 0, 0, 0, 0, 0)
#define fl_sys3(n, a, b, c) fl_sys6((n), (long)(a), (long)(b), (long)(c), 0, 0, 0)

#endif
