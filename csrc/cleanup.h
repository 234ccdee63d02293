/* What the guard and the last target do when the controller is gone. Raw system calls only; from any context. */
#ifndef FL_CLEANUP_H
#define FL_CLEANUP_H
#include "abi.h"

#pragma GCC visibility push(hidden)
/* Whether a process has ended, or does within `wait_ms`, also when nobody collects it. Takes a descriptor for a moment. */
int fl_pid_gone(int pid, unsigned wait_ms);
/* The pid of some other process that is attached and alive, 0 if there is none. */
int fl_someone_attached(const struct fl_ctl *ctl, int except);
/* Wakes those whom a rule (its slot + 1; 0: any) has stopped. Returns how many there were. */
int fl_continue_stopped(const struct fl_ctl *ctl, uint32_t rule);
void fl_remove_folder(const char *folder);
#pragma GCC visibility pop

#endif
