/* A disk with so many bytes left, under the calls: it takes part in each that is really made (fl_invoke), whatever rule acts on
 * that call. Data that is new takes from the bytes, a hole takes nothing; the last write that fits only in part is done in part, the
 * next one fails with ENOSPC. Shrinking, unlinking and replacing give back. The rule fires where the disk says no. */
#include "growth.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>

static void give(struct fl_tally *disk, uint64_t bytes) { __atomic_add_fetch(&disk->space_left, bytes, __ATOMIC_ACQ_REL); }

static uint64_t take(struct fl_tally *disk, uint64_t bytes)
{
    uint64_t left = __atomic_load_n(&disk->space_left, __ATOMIC_ACQUIRE), got;
    do
        got = left < bytes ? left : bytes;
    while (!__atomic_compare_exchange_n(&disk->space_left, &left, left - got, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    return got;
}

/* So much was taken beforehand, and so much is really gone. */
static void settle(struct fl_tally *disk, uint64_t taken, uint64_t gone)
{
    if (gone > taken)
        take(disk, gone - taken);
    else
        give(disk, taken - gone);
}

static int succeeded(const struct fl_frame *f, long result) { return f->info->result == FL_RESULT_CODE ? !result : result >= 0; }

/* A rule refuses the calls that it names, at most `times`; the others only take and give. */
static int says_no(const struct fl_frame *f, const struct fl_choice *rule)
{
    return (rule->rule->ops[f->op / 64] >> f->op % 64 & 1) && fl_take_firing(rule);
}

/* What the rule does where the disk says no: the first `keep` bytes are written, none fails. */
static long refuse(struct fl_frame *f, const struct fl_choice *rule, uint64_t keep)
{
    int interrupted = rule->rule->delay_ns ? fl_wait(f, rule, fl_delay_ns(rule)) : 0;
    long result = interrupted ? fl_fail(f, interrupted) : keep ? fl_invoke_part(f, keep) : fl_fail(f, ENOSPC);
    if (!interrupted && keep && result != (long)keep)
        fl_not_fired(rule); /* something else was in the way first */
    else
        fl_book_disk(f, result, rule);
    return result;
}

static long write_to(struct fl_frame *f, struct fl_tally *disk, const struct fl_choice *rule)
{
    struct fl_file before = fl_file_of(f->fd);
    if (!before.is_file || f->info->result != FL_RESULT_COUNT)
        return fl_invoke(f);
    uint64_t start = fl_write_start(f, before.size), bytes = fl_write_bytes(f), wanted = fl_growth(f->fd, &before, start, bytes);
    uint64_t got = take(disk, wanted);
    long result = got < wanted && says_no(f, rule) ? refuse(f, rule, bytes - (wanted - got)) : fl_invoke(f);
    settle(disk, got, result > 0 ? fl_grown(f->fd, &before, start, (uint64_t)result) : 0);
    return result;
}

/* Contents become fewer, or more of a hole. */
static long resize(struct fl_frame *f, struct fl_tally *disk)
{
    const char *path = f->info->path ? (const char *)f->a[f->info->path - 1] : NULL;
    struct fl_file before = path ? fl_file_named(AT_FDCWD, path, 1) : fl_file_of(f->fd);
    long result = fl_invoke(f);
    struct fl_file after = path ? fl_file_named(AT_FDCWD, path, 1) : fl_file_of(f->fd);
    uint64_t were = fl_file_data(&before), are = fl_file_data(&after);
    if (succeeded(f, result) && after.is_file && are < were)
        give(disk, were - are);
    return result;
}

/* All or nothing. What is reserved beyond the end is not taken before it is written. */
static long allocate(struct fl_frame *f, struct fl_tally *disk, const struct fl_choice *rule)
{
    long mode = f->info->flags ? f->a[f->info->flags - 1] : 0;
    if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
        return resize(f, disk);
    struct fl_file before = fl_file_of(f->fd);
    uint64_t start = (uint64_t)f->a[f->info->offset - 1], bytes = (uint64_t)f->a[f->info->size - 1];
    uint64_t wanted = before.is_file ? fl_growth(f->fd, &before, start, bytes) : 0, got = take(disk, wanted);
    if (got < wanted && says_no(f, rule)) {
        give(disk, got);
        return refuse(f, rule, 0);
    }
    long result = fl_invoke(f);
    uint64_t gone = succeeded(f, result) && before.is_file ? fl_grown(f->fd, &before, start, bytes) : 0;
    if (gone && (mode & FALLOC_FL_KEEP_SIZE)) {
        uint64_t from = start > before.size ? start : before.size, later = start + bytes > from ? start + bytes - from : 0;
        gone -= later < gone ? later : gone;
    }
    settle(disk, got, gone);
    return result;
}

/* A name goes away, or what it stood for. */
static long free_up(struct fl_frame *f, struct fl_tally *disk, const struct fl_file *file)
{
    uint64_t bytes = fl_file_data(file);
    long result = fl_invoke(f);
    if (succeeded(f, result))
        give(disk, bytes);
    return result;
}

static int directory_of(const struct fl_frame *f, int place) { return place ? (int)f->a[place - 1] : AT_FDCWD; }

static long by_name(struct fl_frame *f, struct fl_tally *disk)
{
    const struct fl_op_info *info = f->info;
    const char *path = (const char *)f->a[info->path - 1];
    int dirfd = directory_of(f, info->dirfd);
    long flags = info->flags ? f->a[info->flags - 1] : 0;
    struct fl_file file = {0};
    if (info->family == FL_FAM_UNLINK) {
        file = fl_file_named(dirfd, path, 0);
    } else if (info->family == FL_FAM_RENAME && !(flags & RENAME_EXCHANGE)) {
        struct fl_file from = fl_file_named(dirfd, path, 0);
        file = fl_file_named(directory_of(f, info->dirfd2), (const char *)f->a[info->path2 - 1], 0);
        if (from.id == file.id) /* nothing is replaced */
            file.links = 0;
    } else if (info->family == FL_FAM_OPEN && (f->op == FL_OP_CREAT || (flags & O_TRUNC))) {
        file = fl_file_named(dirfd, path, !(flags & O_NOFOLLOW));
        file.links = 1;
    }
    if (file.links != 1) /* another name keeps it */
        file = (struct fl_file){0};
    return free_up(f, disk, &file);
}

/* A copy that a rule sees as a read of its source: as the write that it is too. */
static long as_write(struct fl_frame *f)
{
    struct fl_frame whole = *f;
    for (unsigned op = 0; op < FL_OPS; op++)
        if (fl_op_table[op].source && fl_op_table[op].from == f->op)
            whole.op = op;
    whole.info = &fl_op_table[whole.op];
    whole.fd = (int)f->a[whole.info->fd - 1];
    return fl_invoke_on_disk(&whole);
}

long fl_invoke_on_disk(struct fl_frame *f)
{
    if (f->info->family == FL_FAM_READ)
        return as_write(f);
    struct fl_choice rule = f->disk;
    f->disk.rule = NULL; /* the next fl_invoke is the call itself */
    if (!fl_fd_verify(f) || !fl_owner_alive())
        return fl_invoke(f);
    struct fl_tally *disk = &FL_AREA(struct fl_tally, tallies_off)[rule.rule->id];
    switch (f->info->family) {
    case FL_FAM_WRITE: return write_to(f, disk, &rule);
    case FL_FAM_TRUNCATE: return resize(f, disk);
    case FL_FAM_ALLOCATE: return allocate(f, disk, &rule);
    default: return by_name(f, disk);
    }
}
