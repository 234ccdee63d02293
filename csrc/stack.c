/* From which source lines a call is made. From any context. */
#include "shim.h"

uint32_t fl_stack(struct fl_frame *f)
{
    (void)f;
    return 0;
}
