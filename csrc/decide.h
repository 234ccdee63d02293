/* The decision: which rule, if any, acts on a call. Pure: no I/O, no malloc, no errno; from any context.
 * The same code runs in the shim and, for property tests, in the Python extension. */
#ifndef FL_DECIDE_H
#define FL_DECIDE_H
#include "abi.h"
#include <stddef.h>

/* What a rule may look at on every call. */
struct fl_look {
    uint64_t size;
    int64_t offset;
    uint64_t flags;
    uint64_t now_ns;          /* session time; only read by rules with FL_HAS_TIME */
    uint64_t seed;            /* of the session */
    uint64_t identity;        /* hash of the process lineage */
    uint64_t thread;          /* hash of the thread path */
    const char *thread_path;
    uint64_t path_key;        /* hash of the path, for scope=path */
    uint32_t op;
    uint32_t have;            /* FL_LOOK_*: which of size, offset, flags the operation has */
};
#define FL_LOOK_SIZE 1
#define FL_LOOK_OFFSET 2
#define FL_LOOK_FLAGS 4

/* What a descriptor or path is: looked at once per descriptor and rule set. */
struct fl_subject {
    const char *path, *path2; /* absolute, may be null */
    int32_t fd;               /* -1: none */
    uint32_t kind;            /* FL_KIND_*; 0: not a descriptor */
};
struct fl_who {
    const char *label, *comm, *lineage;
};

/* A thread counts for itself; the entry belongs to a seat (fl_rule.seat) and is reset when another rule takes that. */
struct fl_thread_counter { uint64_t rule; struct fl_counter count; };

/* Where the counters live. */
struct fl_choice;
struct fl_counters {
    struct fl_counter *process;       /* by rule & 63, the page of this rule's group */
    struct fl_thread_counter *thread; /* by seat */
    struct fl_tally *tallies;         /* by rule */
    struct fl_path_counter *paths;
    uint32_t *paths_full;
    uint32_t alone;                   /* the process has one thread: no locked instructions needed */
    struct fl_choice *disk;           /* the first space rule that takes part in the call goes here */
};

struct fl_choice {
    const struct fl_rule *rule;       /* null: nothing acts */
    uint64_t nth;                     /* its counter at this call */
    uint64_t draw;                    /* 64 random bits of this firing, if its rule needs some: jitter, the corrupted place */
    struct fl_counter *limited;       /* where one of its `times` was taken; null: it has no such limit */
};

int fl_glob(const char *pattern, const char *text);
uint64_t fl_hash(const char *text);
uint64_t fl_mix(uint64_t a, uint64_t b);

/* Counts up one of the process' own words. With one thread a locked instruction is not needed: `alone`. */
static inline uint64_t fl_bump(uint64_t *word, uint32_t alone)
{
#if defined(__x86_64__)
    if (alone) { /* one instruction, so that a signal handler cannot come between */
        uint64_t one = 1;
        __asm__ volatile("xaddq %0, %1" : "+r"(one), "+m"(*word) : : "cc");
        return one + 1;
    }
#else
    (void)alone;
#endif
    return __atomic_add_fetch(word, 1, __ATOMIC_RELAXED);
}

static inline __attribute__((always_inline)) int fl_in_window(const struct fl_rule *r, uint64_t n)
{
    return !(r->has & FL_HAS_WINDOW) || (n >= r->first && n <= r->last && (r->step <= 1 || (n - r->first) % r->step == 0));
}

/* Counts one call of a plain rule (fl_rule.plain) in the process' counters; 1: it acts. */
static inline int fl_count_plain(const struct fl_rule *r, struct fl_counter *process, uint32_t alone, int may_act, struct fl_choice *choice)
{
    uint64_t n = fl_bump(&process[r->id % FL_LIVE_RULES].matched, alone);
    if (!may_act || !fl_in_window(r, n))
        return 0;
    choice->rule = r;
    choice->nth = n;
    choice->draw = fl_mix(0, 1);
    choice->limited = NULL;
    return 1;
}

/* The predicates that look at numbers which the call has at hand: most rules that do not match are out here. */
static inline int fl_in_range(const struct fl_rule *r, const struct fl_look *look)
{
    if ((r->has & FL_HAS_SIZE) && (!(look->have & FL_LOOK_SIZE) || look->size < r->size_min || look->size > r->size_max))
        return 0;
    if ((r->has & FL_HAS_FLAGS) && (!(look->have & FL_LOOK_FLAGS) || (look->flags & r->flags_mask) != r->flags_value))
        return 0;
    return !(r->has & FL_HAS_OFFSET) ||
           ((look->have & FL_LOOK_OFFSET) && look->offset >= r->offset_min && look->offset <= r->offset_max);
}


/* The predicates that are settled once: those on the subject, and the one on the process. */
int fl_accepts(const struct fl_rule *rule, const char *strings, const struct fl_subject *subject);
int fl_accepts_who(const struct fl_rule *rule, const char *strings, const struct fl_who *who);

/* The clock domain of a process: the first one whose rule accepts it, else the session's. */
uint32_t fl_choose_domain(const uint32_t *clock_rule, const struct fl_rule *rules, const char *strings, const struct fl_who *who);

/* What fl_rule.plain has to be. */
uint32_t fl_is_plain(const struct fl_rule *rule);

/* Books a firing that `fl_consider` decided, once it is certain to be carried out. */
void fl_fired(const struct fl_rule *rule, const struct fl_counters *counters);
/* Takes one of the `times` of a space rule, whose calls may come to nothing; 0: none is left. */
int fl_take_firing(const struct fl_choice *choice);
/* The other way out: nothing came of it, so it has not used up one of `times`. */
void fl_not_fired(const struct fl_choice *choice);

/* Counts one matching call of `rule` and tells whether it acts. A space rule never does: it takes part. */
int fl_consider(const struct fl_rule *rule, const char *strings, const struct fl_look *look, const struct fl_counters *counters,
                int may_act, struct fl_choice *choice);

#endif
