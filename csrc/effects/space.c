/* A disk with so many bytes left. Growth takes from them: the last write that fits only in part is done in part, the next one
 * fails with ENOSPC. Shrinking, unlinking and replacing give back. The rule fires when it says no. */
#include "effects.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static void give(struct fl_tally *tally, uint64_t bytes) { __atomic_add_fetch(&tally->space_left, bytes, __ATOMIC_ACQ_REL); }

static uint64_t take(struct fl_tally *tally, uint64_t bytes)
{
    uint64_t left = __atomic_load_n(&tally->space_left, __ATOMIC_ACQUIRE), got;
    do
        got = left < bytes ? left : bytes;
    while (!__atomic_compare_exchange_n(&tally->space_left, &left, left - got, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    return got;
}

static uint64_t fd_size(int fd)
{
    struct stat st;
    return fl_sys3(SYS_fstat, fd, &st, 0) < 0 ? 0 : (uint64_t)st.st_size;
}

/* The size of what a name stands for, 0 if other names keep it. */
static uint64_t name_size(int dirfd, const char *path, int only_last)
{
    struct stat st;
    if (fl_sys(FL_SYS_FSTATAT, dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) || (only_last && st.st_nlink > 1))
        return 0;
    return (uint64_t)st.st_size;
}

static uint64_t write_start(const struct fl_frame *f, uint64_t size)
{
    if (f->info->offset)
        return (uint64_t)f->a[f->info->offset - 1];
    long flags = fl_sys3(SYS_fcntl, f->fd, F_GETFL, 0);
    if (flags >= 0 && (flags & O_APPEND))
        return size;
    long at = fl_sys3(SYS_lseek, f->fd, 0, 1);
    return at < 0 ? size : (uint64_t)at;
}

static long grow_by_write(struct fl_frame *f, struct fl_tally *tally)
{
    uint64_t bytes = fl_call_size(f), size = fd_size(f->fd), end = write_start(f, size) + bytes;
    uint64_t growth = end > size ? end - size : 0, got = take(tally, growth), keep = bytes - (growth - got > bytes ? bytes : growth - got);
    if (growth && !keep && bytes) {
        give(tally, got);
        return fl_fail(f, ENOSPC);
    }
    long result = keep == bytes ? fl_invoke(f) : fl_invoke_part(f, keep);
    uint64_t now = fd_size(f->fd), grown = now > size ? now - size : 0;
    if (grown < got)
        give(tally, got - grown);
    f->injected = keep != bytes ? FL_INJECTED : FL_LEFT_ALONE;
    return result;
}

static long resize(struct fl_frame *f, struct fl_tally *tally, uint64_t before, uint64_t wanted)
{
    uint64_t growth = wanted > before ? wanted - before : 0, got = take(tally, growth);
    if (got < growth) {
        give(tally, got);
        return fl_fail(f, ENOSPC);
    }
    long result = fl_invoke(f);
    f->injected = FL_LEFT_ALONE;
    if (f->info->result == FL_RESULT_CODE ? result != 0 : result < 0)
        give(tally, growth);
    else if (wanted < before)
        give(tally, before - wanted);
    return result;
}

/* A name goes away, or its contents do. */
static long shrink(struct fl_frame *f, struct fl_tally *tally, uint64_t bytes)
{
    long result = fl_invoke(f);
    int error = errno;
    f->injected = FL_LEFT_ALONE;
    if (result >= 0)
        give(tally, bytes);
    errno = error;
    return result;
}

static int directory_of(const struct fl_frame *f, int place) { return place ? (int)f->a[place - 1] : AT_FDCWD; }

FL_EFFECT(space)
{
    struct fl_tally *tally = &FL_AREA(struct fl_tally, tallies_off)[choice->rule->id];
    const struct fl_op_info *info = f->info;
    const char *path = info->path ? (const char *)f->a[info->path - 1] : NULL;
    int dirfd = directory_of(f, info->dirfd);
    switch (info->family) {
    case FL_FAM_WRITE:
        return grow_by_write(f, tally);
    case FL_FAM_TRUNCATE:
        return resize(f, tally, path ? name_size(dirfd, path, 0) : fd_size(f->fd), (uint64_t)f->a[info->size - 1]);
    case FL_FAM_ALLOCATE: {
        uint64_t before = fd_size(f->fd), end = (uint64_t)f->a[info->offset - 1] + (uint64_t)f->a[info->size - 1];
        return resize(f, tally, before, end > before ? end : before);
    }
    case FL_FAM_UNLINK:
        return shrink(f, tally, name_size(dirfd, path, 1));
    case FL_FAM_RENAME:
        return shrink(f, tally, name_size(directory_of(f, info->dirfd2), (const char *)f->a[info->path2 - 1], 1));
    case FL_FAM_OPEN:
        if (f->op == FL_OP_CREAT || (f->a[info->flags - 1] & O_TRUNC))
            return shrink(f, tally, name_size(dirfd, path, 0));
        break;
    }
    f->injected = FL_LEFT_ALONE;
    return fl_invoke(f);
}
