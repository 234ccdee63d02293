/* From which source lines a call is made. Not in vfork children, whose parent's interpreter is not theirs. */
#include "shim.h"
#include <errno.h>

uint32_t fl_stack(struct fl_frame *f)
{
    if (f->stacked || f->foreign || !(fl_ctl->options & FL_OPT_STACKS))
        return f->stack;
    int error = errno;
    f->stacked = 1;
    if (f->proc)
        f->stack = f->proc->flags & FL_PROC_PYTHON ? fl_python_stack() : fl_native_stack(f->op);
    errno = error;
    return f->stack;
}
