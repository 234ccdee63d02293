/* See x86_64_vfork.S. The return address waits in x30's copy, x9, which the kernel keeps. */
    .text
    .globl vfork
    .globl __vfork
    .type vfork, %function
    .type __vfork, %function
vfork:
__vfork:
    stp x29, x30, [sp, #-16]!
    bl fl_vfork_begin
    ldp x29, x30, [sp], #16
    cbnz w0, 2f
    mov x9, x30
    mov x0, #0x4111     /* CLONE_VM | CLONE_VFORK | SIGCHLD: 0x100 | 0x4000 | 17 */
    mov x1, #0
    mov x2, #0
    mov x3, #0
    mov x4, #0
    mov x8, #220
    svc 0
    mov x30, x9
    cbnz x0, 1f
    ret
1:  stp x29, x30, [sp, #-16]!
    bl fl_vfork_parent
    ldp x29, x30, [sp], #16
    ret
2:  stp x29, x30, [sp, #-16]!
    bl fl_vfork_refused
    ldp x29, x30, [sp], #16
    ret
    .size vfork, .-vfork
    .size __vfork, .-__vfork
    .section .note.GNU-stack,"",%progbits
