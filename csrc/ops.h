/* Operations and families as numbers, and what is known of each operation. Generated from ops.def. Pure data. */
#ifndef FL_OPS_H
#define FL_OPS_H
#include <stdint.h>

enum fl_family {
#define FL_FAMILY(ID, name) FL_FAM_##ID,
#include "ops.def"
    FL_FAMILIES
};

enum fl_op {
#define FL_OP(ID, ...) FL_OP_##ID,
#include "ops.def"
    FL_OPS
};

/* FL_FAMILY_OF_WRITE is FL_FAM_WRITE: for the gate test, which must be a constant. */
enum {
#define FL_OP(ID, name, FAMILY, ...) FL_FAMILY_OF_##ID = FL_FAM_##FAMILY,
#include "ops.def"
};

enum fl_sym {
#define FL_SYM(symbol, ...) FL_SYM_##symbol,
#define FL_OWN(symbol, ...) FL_SYM_##symbol,
#include "ops.def"
    FL_SYMBOLS,
    /* inner entries of libc that have no symbol of their own, and a call that does nothing */
    FL_SYM_fl_plain_write = FL_SYMBOLS, FL_SYM_fl_plain_read, FL_SYM_fl_plain_close, FL_SYM_fl_plain_open, FL_SYM_fl_plain_openat,
    FL_SYM_fl_openat2, FL_SYM_fl_shm_unlink, FL_SYM_fl_sem_unlink, FL_SYM_fl_clone_range, FL_SYM_fl_nothing,
    /* sleeps that know the faked clocks */
    FL_SYM_fl_timed_nanosleep, FL_SYM_fl_timed_clock_nanosleep, FL_SYM_fl_timed_sleep, FL_SYM_fl_timed_usleep,
    FL_SYMS
};

enum fl_result {
    FL_RESULT_COUNT, FL_RESULT_ZERO, FL_RESULT_FD, FL_RESULT_OFFSET, FL_RESULT_POINTER, FL_RESULT_OBJECT, FL_RESULT_CODE,
    FL_RESULT_NONE, FL_RESULT_EXEC, FL_RESULT_PID
};

/* Places of arguments count from 1; 0: the operation has no such argument. */
struct fl_op_info {
    uint8_t family, result;
    uint8_t fd, dirfd, path, dirfd2, path2, buf, size, iov, iovcnt, offset, flags, source;
    uint8_t from; /* the operation on `source` */
};

extern const struct fl_op_info fl_op_table[];

/* names.c: not in the shim */
const char *fl_op_name(int op);
const char *fl_family_name(int family);
/* Symbol number `i` and its operation; null past the end. */
const char *fl_symbol(int i, int *op);
/* The function of glibc behind bit `i` of fl_proc.entries; null past the last. */
const char *fl_entry_name(int i);

#endif
