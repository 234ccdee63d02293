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

/* datalog_ring.c: an entry, or several if there is much of the data. */
struct fl_names { const char *first, *second; uint64_t n, n2; };
/* Where data come from: the caller's memory, or, for those that the kernel copied, the file itself. `call` is the write, and `file`
 * what is known of its file. */
struct fl_source {
    const struct iovec *at;
    uint64_t skip;
    int fd;
    uint64_t position;
    const struct fl_frame *call;
    const struct fl_fileid *file;
};
void fl_datalog_add(struct fl_log_entry *entry, const struct fl_names *names, struct fl_source *source, uint64_t bytes);

/* datalog_entry.c. Returns what the call has written to a file. */
struct fl_run fl_datalog_write_down(struct fl_frame *f, const struct fl_before *before, long result);

/* Bytes of a file that stores through a mapping have changed, since the head was there: an entry of operation mmap. */
void fl_datalog_write_capture(struct fl_proc *proc, uint32_t path, struct fl_fileid file, const void *data, uint64_t bytes, uint64_t since);

/* fileid.c: which file a call was about, and where in it. */
struct fl_fileid fl_fileid_of(const struct fl_frame *f, long result, const struct fl_before *before);
/* Where a write began, of one that may be FL_AT_END for all that was known. */
uint64_t fl_fileid_position(const struct fl_frame *f, const struct fl_fileid *file, long result);
/* Where a copy that is made has begun to read; below 0 if that was no file. */
uint64_t fl_fileid_copied_from(const struct fl_frame *f, uint64_t bytes);
uint32_t fl_fileid_stamp(const struct fl_frame *f, int fd);
/* Of one that is about to be written to, for who has the lock. */
struct fl_fileid fl_fileid_writing(const struct fl_frame *f, uint32_t stamp);
/* Of a descriptor that is about to be closed: inode 0 if it is none of a file that was open for writing. */
struct fl_fileid fl_fileid_closing(const struct fl_frame *f, int fd);
/* What was written, together with what was before it, as far as there is nothing between them. */
struct fl_run fl_run_join(struct fl_run before, struct fl_run more);

#pragma GCC visibility pop

#endif
