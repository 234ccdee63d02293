/* How the session's memory gets to a process that cannot open it through /proc: one that has become another user, or that looks
 * into the /proc of a pid namespace of its own. It connects to a socket in the session's folder, and the guard answers. */
#ifndef FL_LEND_H
#define FL_LEND_H
#include "abi.h"

#pragma GCC visibility push(hidden)
#define FL_LEND_SOCKET "block"

/* The answer: the borrower's pid as the guard sees it. With it come two descriptors: the block, and the lifeline's other end. */
struct fl_loan { int32_t pid; int block, lifeline; };

/* lend.c, for the guard: answers whoever waits at the socket, if that is due to him. Never waits itself. */
void fl_lend(const struct fl_ctl *ctl, int listener, int block, int lifeline);

/* borrow.c, for the shim: asks by the session's link. 1: the loan's descriptors are open and the caller's to close. Waits for a
 * moment, and never again for a guard that did not answer in it. From any context. */
int fl_borrow(const char *link, struct fl_loan *loan);
#pragma GCC visibility pop

#endif
