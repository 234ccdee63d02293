/* The decision: which rule, if any, acts on a call. Pure: no I/O, no malloc, no errno; from any context.
 * The same code runs in the shim and, for property tests, in the Python extension. */
#ifndef FL_DECIDE_H
#define FL_DECIDE_H
#include "abi.h"

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

/* A thread counts for itself; the entry belongs to a position and is reset when another rule takes that. */
struct fl_thread_counter { uint64_t rule; struct fl_counter count; };

/* Where the counters live. */
struct fl_counters {
    struct fl_counter *process;       /* by rule & 63, the page of this rule's group */
    struct fl_thread_counter *thread; /* by position */
    struct fl_tally *tallies;         /* by rule */
    struct fl_path_counter *paths;
    uint32_t *paths_full;
    uint32_t alone;                   /* the process has one thread: no locked instructions needed */
};

struct fl_choice {
    const struct fl_rule *rule;       /* null: nothing acts */
    uint64_t nth;                     /* its counter at this call */
    uint64_t draw;                    /* 64 random bits of this firing: jitter, the corrupted place */
};

int fl_glob(const char *pattern, const char *text);
uint64_t fl_hash(const char *text);
uint64_t fl_mix(uint64_t a, uint64_t b);

/* The predicates that are settled once: those on the subject, and the one on the process. */
int fl_accepts(const struct fl_rule *rule, const char *strings, const struct fl_subject *subject);
int fl_accepts_who(const struct fl_rule *rule, const char *strings, const struct fl_who *who);

/* The clock domain of a process: the first one whose rule accepts it, else the session's. */
uint32_t fl_choose_domain(const struct fl_clock *clocks, const struct fl_rule *rules, const char *strings, const struct fl_who *who);

/* Books a firing that `fl_consider` decided, once it is certain to be carried out. */
void fl_fired(const struct fl_rule *rule, const struct fl_counters *counters);

/* Counts one matching call of `rule` and tells whether it acts. */
int fl_consider(const struct fl_rule *rule, const char *strings, const struct fl_look *look, const struct fl_counters *counters,
                uint32_t position, int may_act, struct fl_choice *choice);

#endif
