/* The courses of the faked clocks and the deadlines on them, see clock.h. From any context. */
#include "clock.h"
#include "sys.h"
#include <errno.h>

/* Waits look again so often: a change of the clock is noticed within that time. Virtual time would begin here: it is the one
 * place that says how long a wait really lasts. */
#define SLICE_NS 50000000
#define STABLE_READS 64

static const clockid_t own_clock[FL_CLOCKS] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};

static int by_libc(clockid_t id, struct timespec *now)
{
    return ((int (*)(clockid_t, struct timespec *))fl_real[FL_SYM_clock_gettime])(id, now);
}

/* Looks for the vDSO's function at the first reading: most programs are over before they need it. */
static int first_reading(clockid_t id, struct timespec *now)
{
#if defined(__x86_64__)
    void *found = fl_vdso_symbol("__vdso_clock_gettime");
#else
    void *found = fl_vdso_symbol("__kernel_clock_gettime");
#endif
    fl_vdso_gettime = found ? (int (*)(clockid_t, struct timespec *))found : by_libc;
    return fl_vdso_gettime(id, now);
}

int (*fl_vdso_gettime)(clockid_t id, struct timespec *now) = first_reading;

int64_t fl_clock_real_ns(clockid_t id)
{
    struct timespec now = {0, 0};
    fl_vdso_gettime(id, &now);
    return now.tv_sec * (int64_t)FL_SECOND_NS + now.tv_nsec;
}

static struct timespec as_timespec(int64_t ns)
{
    int64_t s = ns / FL_SECOND_NS, rest = ns % FL_SECOND_NS;
    return rest < 0 ? (struct timespec){.tv_sec = s - 1, .tv_nsec = rest + FL_SECOND_NS}
                    : (struct timespec){.tv_sec = s, .tv_nsec = rest};
}

static int64_t add(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? (b > 0 ? FL_NEVER : INT64_MIN) : sum;
}

/* Times too far away for nanoseconds never come. */
static int64_t as_ns(const struct timespec *t)
{
    int64_t ns;
    if (__builtin_mul_overflow(t->tv_sec, (int64_t)FL_SECOND_NS, &ns))
        return t->tv_sec > 0 ? FL_NEVER : INT64_MIN;
    return add(ns, t->tv_nsec);
}

uint32_t fl_clock_domain(const struct fl_proc *proc)
{
    struct fl_who who = {.label = proc->label, .comm = proc->comm, .lineage = proc->lineage};
    return fl_choose_domain(fl_ctl->clock_rule, FL_AREA(const struct fl_rule, rules_off), FL_STRINGS, &who);
}

/* Null: this process has no session, or none yet. */
static struct fl_proc *here(void)
{
    int foreign;
    if (fl_unlikely(!fl_real[0]))
        fl_boot();
    if (!fl_ctl->magic)
        return NULL;
    return fl_here(&foreign);
}

static const struct fl_clock_step *step_at(const struct fl_clock_course *course, int64_t real_ns)
{
    uint64_t last = course->count ? (course->count - 1) % FL_CLOCK_STEPS : 0;
    while (last && course->step[last].from_ns > real_ns)
        last--;
    return &course->step[last];
}

static int64_t on_step(const struct fl_clock_step *step, int64_t real_ns)
{
    return step->virtual_ns + (int64_t)((__int128)(real_ns - step->from_ns) * (__int128)step->rate >> 32);
}

/* How long it really takes from `now` until the course reaches `at`; `most` if that is longer. */
static int64_t real_wait(const struct fl_clock_course *course, int64_t now, int64_t at, int64_t most)
{
    const struct fl_clock_step *step = step_at(course, now), *end = course->step + course->count;
    for (int64_t from = now; from < now + most && step < end; from = (++step)->from_ns) {
        int64_t until = step + 1 < end && step[1].from_ns < now + most ? step[1].from_ns : now + most;
        int64_t value = on_step(step, from);
        if (value >= at)
            return from - now;
        unsigned __int128 needed = step->rate ? (((unsigned __int128)((__int128)at - value) << 32) + step->rate - 1) / step->rate : 0;
        if (step->rate && needed <= (unsigned __int128)(until - from))
            return from - now + (int64_t)needed;
        if (step + 1 == end)
            break;
    }
    return most;
}

/* The rules behind a step, and behind those that went by since this process last looked: a freeze that is over shows in it. */
static uint64_t rules_since(const struct fl_proc *proc, int which, const struct fl_clock_course *course, uint64_t step, uint64_t seen)
{
    const struct fl_self *self = &fl_self_page.self;
    uint64_t before = self->proc == proc ? __atomic_load_n(&self->clock_seen[which], __ATOMIC_RELAXED) : 0, rules = course->step[step].rules;
    for (uint64_t i = before >> 8 == seen >> 8 ? (before & 255) + 1 : 0; i < step; i++)
        rules |= course->step[i].lasting;
    return rules;
}

/* What a look at one clock of the domain tells. */
struct sight { int faked, even; int64_t value_ns, wait_ns; uint64_t seen, rules, rate; };

static struct sight look(const struct fl_proc *proc, int which, int64_t real_ns, int64_t at_ns, int64_t most_ns, uint16_t *slots)
{
    struct sight s = {.faked = 0};
    uint32_t domain = proc->clock % FL_MAX_CLOCKS;
    const struct fl_clock *clock = &FL_AREA(const struct fl_clock, clocks_off)[domain];
    for (int attempt = 0; attempt < STABLE_READS; attempt++) {
        uint32_t index = __atomic_load_n(&clock->index, __ATOMIC_ACQUIRE);
        const struct fl_clock_state *state = &clock->copy[index & 1];
        const struct fl_clock_course *course = &state->course[which];
        const struct fl_clock_step *step = step_at(course, real_ns);
        int64_t jump = __atomic_load_n(&clock->jump_ns[which], __ATOMIC_RELAXED) - state->jump_base_ns[which];
        uint64_t place = (uint64_t)(step - course->step), seen = fl_clock_seen(index, domain, place);
        s = (struct sight){.faked = state->clocks >> which & 1, .even = course->count == 1 && step->rate == FL_RATE_ONE,
                           .value_ns = on_step(step, real_ns) + jump, .rate = step->rate, .seen = seen,
                           .rules = rules_since(proc, which, course, place, seen)};
        if (most_ns && s.faked)
            s.wait_ns = real_wait(course, real_ns, at_ns == FL_NEVER ? at_ns : add(at_ns, -jump), most_ns);
        for (uint64_t left = s.rules; left; left &= left - 1)
            slots[__builtin_ctzll(left)] = state->slot[__builtin_ctzll(left)];
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&clock->index, __ATOMIC_RELAXED) == index)
            break;
    }
    return s;
}

/* The proof of a clock rule: each process counts and records it once for each state of the clock that it meets. `actor` is who
 * meets it; 0: this thread. */
static void book(struct fl_proc *proc, int which, unsigned op, const struct sight *s, const uint16_t *slots, uint32_t actor)
{
    struct fl_self *self = &fl_self_page.self;
    if (self->proc != proc || __atomic_exchange_n(&self->clock_seen[which], s->seen, __ATOMIC_RELAXED) == s->seen)
        return;
    for (uint64_t left = s->rules; left; left &= left - 1) {
        const struct fl_rule *rule = &FL_AREA(struct fl_rule, rules_off)[slots[__builtin_ctzll(left)] % FL_MAX_RULES];
        struct fl_frame f = {.op = op, .a = (long[6]){own_clock[which]}, .info = &fl_op_table[op], .proc = proc, .fd = -1,
                             .actor = actor, .stacked = actor != 0};
        fl_book_clock(&f, rule);
    }
}

/* Keeps how far off the clock is for the next reads, until something changes. Who finds somebody else at it leaves it. */
static void keep_shift(clockid_t id, uint64_t epoch, int64_t shift_ns)
{
    struct fl_shift *shift = &fl_self_page.self.clock_shift[id];
    struct timespec by = as_timespec(shift_ns);
    if (__atomic_exchange_n(&shift->writer, 1, __ATOMIC_ACQUIRE))
        return;
    __atomic_store_n(&shift->epoch, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    shift->s = by.tv_sec;
    shift->ns = by.tv_nsec;
    __atomic_store_n(&shift->epoch, epoch, __ATOMIC_RELEASE);
    __atomic_store_n(&shift->writer, 0, __ATOMIC_RELEASE);
}

void fl_clock_turn(clockid_t id, struct timespec *now)
{
    int which = fl_clock_which(id);
    struct fl_proc *proc = which < 0 ? NULL : here();
    if (!proc)
        return;
    /* TAI and MONOTONIC_RAW keep their distance from the clock whose course they follow. */
    int64_t real_ns = as_ns(now);
    int64_t apart = id == CLOCK_TAI || id == CLOCK_MONOTONIC_RAW ? real_ns - fl_clock_real_ns(own_clock[which]) : 0;
    uint64_t epoch = __atomic_load_n(&fl_ctl->clock_epoch, __ATOMIC_SEQ_CST);
    uint16_t slots[FL_LIVE_RULES];
    struct sight s = look(proc, which, real_ns - apart, 0, 0, slots);
    if ((!s.faked || s.even) && (unsigned)id <= CLOCK_MONOTONIC)
        keep_shift(id, epoch, s.faked ? s.value_ns - real_ns : 0);
    if (!s.faked)
        return;
    int before = errno;
    book(proc, which, FL_OP_CLOCK_GETTIME, &s, slots, 0);
    *now = as_timespec(s.value_ns + apart);
    errno = before;
}

static int begin(struct fl_deadline *d, clockid_t id, int64_t ns, int absolute)
{
    int which = fl_clock_which(id);
    struct fl_proc *proc = which < 0 ? NULL : here();
    if (!proc)
        return 0;
    uint16_t slots[FL_LIVE_RULES];
    int64_t now = fl_clock_real_ns(own_clock[which]);
    struct sight s = look(proc, which, now, 0, 0, slots);
    if (!s.faked)
        return 0;
    *d = (struct fl_deadline){.id = own_clock[which], .which = which, .saved_errno = errno, .at_ns = ns};
    book(proc, which, FL_OP_CLOCK_NANOSLEEP, &s, slots, 0);
    errno = d->saved_errno;
    if (!absolute)
        d->at_ns = add(s.value_ns, ns);
    else if (id == CLOCK_TAI)
        d->at_ns = add(ns, now - fl_clock_real_ns(CLOCK_TAI));
    d->left_ns = add(d->at_ns, -s.value_ns);
    return 1;
}

int fl_deadline_in(struct fl_deadline *d, clockid_t id, int64_t ns)
{
    int which = fl_clock_which(id);
    return which >= 0 && begin(d, which == FL_CLOCK_BOOTTIME ? CLOCK_BOOTTIME : CLOCK_MONOTONIC, ns, 0);
}

int fl_deadline_begin(struct fl_deadline *d, clockid_t id, int absolute, const struct timespec *given)
{
    if (!given || (uint64_t)given->tv_nsec >= FL_SECOND_NS || given->tv_sec < 0)
        return 0;
    return absolute ? begin(d, id, as_ns(given), 1) : fl_deadline_in(d, id, as_ns(given));
}

/* For timers that the kernel keeps, which cannot be waited for in slices. */
int fl_clock_sight(struct fl_sight *sight, int which, int64_t at_ns, uint32_t actor)
{
    uint16_t slots[FL_LIVE_RULES];
    struct fl_proc *proc = fl_owner_alive() ? fl_myself() : NULL;
    int64_t now = fl_clock_real_ns(own_clock[which]);
    struct sight s = {.faked = 0};
    if (proc)
        s = look(proc, which, now, at_ns, FL_FAR_NS, slots);
    if (s.faked && actor) /* without one there is no room for more either */
        book(proc, which, FL_OP_CLOCK_NANOSLEEP, &s, slots, actor);
    if (!s.faked)
        s = (struct sight){.value_ns = now, .wait_ns = at_ns - now, .rate = FL_RATE_ONE};
    *sight = (struct fl_sight){.value_ns = s.value_ns, .wait_ns = s.wait_ns, .seen = s.seen, .rate = s.rate};
    return s.faked;
}

void fl_clock_meet(int which, int64_t ahead_ns, uint32_t actor)
{
    uint16_t slots[FL_LIVE_RULES];
    struct fl_proc *proc = actor && fl_owner_alive() ? fl_myself() : NULL;
    struct sight s = {.faked = 0};
    if (proc)
        s = look(proc, which, fl_clock_real_ns(own_clock[which]) + ahead_ns, 0, 0, slots);
    if (s.faked)
        book(proc, which, FL_OP_CLOCK_NANOSLEEP, &s, slots, actor);
}

/* Real nanoseconds to wait; 0: reached. */
static int64_t slice_ns(struct fl_deadline *d, int64_t now)
{
    struct fl_proc *proc = fl_owner_alive() ? here() : NULL;
    uint16_t slots[FL_LIVE_RULES];
    struct sight s = proc ? look(proc, d->which, now, d->at_ns, SLICE_NS, slots) : (struct sight){.faked = 0};
    if (s.faked) {
        book(proc, d->which, FL_OP_CLOCK_NANOSLEEP, &s, slots, 0);
        d->released = 0;
        d->left_ns = add(d->at_ns, -s.value_ns);
        return d->left_ns <= 0 ? 0 : s.wait_ns > 0 ? s.wait_ns : 1;
    }
    if (!d->released)
        d->at_ns = add(now, d->left_ns);
    d->released = 1;
    d->left_ns = add(d->at_ns, -now);
    return d->left_ns <= 0 ? 0 : d->left_ns < SLICE_NS ? d->left_ns : SLICE_NS;
}

int fl_deadline_slice(struct fl_deadline *d, struct timespec *wait)
{
    int64_t ns = slice_ns(d, fl_clock_real_ns(d->id));
    *wait = as_timespec(ns);
    return ns == 0;
}

int fl_deadline_slice_until(struct fl_deadline *d, struct timespec *until)
{
    int64_t now = fl_clock_real_ns(d->id), ns = slice_ns(d, now);
    *until = as_timespec(now + ns);
    return ns == 0;
}

void fl_deadline_left(struct fl_deadline *d, struct timespec *left)
{
    slice_ns(d, fl_clock_real_ns(d->id));
    *left = as_timespec(d->left_ns > 0 ? d->left_ns : 0);
}
