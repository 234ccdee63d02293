/* The fork point's parts: forkpoint.c, pyexit.c. For processes with one thread. */
#ifndef FL_FORKPOINT_H
#define FL_FORKPOINT_H
#include <stdint.h>

#pragma GCC visibility push(hidden)
struct link_map;

/* forkpoint.c: calls `look` with each descriptor until it does not return 0, and returns what it did. */
uint32_t fl_each_descriptor(uint32_t (*look)(int fd));

/* forkpipes.c: notes an end of a pipe; finds those with both; makes new ones, of which a run takes the places; 0: it could. */
struct stat;
void fl_forget_pipes(void);
uint32_t fl_note_pipe(int fd, const struct stat *st);
uint32_t fl_find_pipes(void);
int fl_make_pipes(void);
void fl_take_pipes(void);
void fl_drop_pipes(void);

/* pyexit.c: has Python end quickly in children that are forked from now on; and not. */
void fl_make_python_quick(void);
void fl_leave_python_alone(void);

/* pystack.c: where Python's functions are, null: this is none. No stacks from now on. */
const struct link_map *fl_python_library(void);
void fl_python_forget(void);
#pragma GCC visibility pop

#endif
