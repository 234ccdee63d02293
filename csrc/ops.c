/* What is known of each operation. Pure data: may be used from anywhere. */
#include "ops.h"

const struct fl_op_info fl_op_table[FL_OPS] = {
#define FL_OP(ID, name, FAMILY, RESULT, ...) \
    [FL_OP_##ID] = {.family = FL_FAM_##FAMILY, .result = FL_RESULT_##RESULT, ##__VA_ARGS__},
#include "ops.def"
};
