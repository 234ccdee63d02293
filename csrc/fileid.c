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

static int find(const struct fl_frame *f, long result, struct stat *st)
{
    const struct fl_op_info *info = f->info;
    if (info->result == FL_RESULT_FD)
        return fl_sys3(SYS_fstat, result, st, 0) == 0;
    if (info->fd)
        return fl_sys3(SYS_fstat, f->fd, st, 0) == 0;
    if (info->path2)
        return stat_name(f, info->dirfd2, info->path2, AT_SYMLINK_NOFOLLOW, st);
    if (info->family == FL_FAM_MKDIR)
        return stat_name(f, info->dirfd, info->path, AT_SYMLINK_NOFOLLOW, st);
    if (info->family == FL_FAM_TRUNCATE)
        return stat_name(f, 0, info->path, 0, st);
    return 0;
}

/* Copies say where they write by a pointer, which has moved on. */
static const int64_t *pointed_offset(const struct fl_frame *f)
{
    return f->op == FL_OP_COPY_FILE_RANGE || f->op == FL_OP_SPLICE ? (const int64_t *)f->a[3] : NULL;
}

static uint64_t position_of(const struct fl_frame *f, const struct stat *st, uint32_t status, long result)
{
    const int64_t *pointed = pointed_offset(f);
    int has_place = f->info->offset && f->a[f->info->offset - 1] != -1;
    if (f->op == FL_OP_FICLONE)
        return 0;
    if ((status & O_APPEND) || (f->op == FL_OP_PWRITEV2 && f->a[f->info->flags - 1] & RWF_APPEND)) /* whatever the arguments say */
        return (uint64_t)(st->st_size - result);
    if (pointed)
        return (uint64_t)(*pointed - result);
    if (has_place)
        return (uint64_t)f->a[f->info->offset - 1];
    return (uint64_t)(fl_sys3(SYS_lseek, f->fd, 0, SEEK_CUR) - result);
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

struct fl_fileid fl_fileid_of(const struct fl_frame *f, long result, const struct fl_run *nested)
{
    struct stat st;
    struct fl_fileid file = {0};
    if (!find(f, result, &st))
        return file;
    file.device = st.st_dev;
    file.inode = st.st_ino;
    if (f->info->family == FL_FAM_WRITE && S_ISREG(st.st_mode)) {
        file.status = (uint32_t)fl_sys3(SYS_fcntl, f->fd, F_GETFL, 0);
        file.position = position_of(f, &st, file.status, result);
        if (fl_unlikely(nested->end))
            file.position -= behind_ours(&file, result, nested);
    }
    return file;
}
