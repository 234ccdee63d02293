/* How much room files take, see growth.h. */
#include "growth.h"
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#define EXTENTS 8
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

static struct fl_file described(long failed, const struct stat *st)
{
    if (failed < 0 || !S_ISREG(st->st_mode))
        return (struct fl_file){0};
    return (struct fl_file){.size = (uint64_t)st->st_size, .allocated = (uint64_t)st->st_blocks * 512, .links = st->st_nlink,
                            .id = fl_mix(st->st_dev, st->st_ino), .is_file = 1};
}

struct fl_file fl_file_of(int fd)
{
    struct stat st;
    return described(fl_sys3(SYS_fstat, fd, &st, 0), &st);
}

struct fl_file fl_file_named(int dirfd, const char *path, int follow)
{
    struct stat st;
    return described(fl_sys(FL_SYS_FSTATAT, dirfd, path, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW), &st);
}

static int is_sparse(const struct fl_file *file) { return file->allocated < file->size; }

uint64_t fl_file_data(const struct fl_file *file) { return is_sparse(file) ? file->allocated : file->size; }

/* A position that a call was given by a pointer, or that of the descriptor; negative: it has none. */
static int64_t position(int fd, const int64_t *given)
{
    return fl_readable(given) ? *given : fl_sys3(SYS_lseek, fd, 0, SEEK_CUR);
}

/* Where copies have a pointer to a position, it follows the descriptor. */
uint64_t fl_write_start(const struct fl_frame *f, uint64_t size)
{
    const struct fl_op_info *info = f->info;
    const int64_t *given = info->source && info->fd == 3 ? (const int64_t *)f->a[info->fd] : NULL;
    long flags = fl_sys3(SYS_fcntl, f->fd, F_GETFL, 0);
    if ((flags >= 0 && (flags & O_APPEND)) || (f->op == FL_OP_PWRITEV2 && (f->a[info->flags - 1] & RWF_APPEND)))
        return size;
    if (info->offset && f->a[info->offset - 1] >= 0)
        return (uint64_t)f->a[info->offset - 1];
    int64_t at = position(f->fd, given);
    return at < 0 ? size : (uint64_t)at;
}

uint64_t fl_write_bytes(const struct fl_frame *f)
{
    const struct fl_op_info *info = f->info;
    uint64_t bytes = fl_call_size(f);
    if (!info->source)
        return bytes;
    int fd = (int)f->a[info->source - 1];
    struct fl_file source = fl_file_of(fd);
    int64_t at = position(fd, (const int64_t *)f->a[info->source]);
    uint64_t left = at >= 0 && (uint64_t)at < source.size ? source.size - (uint64_t)at : 0;
    return source.is_file && left < bytes ? left : bytes;
}

/* tmpfs has no extents, but what it holds is in the page cache, or was and is swapped out. Linux 6.5 and later count that. */
static uint64_t cached(int fd, uint64_t from, uint64_t to)
{
    struct statfs fs;
    uint64_t range[2] = {from, to - from}, counts[5]; /* cache, dirty, writeback, evicted, recently evicted */
    if (fl_sys3(SYS_fstatfs, fd, &fs, 0) < 0 || fs.f_type != TMPFS_MAGIC || fl_sys(SYS_cachestat, fd, range, counts, 0) < 0)
        return ~0ull;
    uint64_t bytes = (counts[0] + counts[3]) * (uint64_t)fs.f_bsize;
    return bytes < to - from ? bytes : to - from;
}

/* Bytes that there is room for already in [from, to); ~0: the file system does not tell. */
static uint64_t covered(int fd, uint64_t from, uint64_t to)
{
    struct { struct fiemap head; struct fiemap_extent extent[EXTENTS]; } ask;
    uint64_t sum = 0;
    while (from < to) {
        ask.head = (struct fiemap){.fm_start = from, .fm_length = to - from, .fm_extent_count = EXTENTS};
        if (fl_sys3(SYS_ioctl, fd, FS_IOC_FIEMAP, &ask) < 0)
            return cached(fd, from, to);
        uint64_t before = from;
        for (uint32_t i = 0; i < ask.head.fm_mapped_extents && i < EXTENTS; i++) {
            uint64_t begin = ask.extent[i].fe_logical, end = begin + ask.extent[i].fe_length;
            begin = begin > from ? begin : from;
            end = end < to ? end : to;
            sum += end > begin ? end - begin : 0;
            from = end > from ? end : from;
        }
        if (from == before || ask.head.fm_mapped_extents < EXTENTS)
            break;
    }
    return sum;
}

static uint64_t holes(int fd, const struct fl_file *file, uint64_t from, uint64_t to)
{
    if (!is_sparse(file) || from >= to)
        return 0;
    uint64_t there = covered(fd, from, to), most = file->size - file->allocated;
    if (there != ~0ull)
        return to - from - there;
    return most < to - from ? most : to - from;
}

static uint64_t beyond(const struct fl_file *file, uint64_t start, uint64_t end)
{
    uint64_t from = start > file->size ? start : file->size;
    return end > from ? end - from : 0;
}

uint64_t fl_growth(int fd, const struct fl_file *file, uint64_t start, uint64_t bytes)
{
    uint64_t end = start + bytes;
    return beyond(file, start, end) + holes(fd, file, start, end < file->size ? end : file->size);
}

uint64_t fl_grown(int fd, const struct fl_file *before, uint64_t start, uint64_t bytes)
{
    uint64_t sum = beyond(before, start, start + bytes);
    if (!is_sparse(before) || start >= before->size || !bytes)
        return sum;
    uint64_t now = fl_file_of(fd).allocated, more = now > before->allocated ? now - before->allocated : 0;
    return more > sum ? more : sum;
}
