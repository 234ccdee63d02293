/* Shared mappings of files that may be stored to: which there are, each with the copy that tells what has changed. See mapped.h. For
 * whoever has the data log's lock. */
#include "mapped.h"
#include "sys.h"
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MOST 64
#define MOST_COPIED (64ull << 20)

static struct fl_map maps[MOST];
static uint32_t known;           /* places in use, or that were */
static uint64_t copied;          /* bytes of this process' copies */

static struct fl_datalog *datalog(void) { return &fl_ctl->datalog; }

struct fl_map *fl_maps(uint32_t *n)
{
    *n = known;
    return maps;
}

uint64_t fl_maps_copied(void) { return copied; }

/* `old` is the copy of its first `n` bytes, if there was one: what was stored since is still to be found. */
void fl_maps_copy(struct fl_map *map, const char *old, uint64_t n)
{
    uint64_t bytes = map->end - map->start;
    if (__atomic_add_fetch(&datalog()->maps_copied, bytes, __ATOMIC_RELAXED) <= MOST_COPIED) {
        long at = fl_sys6(SYS_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if ((unsigned long)at < -4095ul) {
            map->copy = (char *)at;
            copied += bytes;
            __atomic_add_fetch(&datalog()->maps_open, 1, __ATOMIC_RELAXED);
            n = n < bytes ? n : bytes;
            memcpy(map->copy, old, n);
            if (n < bytes)
                fl_mapped_look(NULL, map, map->start + n, map->end, 0);
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
        copied -= map->end - map->start;
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
        fl_maps_copy(&part, whole->copy + skip, left);
    if (start < end)
        add(part);
}

void fl_maps_forget(uintptr_t start, uintptr_t end)
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

int fl_maps_overlap(uintptr_t start, uintptr_t end)
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
            return (struct fl_fileid){maps[i].device, maps[i].inode, maps[i].position + (at - maps[i].start), 0};
    return (struct fl_fileid){0};
}

void fl_maps_begin(const struct fl_frame *f, uintptr_t at)
{
    struct stat st;
    struct fl_map map = {.start = at, .end = fl_page_end(at, (uint64_t)f->a[1]), .position = (uint64_t)f->a[5], .path = f->path};
    if (fl_sys3(SYS_fstat, f->fd, &st, 0) || !S_ISREG(st.st_mode) || (fl_sys3(SYS_fcntl, f->fd, F_GETFL, 0) & O_ACCMODE) != O_RDWR)
        return;
    map.device = st.st_dev;
    map.inode = st.st_ino;
    map.size = (uint64_t)st.st_size;
    if (f->a[2] & PROT_WRITE)
        fl_maps_copy(&map, NULL, 0);
    add(map);
}

/* The file of this descriptor has another size. */
void fl_maps_see_sizes(int fd)
{
    struct stat st;
    int is_there = !fl_sys3(SYS_fstat, fd, &st, 0);
    for (uint32_t i = 0; is_there && i < known; i++)
        if (maps[i].inode == st.st_ino && maps[i].device == st.st_dev)
            maps[i].size = (uint64_t)st.st_size;
}

/* The mapping in which it begins says of which file it is. */
void fl_maps_move(uint32_t place, uintptr_t start, uintptr_t end, int stays, uintptr_t to, uintptr_t to_end)
{
    struct fl_map was = place < known ? maps[place] : (struct fl_map){0};
    if (was.end)
        maps[place] = (struct fl_map){0};
    else
        fl_maps_forget(start, end);
    fl_maps_forget(to, to_end);
    if (!was.end)
        return;
    add_part(&was, was.start, stays ? was.end : start, 0);
    if (!stays)
        add_part(&was, end, was.end, end - was.start);
    add_part(&was, to, to_end, start - was.start);
    let_go(&was);
}
