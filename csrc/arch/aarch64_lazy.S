/* See x86_64_lazy.S. */
    .text
    .macro one_entry
    .balign 16
    bti c
    mov w16, #entry_number
    b find
    .set entry_number, entry_number + 1
    .endm
    .set entry_number, 0
    .balign 16
    .globl fl_lazy
    .hidden fl_lazy
    .type fl_lazy, %function
fl_lazy:
    .cfi_startproc
#define FL_SYM(symbol, ...) one_entry
#define FL_OWN(symbol, ...) one_entry
#include "../ops.def"
find:
    stp x29, x30, [sp, #-96]!
    .cfi_def_cfa_offset 96
    .cfi_offset 29, -96
    .cfi_offset 30, -88
    stp x0, x1, [sp, #16]
    stp x2, x3, [sp, #32]
    stp x4, x5, [sp, #48]
    stp x6, x7, [sp, #64]
    str x8, [sp, #80]
    mov w0, w16
    bl fl_resolve
    mov x16, x0
    ldp x0, x1, [sp, #16]
    ldp x2, x3, [sp, #32]
    ldp x4, x5, [sp, #48]
    ldp x6, x7, [sp, #64]
    ldr x8, [sp, #80]
    ldp x29, x30, [sp], #96
    .cfi_restore 29
    .cfi_restore 30
    .cfi_def_cfa_offset 0
    br x16
    .cfi_endproc
    .size fl_lazy, .-fl_lazy
    .section .note.GNU-stack,"",%progbits
