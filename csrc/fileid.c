/* Which file a call has changed, and where in it: asked of the kernel right after the call, under the same lock. From any context. */
#include "datalog.h"
#include "sys.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* By the name that it has now. */
static int stat_name(const struct fl_frame *f, int dirfd, int path, int flags, struct stat *st)
{
    int dir = dirfd ? (int)f->a[dirfd - 1] : AT_FDCWD;
    return fl_sys(FL_SYS_FSTATAT, dir, f->a[path - 1], st, flags) == 0;
}

/* Of what has no descriptor. */
static int find(const struct fl_frame *f, struct stat *st)
{
    const struct fl_op_info *info = f->info;
    if (info->path2)
        return stat_name(f, info->dirfd2, info->path2, AT_SYMLINK_NOFOLLOW, st);
    if (info->family == FL_FAM_MKDIR)
        return stat_name(f, info->dirfd, info->path, AT_SYMLINK_NOFOLLOW, st);
    if (info->family == FL_FAM_TRUNCATE)
        return stat_name(f, 0, info->path, 0, st);
    return 0;
}

/* What the kernel said of descriptors, by their number; good while the stamp is that of the table, and the flags while nobody has
 * changed any. Only whoever has the log's lock writes here. */
struct file { uint64_t device, inode; uint32_t status, flag_changes, stamp, is_regular; };
static struct file files[FL_MAX_FDS];

/* 0: what is kept might be of another file, as descriptors may be closed behind our back. */
uint32_t fl_fileid_stamp(const struct fl_frame *f, int fd)
{
    int sees_closes = fl_close_entries && (f->proc->entries & fl_close_entries) == fl_close_entries && !(f->proc->flags & FL_PROC_IO_URING);
    return sees_closes && !f->foreign ? fl_fd_stamp(fd) : 0;
}

static int ask(int fd, struct file *file)
{
    struct stat st;
    if (fl_sys3(SYS_fstat, fd, &st, 0))
        return 0;
    *file = (struct file){.device = st.st_dev, .inode = st.st_ino, .is_regular = S_ISREG(st.st_mode)};
    return 1;
}

/* Asks the kernel for what is not kept. Its flags are kept only of what this program opened: others, whom we do not see, may have a
 * received or inherited one too. `stamp` is from before the call. */
static __attribute__((noinline)) struct file ask_for(int fd, uint32_t stamp, int wants_status, uint32_t changes)
{
    struct file file, *kept = stamp ? &files[fd] : NULL;
    if (kept && kept->stamp == stamp)
        file = *kept;
    else if (!ask(fd, &file))
        return (struct file){0};
    if (wants_status && file.flag_changes != changes) {
        file.status = (uint32_t)fl_sys3(SYS_fcntl, fd, F_GETFL, 0);
        file.flag_changes = fl_fd_is_ours(fd, stamp) ? changes : 0;
    }
    if (kept && (kept->stamp != stamp || kept->flag_changes != file.flag_changes)) {
        kept->stamp = 0;
        __atomic_signal_fence(__ATOMIC_SEQ_CST); /* a handler may come */
        *kept = (struct file){file.device, file.inode, file.status, file.flag_changes, 0, file.is_regular};
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        kept->stamp = stamp;
    }
    return file;
}

static const struct file *file_of(int fd, uint32_t stamp, int wants_status, struct file *own)
{
    uint32_t changes = __atomic_load_n(&fl_ctl->datalog.flag_changes, __ATOMIC_ACQUIRE) + 1;
    if (fl_likely(stamp && files[fd].stamp == stamp && (!wants_status || files[fd].flag_changes == changes)))
        return &files[fd];
    *own = ask_for(fd, stamp, wants_status, changes);
    return own;
}

struct fl_fileid fl_fileid_closing(const struct fl_frame *f, int fd)
{
    uint32_t stamp = fl_fileid_stamp(f, fd);
    struct file file = {.stamp = 0};
    if (stamp)
        file = files[fd]; /* without the lock: what others change meanwhile is seen by the stamp */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (!stamp || file.stamp != stamp || files[fd].stamp != stamp || !file.flag_changes) {
        uint32_t status = (uint32_t)fl_sys3(SYS_fcntl, fd, F_GETFL, 0);
        if ((int)status < 0 || (status & O_ACCMODE) == O_RDONLY || status & O_PATH || !ask(fd, &file))
            return (struct fl_fileid){0};
        file.status = status;
    }
    return file.is_regular ? (struct fl_fileid){file.device, file.inode, 0, file.status} : (struct fl_fileid){0};
}

struct fl_fileid fl_fileid_writing(const struct fl_frame *f, uint32_t stamp)
{
    struct file own;
    const struct file *file = file_of(f->fd, stamp, 1, &own);
    return (struct fl_fileid){file->device, file->inode, 0, file->is_regular ? file->status : 0};
}

/* Copies say where they write by a pointer, which has moved on. */
static const int64_t *pointed_offset(const struct fl_frame *f)
{
    return f->op == FL_OP_COPY_FILE_RANGE || f->op == FL_OP_SPLICE ? (const int64_t *)f->a[3] : NULL;
}

uint64_t fl_fileid_copied_from(const struct fl_frame *f, uint64_t bytes)
{
    const int64_t *pointed = (const int64_t *)f->a[f->op == FL_OP_SENDFILE ? 2 : 1];
    return (uint64_t)(pointed ? *pointed : fl_sys3(SYS_lseek, f->a[f->info->source - 1], 0, SEEK_CUR)) - bytes;
}

static uint64_t size_of(int fd)
{
    struct stat st;
    return fl_sys3(SYS_fstat, fd, &st, 0) ? 0 : (uint64_t)st.st_size;
}

/* A call that goes on from the descriptor's own position leaves that behind its data, also where it appends. */
static uint64_t position_of(const struct fl_frame *f, uint32_t status, long result)
{
    const int64_t *pointed = pointed_offset(f);
    if (f->op == FL_OP_FICLONE)
        return 0;
    if (pointed)
        return (uint64_t)(*pointed - result);
    if (!fl_says_where(f))
        return (uint64_t)(fl_sys3(SYS_lseek, f->fd, 0, SEEK_CUR) - result);
    return fl_appends(f, status) ? size_of(f->fd) - (uint64_t)result : (uint64_t)f->a[f->info->offset - 1];
}

/* In either order. What is of another file than `before` is does not matter. */
struct fl_run fl_run_join(struct fl_run before, struct fl_run more)
{
    if (more.start == more.end || (before.inode && (before.device != more.device || before.inode != more.inode)))
        return before;
    if (before.start == before.end)
        return more;
    if (more.start == before.end)
        more.start = before.start;
    else if (more.end == before.start)
        more.end = before.end;
    return more;
}

/* Handlers that have written after this call and before we asked are counted with it: where it seems to end is in the middle of their
 * run, or at the end of it. The run of those that wrote before it ends where it begins. */
static uint64_t behind_ours(const struct fl_fileid *file, uint64_t position, long result, const struct fl_run *nested)
{
    uint64_t end = position + (uint64_t)result;
    int is_behind = nested->start < end && end <= nested->end && nested->inode == file->inode && nested->device == file->device;
    return is_behind ? end - nested->start : 0;
}

uint64_t fl_fileid_position(const struct fl_frame *f, const struct fl_fileid *file, long result)
{
    uint64_t position = position_of(f, file->status, result);
    const struct fl_run *nested = &fl_thread.run; /* read after the kernel has answered */
    return fl_likely(!nested->end) ? position : position - behind_ours(file, position, result, nested);
}

/* Of a write. */
static struct fl_fileid written(const struct fl_frame *f, const struct fl_before *before, long result)
{
    struct fl_fileid id = before->file.inode ? before->file : fl_fileid_writing(f, before->stamp);
    int is_in_order = before->lock == FL_LOCK_TAKEN && !fl_thread.run.end; /* no handler has written in between */
    if (id.status)
        id.position = is_in_order && fl_appends(f, id.status) ? FL_AT_END : fl_fileid_position(f, &id, result);
    return id;
}

struct fl_fileid fl_fileid_of(const struct fl_frame *f, long result, const struct fl_before *before)
{
    struct stat st;
    if (f->info->family == FL_FAM_WRITE)
        return written(f, before, result);
    if (f->info->result != FL_RESULT_FD && !f->info->fd)
        return find(f, &st) ? (struct fl_fileid){.device = st.st_dev, .inode = st.st_ino} : (struct fl_fileid){0};
    struct file own;
    const struct file *file = f->info->fd ? file_of(f->fd, before->stamp, 0, &own) : file_of((int)result, 0, 0, &own);
    return (struct fl_fileid){.device = file->device, .inode = file->inode};
}
