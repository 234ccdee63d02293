/* Stores through shared mappings of files: when they are looked for. See mapped.h. From any context. */
#include "journal.h"
#include "mapped.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define SMALL (128ull << 10)         /* so many bytes are compared before each write to a file, too, which orders nothing */
#define MOST_COMPARED (16ull << 30) /* some ten seconds: then only what a call makes durable or ends */

static int is_busy;              /* a handler that comes meanwhile finds the table in the making */
static int has_left;             /* all is written down, and nothing more will be */
static uint64_t compared;        /* bytes so far */
static uint64_t seen;            /* the head of the log when last there was nothing stored that was not written down */

static struct fl_datalog *datalog(void) { return &fl_ctl->datalog; }

/* The lock, and the table. Without either there is something to complain about if what is stored must be found now, or never is. */
static int enter(const struct fl_proc *proc, int must)
{
    int lock = fl_datalog_lock(proc);
    if (!lock || (lock == FL_LOCK_NESTED && is_busy)) { /* a handler, in the middle of it */
        if (must)
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

static uint64_t head(void) { return __atomic_load_n(&datalog()->head, __ATOMIC_ACQUIRE); }

/* Part of memory, and of a file. */
struct part { uintptr_t start, end; uint64_t device, inode; };
static const struct part all_of_it = {0, UINTPTR_MAX, 0, 0};

/* All that overlaps, and belongs to this file if one is given. */
static void look(struct fl_proc *proc, const struct part *part, uint64_t since)
{
    uint32_t n;
    struct fl_map *map = fl_maps(&n);
    for (const struct fl_map *end = map + n; map < end; map++) {
        int is_other = part->inode && (part->inode != map->inode || part->device != map->device);
        if (!map->copy || part->start >= map->end || part->end <= map->start || is_other)
            continue;
        uintptr_t from = part->start > map->start ? part->start & ~(FL_PAGE - 1) : map->start;
        fl_mapped_look(proc, map, from, part->end < map->end ? part->end : map->end, since);
    }
}

static int has_time_for_all(void) { return compared + fl_maps_copied() <= MOST_COMPARED; }

static struct fl_looked *looked_at(const struct fl_map *map)
{
    return &datalog()->looked[(map->device ^ map->inode) % FL_MAPS_LOOKED];
}

/* Others may have looked at the same files since we did. */
static uint64_t last_look(void)
{
    uint64_t last = seen;
    uint32_t n;
    const struct fl_map *map = fl_maps(&n);
    for (const struct fl_map *end = map + n; map < end; map++) {
        const struct fl_looked *other = looked_at(map);
        int is_same = map->copy && other->inode == map->inode && other->device == map->device;
        int is_within = other->start <= map->position && map->position + (map->end - map->start) <= other->end;
        last = is_same && is_within && other->head > last ? other->head : last;
    }
    return last;
}

static void look_at_all(struct fl_proc *proc)
{
    compared += fl_maps_copied();
    look(proc, &all_of_it, last_look());
}

/* What it makes durable, or ends. */
static struct part part_of(const struct fl_frame *f)
{
    struct stat st;
    if (f->op == FL_OP_MSYNC || f->info->family == FL_FAM_MMAP)
        return (struct part){(uintptr_t)f->a[0], fl_page_end((uintptr_t)f->a[0], (uint64_t)f->a[1]), 0, 0};
    if (!f->info->fd || f->op == FL_OP_SYNCFS)
        return all_of_it;
    return fl_sys3(SYS_fstat, f->fd, &st, 0) ? (struct part){0} : (struct part){0, UINTPTR_MAX, st.st_dev, st.st_ino};
}

void fl_mapped_seen(void)
{
    uint32_t n;
    const struct fl_map *map = fl_maps(&n);
    seen = head();
    for (const struct fl_map *end = map + n; map < end; map++) {
        struct fl_looked *place = looked_at(map);
        if (!map->copy)
            continue;
        __atomic_store_n(&place->head, 0, __ATOMIC_SEQ_CST); /* whoever is killed in between has not looked */
        place->device = map->device;
        place->inode = map->inode;
        place->start = map->position;
        place->end = map->position + (map->end - map->start);
        __atomic_store_n(&place->head, seen, __ATOMIC_SEQ_CST);
    }
}

static int is_shared(const struct fl_frame *f)
{
    return (f->a[3] & MAP_TYPE) != MAP_PRIVATE && !(f->a[3] & MAP_ANONYMOUS) && f->fd >= 0 && f->kind == FL_KIND_FILE;
}

int fl_mapped_wants(const struct fl_frame *f)
{
    uintptr_t at = (uintptr_t)f->a[0], end = fl_page_end(at, (uint64_t)f->a[1]);
    if (f->foreign)
        return 0;
    return f->op == FL_OP_MMAP ? is_shared(f) || (f->a[3] & MAP_FIXED && fl_maps_overlap(at, end)) : fl_maps_overlap(at, end);
}

/* Whether it is durable when it returns. */
static int is_synced_write(const struct fl_frame *f)
{
    return (f->op == FL_OP_PWRITEV2 && f->a[f->info->flags - 1] & (RWF_SYNC | RWF_DSYNC)) ||
           (f->fd >= 0 && fl_sys3(SYS_fcntl, f->fd, F_GETFL, 0) & O_DSYNC);
}

/* Whether what was stored has a place before this call, which others that look at the files could tell. */
static int is_ordered_by(const struct fl_frame *f)
{
    switch (f->info->family) {
    case FL_FAM_CLOSE: case FL_FAM_ATTR: case FL_FAM_TRACK: return 0;
    case FL_FAM_WRITE: return f->kind != FL_KIND_FILE || fl_maps_copied() <= SMALL || is_synced_write(f);
    default: return 1;
    }
}

int fl_mapped_before(struct fl_frame *f)
{
    int must = f->info->family == FL_FAM_FSYNC || f->info->family == FL_FAM_MMAP || f->info->family == FL_FAM_EXIT;
    int all = has_time_for_all();
    if (fl_likely(!fl_maps_copied()) || f->foreign || !is_ordered_by(f) || !(all || must))
        return 0;
    struct part part = all ? all_of_it : part_of(f);
    int lock = enter(f->proc, must);
    if (lock && all)
        look_at_all(f->proc);
    else if (lock)
        look(f->proc, &part, head());
    leave(lock);
    return all && lock;
}

void fl_mapped_after(struct fl_frame *f, int lock, long result)
{
    uint32_t n;
    uintptr_t at = (uintptr_t)(f->op == FL_OP_MMAP ? result : f->a[0]);
    fl_maps(&n);
    if (fl_outcome(f->info, result) < 0)
        return;
    if (f->info->family != FL_FAM_MMAP) {
        if (n && f->info->fd && !is_busy)
            fl_maps_see_sizes(f->fd);
        return;
    }
    if (!lock || is_busy) {
        fl_mapped_complain(f->path);
        return;
    }
    is_busy = 1;
    fl_maps_forget(at, fl_page_end(at, (uint64_t)f->a[1]));
    if (f->op == FL_OP_MMAP && is_shared(f))
        fl_maps_begin(f, at);
    fl_mapped_seen();
    is_busy = 0;
}

static uint32_t copies(void)
{
    uint32_t known, n = 0;
    const struct fl_map *maps = fl_maps(&known);
    for (uint32_t i = 0; i < known; i++)
        n += maps[i].copy != NULL;
    return n;
}

void fl_mapped_leave(void)
{
    int foreign = 0;
    struct fl_proc *proc = fl_maps_copied() && !has_left ? fl_here(&foreign) : NULL;
    int lock = proc && !foreign ? enter(proc, 1) : FL_LOCK_NONE;
    if (!lock)
        return;
    has_left = 1;
    look_at_all(proc);
    __atomic_sub_fetch(&datalog()->maps_open, copies(), __ATOMIC_RELAXED);
    __atomic_sub_fetch(&datalog()->maps_copied, fl_maps_copied(), __ATOMIC_RELAXED);
    leave(lock);
}

void fl_mapped_stay(void)
{
    if (!has_left)
        return;
    has_left = 0;
    __atomic_add_fetch(&datalog()->maps_open, copies(), __ATOMIC_RELAXED);
    __atomic_add_fetch(&datalog()->maps_copied, fl_maps_copied(), __ATOMIC_RELAXED);
}

void fl_mapped_after_fork(void)
{
    is_busy = 0;
    has_left = fl_maps_copied() && fl_ctl->datalog.capacity;
    fl_mapped_stay();
}

int fl_mapped_protect(int (*call)(void *at, size_t n, int protection), void *at, size_t n, int protection)
{
    int foreign, error = errno;
    uint32_t known;
    uintptr_t start = (uintptr_t)at, end = fl_page_end(start, n);
    struct fl_proc *proc = fl_maps_overlap(start, end) ? fl_here(&foreign) : NULL;
    int lock = proc && !foreign ? enter(proc, 1) : FL_LOCK_NONE;
    if (!lock)
        return call(at, n, protection);
    look_at_all(proc); /* as long as it can be read */
    errno = error;
    int result = call(at, n, protection);
    error = errno;
    struct fl_map *maps = fl_maps(&known);
    for (uint32_t i = 0; i < known && !result && protection & PROT_WRITE; i++)
        if (start < maps[i].end && end > maps[i].start && !maps[i].copy)
            fl_maps_copy(&maps[i], NULL, 0);
    fl_mapped_seen();
    leave(lock);
    errno = error;
    return result;
}

void *fl_mapped_move(void *(*call)(void *, size_t, size_t, int, void *), void *from, size_t n, size_t bytes, int flags, void *to)
{
    int foreign, error = errno;
    uint32_t known, place = 0;
    const struct fl_map *maps = fl_maps(&known);
    uintptr_t start = (uintptr_t)from, end = fl_page_end(start, n ? n : 1);
    struct fl_proc *proc = fl_maps_overlap(start, end) || (flags & MREMAP_FIXED && known) ? fl_here(&foreign) : NULL;
    int lock = proc && !foreign ? enter(proc, 1) : FL_LOCK_NONE;
    if (!lock)
        return call(from, n, bytes, flags, to);
    look_at_all(proc);
    while (place < known && !(start >= maps[place].start && start < maps[place].end))
        place++;
    errno = error;
    void *result = call(from, n, bytes, flags, to);
    error = errno;
    if (result != MAP_FAILED)
        fl_maps_move(place, start, end, !n || flags & 4 /* MREMAP_DONTUNMAP */, (uintptr_t)result, fl_page_end((uintptr_t)result, bytes));
    fl_mapped_seen();
    leave(lock);
    errno = error;
    return result;
}
