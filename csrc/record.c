/* Records of calls in a ring of the control block. The reader sees what it lost. From any context. */
#include "journal.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <string.h>
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

/* The ring is full: waits for its reader, but never for one that is gone or asleep. */
__attribute__((noinline)) void fl_ring_wait(struct fl_ring *ring)
{
    uint64_t begin = fl_now_ns();
    struct timespec timeout = {.tv_nsec = LOOK_AGAIN_NS};
    while (fl_ring_is_full(ring) && fl_owner_alive() && !__atomic_load_n(&ring->given_up, __ATOMIC_RELAXED)) {
        uint32_t seen = __atomic_load_n(&ring->drained, __ATOMIC_ACQUIRE);
        __atomic_store_n(&ring->waiting, 1, __ATOMIC_SEQ_CST);
        if (fl_ring_is_full(ring))
            fl_sys(SYS_futex, &ring->drained, FUTEX_WAIT, seen, &timeout);
        if (fl_now_ns() - begin > PATIENCE_NS)
            __atomic_store_n(&ring->given_up, 1, __ATOMIC_RELAXED);
    }
}

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

/* How long a sleep was to be, or until when. */
static void describe_sleep(struct fl_event *e, const struct fl_frame *f)
{
    int by_clock = f->op == FL_OP_CLOCK_NANOSLEEP;
    const struct timespec *asked = (const struct timespec *)f->a[by_clock ? 2 : 0];
    if (by_clock)
        e->flags = (uint32_t)f->a[1];
    if (fl_readable(asked))
        e->offset = (int64_t)asked->tv_sec * 1000000000 + asked->tv_nsec;
}

/* What is not in the arguments' registers. */
static void describe_further(struct fl_event *e, const struct fl_frame *f)
{
    if (f->info->source)
        e->extra = (int32_t)f->a[f->info->source - 1];
    else if (e->result == -EFAULT)
        return;
    else if (f->op == FL_OP_FCNTL || f->op == FL_OP_LOCKF)
        describe_lock(e, f);
    else if (f->op == FL_OP_NANOSLEEP || f->op == FL_OP_CLOCK_NANOSLEEP)
        describe_sleep(e, f);
}

/* The names of a record: those that rules look at; of a copy its source's too, and what is to be in a symbolic link, as given. */
struct names { uint32_t path, path2; };

static struct names names_of(const struct fl_frame *f, int64_t value)
{
    struct names names = {f->path, f->path2};
    const char *content = (const char *)f->a[0];
    if (f->info->source)
        names.path2 = fl_fd_path((int)f->a[f->info->source - 1], NULL);
    else if ((f->op == FL_OP_SYMLINK || f->op == FL_OP_SYMLINKAT) && value != -EFAULT && fl_readable(content))
        names.path = fl_intern(content, strnlen(content, FL_PATH_MAX - 1));
    return names;
}

static inline void describe_rule(struct fl_event *e, const struct fl_choice *choice)
{
    e->rule = choice ? (uint16_t)(choice->rule->id + 1) : 0;
    e->effect = choice ? (uint8_t)choice->rule->effect : 0;
    e->nth = choice ? choice->nth : 0;
}

/* A record in the making, if it is the first of its rule. */
static void keep_first(const struct fl_choice *choice, const struct fl_event *e, uint64_t number)
{
    uint32_t *kept = &FL_AREA(struct fl_tally, tallies_off)[choice->rule->id].first;
    if (__atomic_load_n(kept, __ATOMIC_RELAXED) || __atomic_exchange_n(kept, 1, __ATOMIC_RELAXED))
        return;
    struct fl_event *first = &FL_AREA(struct fl_event, firsts_off)[choice->rule->id];
    *first = *e;
    fl_event_end(first, number);
}

static inline void fill(struct fl_event *e, const struct fl_frame *f, struct names names, int64_t value, uint32_t actor, uint32_t stack)
{
    e->result = value;
    e->path = names.path;
    e->path2 = names.path2;
    e->actor = actor;
    e->stack = stack;
    e->fd = f->fd;
    e->op = (uint16_t)f->op;
    e->kind = (uint8_t)f->kind;
    e->state = f->state;
    e->held = f->held;
    e->size = fl_described_size(f->info, f->a, e->result);
    e->offset = f->info->offset ? f->a[f->info->offset - 1] : 0;
    e->flags = f->info->flags ? (uint32_t)f->a[f->info->flags - 1] : 0;
    e->extra = fl_described_extra(f->op, f->a);
    describe_further(e, f);
}

static uint32_t actor_of(const struct fl_frame *f)
{
    if (fl_unlikely(f->actor))
        return f->actor;
    return fl_likely(fl_thread.actor && !f->foreign) ? fl_thread.actor : f->proc ? fl_actor(f->proc, f->foreign) : 0;
}

void fl_describe_call(struct fl_event *e, struct fl_frame *f, long result)
{
    int64_t value = fl_outcome(f->info, result);
    fill(e, f, names_of(f, value), value, actor_of(f), fl_ctl->options & FL_OPT_STACKS ? fl_stack(f) : 0);
}

/* A firing; returns 1 + its number. All that takes time is found out before the record is begun. */
uint64_t fl_record_firing(struct fl_frame *f, long result, const struct fl_choice *choice)
{
    int64_t value = fl_outcome(f->info, result);
    struct names names = names_of(f, value);
    uint32_t actor = actor_of(f), stack = fl_ctl->options & FL_OPT_STACKS ? fl_stack(f) : 0;
    uint64_t number, now = fl_now_ns(), begun = f->acted_ns ? f->acted_ns : now;
    fl_ring_need_room(&fl_ctl->firings);
    struct fl_event *e = fl_event_begin(&fl_ctl->firings, &number);
    e->time_ns = begun - fl_ctl->t0_ns;
    e->duration_ns = now - begun;
    fill(e, f, names, value, actor, stack);
    describe_rule(e, choice);
    keep_first(choice, e, number);
    fl_event_end(e, number);
    return number + 1;
}

/* The firing was written down before it was carried out: now its result is known. Unless the ring will soon have come around. */
void fl_amend_firing(const struct fl_frame *f, long result)
{
    struct fl_ring *ring = &fl_ctl->firings;
    struct fl_event *e = fl_event_at(ring, f->firing - 1);
    if (__atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) - f->firing > ring->capacity / 2 ||
        __atomic_load_n(&e->sequence, __ATOMIC_ACQUIRE) != f->firing)
        return;
    e->duration_ns = fl_now_ns() - f->acted_ns;
    __atomic_store_n(&e->result, fl_outcome(f->info, result), __ATOMIC_RELAXED);
    __atomic_store_n(&e->state, f->state, __ATOMIC_RELEASE);
}

/* `result` is as libc gave it: -1 means errno. */
static uint64_t record_call(struct fl_frame *f, long result, const struct fl_choice *choice)
{
    int64_t value = fl_outcome(f->info, result);
    struct names names = names_of(f, value);
    uint64_t number, end = fl_journal_time(), start = f->started ? f->started : end;
    uint32_t actor = actor_of(f), stack = fl_ctl->options & FL_OPT_STACKS ? fl_stack(f) : 0;
    fl_ring_need_room(&fl_ctl->journal);
    struct fl_event *e = fl_event_begin(&fl_ctl->journal, &number);
    e->time_ns = start;
    e->duration_ns = end - start;
    fill(e, f, names, value, actor, stack);
    describe_rule(e, choice);
    fl_event_end(e, number);
    return number;
}

uint32_t fl_plain_ops[FL_OPS];

/* So that the next such call takes the way of fl_only_recorded. */
static void note_plain(const struct fl_frame *f)
{
    uint32_t generation;
    if (f->foreign || fl_thread.spawning || fl_thread.dumping || fl_ctl->options & FL_OPT_STACKS || fl_ctl->datalog.capacity)
        return;
    fl_thread.plain_actor = fl_thread.actor;
    int is_plain = !fl_current_set(&generation)->interest[f->op];
    if (is_plain && fl_still_current(generation))
        __atomic_store_n(&fl_plain_ops[f->op], generation, __ATOMIC_RELAXED);
}

/* fl_write_down, where that would have to call something. */
long fl_write_down_late(unsigned op, int fd, long result, uint64_t begun, struct fl_described args)
{
    uint64_t ended = begun ? fl_journal_time() : 0;
    int64_t value = fl_outcome(&fl_op_table[op], result);
    fl_ring_need_room(&fl_ctl->journal);
    fl_put_down(op, fd, args, value, begun, ended);
    return result;
}

static int wanted(unsigned op)
{
    return fl_recording() && !fl_ctl->datalog.capacity && /* which takes the journal's place */
           (__atomic_load_n(&fl_ctl->journal_ops[op >> 6], __ATOMIC_RELAXED) >> (op & 63) & 1);
}

/* Before a call: whether the journal wants it. One that does not come back is written down here. */
int fl_journal_begin(struct fl_frame *f, const struct fl_choice *choice)
{
    if (!wanted(f->op))
        return 0;
    f->started = fl_journal_time();
    if (f->info->family != FL_FAM_EXIT)
        return 1;
    f->state = FL_CALL_BEGUN;
    record_call(f, 0, choice);
    return 0;
}

/* After a call. An exec comes here just before it is carried out; the child of a fork leaves the record to its parent. */
void fl_journal_end(struct fl_frame *f, long result, const struct fl_choice *choice)
{
    if (!result && fl_makes_a_child(f->op)) {
        fl_thread.parting.started = f->started;
        return;
    }
    if (!result && f->info->result == FL_RESULT_EXEC)
        f->state = FL_CALL_BEGUN;
    record_call(f, result, choice);
    note_plain(f);
}

/* The process dies now. */
void fl_journal_last(struct fl_frame *f, long result, const struct fl_choice *choice)
{
    if (!f->recorded)
        return;
    f->recorded->state = f->state;
    record_call(f->recorded, result, choice);
}

/* Before a fault in which the process may end: whoever is killed then has made this call. */
void fl_journal_held(struct fl_frame *f, const struct fl_choice *choice)
{
    struct fl_frame *call = f->recorded;
    if (!call || call->held)
        return;
    uint8_t state = call->state;
    call->state = FL_CALL_HELD;
    call->held = (uint32_t)record_call(call, 0, choice) + 1;
    call->state = state;
}

/* What became of a call that is carried out by its wrapper: the child of a vfork, an exec that came back (-1 and errno). */
void fl_journal_late(unsigned op, uint8_t state, long result)
{
    int error = errno;
    long none[6] = {0};
    struct fl_frame f = {.op = op, .a = none, .info = &fl_op_table[op], .fd = -1, .state = state};
    struct fl_choice choice = {.rule = NULL};
    if (fl_makes_a_child(op)) {
        struct fl_parting parting = fl_thread.parting;
        fl_thread.parting = (struct fl_parting){0};
        f.started = parting.started;
        f.held = parting.held;
        f.firing = parting.firing;
        f.acted_ns = parting.acted_ns;
        choice = (struct fl_choice){.rule = parting.rule, .nth = parting.nth};
    }
    if (f.firing)
        fl_amend_firing(&f, result);
    if (wanted(op) && (f.proc = fl_here(&f.foreign)))
        record_call(&f, result, choice.rule ? &choice : NULL);
    errno = error;
}
