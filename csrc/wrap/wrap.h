/* How a wrapper is made. FL_WRAP defines the exported symbol and a hidden twin fl_w_<symbol> for the entry patch. */
#ifndef FL_WRAP_H
#define FL_WRAP_H
#include "../shim.h"
#include "../short.h"

#define FL_HIDDEN_TWIN(symbol) \
    extern __typeof__(symbol) fl_w_##symbol __attribute__((alias(#symbol), copy(symbol), visibility("hidden")));

#define FL_ARG(x) ((long)(x))
/* The second half of a wrapper, when something is armed: apart, so that the idle one needs no stack. */
#define FL_ARMED static __attribute__((noinline))
#define FL_CALL(symbol, OP, ...) fl_call(FL_SYM_##symbol, FL_OP_##OP, (long[6]){__VA_ARGS__})
#define FL_OTHER_SIZE(OP, ...)                                                                                     \
    (fl_info_##OP.fd == 1 && fl_info_##OP.size && !fl_info_##OP.source &&                                          \
     fl_other_size(FL_OP_##OP, (int)(const long[6]){__VA_ARGS__}[0], (uint64_t)(const long[6]){__VA_ARGS__}[(fl_info_##OP.size - 1) % 6]))

/* Nothing but its descriptor is of interest, no table of the shim changes, and no rule is live for it: the journal wants it. */
#define FL_ONLY_RECORDED(OP, first)                                                                                \
    (fl_info_##OP.fd == 1 && !fl_info_##OP.source && (int)FL_FAMILY_OF_##OP != FL_FAM_CLOSE &&                     \
     (int)FL_FAMILY_OF_##OP != FL_FAM_TRACK && fl_info_##OP.result != FL_RESULT_FD && FL_OP_##OP != FL_OP_LOCKF &&                            \
     fl_only_recorded(FL_OP_##OP, (int)FL_ARG(first)))
#define FL_REAL(symbol, type, ...) ((type(*)(__VA_ARGS__))fl_real[FL_SYM_##symbol])

/* A copy is a read of its source too: it is at rest only when nothing is armed for reads either. */
#define FL_AT_REST_BITS(OP) (FL_GATE_BITS(OP) | (fl_info_##OP.source ? FL_GATE_BITS(COPY_SOURCE) : 0))
#define FL_AT_REST(OP) fl_likely(!(fl_gate() & FL_AT_REST_BITS(OP)))

/* A descriptor operation whose descriptor no rule wants takes the short way out; with two descriptors, it does not. */
#define FL_SHORT_WAY(OP, first) \
    (fl_info_##OP.fd == 1 && !fl_info_##OP.source && \
     ((int)FL_FAMILY_OF_##OP == FL_FAM_CLOSE ? fl_short_close((int)FL_ARG(first)) : fl_short_way(FL_OP_##OP, (int)FL_ARG(first))))

/* A raw system call that has to do with time, while some clock is faked: true if it was carried out, with syscall()'s result. */
__attribute__((visibility("hidden"))) int fl_timed_syscall(long number, const long *a, long *result);

#define FL_OP(ID, name, FAMILY, RESULT, ...) \
    __attribute__((unused)) static const struct fl_op_info fl_info_##ID = { \
        .family = FL_FAM_##FAMILY, .result = FL_RESULT_##RESULT, ##__VA_ARGS__};
#include "../ops.def"

/* The calls behind FL_SYM_fl_openat2 and FL_SYM_fl_clone_range. */
__attribute__((visibility("hidden"))) long fl_real_shm_unlink(long path, long name, long c, long d, long e, long f);
__attribute__((visibility("hidden"))) long fl_real_sem_unlink(long path, long name, long c, long d, long e, long f);
__attribute__((visibility("hidden"))) long fl_real_openat2(long dir, long path, long flags, long mode, long how, long size);
__attribute__((visibility("hidden"))) long fl_real_clone_range(long fd, long request, long source, long range, long b, long c);

#endif
