/* One intercepted call once the gate is open: who calls, on what, which rule acts, what it does, what is written down.
 * A call is decided here and nowhere else. From any context. */
#include "shim.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif

__thread struct fl_thread fl_thread;

/* libc's function, with the call's arguments. */
long fl_invoke(struct fl_frame *f)
{
    if (fl_unlikely(f->disk.rule))
        return fl_invoke_on_disk(f);
    long *a = f->a;
    return fl_result(f->info, fl_real[f->sym](a[0], a[1], a[2], a[3], a[4], a[5]));
}

static __attribute__((noinline)) struct fl_proc *find_slot(int *foreign)
{
    int pid = fl_thread.spawning ? (int)fl_sys1(SYS_getpid, 0) : 0;
    if (pid && pid != fl_attached.pid) {
        *foreign = 1;
        if (!fl_thread.child || fl_thread.child_pid != pid) {
            fl_thread.child = fl_claim_child(fl_attached.proc, fl_thread.spawning, pid);
            fl_thread.child_pid = pid;
        }
        return fl_thread.child;
    }
    return fl_myself();
}

/* The slot of whoever runs this: this process, or a vfork or posix_spawn child on this process' memory. */
struct fl_proc *fl_here(int *foreign)
{
    *foreign = 0;
    if (fl_likely(!fl_thread.spawning && fl_self_page.self.proc))
        return fl_self_page.self.proc;
    return find_slot(foreign);
}

static __attribute__((noinline)) uint64_t find_who(const struct fl_set *set, uint32_t generation, const struct fl_proc *proc, int foreign)
{
    const struct fl_rule *rules = FL_AREA(struct fl_rule, rules_off);
    struct fl_who who = {.label = proc->label, .comm = proc->comm, .lineage = proc->lineage};
    uint64_t mask = 0;
    for (uint64_t left = set->live; left; left &= left - 1) {
        int position = __builtin_ctzll(left);
        if (fl_accepts_who(&rules[set->slot[position]], FL_STRINGS, &who))
            mask |= 1ull << position;
    }
    if (!foreign) {
        __atomic_store_n(&fl_self_page.self.who_mask, mask, __ATOMIC_RELAXED);
        __atomic_store_n(&fl_self_page.self.who_check, mask ^ generation, __ATOMIC_RELAXED);
    }
    return mask;
}

/* Positions whose process predicate accepts this process, once per rule set. */
static inline uint64_t who_mask(const struct fl_set *set, uint32_t generation, const struct fl_proc *proc, int foreign)
{
    uint64_t known = __atomic_load_n(&fl_self_page.self.who_mask, __ATOMIC_RELAXED);
    if (fl_likely(!foreign && (known ^ __atomic_load_n(&fl_self_page.self.who_check, __ATOMIC_RELAXED)) == generation))
        return known;
    return find_who(set, generation, proc, foreign);
}

static __attribute__((noinline)) struct fl_counter *late_page(struct fl_proc *proc, uint32_t group)
{
    uint16_t page = __atomic_load_n(&proc->page[group], __ATOMIC_ACQUIRE);
    if (!page) {
        uint32_t fresh = __atomic_add_fetch(&fl_ctl->next_page, 1, __ATOMIC_RELAXED);
        if (fresh > FL_MAX_PAGES) {
            __atomic_add_fetch(&fl_ctl->counters_full, 1, __ATOMIC_RELAXED);
            return NULL;
        }
        if (__atomic_compare_exchange_n(&proc->page[group], &page, (uint16_t)fresh, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            page = (uint16_t)fresh;
    }
    return FL_AREA(struct fl_page, pages_off)[page - 1].counters;
}

/* This process' counters of rules 64 * group and up; a page for a later group is taken at its first use. */
static inline struct fl_counter *counter_page(struct fl_proc *proc, uint32_t rule)
{
    uint32_t group = rule / FL_LIVE_RULES;
    return fl_likely(!group) ? proc->counters : late_page(proc, group);
}

/* fcntl and lockf in the words of flock, so that one predicate fits all three. */
uint64_t fl_lock_flags(const struct fl_frame *f)
{
    long command = f->a[1];
    if (f->op == FL_OP_LOCKF)
        return command == F_ULOCK ? LOCK_UN : LOCK_EX | (command == F_LOCK ? 0 : LOCK_NB);
    const struct flock *lock = (const struct flock *)f->a[2];
    uint64_t kind = lock->l_type == F_RDLCK ? LOCK_SH : lock->l_type == F_WRLCK ? LOCK_EX : LOCK_UN;
    return kind | (command == F_SETLKW || command == F_OFD_SETLKW ? 0 : LOCK_NB);
}

static __attribute__((noinline)) void look_at(const struct fl_frame *f, struct fl_look *look)
{
    const struct fl_op_info *info = f->info;
    look->size = look->flags = look->now_ns = 0;
    look->offset = 0;
    look->have = 0;
    look->op = f->op;
    look->seed = fl_ctl->seed;
    look->identity = f->proc->identity;
    look->thread = fl_thread.identity;
    look->thread_path = fl_thread.path;
    look->path_key = fl_path_key(f);
    if (info->size || info->iov) {
        look->size = info->size ? (uint64_t)f->a[info->size - 1] : fl_call_size(f);
        look->have |= FL_LOOK_SIZE;
    }
    if (info->offset) {
        look->offset = f->a[info->offset - 1];
        look->have |= FL_LOOK_OFFSET;
    }
    if (info->flags || f->op == FL_OP_LOCKF || f->op == FL_OP_FCNTL) {
        look->flags = info->flags ? (uint64_t)f->a[info->flags - 1] : fl_lock_flags(f);
        look->have |= FL_LOOK_FLAGS;
    }
}

/* Whether the data of a write go to the end of the file, which Linux does whatever the offset. `status` are the descriptor's flags. */
int fl_appends(const struct fl_frame *f, uint32_t status)
{
    long flags = f->op == FL_OP_PWRITEV2 ? f->a[f->info->flags - 1] : 0;
    return flags & RWF_APPEND || (status & O_APPEND && !(flags & RWF_NOAPPEND));
}

/* Not from the descriptor's own position on: an offset of -1 is none. */
int fl_says_where(const struct fl_frame *f) { return f->info->offset && f->a[f->info->offset - 1] != -1; }

/* Where a call on a descriptor begins. */
static long position(const struct fl_frame *f)
{
    struct stat st;
    if (f->info->family == FL_FAM_WRITE && fl_appends(f, (uint32_t)fl_sys3(SYS_fcntl, f->fd, F_GETFL, 0)) &&
        !fl_sys3(SYS_fstat, f->fd, (long)&st, 0))
        return st.st_size;
    return fl_says_where(f) ? f->a[f->info->offset - 1] : fl_sys3(SYS_lseek, f->fd, 0, SEEK_CUR);
}

/* What costs a system call or a reading of the clock, only for a rule that wants it. */
static __attribute__((noinline)) void look_further(const struct fl_frame *f, uint32_t has, struct fl_look *look)
{
    int has_argument = look->have & FL_LOOK_OFFSET, may_lie = f->info->family == FL_FAM_WRITE || (has_argument && look->offset == -1);
    if ((has & FL_HAS_OFFSET) && (!has_argument || may_lie) && f->fd >= 0 && f->info->result == FL_RESULT_COUNT) {
        look->offset = position(f);
        look->have |= look->offset >= 0 ? FL_LOOK_OFFSET : 0;
    }
    if ((has & FL_HAS_TIME) && !look->now_ns)
        look->now_ns = fl_now_ns() - fl_ctl->t0_ns;
}

static __attribute__((noinline)) void find_counters(struct fl_frame *f)
{
    f->counters = (struct fl_counters){
        .thread = fl_thread.counters,
        .tallies = FL_AREA(struct fl_tally, tallies_off),
        .paths = FL_AREA(struct fl_path_counter, path_counters_off),
        .paths_full = &fl_ctl->counters_full,
        .alone = fl_alone() && !f->foreign,
        .disk = &f->disk,
    };
}

/* Counts the call for every rule that matches; the first whose window is open is the choice. What rules may look at is only
 * gathered when the first one comes that looks. `mask` is not 0. */
static int decide(struct fl_frame *f, uint64_t mask, const uint16_t *slots, struct fl_choice *choice)
{
    const struct fl_rule *rules = FL_AREA(struct fl_rule, rules_off);
    struct fl_look look;
    uint32_t alone = fl_alone() && !f->foreign;
    int chosen = 0, looked = 0;
    do {
        const struct fl_rule *rule = &rules[slots[__builtin_ctzll(mask)]];
        if (!rule->plain && !looked) {
            find_counters(f);
            look_at(f, &look);
            looked = 1;
        }
        if (fl_unlikely(rule->has & (FL_HAS_OFFSET | FL_HAS_TIME)))
            look_further(f, rule->has, &look);
        if (!rule->plain && !fl_in_range(rule, &look))
            continue;
        struct fl_counter *process = counter_page(f->proc, rule->id);
        if (!process)
            continue;
        if (rule->plain) {
            chosen |= fl_count_plain(rule, process, alone, !chosen, choice);
            continue;
        }
        f->counters.process = process;
        chosen |= fl_consider(rule, FL_STRINGS, &look, &f->counters, !chosen, choice);
    } while (mask &= mask - 1);
    if (fl_unlikely(chosen)) {
        find_counters(f);
        f->counters.process = counter_page(f->proc, choice->rule->id);
    }
    return chosen;
}

/* A stable copy of the rules behind positions: all of them at once, or the only one. */
static inline void copy_slots(uint16_t *to, const uint16_t *from, uint64_t mask)
{
    typedef uint64_t pair __attribute__((vector_size(16), aligned(2), may_alias));
    if (!(mask & (mask - 1))) {
        to[__builtin_ctzll(mask)] = from[__builtin_ctzll(mask)];
        return;
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        ((pair *)to)[i] = ((const pair *)from)[i];
}

/* Positions whose settled predicates accept this call. Finds out its names where somebody wants to know them. */
static inline uint64_t settled(struct fl_frame *f, const struct fl_set *set, uint32_t generation)
{
    uint64_t who = who_mask(set, generation, f->proc, f->foreign), mask = set->interest[f->op] & who;
    if (f->info->fd) {
        if (!mask && !fl_recording())
            return 0;
        if (fl_likely((unsigned)f->fd < FL_MAX_FDS && !f->foreign &&
                      __atomic_load_n(&fl_fds[f->fd].generation, __ATOMIC_ACQUIRE) == generation)) {
            f->path = fl_fds[f->fd].path;
            f->kind = fl_fd_kinds[f->fd];
            return mask & fl_fds[f->fd].mask;
        }
        return mask & fl_fd_settle(f, set, generation, who);
    }
    int tracked = f->info->result == FL_RESULT_FD && (fl_ctl->gate >> FL_FAM_TRACK & 1);
    return mask || tracked || fl_recording() ? fl_names_mask(f, set, generation, mask) : 0;
}

/* The settled mask and a stable copy of the slots it refers to; the set may be replaced meanwhile. */
static inline uint64_t wanted(struct fl_frame *f, uint16_t *slots)
{
    for (;;) {
        uint32_t generation;
        const struct fl_set *set = fl_current_set(&generation);
        uint64_t mask = settled(f, set, generation);
        if (mask)
            copy_slots(slots, set->slot, mask);
        if (fl_still_current(generation))
            return mask;
    }
}

/* The call of a new run counts for the rules that came after it was decided. None of them acts. */
void fl_count_again(struct fl_frame *f)
{
    struct fl_choice none;
    uint16_t slots[FL_LIVE_RULES];
    uint64_t mask = wanted(f, slots);
    if (mask)
        decide(f, mask, slots, &none);
}

/* Books a firing, or says what became of one that is booked. Effects that do not come back call it themselves. */
void fl_book(struct fl_frame *f, long result, const struct fl_choice *choice)
{
    if (f->firing) {
        fl_amend_firing(f, result);
    } else {
        fl_fired(choice->rule, &f->counters);
        f->firing = fl_record_firing(f, result, choice);
    }
    f->injected = FL_BOOKED;
}

/* Before something that may not come back: whoever watches should see it, and whoever is killed in it was hit. */
void fl_book_begun(struct fl_frame *f, long result, const struct fl_choice *choice)
{
    uint8_t state = f->state;
    f->state = FL_CALL_HELD;
    fl_book(f, result, choice);
    f->state = state;
    f->injected = FL_INJECTED;
    fl_journal_held(f, choice);
}

void fl_book_disk(struct fl_frame *f, long result, const struct fl_choice *disk)
{
    struct fl_counters counters = f->counters;
    uint64_t firing = f->firing;
    int injected = f->injected, error = errno;
    f->firing = 0;
    find_counters(f);
    f->counters.process = counter_page(f->proc, disk->rule->id);
    fl_book(f, result, disk);
    f->disk = *disk;
    f->full = 1;
    f->injected = injected;
    f->firing = firing;
    f->counters = counters;
    errno = error;
}

void fl_book_clock(struct fl_frame *f, const struct fl_rule *rule)
{
    f->counters.tallies = FL_AREA(struct fl_tally, tallies_off);
    if (!(f->counters.process = counter_page(f->proc, rule->id)))
        return;
    struct fl_counter *own = &f->counters.process[rule->id % FL_LIVE_RULES];
    struct fl_choice choice = {.rule = rule, .nth = __atomic_add_fetch(&own->matched, 1, __ATOMIC_RELAXED)};
    fl_book(f, 0, &choice);
}

static long act(struct fl_frame *f, const struct fl_choice *choice)
{
    const struct fl_rule *rule = choice->rule;
    if (!fl_fd_verify(f) || !fl_owner_alive()) {
        fl_not_fired(choice);
        return fl_invoke(f);
    }
    int before = errno, interrupted = 0;
    f->injected = FL_INJECTED;
    if (f->info->result == FL_RESULT_OBJECT)
        errno = 0;
    f->acted_ns = fl_now_ns();
    if (rule->delay_ns && rule->effect != FL_EFFECT_DELAY) {
        fl_book_begun(f, 0, choice);
        interrupted = fl_wait(f, choice, fl_delay_ns(choice));
    }
    long result = interrupted ? fl_fail(f, interrupted) : fl_effects[rule->effect](f, choice);
    int error = errno;
    if (fl_is_new_child(f, result)) {
        errno = before;
        return result;
    }
    if (f->injected == FL_INJECTED)
        fl_book(f, result, choice);
    else if (!f->injected && !f->firing)
        fl_not_fired(choice);
    if (f->sym == FL_SYM_fl_nothing && fl_makes_a_child(f->op) && !result) /* its wrapper goes on, and knows the result */
        fl_thread.parting = (struct fl_parting){fl_thread.parting.started, f->firing, f->acted_ns, choice->nth, rule, f->held};
    errno = result == -1 || (!result && f->info->result == FL_RESULT_OBJECT && error) ? error : before;
    return result;
}

/* Keeps the descriptor table after the call was carried out. */
static void keep_track(const struct fl_frame *f, long result)
{
    if (f->foreign || result < 0)
        return;
    switch (f->op) {
    case FL_OP_OPEN: case FL_OP_OPENAT: case FL_OP_CREAT:
        fl_fd_opened((int)result, f->path, __atomic_load_n(&fl_ctl->generation, __ATOMIC_ACQUIRE),
                     f->op != FL_OP_CREAT && (f->a[f->info->flags - 1] & O_ACCMODE) == O_RDONLY);
        break;
    case FL_OP_DUP:
        fl_fd_dup((int)f->a[0], (int)result);
        break;
    case FL_OP_CHDIR:
        fl_cwd_changed();
        break;
    case FL_OP_CLOSE_RANGE:
        if (!(f->a[2] & 4 /* CLOSE_RANGE_CLOEXEC */))
            fl_fd_close_range((unsigned)f->a[0], (unsigned)f->a[1]);
        break;
    }
}

static void early_track(const struct fl_frame *f)
{
    /* Before the call: once the descriptor is closed another thread may get its number. A failed close closes all the same. */
    if (f->op == FL_OP_CLOSE && !f->foreign)
        fl_fd_closed((int)f->a[0]);
}

/* The other descriptor of copies: the same call seen as a read of its source. */
static __attribute__((noinline)) int as_read(const struct fl_frame *f, struct fl_frame *side, struct fl_choice *choice)
{
    uint16_t slots[FL_LIVE_RULES];
    *side = *f;
    side->op = f->info->from;
    side->info = &fl_op_table[side->op];
    side->fd = (int)f->a[f->info->source - 1];
    uint64_t mask = wanted(side, slots);
    return mask && decide(side, mask, slots, choice);
}

static __attribute__((noinline)) long copy(struct fl_frame *f, struct fl_choice *choice, int *chosen)
{
    struct fl_frame side;
    if (*chosen)
        return act(f, choice);
    *chosen = as_read(f, &side, choice);
    return *chosen ? act(&side, choice) : fl_invoke(f);
}

/* What has to be done around the call beyond the call itself: bookkeeping of descriptors, the journal. */
static __attribute__((noinline)) long with_records(struct fl_frame *f, struct fl_choice *choice, int chosen)
{
    f->recorded = fl_recording() && fl_journal_begin(f, chosen ? choice : NULL) ? f : NULL;
    int is_logged = fl_recording() && fl_datalog_wants(f);
    struct fl_before past;
    if (is_logged)
        fl_datalog_begin(f, &past);
    early_track(f);
    int before = errno;
    if (f->info->result == FL_RESULT_OBJECT)
        errno = 0;
    long result = f->info->source ? copy(f, choice, &chosen) : chosen ? act(f, choice) : fl_invoke(f);
    int error = errno;
    keep_track(f, result);
    if (f->recorded)
        fl_journal_end(f, result, chosen ? choice : f->full ? &f->disk : NULL);
    if (is_logged)
        fl_datalog_end(f, &past, result);
    errno = f->info->result == FL_RESULT_OBJECT && !error ? before : error;
    return result;
}

static int changes_tables(const struct fl_op_info *info)
{
    return info->result == FL_RESULT_FD || info->family == FL_FAM_CLOSE || info->family == FL_FAM_TRACK || info->source;
}

long fl_call(unsigned sym, unsigned op, long *a)
{
    if (fl_unlikely(!fl_real[sym]))
        fl_boot();
    const struct fl_op_info *info = &fl_op_table[op];
    struct fl_frame f; /* filled by hand: the counters only when somebody needs them */
    f.sym = sym;
    f.op = op;
    f.a = a;
    f.info = info;
    f.fd = info->fd ? (int)a[info->fd - 1] : -1;
    f.kind = f.path = f.path2 = 0;
    f.injected = f.foreign = 0;
    f.firing = f.started = f.acted_ns = 0;
    f.stack = f.stacked = f.state = f.full = 0;
    f.held = f.actor = 0;
    f.recorded = NULL;
    f.disk.rule = NULL;
    if (!fl_ctl->magic || fl_unlikely(fl_thread.dumping) || !(f.proc = fl_here(&f.foreign)))
        return fl_invoke(&f);
    struct fl_choice choice;
    uint16_t slots[FL_LIVE_RULES];
    uint64_t mask = wanted(&f, slots);
    int chosen = mask && decide(&f, mask, slots, &choice);
    if (fl_unlikely(fl_recording() || changes_tables(info)))
        return with_records(&f, &choice, chosen);
    return fl_unlikely(chosen) ? act(&f, &choice) : fl_invoke(&f);
}
