/* Stores to files through shared mappings, which nobody calls: what they changed is looked for whenever the program calls something
 * that puts its changes in an order, or ends the mapping. For whoever has the data log's lock, or tries to get it. */
#ifndef FL_MAPPED_H
#define FL_MAPPED_H
#include "datalog.h"

#pragma GCC visibility push(hidden)

/* Whether a call may end, replace or begin a mapping that is known or worth knowing: it is made with the lock. */
int fl_mapped_wants(const struct fl_frame *f);
/* Before a call: writes down what was stored, if the call puts that in an order. Returns whether it has looked. */
int fl_mapped_before(struct fl_frame *f);
/* After one that began, ended or replaced a mapping, or gave a file another size; it was made with this lock. */
void fl_mapped_after(struct fl_frame *f, int lock, long result);
/* After one before which we looked, with the lock: its thread has stored nothing since. What others have is taken for later. */
void fl_mapped_seen(void);

/* mapped_look.c. `copy` is null as long as it could only be read. `size` is the file's, when it was last seen. */
struct fl_map { uintptr_t start, end; uint64_t device, inode, position, size; char *copy; uint32_t path; };
void fl_mapped_complain(uint32_t path);
/* Writes down what has changed in a part of the mapping since the head of the log was there. Without a process it is only copied. */
void fl_mapped_look(struct fl_proc *proc, struct fl_map *map, uintptr_t start, uintptr_t end, uint64_t since);

/* mapped_table.c: those of this process. */
#define FL_PAGE 4096ul
static inline uintptr_t fl_page_end(uintptr_t at, uint64_t n) { return (at + n + FL_PAGE - 1) & ~(FL_PAGE - 1); }
struct fl_map *fl_maps(uint32_t *n);
uint64_t fl_maps_copied(void); /* bytes */
int fl_maps_overlap(uintptr_t start, uintptr_t end);
void fl_maps_begin(const struct fl_frame *f, uintptr_t at);
void fl_maps_copy(struct fl_map *map, const char *old, uint64_t n);
void fl_maps_forget(uintptr_t start, uintptr_t end);
void fl_maps_move(uint32_t place, uintptr_t start, uintptr_t end, int stays, uintptr_t to, uintptr_t to_end);
void fl_maps_see_sizes(int fd);
/* Which file is mapped there, and what of it; none: a private mapping, or one that was never to be written to. */
struct fl_fileid fl_mapped_file(uintptr_t at);

/* The whole process: its image goes, by an exec or its end; the exec has failed; it is a new child's. */
void fl_mapped_leave(void);
void fl_mapped_stay(void);
void fl_mapped_after_fork(void);

int fl_mapped_protect(int (*call)(void *at, size_t n, int protection), void *at, size_t n, int protection);
void *fl_mapped_move(void *(*call)(void *, size_t, size_t, int, void *), void *from, size_t n, size_t bytes, int flags, void *to);

#pragma GCC visibility pop

#endif
