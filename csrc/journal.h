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

/* The times of the journal: the processor's counter, or nanoseconds since the session began. 0: it is to have none. */
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

static inline void fl_ring_need_room(struct fl_ring *ring)
{
    if (ring->limit && fl_unlikely(fl_ring_is_full(ring)))
        fl_ring_wait(ring);
}

/* Takes the next place, which is in memory before it is taken, so that the record is in the making for a moment only: whoever is
 * killed then leaves a hole. */
static inline __attribute__((always_inline)) struct fl_event *fl_event_begin(struct fl_ring *ring, uint64_t *number)
{
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
    uint32_t generation = __atomic_load_n(&fl_ctl->generation, __ATOMIC_ACQUIRE);
    return (unsigned)fd < FL_MAX_FDS && __atomic_load_n(&fl_fds[fd].generation, __ATOMIC_ACQUIRE) == generation &&
           __atomic_load_n(&fl_plain_ops[op], __ATOMIC_RELAXED) == generation && fl_self_page.self.proc && fl_thread.plain_actor;
}

/* Whether errno says how a call ended. */
static inline int fl_asks_errno(const struct fl_op_info *info, long result)
{
    switch (info->result) {
    case FL_RESULT_CODE: case FL_RESULT_NONE: return 0;
    case FL_RESULT_OBJECT: return !result;
    default: return result == -1;
    }
}

static inline __attribute__((always_inline)) struct fl_described fl_describe(unsigned op, const struct fl_op_info *info, const long *a,
                                                                             int64_t outcome)
{
    return (struct fl_described){
        .size = fl_described_size(info, a, outcome),
        .offset = info->offset ? a[info->offset - 1] : 0,
        .flags = info->flags ? (uint32_t)a[info->flags - 1] : 0,
        .extra = fl_described_extra(op, a),
    };
}

/* Writes down such a call. */
static inline __attribute__((always_inline)) void fl_put_down(unsigned op, int fd, struct fl_described args, int64_t value, uint64_t begun,
                                                              uint64_t ended)
{
    uint64_t number;
    __asm__("" : "+r"(fd)); /* so that nothing that follows from it is carried across the call */
    uint32_t path = fl_fds[fd].path, actor = fl_thread.plain_actor, op_kind_effect = op | (uint32_t)fl_fd_kinds[fd] << 16;
    struct fl_event *e = fl_event_begin(&fl_ctl->journal, &number);
    e->time_ns = begun; /* in the order of the members, so that neighbours are stored together */
    e->duration_ns = ended - begun;
    e->result = value;
    e->size = args.size;
    e->offset = args.offset;
    e->nth = 0;
    e->path = path;
    e->fd = fd;
    __builtin_memcpy(&e->op, &op_kind_effect, sizeof op_kind_effect); /* three members in one store */
    e->actor = actor;
    e->stack = 0;
    e->path2 = 0;
    e->flags = args.flags;
    e->extra = args.extra;
    e->rule = 0;
    e->state = e->reserved = 0;
    e->held = 0;
    fl_event_end(e, number);
}

/* The same, and returns its result. Nothing is called here but in the last place: what has to outlive a call costs stores. */
static inline __attribute__((always_inline)) long fl_write_down(unsigned op, const struct fl_op_info *info, const long *a, long result,
                                                                uint64_t begun)
{
    const struct fl_ctl *ctl = fl_ctl;
    int has_errno = fl_asks_errno(info, result), is_full = ctl->journal.limit && fl_ring_is_full(&ctl->journal);
    struct fl_described args = fl_describe(op, info, a, info->iov && has_errno ? -errno : 0);
    if (fl_unlikely(has_errno || is_full || (begun && !(ctl->options & FL_OPT_TICKS))))
        return fl_write_down_late(op, (int)a[0], result, begun, args);
    fl_put_down(op, (int)a[0], args, info->result == FL_RESULT_CODE ? -result : result, begun, begun ? fl_ticks() : 0);
    return result;
}

#endif
