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
static struct file file_of(int fd, uint32_t stamp, int wants_status)
{
    uint32_t changes = __atomic_load_n(&fl_ctl->datalog.flag_changes, __ATOMIC_ACQUIRE) + 1;
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

/* Copies say where they write by a pointer, which has moved on. */
static const int64_t *pointed_offset(const struct fl_frame *f)
{
    return f->op == FL_OP_COPY_FILE_RANGE || f->op == FL_OP_SPLICE ? (const int64_t *)f->a[3] : NULL;
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
    if (!f->info->offset || f->a[f->info->offset - 1] == -1)
        return (uint64_t)(fl_sys3(SYS_lseek, f->fd, 0, SEEK_CUR) - result);
    if ((status & O_APPEND) || (f->op == FL_OP_PWRITEV2 && f->a[f->info->flags - 1] & RWF_APPEND)) /* whatever the arguments say */
        return size_of(f->fd) - (uint64_t)result;
    return (uint64_t)f->a[f->info->offset - 1];
}

/* In either order. */
struct fl_run fl_run_join(struct fl_run before, struct fl_run more)
{
    if (more.start == more.end)
        return before;
    if (before.start == before.end || before.device != more.device || before.inode != more.inode)
        return more;
    if (more.start == before.end)
        more.start = before.start;
    else if (more.end == before.start)
        more.end = before.end;
    return more;
}

/* Handlers that have written after this call and before we asked are counted with it: where it seems to end is in the middle of their
 * run, or at the end of it. The run of those that wrote before it ends where it begins. */
static uint64_t behind_ours(const struct fl_fileid *file, long result, const struct fl_run *nested)
{
    uint64_t end = file->position + (uint64_t)result;
    int is_behind = nested->start < end && end <= nested->end && nested->inode == file->inode && nested->device == file->device;
    return is_behind ? end - nested->start : 0;
}

struct fl_fileid fl_fileid_of(const struct fl_frame *f, long result, uint32_t stamp, const struct fl_run *nested)
{
    struct stat st;
    int writes = f->info->family == FL_FAM_WRITE;
    if (f->info->result != FL_RESULT_FD && !f->info->fd)
        return find(f, &st) ? (struct fl_fileid){st.st_dev, st.st_ino, 0, 0} : (struct fl_fileid){0};
    struct file file = f->info->fd ? file_of(f->fd, stamp, writes) : file_of((int)result, 0, 0);
    struct fl_fileid id = {file.device, file.inode, 0, 0};
    if (writes && file.is_regular) {
        id.status = file.status;
        id.position = position_of(f, file.status, result);
        if (fl_unlikely(nested->end))
            id.position -= behind_ours(&id, result, nested);
    }
    return id;
}
