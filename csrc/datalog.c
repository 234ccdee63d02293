/* The data log: which calls go into it, and what is done around them. An entry is made for each call that changed something in a file or
 * a directory, that made such changes durable, or that told somebody outside. From any context. */
#include "mapped.h"
#include "journal.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>

/* Changes something, and does not wait for others. */
static int needs_lock(const struct fl_frame *f)
{
    switch (f->info->family) {
    case FL_FAM_WRITE: return f->kind == FL_KIND_FILE;
    case FL_FAM_TRACK: case FL_FAM_MMAP:
    case FL_FAM_TRUNCATE: case FL_FAM_ALLOCATE: case FL_FAM_RENAME: case FL_FAM_UNLINK: case FL_FAM_LINK: case FL_FAM_MKDIR:
    case FL_FAM_RMDIR: case FL_FAM_ATTR:
        return 1;
    case FL_FAM_OPEN:
        return f->op == FL_OP_CREAT || f->a[f->info->flags - 1] & (O_CREAT | O_TRUNC) ||
               (f->a[f->info->flags - 1] & __O_TMPFILE) == __O_TMPFILE;
    default:
        return 0;
    }
}

/* Another file behind a number that others may be writing to. */
static int replaces(const struct fl_frame *f) { return f->sym == FL_SYM_dup2 || f->sym == FL_SYM_dup3; }

int fl_datalog_wants(const struct fl_frame *f)
{
    if (!fl_ctl->datalog.capacity || !f->proc)
        return 0;
    if (replaces(f))
        return !f->foreign;
    if (!(fl_ctl->journal_ops[f->op >> 6] >> (f->op & 63) & 1))
        return 0;
    switch (f->info->family) {
    case FL_FAM_OPEN: return needs_lock(f);
    case FL_FAM_MMAP: return fl_mapped_wants(f);
    case FL_FAM_CLOSE: return f->op == FL_OP_CLOSE_RANGE || (f->kind == FL_KIND_FILE && !(!f->foreign && fl_fd_is_read_only(f->fd)));
    default: return 1;
    }
}

/* Every descriptor of a file that was open for writing, as far as the table knows it. */
static void write_down_range(struct fl_frame *f, struct fl_before *before)
{
    unsigned last = fl_fd_highest() < (unsigned)f->a[1] ? fl_fd_highest() : (unsigned)f->a[1];
    for (unsigned fd = (unsigned)f->a[0]; fd <= last && !(f->a[2] & 4 /* CLOSE_RANGE_CLOEXEC */); fd++) {
        uint32_t kind = FL_KIND_OTHER, path = fl_fd_stamp((int)fd) ? fl_fd_path((int)fd, &kind) : 0;
        if ((kind && kind != FL_KIND_FILE) || fl_fd_is_read_only((int)fd) || !(before->file = fl_fileid_closing(f, (int)fd)).inode)
            continue;
        struct fl_frame one = *f;
        one.fd = (int)fd;
        one.path = path;
        one.kind = FL_KIND_FILE;
        int lock = fl_datalog_lock(f->proc);
        if (lock)
            fl_datalog_write_down(&one, before, 0);
        fl_datalog_unlock(lock);
    }
    before->file.inode = 0;
}

/* One that does not come back is written down before it is made. */
static void write_down_exit(struct fl_frame *f, const struct fl_before *before)
{
    if (f->op == FL_OP_EXIT && f->sym != FL_SYM_quick_exit)
        fl_mapped_before(f); /* its handlers and destructors are still to come */
    else
        fl_mapped_leave();
    int lock = fl_datalog_lock(f->proc);
    f->state = FL_CALL_BEGUN;
    if (lock)
        fl_datalog_write_down(f, before, 0);
    fl_datalog_unlock(lock);
}

/* What handlers have written before matters no more: what they write from here on may be in the call's way. */
static void expect_a_write(const struct fl_frame *f, struct fl_before *before)
{
    before->file = fl_fileid_writing(f, before->stamp);
    fl_thread.run = (struct fl_run){.device = before->file.device, .inode = before->file.inode};
}

void fl_datalog_begin(struct fl_frame *f, struct fl_before *before)
{
    before->head = __atomic_load_n(&fl_ctl->datalog.head, __ATOMIC_ACQUIRE);
    before->run = fl_thread.run;
    before->lock = FL_LOCK_NONE;
    fl_thread.run = (struct fl_run){0};
    if (needs_lock(f))
        before->lock = fl_datalog_lock(f->proc);
    before->stamp = f->fd >= 0 ? fl_fileid_stamp(f, f->fd) : 0; /* behind the lock, as another's dup2 may have had it */
    before->file.inode = 0;
    before->has_looked = f->info->family != FL_FAM_EXIT && fl_mapped_before(f);
    if (before->has_looked)
        before->head = __atomic_load_n(&fl_ctl->datalog.head, __ATOMIC_ACQUIRE); /* what was found comes before it */
    if (before->lock && f->info->family == FL_FAM_WRITE)
        expect_a_write(f, before);
    if (f->info->family == FL_FAM_EXIT)
        write_down_exit(f, before);
    else if (f->op == FL_OP_CLOSE)
        before->file = fl_fileid_closing(f, f->fd);
    else if (f->op == FL_OP_CLOSE_RANGE)
        write_down_range(f, before);
}

/* Of what failed only a sync is worth an entry: what it was to save is lost; and a close, which closes all the same. */
static int is_worth_it(const struct fl_frame *f, const struct fl_before *before, long result)
{
    switch (f->info->family) {
    case FL_FAM_FSYNC: return 1;
    case FL_FAM_CLOSE: return before->file.inode != 0;
    case FL_FAM_TRACK: case FL_FAM_MMAP: return 0;
    default: return fl_outcome(f->info, result) >= 0;
    }
}

/* The child of a handler's fork, back in the call that the handler came in between of, does not have the lock that was taken. */
static int still_has(struct fl_frame *f, int lock)
{
    if (lock != FL_LOCK_TAKEN || fl_datalog_is_mine(f->proc))
        return lock;
    f->proc = fl_here(&f->foreign);
    return FL_LOCK_NONE;
}

void fl_datalog_end(struct fl_frame *f, struct fl_before *before, long result)
{
    int error = errno, lock = before->lock = still_has(f, before->lock);
    struct fl_run own = {0};
    if (f->info->family == FL_FAM_MMAP || f->info->family == FL_FAM_TRUNCATE || f->info->family == FL_FAM_ALLOCATE)
        fl_mapped_after(f, lock, result);
    if (f->proc && is_worth_it(f, before, result)) {
        if (lock || (lock = fl_datalog_lock(f->proc)))
            own = fl_datalog_write_down(f, before, result);
        else
            __atomic_add_fetch(&fl_ctl->datalog.unlogged, 1, __ATOMIC_RELAXED);
    }
    if (before->has_looked && lock)
        fl_mapped_seen();
    fl_thread.run = lock == FL_LOCK_NESTED ? fl_run_join(before->run, fl_run_join(fl_thread.run, own)) : before->run;
    fl_datalog_unlock(lock);
    errno = error;
}

/* The flags are everybody's who has the descriptor, in whatever process. */
int fl_datalog_set_flags(long (*call)(int fd, long flags), int fd, long flags)
{
    int foreign;
    const struct fl_proc *proc = fl_here(&foreign);
    int error = errno, lock = proc ? fl_datalog_lock(proc) : FL_LOCK_NONE;
    errno = error;
    int result = (int)call(fd, flags);
    error = errno;
    __atomic_add_fetch(&fl_ctl->datalog.flag_changes, 1, __ATOMIC_SEQ_CST);
    fl_datalog_unlock(lock);
    errno = error;
    return result;
}

/* Libraries that make system calls of their own, which pass nobody by. Constructor only: later the list may be changing. */
void fl_datalog_look_around(const struct link_map *maps)
{
    for (; maps; maps = maps->l_next) {
        const char *slash = strrchr(maps->l_name, '/'), *name = slash ? slash + 1 : maps->l_name;
        uint32_t unseen = !strncmp(name, "libaio.so", 9) ? FL_PROC_NATIVE_AIO : !strncmp(name, "liburing", 8) ? FL_PROC_IO_URING : 0;
        if (unseen)
            __atomic_fetch_or(&fl_ctl->datalog.unseen, unseen, __ATOMIC_RELAXED);
    }
}
