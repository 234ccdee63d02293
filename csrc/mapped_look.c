/* Stores through shared mappings of files: a private copy of each tells what has changed since the last look. The pages are read by a
 * system call, since touching one behind the file's end would kill. For whoever has the data log's lock. */
#include "mapped.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define BATCH 16 /* pages */

static char pages[BATCH * FL_PAGE]; /* read from memory, so that they stand still while they are looked at */

void fl_mapped_complain(uint32_t path)
{
    struct fl_datalog *log = &fl_ctl->datalog;
    uint32_t n = __atomic_fetch_add(&log->maps_missed, 1, __ATOMIC_RELAXED);
    if (n < FL_MAPS_NAMED)
        log->maps_named[n] = path;
}

/* How many of these bytes can be read, from the first on; negative: such reading is not permitted. */
static long read_pages(uintptr_t at, uint64_t n)
{
    struct iovec here = {pages, n}, there[BATCH];
    int count = 0;
    for (; (uint64_t)count * FL_PAGE < n; count++)
        there[count] = (struct iovec){(void *)(at + (uintptr_t)count * FL_PAGE), FL_PAGE};
    long got = fl_sys6(SYS_process_vm_readv, fl_sys1(SYS_getpid, 0), (long)&here, 1, (long)there, count, 0);
    return got == -EFAULT ? 0 : got;
}

static int is_same(const char *a, const char *b)
{
    const uint64_t *x = (const uint64_t *)a, *y = (const uint64_t *)b;
    uint64_t other = 0;
    for (unsigned i = 0; i < FL_PAGE / 8; i += 4)
        other |= (x[i] ^ y[i]) | (x[i + 1] ^ y[i + 1]) | (x[i + 2] ^ y[i + 2]) | (x[i + 3] ^ y[i + 3]);
    return !other;
}

/* By its name, as we keep no descriptor; if that is another file's now, the size is as it was. */
static int see_size(struct fl_map *map)
{
    struct stat st;
    const char *name = fl_path_text(map->path);
    int is_it = name && !fl_sys(FL_SYS_FSTATAT, AT_FDCWD, name, &st, 0) && st.st_ino == map->inode && st.st_dev == map->device;
    if (is_it)
        map->size = (uint64_t)st.st_size;
    return is_it;
}

/* Bytes [from, to) of the mapping have changed and are in the copy. Behind the file's end stores go nowhere. */
static void write_down(struct fl_proc *proc, struct fl_map *map, uint64_t from, uint64_t to, uint64_t since)
{
    uint64_t at = map->position + from, end = map->position + to;
    if (!see_size(map) && end > fl_page_end(0, map->size)) /* it has grown, nobody knows to what */
        fl_mapped_complain(map->path);
    end = end < map->size ? end : map->size;
    if (at < end)
        fl_datalog_write_capture(proc, map->path, (struct fl_fileid){map->device, map->inode, at, 0}, map->copy + from, end - at, since);
}

/* A page that has changed goes into the copy, and from its first changed byte to its last into the run, which may go on from before. */
static void renew(char *copy, const char *page, uint64_t at, uint64_t *from, uint64_t *to)
{
    uint64_t first = 0, last = FL_PAGE;
    while (copy[first] == page[first])
        first++;
    while (copy[last - 1] == page[last - 1])
        last--;
    *from = *to == *from ? at + first : *from;
    *to = at + last;
    memcpy(copy, page, FL_PAGE);
}

/* What has changed in a part of the mapping. Without a process it is only copied. */
void fl_mapped_look(struct fl_proc *proc, struct fl_map *map, uintptr_t start, uintptr_t end, uint64_t since)
{
    uint64_t from = 0, to = 0, stop = end - map->start;
    for (uint64_t at = start - map->start; at < stop;) {
        uint64_t n = stop - at < sizeof pages ? stop - at : sizeof pages;
        long got = read_pages(map->start + at, n);
        if (got < 0)
            fl_mapped_complain(map->path);
        if (got <= 0 && (got < 0 || map->position + at >= map->size))
            break;
        for (uint64_t i = 0; i < (uint64_t)got; i += FL_PAGE) {
            char *copy = map->copy + at + i;
            if (is_same(copy, pages + i))
                continue;
            if (to != from && to + FL_PAGE <= at + i) { /* the page before has not changed */
                if (proc)
                    write_down(proc, map, from, to, since);
                from = to = 0;
            }
            renew(copy, pages + i, at + i, &from, &to);
        }
        at += got ? (uint64_t)got : FL_PAGE; /* one that cannot be read may lie between others */
    }
    if (proc && to != from)
        write_down(proc, map, from, to, since);
}
