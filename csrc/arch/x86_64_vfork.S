/* vfork returns twice on one stack, so a C function cannot wrap it: its frame would be gone for the parent. The return address
 * waits in a register across the call; the bookkeeping happens in two C functions before it and after it in the parent. */
    .text
    .globl vfork
    .globl __vfork
    .type vfork, @function
    .type __vfork, @function
vfork:
__vfork:
    endbr64
    sub $8, %rsp
    call fl_vfork_begin
    add $8, %rsp
    test %eax, %eax
    jnz 2f
    pop %rdi
    mov $58, %eax
    syscall
    push %rdi
    test %eax, %eax
    jnz 1f
    ret
1:  sub $8, %rsp
    movslq %eax, %rdi
    call fl_vfork_parent
    add $8, %rsp
    ret
2:  sub $8, %rsp
    call fl_vfork_refused
    add $8, %rsp
    ret
    .size vfork, .-vfork
    .size __vfork, .-__vfork
    .section .note.GNU-stack,"",@progbits
