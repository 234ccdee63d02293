/* vfork returns twice on one stack, so a C function cannot wrap it: its frame would be gone for the parent. The return address
 * waits in a register across the call; the bookkeeping happens in two C functions before it and after it in the parent. */
    .text
    .globl vfork
    .globl __vfork
    .type vfork, @function
    .type __vfork, @function
vfork:
__vfork:
    .cfi_startproc
    endbr64
    sub $8, %rsp
    .cfi_adjust_cfa_offset 8
    call fl_vfork_begin
    add $8, %rsp
    .cfi_adjust_cfa_offset -8
    test %eax, %eax
    jnz 2f
    pop %rdi
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rdi
    mov $58, %eax
    syscall
    push %rdi
    .cfi_adjust_cfa_offset 8
    .cfi_offset %rip, -8
    test %eax, %eax
    jnz 1f
    ret
1:  sub $8, %rsp
    .cfi_adjust_cfa_offset 8
    movslq %eax, %rdi
    call fl_vfork_parent
    add $8, %rsp
    .cfi_adjust_cfa_offset -8
    ret
2:  sub $8, %rsp
    .cfi_adjust_cfa_offset 8
    call fl_vfork_refused
    add $8, %rsp
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size vfork, .-vfork
    .size __vfork, .-__vfork
    .section .note.GNU-stack,"",@progbits
