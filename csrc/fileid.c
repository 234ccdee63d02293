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

/* Whether a file has the data of this call there. */
static int has_data(const struct fl_frame *f, uint64_t position, long result)
{
    char link[32], piece[256];
    const char *data = (const char *)f->a[f->info->buf - 1];
    fl_fd_link(link, f->fd);
    long fd = fl_sys(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0), n, same = 1;
    for (long at = 0; same && at < result; at += n) {
        n = result - at < (long)sizeof piece ? result - at : (long)sizeof piece;
        same = fl_sys(SYS_pread64, fd, piece, n, position + (uint64_t)at) == n && !memcmp(piece, data + at, (size_t)n);
    }
    if (fd >= 0)
        fl_sys1(SYS_close, fd);
    return (int)same;
}

struct fl_fileid fl_fileid_of(const struct fl_frame *f, long result, uint64_t nested_bytes)
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
        /* A handler has written after this call and before we asked: to the same place, if the data are not where they should be. */
        if (fl_unlikely(nested_bytes) && f->info->buf && !has_data(f, file.position, result) && has_data(f, file.position - nested_bytes, result))
            file.position -= nested_bytes;
    }
    return file;
}
