/* What a program does to its files, with the data, in the order of the kernel. From any context. */
#ifndef FL_DATALOG_H
#define FL_DATALOG_H
#include "shim.h"

#pragma GCC visibility push(hidden)

/* datalog_lock.c. What is written is seen by the reader once it is unlocked. Returns 0 if it could not be had: it is not unlocked then. */
int fl_datalog_lock(const struct fl_proc *proc);
void fl_datalog_unlock(void);

/* fileid.c: which file a call was about, and where in it. */
struct fl_fileid { uint64_t device, inode, position; uint32_t status; };
struct fl_fileid fl_fileid_of(const struct fl_frame *f, long result, uint64_t nested_bytes);

#pragma GCC visibility pop

#endif
