/* Where fl_real leads before the first call of each of libc's functions: 16 bytes per symbol, in the order of enum fl_sym. Most
 * programs call few of them; to look all of them up took a fifth of what an exec costs. */
    .text
    .macro one_entry
    .balign 16
    endbr64
    push $entry_number
    jmp find
    .set entry_number, entry_number + 1
    .endm
    .set entry_number, 0
    .balign 16
    .globl fl_lazy
    .hidden fl_lazy
    .type fl_lazy, @function
fl_lazy:
    .cfi_startproc
    .cfi_def_cfa_offset 16
#define FL_SYM(symbol, ...) one_entry
#define FL_OWN(symbol, ...) one_entry
#include "../ops.def"
/* Finds the function whose number lies on the stack, and goes there with every argument as it was. */
find:
    push %rax
    push %rdi
    push %rsi
    push %rdx
    push %rcx
    push %r8
    push %r9
    .cfi_adjust_cfa_offset 56
    mov 56(%rsp), %edi
    sub $8, %rsp
    .cfi_adjust_cfa_offset 8
    call fl_resolve
    add $8, %rsp
    .cfi_adjust_cfa_offset -8
    mov %rax, %r11
    pop %r9
    pop %r8
    pop %rcx
    pop %rdx
    pop %rsi
    pop %rdi
    pop %rax
    .cfi_adjust_cfa_offset -56
    add $8, %rsp
    .cfi_adjust_cfa_offset -8
    jmp *%r11
    .cfi_endproc
    .size fl_lazy, . - fl_lazy
    .section .note.GNU-stack, "", @progbits
