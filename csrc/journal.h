/* How a record comes into its ring; in a header, so that what is known of an operation when its wrapper is compiled need not be
 * looked up for each record. From any context. */
#ifndef FL_JOURNAL_H
#define FL_JOURNAL_H
#include "shim.h"
#include "ticks.h"
#include <errno.h>

/* The place of one more argument worth knowing, counted from 1. */
static inline int fl_extra_place(unsigned op)
{
    switch (op) {
    case FL_OP_CLOCK_GETTIME: case FL_OP_CLOCK_NANOSLEEP: case FL_OP_SLEEP: case FL_OP_USLEEP: case FL_OP_EXIT:
    case FL_OP_UNDERSCORE_EXIT:
        return 1;
    case FL_OP_CREAT: case FL_OP_MKDIR: case FL_OP_CHMOD: case FL_OP_FCHMOD: case FL_OP_ACCESS:
        return 2;
    case FL_OP_OPEN: case FL_OP_MKDIRAT: case FL_OP_FCHMODAT: case FL_OP_FACCESSAT: case FL_OP_MMAP:
        return 3;
    case FL_OP_OPENAT:
        return 4;
    default:
        return 0;
    }
}

/* The times of the journal: the processor's counter, or nanoseconds since the session began. Never 0. */
static inline uint64_t fl_journal_time(void)
{
    uint64_t options = fl_ctl->options;
    if (!(options & FL_OPT_TIMES))
        return 0;
    return fl_likely(options & FL_OPT_TICKS) ? fl_ticks() : fl_now_ns() - fl_ctl->t0_ns;
}

static inline struct fl_event *fl_event_at(const struct fl_ring *ring, uint64_t number)
{
    return (struct fl_event *)((char *)fl_ctl + ring->offset) + (number & (ring->capacity - 1));
}

static inline int fl_ring_is_full(const struct fl_ring *ring)
{
    return __atomic_load_n(&ring->head, __ATOMIC_RELAXED) - __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) >= ring->limit;
}

/* Takes the next place, which is in memory before it is taken, so that the record is in the making for a moment only: whoever is
 * killed then leaves a hole. */
static inline __attribute__((always_inline)) struct fl_event *fl_event_begin(struct fl_ring *ring, uint64_t *number)
{
    if (ring->limit && fl_unlikely(fl_ring_is_full(ring)))
        fl_ring_wait(ring);
    uint64_t next = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
    struct fl_event *event = fl_event_at(ring, next);
    __atomic_load_n(&event->sequence, __ATOMIC_RELAXED);
    *number = __atomic_fetch_add(&ring->head, 1, __ATOMIC_ACQ_REL);
    if (fl_unlikely(*number != next))
        event = fl_event_at(ring, *number);
    __atomic_store_n(&event->sequence, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE); /* a reader must not take what follows for the record that was here */
    return event;
}

static inline void fl_event_end(struct fl_event *event, uint64_t number)
{
    __atomic_store_n(&event->sequence, number + 1, __ATOMIC_RELEASE);
}

/* A result as libc gave it (-1 means errno), as a record has it. */
static inline int64_t fl_outcome(const struct fl_op_info *info, long result)
{
    switch (info->result) {
    case FL_RESULT_CODE: return -result;
    case FL_RESULT_OBJECT: return result ? 1 : -errno; /* which was 0 before: the end of a directory is no error */
    case FL_RESULT_NONE: return result;
    default: return result == -1 ? -errno : result;
    }
}

/* The size that the arguments say. What they point to is not looked at when the kernel could not either. */
static inline uint64_t fl_described_size(const struct fl_op_info *info, const long *a, int64_t outcome)
{
    return info->iov && outcome != -EFAULT ? fl_vector_size(info, a) : info->size ? (uint64_t)a[info->size - 1] : 0;
}

static inline int32_t fl_described_extra(unsigned op, const long *a)
{
    int place = fl_extra_place(op);
    return place ? (int32_t)a[place - 1] : 0;
}

/* While the journal is on: whether a call on this descriptor has only to be written down, for the descriptor is known, and no rule
 * is live for the operation. */
static inline __attribute__((always_inline)) int fl_only_recorded(unsigned op, int fd)
{
    const struct fl_ctl *ctl = fl_ctl;
    if (!(ctl->journal_ops[op >> 6] >> (op & 63) & 1) || (ctl->options & FL_OPT_STACKS))
        return 0;
    uint32_t generation = __atomic_load_n(&ctl->generation, __ATOMIC_ACQUIRE);
    return (unsigned)fd < FL_MAX_FDS && __atomic_load_n(&fl_fds[fd].generation, __ATOMIC_ACQUIRE) == generation &&
           !ctl->set[generation & 1].interest[op] && fl_self_page.self.proc && fl_thread.actor &&
           !(fl_thread.spawning | fl_thread.dumping);
}

/* Writes down such a call. */
static inline __attribute__((always_inline)) void fl_write_down(unsigned op, const struct fl_op_info *info, const long *a, long result,
                                                                uint64_t begun)
{
    uint64_t number, ended = fl_journal_time();
    int fd = (int)a[0];
    int64_t value = fl_outcome(info, result);
    uint64_t size = fl_described_size(info, a, value);
    uint32_t path = fl_fds[fd].path, actor = fl_thread.actor;
    uint8_t kind = fl_fd_kinds[fd];
    struct fl_event *e = fl_event_begin(&fl_ctl->journal, &number);
    e->time_ns = begun; /* in the order of the members, so that neighbours are stored together */
    e->duration_ns = ended - begun;
    e->result = value;
    e->size = size;
    e->offset = info->offset ? a[info->offset - 1] : 0;
    e->nth = 0;
    e->path = path;
    e->path2 = 0;
    e->actor = actor;
    e->stack = 0;
    e->flags = info->flags ? (uint32_t)a[info->flags - 1] : 0;
    e->extra = fl_described_extra(op, a);
    e->fd = fd;
    e->op = (uint16_t)op;
    e->rule = 0;
    e->effect = 0;
    e->kind = kind;
    e->state = e->reserved = 0;
    e->held = 0;
    fl_event_end(e, number);
}

#endif
