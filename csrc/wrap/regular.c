/* The wrappers of every symbol that needs nothing special: generated from ops.def. From any context. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>
#include "wrap.h"

#define W1(symbol, OP, type, A)                                                                             \
    FL_EXPORT type symbol(A a);                                                                             \
    FL_ARMED type symbol##_armed(A a)                                                                       \
    {                                                                                                       \
        if (FL_SHORT_WAY(OP, a))                                                                            \
            return FL_REAL(symbol, type, A)(a);                                                             \
        return (type)FL_CALL(symbol, OP, FL_ARG(a));                                                        \
    }                                                                                                       \
    FL_EXPORT type symbol(A a)                                                                              \
    {                                                                                                       \
        return FL_AT_REST(OP) ? FL_REAL(symbol, type, A)(a) : symbol##_armed(a);                               \
    }                                                                                                       \
    FL_HIDDEN_TWIN(symbol)
#define W2(symbol, OP, type, A, B)                                                                          \
    FL_EXPORT type symbol(A a, B b);                                                                        \
    FL_ARMED type symbol##_armed(A a, B b)                                                                  \
    {                                                                                                       \
        if (FL_SHORT_WAY(OP, a))                                                                            \
            return FL_REAL(symbol, type, A, B)(a, b);                                                       \
        return (type)FL_CALL(symbol, OP, FL_ARG(a), FL_ARG(b));                                             \
    }                                                                                                       \
    FL_EXPORT type symbol(A a, B b)                                                                         \
    {                                                                                                       \
        return FL_AT_REST(OP) ? FL_REAL(symbol, type, A, B)(a, b) : symbol##_armed(a, b);                      \
    }                                                                                                       \
    FL_HIDDEN_TWIN(symbol)
#define W3(symbol, OP, type, A, B, C)                                                                       \
    FL_EXPORT type symbol(A a, B b, C c);                                                                   \
    FL_ARMED type symbol##_armed(A a, B b, C c)                                                             \
    {                                                                                                       \
        if (FL_SHORT_WAY(OP, a))                                                                            \
            return FL_REAL(symbol, type, A, B, C)(a, b, c);                                                 \
        return (type)FL_CALL(symbol, OP, FL_ARG(a), FL_ARG(b), FL_ARG(c));                                  \
    }                                                                                                       \
    FL_EXPORT type symbol(A a, B b, C c)                                                                    \
    {                                                                                                       \
        return FL_AT_REST(OP) ? FL_REAL(symbol, type, A, B, C)(a, b, c) : symbol##_armed(a, b, c);             \
    }                                                                                                       \
    FL_HIDDEN_TWIN(symbol)
#define W4(symbol, OP, type, A, B, C, D)                                                                    \
    FL_EXPORT type symbol(A a, B b, C c, D d);                                                              \
    FL_ARMED type symbol##_armed(A a, B b, C c, D d)                                                        \
    {                                                                                                       \
        if (FL_SHORT_WAY(OP, a))                                                                            \
            return FL_REAL(symbol, type, A, B, C, D)(a, b, c, d);                                           \
        return (type)FL_CALL(symbol, OP, FL_ARG(a), FL_ARG(b), FL_ARG(c), FL_ARG(d));                       \
    }                                                                                                       \
    FL_EXPORT type symbol(A a, B b, C c, D d)                                                               \
    {                                                                                                       \
        return FL_AT_REST(OP) ? FL_REAL(symbol, type, A, B, C, D)(a, b, c, d) : symbol##_armed(a, b, c, d);    \
    }                                                                                                       \
    FL_HIDDEN_TWIN(symbol)
#define W5(symbol, OP, type, A, B, C, D, E)                                                                 \
    FL_EXPORT type symbol(A a, B b, C c, D d, E e);                                                         \
    FL_ARMED type symbol##_armed(A a, B b, C c, D d, E e)                                                   \
    {                                                                                                       \
        if (FL_SHORT_WAY(OP, a))                                                                            \
            return FL_REAL(symbol, type, A, B, C, D, E)(a, b, c, d, e);                                     \
        return (type)FL_CALL(symbol, OP, FL_ARG(a), FL_ARG(b), FL_ARG(c), FL_ARG(d), FL_ARG(e));            \
    }                                                                                                       \
    FL_EXPORT type symbol(A a, B b, C c, D d, E e)                                                          \
    {                                                                                                       \
        return FL_AT_REST(OP) ? FL_REAL(symbol, type, A, B, C, D, E)(a, b, c, d, e) : symbol##_armed(a, b, c, d, e);\
    }                                                                                                       \
    FL_HIDDEN_TWIN(symbol)
#define W6(symbol, OP, type, A, B, C, D, E, F)                                                              \
    FL_EXPORT type symbol(A a, B b, C c, D d, E e, F f);                                                    \
    FL_ARMED type symbol##_armed(A a, B b, C c, D d, E e, F f)                                              \
    {                                                                                                       \
        if (FL_SHORT_WAY(OP, a))                                                                            \
            return FL_REAL(symbol, type, A, B, C, D, E, F)(a, b, c, d, e, f);                               \
        return (type)FL_CALL(symbol, OP, FL_ARG(a), FL_ARG(b), FL_ARG(c), FL_ARG(d), FL_ARG(e), FL_ARG(f)); \
    }                                                                                                       \
    FL_EXPORT type symbol(A a, B b, C c, D d, E e, F f)                                                     \
    {                                                                                                       \
        return FL_AT_REST(OP) ? FL_REAL(symbol, type, A, B, C, D, E, F)(a, b, c, d, e, f) : symbol##_armed(a, b, c, d, e, f);\
    }                                                                                                       \
    FL_HIDDEN_TWIN(symbol)

#define FL_SYM(symbol, OP, type, n, ...) W##n(symbol, OP, type, __VA_ARGS__)
#include "../ops.def"
