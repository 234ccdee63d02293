/* Records of calls in a ring of the control block. The reader sees what it lost. From any context. */
#include "shim.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <time.h>

#define LOOK_AGAIN_NS 20000000u
#define PATIENCE_NS 5000000000u

uint64_t fl_now_ns(void)
{
    struct timespec now;
    int (*read)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))fl_real[FL_SYM_clock_gettime];
    read(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int is_full(const struct fl_ring *ring)
{
    return __atomic_load_n(&ring->head, __ATOMIC_RELAXED) - __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) >= ring->limit;
}

/* The ring is full: waits for its reader, but never for one that is gone or asleep. */
static __attribute__((noinline)) void wait_for_room(struct fl_ring *ring)
{
    uint64_t begin = fl_now_ns();
    struct timespec timeout = {.tv_nsec = LOOK_AGAIN_NS};
    while (is_full(ring) && fl_owner_alive() && !__atomic_load_n(&ring->given_up, __ATOMIC_RELAXED)) {
        uint32_t seen = __atomic_load_n(&ring->drained, __ATOMIC_ACQUIRE);
        __atomic_store_n(&ring->waiting, 1, __ATOMIC_SEQ_CST);
        if (is_full(ring))
            fl_sys(SYS_futex, &ring->drained, FUTEX_WAIT, seen, &timeout);
        if (fl_now_ns() - begin > PATIENCE_NS)
            __atomic_store_n(&ring->given_up, 1, __ATOMIC_RELAXED);
    }
}

static struct fl_event *place_of(const struct fl_ring *ring, uint64_t number)
{
    return (struct fl_event *)((char *)fl_ctl + ring->offset) + (number & (ring->capacity - 1));
}

/* Takes the next place, which is in memory before it is taken, so that the record is in the making for a moment only: whoever is
 * killed then leaves a hole. */
static inline struct fl_event *begin(struct fl_ring *ring, uint64_t *number)
{
    if (ring->limit && fl_unlikely(is_full(ring)))
        wait_for_room(ring);
    __atomic_load_n(&place_of(ring, __atomic_load_n(&ring->head, __ATOMIC_RELAXED))->sequence, __ATOMIC_RELAXED);
    *number = __atomic_fetch_add(&ring->head, 1, __ATOMIC_ACQ_REL);
    struct fl_event *event = place_of(ring, *number);
    __atomic_store_n(&event->sequence, 0, __ATOMIC_RELEASE);
    return event;
}

static uint64_t argument(const struct fl_frame *f, int place) { return place ? (uint64_t)f->a[place - 1] : 0; }

/* The place of one more argument worth knowing, counted from 1. */
static const uint8_t extra_place[FL_OPS] = {
    [FL_OP_OPEN] = 3, [FL_OP_OPENAT] = 4, [FL_OP_CREAT] = 2, [FL_OP_MKDIR] = 2, [FL_OP_MKDIRAT] = 3, [FL_OP_CHMOD] = 2,
    [FL_OP_FCHMOD] = 2, [FL_OP_FCHMODAT] = 3, [FL_OP_ACCESS] = 2, [FL_OP_FACCESSAT] = 3, [FL_OP_MMAP] = 3,
    [FL_OP_CLOCK_GETTIME] = 1, [FL_OP_CLOCK_NANOSLEEP] = 1, [FL_OP_SLEEP] = 1, [FL_OP_USLEEP] = 1, [FL_OP_EXIT] = 1,
    [FL_OP_UNDERSCORE_EXIT] = 1,
};

/* fcntl and lockf: kind and range of the lock. */
static void describe_lock(struct fl_event *e, const struct fl_frame *f)
{
    e->flags = (uint32_t)fl_lock_flags(f);
    if (f->op == FL_OP_LOCKF) {
        e->size = (uint64_t)f->a[2];
        return;
    }
    const struct flock *lock = (const struct flock *)f->a[2];
    e->offset = lock->l_start;
    e->size = (uint64_t)lock->l_len;
}

static inline void describe(struct fl_event *e, const struct fl_frame *f)
{
    const struct fl_op_info *info = f->info;
    e->size = argument(f, info->size);
    e->offset = (int64_t)argument(f, info->offset);
    e->flags = (uint32_t)argument(f, info->flags);
    e->extra = (int32_t)argument(f, extra_place[f->op]);
    if (e->result == -EFAULT)
        return; /* what the arguments point to must not be looked at */
    if (info->iov)
        e->size = fl_call_size(f);
    if (f->op == FL_OP_FCNTL || f->op == FL_OP_LOCKF)
        describe_lock(e, f);
}

static inline void describe_rule(struct fl_event *e, const struct fl_choice *choice)
{
    e->rule = choice ? (uint16_t)(choice->rule->id + 1) : 0;
    e->effect = choice ? (uint8_t)choice->rule->effect : 0;
    e->nth = choice ? choice->nth : 0;
}

static inline int64_t outcome(const struct fl_frame *f, long result)
{
    switch (f->info->result) {
    case FL_RESULT_CODE: return -result;
    case FL_RESULT_OBJECT: return result != 0;
    case FL_RESULT_NONE: return result;
    default: return result == -1 ? -errno : result;
    }
}

static void note_first(const struct fl_choice *choice, uint64_t number)
{
    struct fl_tally *tally = &FL_AREA(struct fl_tally, tallies_off)[choice->rule->id];
    uint32_t none = 0;
    __atomic_compare_exchange_n(&tally->first_event, &none, (uint32_t)number + 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* `result` is as libc gave it: -1 means errno. All that takes time is found out before the record is begun. */
void fl_record(struct fl_ring *ring, struct fl_frame *f, long result, const struct fl_choice *choice)
{
    int firing = ring == &fl_ctl->firings, timed = firing || (fl_ctl->options & FL_OPT_TIMES);
    int64_t value = outcome(f, result);
    uint64_t number, end = timed ? fl_now_ns() : 0, start = f->started_ns ? f->started_ns : end;
    uint32_t actor = fl_likely(fl_thread.actor && !f->foreign) ? fl_thread.actor : f->proc ? fl_actor(f->proc, f->foreign) : 0;
    uint32_t stack = fl_ctl->options & FL_OPT_STACKS ? fl_stack(f) : 0;
    struct fl_event *e = begin(ring, &number);
    e->time_ns = timed ? start - fl_ctl->t0_ns : 0;
    e->duration_ns = end - start > 0xffffffffu ? 0xffffffffu : (uint32_t)(end - start);
    e->result = value;
    e->path = f->path;
    e->path2 = f->path2;
    e->actor = actor;
    e->stack = stack;
    e->fd = f->fd;
    e->op = (uint16_t)f->op;
    e->kind = (uint8_t)f->kind;
    e->state = f->state;
    describe(e, f);
    describe_rule(e, choice);
    __atomic_store_n(&e->sequence, number + 1, __ATOMIC_RELEASE);
    if (firing)
        note_first(choice, number);
}

static int wanted(unsigned op)
{
    return (int64_t)__atomic_load_n(&fl_ctl->gate, __ATOMIC_RELAXED) < 0 &&
           (__atomic_load_n(&fl_ctl->journal_ops[op >> 6], __ATOMIC_RELAXED) >> (op & 63) & 1);
}

static int makes_a_child(unsigned op) { return op == FL_OP_FORK || op == FL_OP_VFORK || op == FL_OP_CLONE; }

/* Before a call: whether the journal wants it. One that does not come back is written down here. */
int fl_journal_begin(struct fl_frame *f)
{
    if (!wanted(f->op))
        return 0;
    if (fl_ctl->options & FL_OPT_TIMES)
        f->started_ns = fl_now_ns();
    if (f->info->family != FL_FAM_EXIT)
        return 1;
    f->state = FL_CALL_BEGUN;
    fl_record(&fl_ctl->journal, f, 0, NULL);
    return 0;
}

/* After a call. An exec comes here just before it is carried out; the child of a fork leaves the record to its parent. */
void fl_journal_end(struct fl_frame *f, long result, const struct fl_choice *choice)
{
    if (!result && makes_a_child(f->op))
        return;
    if (!result && f->info->result == FL_RESULT_EXEC)
        f->state = FL_CALL_BEGUN;
    fl_record(&fl_ctl->journal, f, result, choice);
}

/* What became of a call that is carried out by its wrapper: the child of a vfork, an exec that came back (-1 and errno). */
void fl_journal_late(unsigned op, uint8_t state, long result)
{
    if (!wanted(op))
        return;
    int error = errno;
    long none[6] = {0};
    struct fl_frame f = {.op = op, .a = none, .info = &fl_op_table[op], .fd = -1, .state = state};
    if ((f.proc = fl_here(&f.foreign)))
        fl_record(&fl_ctl->journal, &f, result, NULL);
    errno = error;
}
