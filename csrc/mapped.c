/* Stores through shared mappings of files: which there are, and when they are looked at. See mapped.h. From any context. */
#include "journal.h"
#include "mapped.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define MOST 64
#define PAGE 4096ul
#define MOST_COPIED (64ull << 20)

static struct fl_map maps[MOST];
static uint32_t known;           /* places in use, or that were */
static int is_busy;              /* a handler that comes meanwhile finds the table in the making */
static int has_left;             /* all is written down, and nothing more will be */

static struct fl_datalog *datalog(void) { return &fl_ctl->datalog; }

/* The lock, and the table; without either, there is something to complain about. */
static int enter(const struct fl_proc *proc)
{
    int lock = fl_datalog_lock(proc);
    if (!lock || (lock == FL_LOCK_NESTED && is_busy)) { /* a handler, in the middle of it */
        fl_mapped_complain(0);
        return FL_LOCK_NONE;
    }
    is_busy = 1;
    return lock;
}

static void leave(int lock)
{
    if (lock)
        is_busy = 0;
    fl_datalog_unlock(lock);
}

/* All that overlaps, and belongs to this file if one is given. */
static void look_at(struct fl_proc *proc, uintptr_t start, uintptr_t end, uint64_t device, uint64_t inode)
{
    for (uint32_t i = 0; i < known; i++) {
        struct fl_map *map = &maps[i];
        if (!map->copy || start >= map->end || end <= map->start || (inode && (inode != map->inode || device != map->device)))
            continue;
        fl_mapped_see_size(map);
        fl_mapped_look(proc, map, start > map->start ? start & ~(PAGE - 1) : map->start, end < map->end ? end : map->end);
    }
}

/* `old` is the copy of its first `n` bytes, if there was one: what was stored since is still to be found. */
static void copy_now(struct fl_map *map, const char *old, uint64_t n)
{
    uint64_t bytes = map->end - map->start;
    if (__atomic_add_fetch(&datalog()->maps_copied, bytes, __ATOMIC_RELAXED) <= MOST_COPIED) {
        long at = fl_sys6(SYS_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if ((unsigned long)at < -4095ul) {
            map->copy = (char *)at;
            __atomic_add_fetch(&datalog()->maps_open, 1, __ATOMIC_RELAXED);
            n = n < bytes ? n : bytes;
            memcpy(map->copy, old, n);
            if (n < bytes)
                fl_mapped_look(NULL, map, map->start + n, map->end);
            return;
        }
    }
    __atomic_sub_fetch(&datalog()->maps_copied, bytes, __ATOMIC_RELAXED);
    fl_mapped_complain(map->path);
}

static void let_go(struct fl_map *map)
{
    if (map->copy) {
        fl_sys3(SYS_munmap, map->copy, map->end - map->start, 0);
        __atomic_sub_fetch(&datalog()->maps_copied, map->end - map->start, __ATOMIC_RELAXED);
        __atomic_sub_fetch(&datalog()->maps_open, 1, __ATOMIC_RELAXED);
    }
    *map = (struct fl_map){0};
}

static void add(struct fl_map map)
{
    for (uint32_t i = 0; i < MOST; i++)
        if (!maps[i].end) {
            maps[i] = map;
            known = i < known ? known : i + 1;
            return;
        }
    fl_mapped_complain(map.path);
    if (map.copy)
        let_go(&map);
}

/* A part of a mapping that has changed its place, or its neighbours. */
static void add_part(const struct fl_map *whole, uintptr_t start, uintptr_t end, uint64_t skip)
{
    struct fl_map part = *whole;
    part.start = start;
    part.end = end;
    part.position += skip;
    part.copy = NULL;
    uint64_t left = whole->end - whole->start - skip;
    if (start < end && whole->copy)
        copy_now(&part, whole->copy + skip, left);
    if (start < end)
        add(part);
}

static void forget(uintptr_t start, uintptr_t end)
{
    for (uint32_t i = 0; i < known; i++) {
        struct fl_map map = maps[i];
        if (start >= map.end || end <= map.start)
            continue;
        maps[i] = (struct fl_map){0};
        add_part(&map, map.start, start, 0);
        add_part(&map, end, map.end, end - map.start);
        let_go(&map);
    }
}

static uintptr_t end_of(uintptr_t at, uint64_t n) { return (at + n + PAGE - 1) & ~(PAGE - 1); }

static int overlaps(uintptr_t start, uintptr_t end)
{
    for (uint32_t i = 0; i < known; i++)
        if (start < maps[i].end && end > maps[i].start)
            return 1;
    return 0;
}

struct fl_fileid fl_mapped_file(uintptr_t at)
{
    for (uint32_t i = 0; i < known; i++)
        if (at >= maps[i].start && at < maps[i].end)
            return (struct fl_fileid){maps[i].device, maps[i].inode, 0, 0};
    return (struct fl_fileid){0};
}

static int is_shared(const struct fl_frame *f)
{
    return (f->a[3] & MAP_TYPE) != MAP_PRIVATE && !(f->a[3] & MAP_ANONYMOUS) && f->fd >= 0 && f->kind == FL_KIND_FILE;
}

int fl_mapped_wants(const struct fl_frame *f)
{
    uintptr_t at = (uintptr_t)f->a[0], end = end_of(at, (uint64_t)f->a[1]);
    if (f->foreign)
        return 0;
    return f->op == FL_OP_MMAP ? is_shared(f) || (f->a[3] & MAP_FIXED && overlaps(at, end)) : overlaps(at, end);
}

void fl_mapped_before(struct fl_frame *f)
{
    uintptr_t start = 0, end = UINTPTR_MAX;
    struct stat st = {.st_ino = 0};
    if (fl_likely(!known) || f->foreign)
        return;
    if (f->op == FL_OP_MSYNC || f->info->family == FL_FAM_MMAP) {
        start = (uintptr_t)f->a[0];
        end = end_of(start, (uint64_t)f->a[1]);
    } else if (f->info->fd && f->op != FL_OP_SYNCFS && fl_sys3(SYS_fstat, f->fd, &st, 0)) {
        return;
    }
    if (!overlaps(start, end))
        return;
    int lock = enter(f->proc);
    if (lock)
        look_at(f->proc, start, end, st.st_dev, st.st_ino);
    leave(lock);
}

static void begin_map(const struct fl_frame *f, uintptr_t at)
{
    struct stat st;
    struct fl_map map = {.start = at, .end = end_of(at, (uint64_t)f->a[1]), .position = (uint64_t)f->a[5], .path = f->path};
    if (fl_sys3(SYS_fstat, f->fd, &st, 0) || !S_ISREG(st.st_mode) || (fl_sys3(SYS_fcntl, f->fd, F_GETFL, 0) & O_ACCMODE) != O_RDWR)
        return;
    map.device = st.st_dev;
    map.inode = st.st_ino;
    map.size = (uint64_t)st.st_size;
    if (f->a[2] & PROT_WRITE)
        copy_now(&map, NULL, 0);
    add(map);
}

/* The file of this descriptor has another size. */
static void see_sizes(int fd)
{
    struct stat st;
    int is_there = !fl_sys3(SYS_fstat, fd, &st, 0);
    for (uint32_t i = 0; is_there && i < known; i++)
        if (maps[i].inode == st.st_ino && maps[i].device == st.st_dev)
            maps[i].size = (uint64_t)st.st_size;
}

void fl_mapped_after(struct fl_frame *f, int lock, long result)
{
    uintptr_t at = (uintptr_t)(f->op == FL_OP_MMAP ? result : f->a[0]);
    if (fl_outcome(f->info, result) < 0)
        return;
    if (f->info->family != FL_FAM_MMAP) {
        if (known && f->info->fd && !is_busy)
            see_sizes(f->fd);
        return;
    }
    if (!lock || is_busy) {
        fl_mapped_complain(f->path);
        return;
    }
    is_busy = 1;
    forget(at, end_of(at, (uint64_t)f->a[1]));
    if (f->op == FL_OP_MMAP && is_shared(f))
        begin_map(f, at);
    is_busy = 0;
}

static uint64_t copies(uint64_t *bytes)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < known; i++)
        if (maps[i].copy) {
            *bytes += maps[i].end - maps[i].start;
            n++;
        }
    return n;
}

void fl_mapped_leave(void)
{
    uint64_t bytes = 0;
    int foreign = 0;
    struct fl_proc *proc = known && !has_left ? fl_here(&foreign) : NULL;
    int lock = proc && !foreign ? enter(proc) : FL_LOCK_NONE;
    if (!lock)
        return;
    has_left = 1;
    look_at(proc, 0, UINTPTR_MAX, 0, 0);
    __atomic_sub_fetch(&datalog()->maps_open, (uint32_t)copies(&bytes), __ATOMIC_RELAXED);
    __atomic_sub_fetch(&datalog()->maps_copied, bytes, __ATOMIC_RELAXED);
    leave(lock);
}

void fl_mapped_stay(void)
{
    uint64_t bytes = 0;
    if (!has_left)
        return;
    has_left = 0;
    __atomic_add_fetch(&datalog()->maps_open, (uint32_t)copies(&bytes), __ATOMIC_RELAXED);
    __atomic_add_fetch(&datalog()->maps_copied, bytes, __ATOMIC_RELAXED);
}

void fl_mapped_after_fork(void)
{
    is_busy = 0;
    has_left = known && fl_ctl->datalog.capacity;
    fl_mapped_stay();
}

int fl_mapped_protect(int (*call)(void *at, size_t n, int protection), void *at, size_t n, int protection)
{
    int foreign, error = errno;
    uintptr_t start = (uintptr_t)at, end = end_of(start, n);
    struct fl_proc *proc = overlaps(start, end) ? fl_here(&foreign) : NULL;
    int lock = proc && !foreign ? enter(proc) : FL_LOCK_NONE;
    if (!lock)
        return call(at, n, protection);
    look_at(proc, start, end, 0, 0); /* as long as it can be read */
    errno = error;
    int result = call(at, n, protection);
    error = errno;
    for (uint32_t i = 0; i < known && !result && protection & PROT_WRITE; i++)
        if (start < maps[i].end && end > maps[i].start && !maps[i].copy)
            copy_now(&maps[i], NULL, 0);
    leave(lock);
    errno = error;
    return result;
}

/* The mapping in which it begins says of which file it is. */
static void move(uint32_t place, uintptr_t start, uintptr_t end, int stays, uintptr_t to, uintptr_t to_end)
{
    struct fl_map was = place < known ? maps[place] : (struct fl_map){0};
    if (was.end)
        maps[place] = (struct fl_map){0};
    else
        forget(start, end);
    forget(to, to_end);
    if (!was.end)
        return;
    add_part(&was, was.start, stays ? was.end : start, 0);
    if (!stays)
        add_part(&was, end, was.end, end - was.start);
    add_part(&was, to, to_end, start - was.start);
    let_go(&was);
}

void *fl_mapped_move(void *(*call)(void *, size_t, size_t, int, void *), void *from, size_t n, size_t bytes, int flags, void *to)
{
    int foreign, error = errno;
    uintptr_t start = (uintptr_t)from, end = end_of(start, n ? n : 1);
    struct fl_proc *proc = overlaps(start, end) || (flags & MREMAP_FIXED && known) ? fl_here(&foreign) : NULL;
    int lock = proc && !foreign ? enter(proc) : FL_LOCK_NONE;
    if (!lock)
        return call(from, n, bytes, flags, to);
    look_at(proc, 0, UINTPTR_MAX, 0, 0);
    uint32_t place = 0;
    while (place < known && !(start >= maps[place].start && start < maps[place].end))
        place++;
    errno = error;
    void *result = call(from, n, bytes, flags, to);
    error = errno;
    if (result != MAP_FAILED)
        move(place, start, end, !n || flags & 4 /* MREMAP_DONTUNMAP */, (uintptr_t)result, end_of((uintptr_t)result, bytes));
    leave(lock);
    errno = error;
    return result;
}
