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

enum fl_result {
    FL_RESULT_COUNT, FL_RESULT_ZERO, FL_RESULT_FD, FL_RESULT_OFFSET, FL_RESULT_POINTER, FL_RESULT_OBJECT, FL_RESULT_CODE,
    FL_RESULT_NONE, FL_RESULT_EXEC, FL_RESULT_PID
};

/* Places of arguments count from 1; 0: the operation has no such argument. */
struct fl_op_info {
    const char *name;
    uint8_t family, result;
    uint8_t fd, dirfd, path, dirfd2, path2, buf, size, iov, iovcnt, offset, flags, source;
    uint8_t from; /* the operation on `source` */
};

extern const struct fl_op_info fl_op_table[];
const char *fl_family_name(int family);
/* Symbol number `i` and its operation; null past the end. */
const char *fl_symbol(int i, int *op);

#endif
