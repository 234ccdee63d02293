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
#include "../journal.h"
#include "wrap.h"

/* `types`, `params` and `values` stand in parentheses; the words are the arguments as longs, the first being the descriptor if the
 * operation is on one. */
#define WRAPPER(symbol, OP, type, types, params, values, ...)                                                 \
    FL_EXPORT type symbol params;                                                                             \
    FL_ARMED type symbol##_seen params                                                                        \
    {                                                                                                         \
        if (!fl_recording() && FL_OTHER_SIZE(OP, __VA_ARGS__))                                                \
            return ((type(*) types)fl_real[FL_SYM_##symbol])values;                                           \
        return (type)FL_CALL(symbol, OP, __VA_ARGS__);                                                        \
    }                                                                                                         \
    FL_ARMED type symbol##_timed params                                                                       \
    {                                                                                                         \
        uint64_t begun = fl_journal_time();                                                                   \
        type result = ((type(*) types)fl_real[FL_SYM_##symbol])values;                                        \
        return (type)fl_write_down(FL_OP_##OP, &fl_info_##OP, (const long[6]){__VA_ARGS__}, (long)result, begun); \
    }                                                                                                         \
    FL_ARMED type symbol##_recorded params                                                                    \
    {                                                                                                         \
        if (!FL_ONLY_RECORDED(OP, a))                                                                         \
            return symbol##_seen values;                                                                      \
        if (fl_ctl->options & FL_OPT_TIMES)                                                                   \
            return symbol##_timed values;                                                                     \
        type result = ((type(*) types)fl_real[FL_SYM_##symbol])values;                                        \
        return (type)fl_write_down(FL_OP_##OP, &fl_info_##OP, (const long[6]){__VA_ARGS__}, (long)result, 0); \
    }                                                                                                         \
    FL_ARMED type symbol##_armed params                                                                       \
    {                                                                                                         \
        return FL_SHORT_WAY(OP, a) ? ((type(*) types)fl_real[FL_SYM_##symbol])values : symbol##_seen values;  \
    }                                                                                                         \
    FL_EXPORT type symbol params                                                                              \
    {                                                                                                         \
        uint64_t gate = fl_gate();                                                                            \
        if (fl_likely(!(gate & FL_AT_REST_BITS(OP))))                                                         \
            return ((type(*) types)fl_real[FL_SYM_##symbol])values;                                           \
        return fl_gate_records(gate) ? symbol##_recorded values : symbol##_armed values;                      \
    }                                                                                                         \
    FL_HIDDEN_TWIN(symbol)

#define W1(symbol, OP, type, A) \
    WRAPPER(symbol, OP, type, (A), (A a), (a), FL_ARG(a))
#define W2(symbol, OP, type, A, B) \
    WRAPPER(symbol, OP, type, (A, B), (A a, B b), (a, b), FL_ARG(a), FL_ARG(b))
#define W3(symbol, OP, type, A, B, C) \
    WRAPPER(symbol, OP, type, (A, B, C), (A a, B b, C c), (a, b, c), FL_ARG(a), FL_ARG(b), FL_ARG(c))
#define W4(symbol, OP, type, A, B, C, D) \
    WRAPPER(symbol, OP, type, (A, B, C, D), (A a, B b, C c, D d), (a, b, c, d), FL_ARG(a), FL_ARG(b), FL_ARG(c), FL_ARG(d))
#define W5(symbol, OP, type, A, B, C, D, E) \
    WRAPPER(symbol, OP, type, (A, B, C, D, E), (A a, B b, C c, D d, E e), (a, b, c, d, e), FL_ARG(a), FL_ARG(b), FL_ARG(c), FL_ARG(d), FL_ARG(e))
#define W6(symbol, OP, type, A, B, C, D, E, F) \
    WRAPPER(symbol, OP, type, (A, B, C, D, E, F), (A a, B b, C c, D d, E e, F f), (a, b, c, d, e, f), FL_ARG(a), FL_ARG(b), FL_ARG(c), FL_ARG(d), FL_ARG(e), FL_ARG(f))

#define FL_SYM(symbol, OP, type, n, ...) W##n(symbol, OP, type, __VA_ARGS__)
#include "../ops.def"
