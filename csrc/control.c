/* Layout, publishing and draining of the control block, from the controller. */
#include "cleanup.h"
#include "control.h"
#include "decide.h"
#include "ops.h"
#include "ticks.h"
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(FL_OPS <= FL_MAX_OPS, "fl_set.interest has no room for every operation");
_Static_assert((int)FL_FAMILIES <= FL_GATE_CLOCK_BIT, "the gate has no bit for every family");
_Static_assert(sizeof(struct fl_event) == 96, "fl_event has holes");
_Static_assert(sizeof(struct fl_log_entry) == 152, "fl_log_entry has holes");
_Static_assert(offsetof(struct fl_ctl, datalog.head) % 64 == 0, "the data log's words share lines");

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int fl_op_count(void) { return FL_OPS; }

static uint64_t place(uint64_t *at, uint64_t bytes)
{
    uint64_t here = (*at + 63) & ~63ull;
    *at = here + bytes;
    return here;
}

static uint64_t power_of_two(uint64_t least)
{
    uint64_t n = 1;
    while (n < least)
        n *= 2;
    return n;
}

static void place_ring(struct fl_ring *ring, uint64_t *at, uint64_t records)
{
    ring->capacity = power_of_two(records);
    ring->offset = place(at, sizeof(struct fl_event) * ring->capacity);
}

int fl_layout(struct fl_ctl *ctl, uint64_t journal, uint64_t firings, uint64_t text_bytes, uint64_t datalog_bytes)
{
    uint64_t at = sizeof *ctl;
    ctl->magic = FL_MAGIC;
    ctl->abi = FL_ABI;
    /* What every new process touches comes first, close together: each stretch of 2 MiB costs it a page table. */
    ctl->launches_off = place(&at, sizeof(struct fl_launch) * FL_MAX_LAUNCHES);
    ctl->procs_off = place(&at, sizeof(struct fl_proc) * FL_MAX_PROCS);
    ctl->rules_off = place(&at, sizeof(struct fl_rule) * FL_MAX_RULES);
    ctl->tallies_off = place(&at, sizeof(struct fl_tally) * FL_MAX_RULES);
    ctl->pages_off = place(&at, sizeof(struct fl_page) * FL_MAX_PAGES);
    ctl->buckets_off = place(&at, sizeof(uint32_t) * FL_PATH_BUCKETS);
    ctl->paths_off = place(&at, sizeof(struct fl_path) * FL_MAX_PATHS);
    ctl->path_bytes_off = place(&at, FL_PATH_BYTES);
    ctl->path_counters_off = place(&at, sizeof(struct fl_path_counter) * FL_MAX_PATH_COUNTERS);
    ctl->clocks_off = place(&at, sizeof(struct fl_clock) * FL_MAX_CLOCKS);
    ctl->strings_off = place(&at, FL_STRING_BYTES);
    ctl->text_bytes = text_bytes;
    ctl->text_capacity = power_of_two(text_bytes / 128);
    ctl->text_buckets_off = place(&at, sizeof(uint32_t) * ctl->text_capacity * 2);
    ctl->texts_off = place(&at, sizeof(struct fl_text) * ctl->text_capacity);
    ctl->text_bytes_off = place(&at, text_bytes);
    ctl->firsts_off = place(&at, sizeof(struct fl_event) * FL_MAX_RULES);
    place_ring(&ctl->firings, &at, firings);
    place_ring(&ctl->journal, &at, journal);
    ctl->datalog.capacity = datalog_bytes ? power_of_two(datalog_bytes) : 0;
    ctl->datalog.offset = place(&at, ctl->datalog.capacity);
    ctl->size = (at + 4095) & ~4095ull;
    return 0;
}

uint64_t fl_layout_size(uint64_t journal, uint64_t firings, uint64_t text_bytes, uint64_t datalog_bytes)
{
    struct fl_ctl ctl;
    memset(&ctl, 0, sizeof ctl);
    fl_layout(&ctl, journal, firings, text_bytes, datalog_bytes);
    return ctl.size;
}

/* The controller has filled set[(generation + 1) & 1]: make it current. The gate opens after and closes before. */
void fl_publish(struct fl_ctl *ctl)
{
    uint32_t next = ctl->generation + 1;
    struct fl_set *set = &ctl->set[next & 1];
    set->generation = next;
    __atomic_and_fetch(&ctl->gate, set->gate, __ATOMIC_SEQ_CST);
    __atomic_store_n(&ctl->generation, next, __ATOMIC_SEQ_CST);
    __atomic_store_n(&ctl->gate, set->gate, __ATOMIC_SEQ_CST);
    fl_release_waiters(ctl);
}

/* Everything that hangs looks at its rule again. */
void fl_release_waiters(struct fl_ctl *ctl)
{
    __atomic_add_fetch(&ctl->release, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &ctl->release, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Makes a state current; null: every clock of the domain is real again, and jumps count from here. */
void fl_clock_publish(struct fl_ctl *ctl, struct fl_clock *clock, const struct fl_clock_state *state)
{
    uint32_t next = __atomic_load_n(&clock->index, __ATOMIC_ACQUIRE) + 1;
    struct fl_clock_state *copy = &clock->copy[next & 1];
    if (state) {
        *copy = *state;
    } else {
        memset(copy, 0, sizeof *copy);
        for (int i = 0; i < FL_CLOCKS; i++)
            copy->jump_base_ns[i] = __atomic_load_n(&clock->jump_ns[i], __ATOMIC_ACQUIRE);
    }
    __atomic_store_n(&clock->index, next, __ATOMIC_RELEASE);
    __atomic_add_fetch(&ctl->clock_epoch, 1, __ATOMIC_SEQ_CST);
}

/* Moves every process to the domain that it belongs to by now. Who attaches meanwhile binds itself again: slot.c. */
void fl_clock_bind(struct fl_ctl *ctl)
{
    const struct fl_rule *rules = (const struct fl_rule *)((char *)ctl + ctl->rules_off);
    struct fl_proc *procs = (struct fl_proc *)((char *)ctl + ctl->procs_off);
    __atomic_add_fetch(&ctl->clock_epoch, 1, __ATOMIC_SEQ_CST); /* for those who attach: they look before and after */
    for (int i = 0; i < FL_MAX_PROCS; i++) {
        struct fl_who who = {.label = procs[i].label, .comm = procs[i].comm, .lineage = procs[i].lineage};
        if (__atomic_load_n(&procs[i].state, __ATOMIC_ACQUIRE) != FL_PROC_FREE)
            procs[i].clock = fl_choose_domain(ctl->clock_rule, rules, (const char *)ctl + ctl->strings_off, &who);
    }
    __atomic_add_fetch(&ctl->clock_epoch, 1, __ATOMIC_SEQ_CST);
}

/* Ends every fault at once: the gate, the rules, the clocks, the waiters, the stopped. Safe after fork, and twice. */
void fl_disarm(struct fl_ctl *ctl)
{
    __atomic_store_n(&ctl->gate, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&ctl->closed, FL_CLOSED_BY_OWNER_OR_GUARD, __ATOMIC_SEQ_CST);
    uint32_t next = ctl->generation + 1;
    struct fl_set *set = &ctl->set[next & 1];
    memset(set, 0, sizeof *set);
    set->generation = next;
    __atomic_store_n(&ctl->generation, next, __ATOMIC_SEQ_CST);
    struct fl_clock *clocks = (struct fl_clock *)((char *)ctl + ctl->clocks_off);
    for (int i = 0; i < FL_MAX_CLOCKS; i++)
        if (!i || ctl->clock_rule[i])
            fl_clock_publish(ctl, &clocks[i], NULL);
    fl_release_waiters(ctl);
    fl_continue_stopped(ctl, 0);
}

/* Session time 0, by the clock and by the processor's counter. */
void fl_begin_time(struct fl_ctl *ctl)
{
    ctl->t0_ns = now_ns();
    ctl->t0_ticks = fl_ticks();
}

/* From ticks to nanoseconds, by what both clocks say now and said at the beginning. */
struct scale { uint64_t now_ns, now_ticks; double ns_per_tick; };

static struct scale scale_of(const struct fl_ctl *ctl)
{
    struct scale scale = {.now_ns = now_ns(), .now_ticks = fl_ticks()};
    scale.ns_per_tick = (double)(scale.now_ns - ctl->t0_ns) / (double)(scale.now_ticks - ctl->t0_ticks);
    scale.now_ns -= ctl->t0_ns;
    return scale;
}

static void in_nanoseconds(struct fl_event *e, const struct scale *scale)
{
    double ago = (double)(int64_t)(scale->now_ticks - e->time_ns) * scale->ns_per_tick;
    e->time_ns = ago < (double)scale->now_ns ? scale->now_ns - (uint64_t)(int64_t)ago : 0;
    e->duration_ns = (uint64_t)((double)e->duration_ns * scale->ns_per_tick);
}

/* Takes finished records off a ring, oldest first. A record not yet finished ends the batch; lost ones are counted. */
uint64_t fl_drain(struct fl_ctl *ctl, struct fl_ring *ring, struct fl_event *out, uint64_t most)
{
    struct fl_event *events = (struct fl_event *)((char *)ctl + ring->offset);
    uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE), tail = ring->tail, n = 0;
    if (head - tail > ring->capacity) {
        ring->lost += head - tail - ring->capacity;
        tail = head - ring->capacity;
    }
    int ticks = ring == &ctl->journal && (ctl->options & FL_OPT_TICKS) && tail < head;
    struct scale scale = ticks ? scale_of(ctl) : (struct scale){0};
    while (tail < head && n < most) {
        struct fl_event *e = &events[tail & (ring->capacity - 1)];
        uint64_t before = __atomic_load_n(&e->sequence, __ATOMIC_ACQUIRE);
        if (before < tail + 1)
            break;
        out[n] = *e;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (before == tail + 1 && __atomic_load_n(&e->sequence, __ATOMIC_RELAXED) == before)
            n++;
        else
            ring->lost++;
        tail++;
    }
    __atomic_store_n(&ring->tail, tail, __ATOMIC_RELEASE);
    for (uint64_t i = 0; ticks && i < n; i++)
        in_nanoseconds(&out[i], &scale);
    return n;
}

/* The counters of one rule in one process, null before its first match there. */
static struct fl_counter *counter_of(struct fl_ctl *ctl, struct fl_proc *proc, uint32_t rule)
{
    uint32_t group = rule / FL_LIVE_RULES;
    if (!group)
        return &proc->counters[rule];
    uint16_t page = __atomic_load_n(&proc->page[group], __ATOMIC_ACQUIRE);
    return page ? &((struct fl_page *)((char *)ctl + ctl->pages_off))[page - 1].counters[rule % FL_LIVE_RULES] : NULL;
}

/* What a rule counted in all processes. Begun again when a slot was folded meanwhile, so that nothing counts twice. */
void fl_count(struct fl_ctl *ctl, uint32_t rule, struct fl_counter *sum)
{
    struct fl_counter *folded = &((struct fl_tally *)((char *)ctl + ctl->tallies_off))[rule].folded;
    struct fl_proc *procs = (struct fl_proc *)((char *)ctl + ctl->procs_off);
    for (int attempt = 0; attempt < 100; attempt++) {
        sum->matched = fl_load(&folded->matched);
        sum->fired = fl_load(&folded->fired);
        uint64_t before = sum->matched;
        for (int i = 0; i < FL_MAX_PROCS; i++) {
            struct fl_counter *counter = counter_of(ctl, &procs[i], rule);
            if (counter) {
                sum->matched += fl_load(&counter->matched);
                sum->fired += fl_load(&counter->fired);
            }
        }
        if (fl_load(&folded->matched) == before)
            return;
    }
}

uint64_t fl_load(uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
void fl_store(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
uint64_t fl_add(uint64_t *word, uint64_t value) { return __atomic_add_fetch(word, value, __ATOMIC_ACQ_REL); }
