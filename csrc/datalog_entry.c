/* Entries of the data log, and their way into its ring. Whoever writes one has the log's lock. From any context. */
#include "datalog.h"
#include "journal.h"
#include "mapped.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#define CHUNK 131072          /* of data in one entry: the reader must not have to wait for the end of a huge write */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define AHEAD 65536ull
#define ROOM_LOOK_NS 20000000
#define ROOM_LOOKS 250        /* 5 s */

static struct fl_datalog *datalog(void) { return &fl_ctl->datalog; }
static char *ring(void) { return (char *)fl_ctl + datalog()->offset; }

/* Waits until the ring has room up to there; 0: nobody reads any more, or has read nothing for seconds. */
static int has_room(uint64_t end)
{
    struct fl_datalog *log = datalog();
    struct timespec timeout = {.tv_nsec = ROOM_LOOK_NS};
    uint64_t tail, seen_tail = 0;
    for (int looks = 0; end - (tail = __atomic_load_n(&log->tail, __ATOMIC_ACQUIRE)) > log->capacity; looks++) {
        uint32_t seen = __atomic_load_n(&log->drained, __ATOMIC_ACQUIRE);
        looks = tail == seen_tail ? looks : 0;
        seen_tail = tail;
        if (looks > ROOM_LOOKS || __atomic_load_n(&log->lost, __ATOMIC_RELAXED) || !fl_owner_alive())
            return 0;
        __atomic_store_n(&log->waiting, 1, __ATOMIC_SEQ_CST);
        if (end - __atomic_load_n(&log->tail, __ATOMIC_ACQUIRE) > log->capacity)
            fl_sys(SYS_futex, &log->drained, FUTEX_WAIT, seen, &timeout);
    }
    return 1;
}

/* A stretch of the ring up to its end: how many of `n` bytes fit there. */
static uint64_t stretch(uint64_t at, uint64_t n)
{
    uint64_t left = datalog()->capacity - (at & (datalog()->capacity - 1));
    return n < left ? n : left;
}

/* Has the kernel map what comes next of the ring in one go, not page by page: that costs a process that has just begun more than the
 * writing. Once around; whoever comes late, or is another process' child, pays. */
static void map_ahead(uint64_t at, uint64_t n)
{
    static uint64_t from, to;
    uint64_t begin = (to > at ? to : at) & ~(AHEAD - 1), end = (at + n + AHEAD - 1) & ~(AHEAD - 1);
    if (fl_likely(at + n <= to || to - from >= datalog()->capacity))
        return;
    from = to ? from : begin;
    to = end;
    for (; begin < end; begin += AHEAD) {
        uintptr_t there = (uintptr_t)ring() + (begin & (datalog()->capacity - 1));
        fl_sys3(SYS_madvise, there & ~4095ul, (there & 4095) + stretch(begin, AHEAD), MADV_POPULATE_WRITE);
    }
}

/* Gives room for an entry away, at *at: a handler that comes meanwhile writes its own behind it, or before it. */
static int take_room(uint64_t n, uint64_t *at)
{
    uint64_t *cursor = &datalog()->cursor;
    *at = __atomic_load_n(cursor, __ATOMIC_RELAXED);
    do
        if (!has_room(*at + n))
            return 0;
    while (!__atomic_compare_exchange_n(cursor, at, *at + n, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return 1;
}

static void put(uint64_t at, const void *from, uint64_t n)
{
    uint64_t first = stretch(at, n), mask = datalog()->capacity - 1;
    memcpy(ring() + (at & mask), from, first);
    if (fl_unlikely(first < n))
        memcpy(ring(), (const char *)from + first, n - first);
}

/* Where data come from: the caller's memory, or, for those that the kernel copied, the file itself. */
struct source { const struct iovec *at; uint64_t skip; int fd; uint64_t position; };

static void put_memory(uint64_t at, struct source *source, uint64_t n)
{
    while (n) {
        uint64_t left = source->at->iov_len - source->skip, part = n < left ? n : left;
        put(at, (const char *)source->at->iov_base + source->skip, part);
        at += part;
        n -= part;
        source->skip += part;
        if (source->skip == source->at->iov_len) {
            source->at++;
            source->skip = 0;
        }
    }
}

/* What cannot be read any more, since somebody has cut it off meanwhile, is zero, and counted. */
static void put_file(uint64_t at, struct source *source, uint64_t n)
{
    uint64_t mask = datalog()->capacity - 1;
    while (n) {
        uint64_t part = stretch(at, n);
        long got = fl_sys(SYS_pread64, source->fd, ring() + (at & mask), part, source->position);
        if (got <= 0) {
            memset(ring() + (at & mask), 0, part);
            __atomic_add_fetch(&datalog()->unread, part, __ATOMIC_RELAXED);
            got = (long)part;
        }
        at += (uint64_t)got;
        n -= (uint64_t)got;
        source->position += (uint64_t)got;
    }
}

struct names { const char *first, *second; uint64_t n, n2; };

/* The names that the call was given, absolute; of a symbolic link what is in it, as given. */
static struct names names_of(const struct fl_frame *f)
{
    int is_symlink = f->op == FL_OP_SYMLINK || f->op == FL_OP_SYMLINKAT;
    const char *first = is_symlink ? (const char *)f->a[0] : fl_path_text(f->path), *second = fl_path_text(f->path2);
    struct names names = {first ? first : "", second ? second : "", 0, 0};
    names.n = strlen(names.first) + 1;
    names.n2 = strlen(names.second) + 1;
    return names;
}

static void fill(uint64_t at, const struct fl_log_entry *entry, const struct names *names, struct source *source)
{
    put(at, entry, sizeof *entry);
    at += sizeof *entry;
    if (names) {
        put(at, names->first, names->n);
        put(at + names->n, names->second, names->n2);
        at += entry->names;
    }
    if (source->fd >= 0)
        put_file(at, source, entry->bytes);
    else
        put_memory(at, source, entry->bytes);
}

/* One entry, of as much of the data as goes into one. What a handler writes in the middle of it is published with it. */
static int add(struct fl_log_entry *entry, const struct names *names, struct source *source)
{
    struct fl_datalog *log = datalog();
    uint64_t at;
    uint32_t outer = __atomic_exchange_n(&log->making, 1, __ATOMIC_RELAXED);
    entry->names = (uint32_t)(names ? names->n + names->n2 : 0);
    entry->length = (sizeof *entry + entry->names + entry->bytes + 7) & ~7ull;
    int has_place = take_room(entry->length, &at);
    if (has_place) {
        map_ahead(at, entry->length);
        if (!entry->event.sequence)
            entry->event.sequence = at + 1;
        fill(at, entry, names, source);
    }
    if (!outer) {
        __atomic_store_n(&log->head, log->cursor, __ATOMIC_RELEASE);
        __atomic_store_n(&log->making, 0, __ATOMIC_RELEASE);
    }
    return has_place;
}

static void add_all(struct fl_log_entry *entry, const struct names *names, struct source *source, uint64_t bytes)
{
    do {
        entry->bytes = bytes < CHUNK ? bytes : CHUNK;
        entry->more = bytes > CHUNK;
        if (!add(entry, names, source)) {
            __atomic_add_fetch(&datalog()->lost, 1, __ATOMIC_RELAXED);
            return;
        }
        entry->position += entry->bytes;
        bytes -= entry->bytes;
        names = NULL;
    } while (bytes);
}

static long reopen(int fd)
{
    char link[32];
    fl_fd_link(link, fd);
    return fl_sys(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
}

static uint64_t cloned_bytes(const struct fl_frame *f)
{
    struct stat st;
    return fl_sys3(SYS_fstat, f->fd, &st, 0) ? 0 : (uint64_t)st.st_size;
}

/* All of the event by hand: to clear it first would cost as much. */
static void describe(struct fl_log_entry *entry, struct fl_frame *f, long result)
{
    fl_describe_call(&entry->event, f, result);
    entry->event.sequence = entry->event.time_ns = entry->event.duration_ns = entry->event.nth = 0;
    entry->event.rule = 0;
    entry->event.effect = entry->event.reserved = 0;
}

/* Returns what it has written to a file. */
struct fl_run fl_datalog_write_down(struct fl_frame *f, const struct fl_before *before, long result)
{
    struct fl_log_entry entry;
    struct names names = names_of(f);
    describe(&entry, f, result);
    entry.before = before->head;
    struct fl_fileid file = {0};
    if (f->info->family == FL_FAM_CLOSE)
        file = before->closing;
    else if (f->op == FL_OP_MSYNC)
        file = fl_mapped_file((uintptr_t)f->a[0]);
    else if (result >= 0 || f->info->family == FL_FAM_FSYNC)
        file = fl_fileid_of(f, result, before->stamp, &fl_thread.run);
    entry.device = file.device;
    entry.inode = file.inode;
    entry.position = file.position;
    if (f->info->family == FL_FAM_WRITE || f->info->family == FL_FAM_CLOSE)
        entry.event.nth = file.status;
    struct iovec own = {.iov_len = 0};
    struct source source = {.at = &own, .fd = -1, .position = file.position};
    uint64_t bytes = f->info->family == FL_FAM_WRITE && result > 0 ? (uint64_t)result : 0;
    if (f->info->source) {
        bytes = f->op == FL_OP_FICLONE ? cloned_bytes(f) : bytes;
        source.fd = bytes ? (int)reopen(f->fd) : -1;
        if (source.fd < 0) {
            __atomic_add_fetch(&datalog()->unread, bytes, __ATOMIC_RELAXED);
            bytes = 0;
        }
    } else if (f->info->iov) {
        source.at = (const struct iovec *)f->a[f->info->iov - 1];
    } else if (f->info->buf && bytes) {
        own = (struct iovec){(void *)f->a[f->info->buf - 1], bytes};
    }
    add_all(&entry, &names, &source, bytes);
    if (source.fd >= 0)
        fl_sys1(SYS_close, source.fd);
    return (struct fl_run){file.device, file.inode, file.position, file.position + bytes};
}

void fl_datalog_write_capture(struct fl_proc *proc, uint32_t path, struct fl_fileid file, const void *data, uint64_t bytes, uint64_t since)
{
    long none[6] = {0};
    struct fl_frame f = {.op = FL_OP_MMAP, .a = none, .info = &fl_op_table[FL_OP_MMAP], .proc = proc, .fd = -1, .kind = FL_KIND_FILE, .path = path};
    struct fl_log_entry entry;
    struct names names = names_of(&f);
    struct iovec own = {(void *)data, bytes};
    struct source source = {.at = &own, .fd = -1};
    describe(&entry, &f, (long)bytes);
    entry.event.size = bytes;
    entry.before = since;
    entry.device = file.device;
    entry.inode = file.inode;
    entry.position = file.position;
    add_all(&entry, &names, &source, bytes);
}
