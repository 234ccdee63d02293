/* The short ways: calls that no rule wants, or that are only counted, do not go through fl_call. They decide nothing that it would
 * decide otherwise, and leave to it whatever is not plain to see. From any context. */
#ifndef FL_SHORT_H
#define FL_SHORT_H
#include "shim.h"

static inline __attribute__((always_inline)) int fl_count_one(uint64_t *word, uint64_t from)
{
#if defined(__x86_64__)
    if (fl_likely(fl_alone())) { /* one instruction, so that a signal handler cannot come between */
        uint8_t done;
        __asm__ volatile("cmpxchgq %3, %1" : "=@ccz"(done), "+m"(*word), "+a"(from) : "r"(from + 1));
        return done;
    }
#endif
    return __atomic_compare_exchange_n(word, &from, from + 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* The short way of a call on a descriptor while the journal is off. 1: no live rule wants it, as far as the descriptor's entry is up to date; or one,
 * which has nothing to look at and does not act now, and has counted it. 0: fl_call has to see it, nothing was counted. */
static inline __attribute__((always_inline)) int fl_short_way(unsigned op, int fd)
{
    const struct fl_ctl *ctl = fl_ctl;
    uint32_t generation = __atomic_load_n(&ctl->generation, __ATOMIC_ACQUIRE);
    const struct fl_set *set = &ctl->set[generation & 1];
    uint64_t wanted = set->interest[op];
    if (wanted) {
        if ((unsigned)fd >= FL_MAX_FDS || __atomic_load_n(&fl_fds[fd].generation, __ATOMIC_ACQUIRE) != generation ||
            fl_unlikely(fl_thread.spawning))
            return 0;
        wanted &= fl_fds[fd].mask;
    }
    if (!wanted)
        return fl_still_current(generation);
    struct fl_proc *proc = fl_self_page.self.proc;
    const struct fl_rule *rules = (const struct fl_rule *)((const char *)ctl + ctl->rules_off);
    const struct fl_rule *rule = &rules[set->slot[__builtin_ctzll(wanted)]];
    if ((wanted & (wanted - 1)) || !fl_still_current(generation) || !rule->plain || rule->id >= FL_LIVE_RULES || fl_unlikely(!proc))
        return 0;
    uint64_t *matched = &proc->counters[rule->id].matched, n = __atomic_load_n(matched, __ATOMIC_RELAXED);
    return !fl_in_window(rule, n + 1) && fl_count_one(matched, n);
}

/* While the journal is off: every rule that wants this call wants another size. */
static inline __attribute__((always_inline)) int fl_other_size(unsigned op, int fd, uint64_t size)
{
    const struct fl_ctl *ctl = fl_ctl;
    uint32_t generation = __atomic_load_n(&ctl->generation, __ATOMIC_ACQUIRE);
    const struct fl_set *set = &ctl->set[generation & 1];
    if ((unsigned)fd >= FL_MAX_FDS || fl_unlikely(fl_thread.spawning) ||
        __atomic_load_n(&fl_fds[fd].generation, __ATOMIC_ACQUIRE) != generation)
        return 0;
    uint64_t wanted = set->interest[op] & fl_fds[fd].mask;
    if (wanted & ~set->sized)
        return 0;
    uint64_t others = 1;
    for (; wanted && others; wanted &= wanted - 1) {
        int position = __builtin_ctzll(wanted);
        others = size - set->size_min[position] > set->size_span[position];
    }
    return others && fl_still_current(generation);
}

/* The same for a close, which no rule wants as such: its entry goes before the descriptor does. */
static inline int fl_short_close(int fd)
{
    uint32_t generation;
    if (fl_current_set(&generation)->interest[FL_OP_CLOSE] || !fl_still_current(generation) || fl_thread.spawning)
        return 0;
    if ((unsigned)fd < FL_MAX_FDS)
        __atomic_store_n(&fl_fds[fd].generation, 0, __ATOMIC_RELEASE);
    return 1;
}

#endif
