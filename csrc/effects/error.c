/* The call fails with an errno and does nothing. A failing close closes all the same, as the kernel does. */
#include "effects.h"
#include <errno.h>

long fl_fail(const struct fl_frame *f, int error)
{
    if (f->info->result == FL_RESULT_CODE)
        return error;
    errno = error;
    return f->info->result == FL_RESULT_OBJECT ? 0 : -1;
}

FL_EFFECT(error)
{
    if (f->op == FL_OP_CLOSE || f->op == FL_OP_CLOSE_RANGE)
        fl_invoke(f);
    return fl_fail(f, choice->rule->error);
}
