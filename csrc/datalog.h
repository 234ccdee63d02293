/* What a program does to its files, with the data, in the order of the kernel. From any context. */
#ifndef FL_DATALOG_H
#define FL_DATALOG_H
#include "shim.h"

#pragma GCC visibility push(hidden)

/* datalog_lock.c. NESTED: the same thread has it, further out, and a signal's handler has come in between. */
enum fl_lock { FL_LOCK_NONE, FL_LOCK_NESTED, FL_LOCK_TAKEN };
int fl_datalog_lock(const struct fl_proc *proc);
void fl_datalog_unlock(int lock);
int fl_datalog_is_mine(const struct fl_proc *proc);

/* fileid.c: which file a call was about, and where in it. */
struct fl_fileid { uint64_t device, inode, position; uint32_t status; };
struct fl_fileid fl_fileid_of(const struct fl_frame *f, long result, const struct fl_run *nested);
/* What was written, together with what was before it, as far as there is nothing between them. */
struct fl_run fl_run_join(struct fl_run before, struct fl_run more);

#pragma GCC visibility pop

#endif
