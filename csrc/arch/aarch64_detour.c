/* No detours on aarch64 yet. */
#include "../detour.h"

int fl_detour(void *at, const void *to, unsigned char *saved)
{
    (void)at, (void)to, (void)saved;
    return 0;
}

void fl_undo_detour(void *at, const unsigned char *saved) { (void)at, (void)saved; }
