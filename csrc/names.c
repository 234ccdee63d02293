/* The names of operations, families, symbols and patched functions. For the controller: in the shim, whose processes have no use
 * for them, each would be one more pointer to relocate. */
#include "ops.h"
#include <stddef.h>

static const char *const operations[FL_OPS] = {
#define FL_OP(ID, NAME, ...) [FL_OP_##ID] = NAME,
#include "ops.def"
};

const char *fl_op_name(int op) { return op >= 0 && op < FL_OPS ? operations[op] : NULL; }

static const char *const families[FL_FAMILIES] = {
#define FL_FAMILY(ID, NAME) [FL_FAM_##ID] = #NAME,
#include "ops.def"
};

static const struct { const char *name; int op; } symbols[] = {
#define FL_SYM(symbol, OP, ...) {#symbol, FL_OP_##OP},
#define FL_OWN(symbol, OP) {#symbol, FL_OP_##OP},
#include "ops.def"
};

const char *fl_family_name(int family)
{
    return family >= 0 && family < FL_FAMILIES ? families[family] : NULL;
}

const char *fl_symbol(int i, int *op)
{
    if (i < 0 || (size_t)i >= sizeof symbols / sizeof *symbols)
        return NULL;
    *op = symbols[i].op;
    return symbols[i].name;
}

static const char *const entries[] = {
#if defined(__x86_64__)
#define FL_ENTRY(name, ...) #name,
#include "arch/x86_64_entries.def"
#endif
    NULL
};

const char *fl_entry_name(int i)
{
    return i >= 0 && (size_t)i < sizeof entries / sizeof *entries ? entries[i] : NULL;
}
