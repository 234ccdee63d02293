/* One intercepted call once the gate is open: who calls, on what, which rule acts, what it does, what is written down.
 * A call is decided here and nowhere else. From any context. */
#include "shim.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/single_threaded.h>

union fl_self_page fl_self_page;
__thread struct fl_thread fl_thread;

/* libc's function, with the call's arguments. Functions that return int leave half of the register undefined. */
long fl_invoke(struct fl_frame *f)
{
    long *a = f->a;
    long result = fl_real[f->sym](a[0], a[1], a[2], a[3], a[4], a[5]);
    switch (f->info->result) {
    case FL_RESULT_ZERO: case FL_RESULT_FD: case FL_RESULT_CODE: case FL_RESULT_PID:
        return (int)result;
    default:
        return result;
    }
}

/* The slot of whoever runs this: this process, or a vfork or posix_spawn child on this process' memory. */
struct fl_proc *fl_here(int *foreign)
{
    *foreign = 0;
    if (fl_unlikely(fl_thread.spawning)) {
        int pid = (int)fl_sys1(SYS_getpid, 0);
        if (pid != fl_self_page.self.pid) {
            *foreign = 1;
            if (!fl_thread.child || fl_thread.child_pid != pid) {
                fl_thread.child = fl_claim_child(fl_self_page.self.proc, fl_thread.spawning, pid);
                fl_thread.child_pid = pid;
            }
            return fl_thread.child;
        }
    }
    if (fl_unlikely(!fl_self_page.self.proc))
        fl_after_fork();
    return fl_self_page.self.proc;
}

/* Positions whose process predicate accepts this process, once per rule set. */
static uint64_t who_mask(const struct fl_set *set, uint32_t generation, const struct fl_proc *proc, int foreign)
{
    uint64_t known = __atomic_load_n(&fl_self_page.self.who_mask, __ATOMIC_RELAXED);
    if (!foreign && (known ^ __atomic_load_n(&fl_self_page.self.who_check, __ATOMIC_RELAXED)) == generation)
        return known;
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

/* This process' counters of rules 64 * group and up; a page for a later group is taken at its first use. */
static struct fl_counter *counter_page(struct fl_proc *proc, uint32_t rule)
{
    uint32_t group = rule / FL_LIVE_RULES;
    if (!group)
        return proc->counters;
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

static void look_at(const struct fl_frame *f, uint32_t has, struct fl_look *look)
{
    const struct fl_op_info *info = f->info;
    *look = (struct fl_look){.op = f->op, .seed = fl_ctl->seed, .identity = f->proc->identity, .thread = fl_thread.identity,
                             .thread_path = fl_thread.path, .path_key = f->key};
    if (info->size || info->iov) {
        look->size = fl_call_size(f);
        look->have |= FL_LOOK_SIZE;
    }
    if (info->offset) {
        look->offset = f->a[info->offset - 1];
        look->have |= FL_LOOK_OFFSET;
    } else if ((has & FL_HAS_OFFSET) && f->fd >= 0 && info->result == FL_RESULT_COUNT) {
        look->offset = fl_sys3(SYS_lseek, f->fd, 0, 1 /* SEEK_CUR */);
        look->have |= look->offset >= 0 ? FL_LOOK_OFFSET : 0;
    }
    if (info->flags || f->op == FL_OP_LOCKF || f->op == FL_OP_FCNTL) {
        look->flags = info->flags ? (uint64_t)f->a[info->flags - 1] : fl_lock_flags(f);
        look->have |= FL_LOOK_FLAGS;
    }
    if (has & FL_HAS_TIME)
        look->now_ns = fl_now_ns() - fl_ctl->t0_ns;
    if (!look->path_key && f->path)
        look->path_key = fl_hash(fl_path_text(f->path));
}

/* Counts the call for every rule that matches; the first whose window is open is the choice. */
static int decide(struct fl_frame *f, uint64_t mask, const uint16_t *slots, struct fl_choice *choice)
{
    const struct fl_rule *rules = FL_AREA(struct fl_rule, rules_off);
    struct fl_look look;
    uint32_t has = 0;
    int chosen = 0, looked = 0;
    struct fl_counters *counters = &f->counters;
    counters->thread = fl_thread.counters;
    counters->tallies = FL_AREA(struct fl_tally, tallies_off);
    counters->paths = FL_AREA(struct fl_path_counter, path_counters_off);
    counters->paths_full = &fl_ctl->counters_full;
    counters->alone = __libc_single_threaded && !f->foreign;
    for (uint64_t left = mask; left; left &= left - 1)
        has |= rules[slots[__builtin_ctzll(left)]].has;
    for (uint64_t left = mask; left; left &= left - 1) {
        uint32_t position = (uint32_t)__builtin_ctzll(left);
        const struct fl_rule *rule = &rules[slots[position]];
        if (!(counters->process = counter_page(f->proc, rule->id)))
            continue;
        if (!looked) {
            look_at(f, has, &look);
            looked = 1;
        }
        struct fl_choice now;
        if (fl_consider(rule, FL_STRINGS, &look, counters, position, !chosen, &now)) {
            *choice = now;
            chosen = 1;
        }
    }
    if (chosen)
        counters->process = counter_page(f->proc, choice->rule->id);
    return chosen;
}

/* The settled mask and a stable copy of the slots it refers to; the set may be replaced meanwhile. */
static uint64_t wanted(struct fl_frame *f, uint16_t *slots)
{
    for (;;) {
        uint32_t generation;
        const struct fl_set *set = fl_current_set(&generation);
        uint64_t who = who_mask(set, generation, f->proc, f->foreign);
        uint64_t mask = set->interest[f->op] & who;
        int record = (int64_t)__atomic_load_n(&fl_ctl->gate, __ATOMIC_RELAXED) < 0;
        if (mask || record || f->info->fd || f->info->result == FL_RESULT_FD)
            mask &= f->info->fd ? fl_fd_mask(f, set, generation, who) : fl_paths_mask(f, set, generation);
        for (uint64_t left = mask; left; left &= left - 1) {
            int position = __builtin_ctzll(left);
            slots[position] = set->slot[position];
        }
        if (fl_still_current(generation))
            return mask;
    }
}

/* Books a firing. Effects that do not come back call it themselves. */
void fl_book(struct fl_frame *f, long result, const struct fl_choice *choice)
{
    fl_fired(choice->rule, &f->counters);
    fl_record(&fl_ctl->firings, f, result, choice);
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
    if (!fl_fd_verify(f) || !fl_owner_alive())
        return fl_invoke(f);
    int before = errno, interrupted = 0;
    if (rule->delay_ns && rule->effect != FL_EFFECT_DELAY)
        interrupted = fl_wait(f, choice, fl_delay_ns(choice));
    f->injected = 1;
    long result = interrupted ? fl_fail(f, interrupted) : fl_effects[rule->effect](f, choice);
    int error = errno;
    if (f->injected)
        fl_book(f, result, choice);
    errno = result == -1 || (!result && f->info->result == FL_RESULT_OBJECT) ? error : before;
    return result;
}

/* Keeps the descriptor table after the call was carried out. */
static void keep_track(const struct fl_frame *f, long result)
{
    if (f->foreign || result < 0)
        return;
    switch (f->op) {
    case FL_OP_OPEN: case FL_OP_OPENAT: case FL_OP_CREAT:
        fl_fd_opened((int)result, f->path, __atomic_load_n(&fl_ctl->generation, __ATOMIC_ACQUIRE));
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
static int decide_source(struct fl_frame *f, struct fl_frame *side, struct fl_choice *choice)
{
    uint16_t slots[FL_LIVE_RULES];
    *side = *f;
    side->op = f->info->from;
    side->info = &fl_op_table[side->op];
    side->fd = (int)f->a[f->info->source - 1];
    uint64_t mask = wanted(side, slots);
    return mask && decide(side, mask, slots, choice);
}

long fl_call(unsigned sym, unsigned op, long *a)
{
    if (fl_unlikely(!fl_real[sym]))
        fl_boot();
    struct fl_frame f = {.sym = sym, .op = op, .a = a, .info = &fl_op_table[op], .fd = -1};
    if (!fl_ctl->magic || !(f.proc = fl_here(&f.foreign)))
        return fl_invoke(&f);
    if (f.info->fd)
        f.fd = (int)a[f.info->fd - 1];
    struct fl_choice choice;
    struct fl_frame side;
    uint16_t slots[FL_LIVE_RULES];
    uint64_t mask = wanted(&f, slots);
    int chosen = mask && decide(&f, mask, slots, &choice);
    int source = !chosen && f.info->source && decide_source(&f, &side, &choice);
    int record = fl_journal_begin(&f);
    early_track(&f);
    long result = fl_unlikely(chosen) ? act(&f, &choice) : fl_unlikely(source) ? act(&side, &choice) : fl_invoke(&f);
    int error = errno;
    keep_track(&f, result);
    if (record)
        fl_journal_end(&f, result, chosen || source ? &choice : NULL);
    errno = error;
    return result;
}
