/* A function of the program replaced for good or for a while: its first bytes become a jump. Single-threaded only. */
#include "../detour.h"
#include "../sys.h"
#include <string.h>
#include <sys/mman.h>

static int write_code(void *at, const unsigned char *code)
{
    unsigned long page = (unsigned long)at & ~4095ul, bytes = (unsigned long)at + FL_DETOUR_BYTES - page;
    if (fl_sys3(SYS_mprotect, page, bytes, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
        return 0;
    memcpy(at, code, FL_DETOUR_BYTES);
    fl_sys3(SYS_mprotect, page, bytes, PROT_READ | PROT_EXEC);
    return 1;
}

int fl_detour(void *at, const void *to, unsigned char *saved)
{
    unsigned char code[FL_DETOUR_BYTES] = {0xff, 0x25}; /* jmp *0(%rip), then the address */
    memcpy(code + 6, &to, sizeof to);
    memcpy(saved, at, FL_DETOUR_BYTES);
    return write_code(at, code);
}

void fl_undo_detour(void *at, const unsigned char *saved) { write_code(at, saved); }
