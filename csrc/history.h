/* What a program does to its files, with the data, in the order of the kernel. From any context. */
#ifndef FL_HISTORY_H
#define FL_HISTORY_H
#include "shim.h"

#pragma GCC visibility push(hidden)

/* turn.c. What is written is seen by the reader when the turn is given up. Returns 0 if it could not be had: it is not given then. */
int fl_turn_take(const struct fl_proc *proc);
void fl_turn_give(void);

/* subject.c: which file a call was about, and where in it. */
struct fl_subject_file { uint64_t device, inode, position; uint32_t status; };
struct fl_subject_file fl_history_subject(const struct fl_frame *f, long result, uint64_t nested_bytes);

#pragma GCC visibility pop

#endif
