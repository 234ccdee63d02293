/* The data log's ring: how an entry with its data comes into it. Whoever writes one has the log's lock. From any context. */
#include "datalog.h"
#include "sys.h"
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
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
static __attribute__((noinline)) int wait_for_room(uint64_t end)
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
    __atomic_store_n(&log->seen_tail, tail, __ATOMIC_RELAXED);
    return 1;
}

/* The reader's own word, which it writes all the time, is only looked at when it has to be. */
static int has_room(uint64_t end)
{
    const struct fl_datalog *log = datalog();
    return fl_likely(end - __atomic_load_n(&log->seen_tail, __ATOMIC_RELAXED) <= log->capacity) || wait_for_room(end);
}

/* A stretch of the ring up to its end: how many of `n` bytes fit there. */
static uint64_t stretch(uint64_t at, uint64_t n)
{
    uint64_t left = datalog()->capacity - (at & (datalog()->capacity - 1));
    return n < left ? n : left;
}

static uint64_t mapped_from, mapped_to; /* the stretch of the ring that this process has in its memory */

/* Has the kernel map what comes next of the ring in one go, not page by page: that costs a process that has just begun more than the
 * writing. Once around; whoever comes late, or is another process' child, pays. */
static __attribute__((noinline)) void map_more(uint64_t at, uint64_t n)
{
    uint64_t begin = (mapped_to > at ? mapped_to : at) & ~(AHEAD - 1), end = (at + n + AHEAD - 1) & ~(AHEAD - 1);
    mapped_from = mapped_to ? mapped_from : begin;
    mapped_to = end;
    for (; begin < end; begin += AHEAD) {
        uintptr_t there = (uintptr_t)ring() + (begin & (datalog()->capacity - 1));
        fl_sys3(SYS_madvise, there & ~4095ul, (there & 4095) + stretch(begin, AHEAD), MADV_POPULATE_WRITE);
    }
}

static void map_ahead(uint64_t at, uint64_t n)
{
    if (fl_unlikely(at + n > mapped_to && mapped_to - mapped_from < datalog()->capacity))
        map_more(at, n);
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

static void put_memory(uint64_t at, struct fl_source *source, uint64_t n)
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
static void put_file(uint64_t at, struct fl_source *source, uint64_t n)
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

/* A copy of known size, which need not ask for it. */
static inline void put_head(char *to, const struct fl_log_entry *entry)
{
    typedef uint64_t pair __attribute__((vector_size(16), aligned(8), may_alias));
    _Static_assert(sizeof *entry % sizeof(pair) == 8, "the last of the pairs overlaps the one before");
    const uint64_t last = sizeof *entry / 8 - 2;
#pragma GCC unroll 16
    for (unsigned i = 0; i < sizeof *entry / sizeof(pair); i++)
        ((pair *)to)[i] = ((const pair *)entry)[i];
    *(pair *)((uint64_t *)to + last) = *(const pair *)((const uint64_t *)entry + last);
}

/* What most entries are: no names, one piece of memory, and the ring does not end in the middle of it. */
static int fill_at_once(uint64_t at, const struct fl_log_entry *entry, const struct fl_source *source)
{
    char *to = ring() + (at & (datalog()->capacity - 1));
    if (entry->names || stretch(at, entry->length) < entry->length)
        return 0;
    if (entry->bytes && (source->fd >= 0 || source->at->iov_len - source->skip < entry->bytes))
        return 0;
    put_head(to, entry);
    if (entry->bytes)
        memcpy(to + sizeof *entry, (const char *)source->at->iov_base + source->skip, entry->bytes);
    return 1;
}

static __attribute__((noinline)) void fill(uint64_t at, const struct fl_log_entry *entry, const struct fl_names *names, struct fl_source *source)
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

/* One entry, of as much of the data as goes into one. What a handler writes in the middle of it is published with it: it leaves
 * `making` as it was. */
static int add(struct fl_log_entry *entry, const struct fl_names *names, struct fl_source *source)
{
    struct fl_datalog *log = datalog();
    uint64_t at;
    uint32_t outer = __atomic_load_n(&log->making, __ATOMIC_RELAXED);
    __atomic_store_n(&log->making, 1, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    entry->names = (uint32_t)(names ? names->n + names->n2 : 0);
    entry->length = (sizeof *entry + entry->names + entry->bytes + 7) & ~7ull;
    int has_place = take_room(entry->length, &at);
    if (has_place) {
        map_ahead(at, entry->length);
        if (entry->position == FL_AT_END && fl_unlikely(fl_thread.run.end)) /* a handler's append stands before ours, and may be behind it */
            entry->position = fl_fileid_position(source->call, source->file, entry->event.result);
        if (!entry->event.sequence)
            entry->event.sequence = at + 1;
        if (fl_likely(fill_at_once(at, entry, source)))
            source->skip += entry->bytes;
        else
            fill(at, entry, names, source);
    }
    if (!outer) {
        __atomic_store_n(&log->head, log->cursor, __ATOMIC_RELEASE);
        __atomic_store_n(&log->making, 0, __ATOMIC_RELEASE);
    }
    return has_place;
}

void fl_datalog_add(struct fl_log_entry *entry, const struct fl_names *names, struct fl_source *source, uint64_t bytes)
{
    do {
        entry->bytes = bytes < CHUNK ? bytes : CHUNK;
        entry->more = bytes > CHUNK;
        if (!add(entry, names, source)) {
            __atomic_add_fetch(&datalog()->lost, 1, __ATOMIC_RELAXED);
            return;
        }
        entry->position += entry->position == FL_AT_END ? 0 : entry->bytes;
        bytes -= entry->bytes;
        names = NULL;
    } while (bytes);
}
