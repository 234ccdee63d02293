/* Stores to files through shared mappings, which nobody calls: what they changed is looked for when the program calls something that
 * makes them last, or ends the mapping. All but fl_mapped_any for whoever has the data log's lock, or tries to get it. */
#ifndef FL_MAPPED_H
#define FL_MAPPED_H
#include "datalog.h"

#pragma GCC visibility push(hidden)

/* Whether a call may end, replace or begin a mapping that is known or worth knowing: it is made with the lock. */
int fl_mapped_wants(const struct fl_frame *f);
/* Before a call: writes down what it makes durable or ends. */
void fl_mapped_before(struct fl_frame *f);
/* After one that began, ended or replaced a mapping, or gave a file another size; it was made with this lock. */
void fl_mapped_after(struct fl_frame *f, int lock, long result);

/* mapped_look.c. `copy` is null as long as it could only be read. `size` is the file's, when it was last seen. */
struct fl_map { uintptr_t start, end; uint64_t device, inode, position, size; char *copy; uint32_t path; };
void fl_mapped_complain(uint32_t path);
int fl_mapped_see_size(struct fl_map *map);
/* Which file is mapped there; none: a private mapping, or one that was never to be written to. */
struct fl_fileid fl_mapped_file(uintptr_t at);
/* Writes down what has changed in a part of the mapping. Without a process it is only copied. */
void fl_mapped_look(struct fl_proc *proc, struct fl_map *map, uintptr_t start, uintptr_t end);

/* The whole process: its image goes, by an exec or its end; the exec has failed; it is a new child's. */
void fl_mapped_leave(void);
void fl_mapped_stay(void);
void fl_mapped_after_fork(void);

int fl_mapped_protect(int (*call)(void *at, size_t n, int protection), void *at, size_t n, int protection);
void *fl_mapped_move(void *(*call)(void *, size_t, size_t, int, void *), void *from, size_t n, size_t bytes, int flags, void *to);

#pragma GCC visibility pop

#endif
