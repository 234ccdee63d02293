/* The contract between the controller and the shim: the layout of the shared control block, and its constants.
 *
 * cffi parses this very file (after dropping the guard lines), so it stays within what its parser reads: plain structs
 * of fixed-width integers, enums and numeric #defines. Atomic access is by the __atomic builtins, at the place of use.
 * Areas behind the header are found by the offsets that the header gives. Times are CLOCK_MONOTONIC nanoseconds.
 */
#ifndef FL_ABI_H
#define FL_ABI_H
#include <stdint.h>

#define FL_MAGIC 0x666c7462
#define FL_ABI 1

#define FL_MAX_OPS 128
#define FL_LIVE_RULES 64
#define FL_MAX_RULES 4096
#define FL_MAX_PROCS 1024
#define FL_MAPS_NAMED 8
#define FL_MAPS_LOOKED 16
#define FL_TID_BITS 22 /* the most that Linux has */
#define FL_MAX_PAGES 1024
#define FL_MAX_LAUNCHES 1024
#define FL_MAX_PATHS 16384
#define FL_PATH_BUCKETS 32768
#define FL_PATH_BYTES 2097152
#define FL_STRING_BYTES 524288
#define FL_MAX_PATH_COUNTERS 8192
#define FL_MAX_CLOCKS 64
#define FL_CLOCKS 3
#define FL_CLOCK_STEPS 16
#define FL_GLOBS 4

/* The gate's bit beyond the families: the journal is on. The family `track` stands for the shim's own bookkeeping of
 * descriptors, it is set whenever a rule or the journal wants to know their paths. */
#define FL_GATE_RECORD_BIT 63
/* Some clock is faked: reads and waits have to look at their domain. */
#define FL_GATE_CLOCK_BIT 62

enum fl_effect {
    FL_EFFECT_NONE, FL_EFFECT_ERROR, FL_EFFECT_SHORT, FL_EFFECT_TORN, FL_EFFECT_DELAY, FL_EFFECT_KILL, FL_EFFECT_SIGNAL,
    FL_EFFECT_STOP, FL_EFFECT_HANG, FL_EFFECT_RETURN, FL_EFFECT_CORRUPT, FL_EFFECT_SPACE, FL_EFFECT_CLOCK, FL_EFFECT_FORK,
    FL_EFFECT_COUNT
};
enum fl_phase { FL_BEFORE, FL_AFTER };
enum fl_scope { FL_SCOPE_PROCESS, FL_SCOPE_SESSION, FL_SCOPE_THREAD, FL_SCOPE_PATH };
enum fl_fdkind { FL_KIND_FILE = 1, FL_KIND_DIR = 2, FL_KIND_PIPE = 4, FL_KIND_SOCKET = 8, FL_KIND_TTY = 16, FL_KIND_OTHER = 32,
                 FL_KIND_ANONYMOUS = 64 /* a map of no descriptor */ };
enum fl_proc_by { FL_BY_LABEL, FL_BY_COMM, FL_BY_LINEAGE, FL_BY_ANY };
enum fl_clock_id { FL_CLOCK_REALTIME, FL_CLOCK_MONOTONIC, FL_CLOCK_BOOTTIME };
enum fl_clock_verb { FL_CLOCK_OFFSET, FL_CLOCK_RATE, FL_CLOCK_JUMP, FL_CLOCK_FREEZE };

/* Which predicates and windows a rule has (fl_rule.has). Those below FL_HAS_CALL are settled once per descriptor or path
 * and rule set; those from FL_HAS_CALL on are looked at on every call. */
enum fl_has {
    FL_HAS_PATH = 1, FL_HAS_FROM = 2, FL_HAS_TO = 4, FL_HAS_FD = 8, FL_HAS_PROC = 16,
    FL_HAS_FLAGS = 256, FL_HAS_SIZE = 512, FL_HAS_OFFSET = 1024, FL_HAS_THREAD = 2048, FL_HAS_AFTER = 4096, FL_HAS_TIME = 8192,
    FL_HAS_WINDOW = 65536, FL_HAS_P = 131072, FL_HAS_TIMES = 262144
};
/* fl_rule.negate: the pattern must not match. */
enum fl_negate { FL_NOT_PATH = 1, FL_NOT_FROM = 2, FL_NOT_TO = 4, FL_NOT_PROC = 8 };

/* One compiled rule. Immutable once published; a slot is never reused in a session. */
struct fl_rule {
    uint64_t ops[2];            /* bit set of operations */
    uint32_t id;                /* its slot */
    uint32_t has;
    uint32_t negate;
    uint32_t fdkinds;           /* FL_KIND_* accepted; 0 accepts all */
    uint32_t path[FL_GLOBS];    /* offsets into the strings; any of them matches; 0 ends the list */
    uint32_t from[FL_GLOBS];
    uint32_t to[FL_GLOBS];
    int32_t fd;
    uint32_t proc_by;
    uint32_t proc;              /* string: glob for label, comm or lineage */
    uint32_t thread;            /* string: glob for the thread path */
    uint64_t flags_mask;        /* (flags & mask) == value */
    uint64_t flags_value;
    uint64_t size_min;
    uint64_t size_max;
    int64_t offset_min;
    int64_t offset_max;
    uint32_t after;             /* slot + 1 of the rule that must have fired */
    uint16_t scope;
    uint16_t seat;              /* where a thread's own counter is: no other live rule has it */
    uint64_t first;             /* window over the matching calls, counted from 1 */
    uint64_t last;
    uint64_t step;
    uint64_t p;                 /* probability times 2^32 */
    uint64_t times;             /* at most so many firings in the scope */
    uint64_t at_ns;             /* session time */
    uint64_t for_ns;            /* 0: for ever */
    uint32_t effect;
    uint32_t phase;             /* of kill; of the delay where it is the only effect, else that is before */
    int32_t error;              /* errno */
    int32_t signal;
    int64_t value;              /* return value; bytes of short, torn, corrupt or space; offset or jump in ns */
    uint32_t percent;           /* short, torn: per cent of the size, if not 0; return: 100 is what full success returns */
    uint32_t clock;             /* clock rules: bits 1 << FL_CLOCK_* */
    uint32_t clock_verb;
    uint32_t plain;             /* nothing to look at on a call: it counts, in the process, and that alone decides */
    uint64_t rate;              /* clock rate times 2^32 */
    uint64_t delay_ns;
    uint64_t jitter_ns;
};

struct fl_counter { uint64_t matched; uint64_t fired; };

/* What the whole session knows of one rule. */
struct fl_tally {
    struct fl_counter folded;   /* of processes whose slot was given away */
    struct fl_counter session;  /* scope=session */
    uint64_t space_left;        /* bytes that still fit; meaningful once space_init is 1 */
    uint32_t space_init;
    uint32_t first;             /* its first firing is written down, or about to be */
    uint64_t fired_any;         /* firings in all, kept for after= */
    uint64_t reserved;
};

/* The live rules: two copies, the generation's low bit tells which one is current. Positions are in the order in which the
 * rules were added, and change from one generation to the next. */
struct fl_set {
    uint32_t generation;
    uint32_t count;
    uint64_t gate;
    uint64_t live;                   /* positions in use */
    uint64_t on_fds;                 /* those with an operation on a descriptor */
    uint64_t interest[FL_MAX_OPS];   /* operation -> positions of live rules */
    uint64_t sized;                  /* those that want a size: from size_min on so many more */
    uint64_t size_min[FL_LIVE_RULES];
    uint64_t size_span[FL_LIVE_RULES];
    uint16_t slot[FL_LIVE_RULES];    /* position -> slot */
};

enum fl_closed { FL_OPEN, FL_CLOSED_BY_OWNER_OR_GUARD, FL_CLOSED_BY_TARGET };
enum fl_proc_state { FL_PROC_FREE, FL_PROC_CLAIMED, FL_PROC_LIVE, FL_PROC_EXEC_PENDING, FL_PROC_EXITED };
enum fl_proc_flag {
    FL_PROC_PATCHED = 1, FL_PROC_PATCH_REFUSED = 2, FL_PROC_SPAWNED = 8, FL_PROC_IO_URING = 16, FL_PROC_ORPHAN = 32,
    FL_PROC_PYTHON = 64, FL_PROC_NO_STACKS = 128, FL_PROC_NATIVE_AIO = 1024,
    /* while EXEC_PENDING: the link was not to be found from there; another session's link was there */
    FL_PROC_OUT_OF_REACH = 256, FL_PROC_OTHER_SESSION = 512
};

struct fl_proc {
    uint32_t state;
    int32_t pid;                /* as the controller sees it; 0: not known */
    uint32_t uid;
    uint32_t launch;
    uint32_t children;          /* forks and spawns so far */
    uint32_t flags;
    uint32_t clock;             /* clock domain */
    uint32_t execs;
    uint32_t stopped_by;        /* slot + 1 of the rule that has stopped it */
    uint32_t entries;           /* glibc's functions that are patched, by their place in csrc/arch */
    uint64_t identity;          /* hash of the lineage */
    uint64_t started_ns;
    char lineage[96];
    char label[32];
    char comm[16];
    char exe[240];              /* the image, while EXEC_PENDING: the one that was asked for */
    uint16_t page[FL_LIVE_RULES];               /* group of 64 rules -> 1 + its counter page; group 0 is inline */
    struct fl_counter counters[FL_LIVE_RULES];  /* of rules 0 .. 63 */
};

struct fl_page { struct fl_counter counters[FL_LIVE_RULES]; };

/* One launched command: the root of a process tree. */
struct fl_launch { uint32_t claimed; uint32_t number; char label[32]; };

/* An interned path. A mask word is generation << 32 | half of the positions whose path pattern it matches. */
struct fl_path { uint64_t hash; uint32_t offset; uint32_t length; uint64_t mask[2]; };

struct fl_path_counter { uint64_t key; struct fl_counter count; };

/* One stretch of a clock's course: from the real time `from_ns` on, virtual = virtual_ns + (real - from_ns) * rate / 2^32.
 * At rate 1 that is to add shift_s seconds and shift_ns (0 to 999,999,999) nanoseconds. */
struct fl_clock_step {
    int64_t from_ns;
    int64_t virtual_ns;
    uint64_t rate;
    int64_t shift_s;
    int64_t shift_ns;
    uint64_t rules;             /* which of the state's `slot` make it what it is */
    uint64_t lasting;           /* those of them that leave their mark: all but offsets */
};
struct fl_clock_course { uint64_t count; struct fl_clock_step step[FL_CLOCK_STEPS]; };
struct fl_clock_state {
    uint32_t clocks;            /* bits 1 << FL_CLOCK_*: faked; the others are real, whatever the rest says */
    uint32_t virtual_time;      /* kept for virtual time: not yet used */
    int64_t jump_base_ns[FL_CLOCKS]; /* jump_ns counts from here */
    struct fl_clock_course course[FL_CLOCKS];
    uint16_t slot[FL_LIVE_RULES]; /* the domain's clock rules */
};
/* A clock domain. Domain 0 is the session's; a process is bound to the first other one whose rule accepts it. The state is a
 * latch: copy[index & 1] is current, the writer fills the other one and then moves the index. */
struct fl_clock {
    uint64_t index;
    int64_t jump_ns[FL_CLOCKS]; /* added by clock rules that fire in a target */
    struct fl_clock_state copy[2];
};

/* An interned text: who calls (see fl_actor), or the source lines of a call. */
struct fl_text { uint64_t hash; uint32_t offset; uint32_t length; };

/* BEGUN: an exec or exit, before it happens; CAME_BACK: that exec did. HELD: a fault has begun in which the process may end; the
 * call's own record follows if it did not. LAST: the process dies before the call. */
enum fl_event_state { FL_CALL_DONE, FL_CALL_BEGUN, FL_CALL_CAME_BACK, FL_CALL_HELD, FL_CALL_LAST };

/* One record of the journal or of the firings. `sequence` is stored last: 1 + its number. What most records have none of comes last,
 * in few stores. */
struct fl_event {
    uint64_t sequence;
    uint64_t time_ns;           /* session time of its begin, 0 without times; in the journal's ring ticks with FL_OPT_TICKS */
    uint64_t duration_ns;       /* likewise */
    int64_t result;             /* negative: -errno */
    uint64_t size;
    int64_t offset;
    uint64_t nth;               /* the rule's counter at the firing */
    uint32_t path;              /* interned path, 0: none */
    int32_t fd;
    uint16_t op;
    uint8_t kind;
    uint8_t effect;
    uint32_t actor;             /* interned text, 0: not known */
    uint32_t stack;             /* interned text, 0: none */
    uint32_t path2;
    uint32_t flags;
    int32_t extra;              /* one more argument: mode, protection, clock, exit status */
    uint16_t rule;              /* slot + 1 of the rule that fired */
    uint8_t state;              /* FL_CALL_* */
    uint8_t reserved;
    uint32_t held;              /* the low bits of 1 + the number of the record in which it was held, 0: it was not */
};

/* `limit`: writers wait while so many records are unread, if the reader is alive; 0: they overwrite the oldest. */
struct fl_ring {
    uint64_t head;
    uint64_t apart[7];          /* writers' and reader's words on lines of their own */
    uint64_t tail;
    uint64_t lost;
    uint64_t offset;
    uint64_t capacity;          /* a power of two */
    uint64_t limit;
    uint32_t waiting;           /* somebody waits for room */
    uint32_t drained;           /* futex: counts how often there was room again */
    uint32_t given_up;          /* the reader did not come in time: nobody waits until it does */
    uint32_t cut;               /* records that their writers, killed meanwhile, did not finish */
};

/* A part of a file that is mapped by somebody, who had written down all that was stored there when the head was here. */
struct fl_looked { uint64_t device, inode, start, end, head; };

/* What calls changed in files, in the order in which they did: entries of any length, one behind the other, for one reader. Whoever
 * has the lock writes them, and has it while a call changes something. */
struct fl_datalog {
    uint32_t lock;              /* futex: the thread that has it, its process' slot << FL_TID_BITS | its tid there; 0: nobody */
    uint32_t lock_waiters;
    uint32_t flag_changes;      /* F_SETFL so far: what is kept of descriptors' flags is stale then */
    uint32_t making;            /* whoever has the lock is in the middle of an entry: nothing is published */
    uint64_t cursor;            /* bytes that are given away: entries in the making lie between it and the head */
    uint64_t seen_tail;         /* what the tail was when a writer looked last */
    uint64_t offset;
    uint64_t capacity;          /* a power of two; 0: nobody wants one */
    uint64_t lost;              /* entries for which the reader made no room; then nobody waits for it any more */
    uint64_t unread;            /* bytes that the kernel copied and that could not be read where they had come to */
    uint64_t head;              /* bytes that are written: on a line of its own, as the reader looks at it all the time */
    uint64_t apart[7];
    uint64_t tail;              /* bytes that the reader has taken */
    uint32_t waiting;           /* somebody waits for room */
    uint32_t drained;           /* futex: counts how often there was room again */
    uint32_t owners_died;       /* how often it was taken over from one that was killed, or jumped out of its call */
    uint32_t lock_timeouts;     /* calls that could not wait for it: where they stand may not be where they were */
    uint32_t unseen;            /* FL_PROC_IO_URING, FL_PROC_NATIVE_AIO: what some process has, and writes by unseen */
    uint32_t maps_missed;       /* times that stores through a mapping could not be looked for */
    uint32_t maps_named[FL_MAPS_NAMED]; /* interned: the first of them; 0: not known */
    uint32_t maps_open;         /* mappings that their processes have not yet left */
    uint32_t unlogged;          /* of the calls that could not wait, those that could not be written down either */
    uint64_t maps_copied;       /* bytes of all copies of mappings */
    struct fl_looked looked[FL_MAPS_LOOKED]; /* by their inodes, one in each place */
};

/* In an entry: its data went to the end that the file had, as all before it in the log have made it. */
#define FL_AT_END 0xffffffffffffffff

/* One entry. `names` bytes of names follow, each with its 0 (none: the event's paths are what would be there), then `bytes` of
 * data, then as many as the next entry needs to begin at a multiple of 8. */
struct fl_log_entry {
    struct fl_event event;      /* `sequence`: 1 + where the first entry of this call begins */
    uint64_t length;            /* of the whole entry */
    uint64_t before;            /* the head when the call began */
    uint64_t device;            /* of the file that it is about, which inode says; 0: none */
    uint64_t inode;
    uint64_t position;          /* of the data in the file, or FL_AT_END */
    uint64_t bytes;
    uint32_t names;
    uint32_t more;              /* 1: the call's data go on in another entry */
};

/* Which calls a rule with FL_EFFECT_FORK (fl_rule.value) takes for the fork point: any; one that opens a directory, or one that
 * changes something, unless an import does; any, by which another process or program is about to start; none, it only looks
 * whether a file goes by another name, in runs too. */
enum fl_fork_at { FL_FORK_AT_ANY, FL_FORK_AT_LISTING, FL_FORK_AT_CHANGE, FL_FORK_AT_START, FL_FORK_AT_NONE };
enum fl_fork_state { FL_FORK_OFF, FL_FORK_ARMED, FL_FORK_BUSY, FL_FORK_READY, FL_FORK_REFUSED };
enum fl_fork_why {
    FL_FORK_FINE, FL_FORK_THREADS, FL_FORK_OPEN_FILES, FL_FORK_MAPPED, FL_FORK_CHILDREN, FL_FORK_NOT_FIRST, FL_FORK_EXEC,
    FL_FORK_DESCRIPTORS, FL_FORK_NOWHERE, FL_FORK_OTHER_NAME, FL_FORK_PIPE
};
#define FL_FORK_IMPOSSIBLE 0x7fffffff

/* The fork point: where a process stops, to be forked for each run that the controller asks for (csrc/forkpoint.c). */
struct fl_fork {
    uint32_t state;             /* futex */
    uint32_t why;               /* FL_FORK_REFUSED: FL_FORK_* */
    uint32_t asked;             /* futex: runs that were asked for */
    uint32_t done;              /* futex: runs that are over */
    int32_t pid;                /* of the run that is not over, 0: there is none */
    int32_t status;             /* of the last run, as wait gives it; FL_FORK_IMPOSSIBLE: there was none */
    uint32_t roots;             /* in the strings: directories whose files must not be open; an empty one is the last */
    uint32_t quick;             /* runs may end without taking down what nobody needs */
    uint32_t strayed;           /* files below the roots that runs have opened by another name than their own */
    uint32_t watched;           /* runs belong to the session, whose rules say what they look at */
    uint64_t aside;             /* the device of files that are below the roots by name only: nobody strays who opens one */
};

struct fl_ctl {
    uint32_t magic;
    uint32_t abi;
    uint64_t size;
    uint64_t gate;              /* bit per family; 0: every call is passed on */
    uint32_t generation;        /* of the live rule set */
    uint32_t track_since;       /* the generation at which descriptors began to be tracked */
    uint32_t forgotten;         /* uncovered processes whose slots were needed again */
    uint32_t closed;            /* FL_CLOSED_*: the session has ended, nobody attaches any more */
    uint64_t uid;               /* the session's random number, also in the name of its folder */
    int32_t owner_pid;
    int32_t guard_pid;
    uint32_t owner_uid;
    uint32_t release;           /* futex: whoever hangs waits on it */
    uint64_t owner_lock[8];     /* a robust mutex that the controller holds: the kernel marks its first word at its death */
    int32_t lifeline;           /* the controller's descriptor of a pipe that controller and guard hold open at the other end */
    uint32_t slot_reach;        /* no process' slot is farther than this from its pid's own place */
    uint64_t seed;
    uint64_t proc_device;       /* of the controller's /proc: in another one processes go by other numbers */
    uint64_t t0_ns;             /* session time 0 */
    uint64_t t0_ticks;          /* the processor's counter then */
    uint64_t options;           /* FL_OPT_* */
    uint32_t attached;
    uint32_t attach_refused;
    uint32_t next_page;
    uint32_t next_path;
    uint32_t next_path_byte;
    uint32_t paths_full;        /* names that found no room */
    uint32_t deep_names;        /* names so long that only their end is known */
    uint32_t nameless;          /* descriptors of which the kernel did not say what they are of */
    uint32_t counters_full;
    uint32_t namespaces;        /* 1: some process may have a pid namespace of its own */
    uint64_t clock_epoch;       /* changes with every clock, jump and binding: what was kept of a clock is stale then */
    uint32_t next_text;
    uint32_t next_text_byte;
    uint32_t texts_full;        /* texts that found no room */
    uint32_t stacks_missed;     /* records that should have had source lines and got none */
    uint64_t text_capacity;     /* a power of two; there are twice as many buckets */
    uint64_t text_bytes;
    uint64_t journal_ops[2];    /* bit set of the operations that the journal wants */
    uint64_t text_buckets_off;
    uint64_t texts_off;
    uint64_t text_bytes_off;
    uint64_t rules_off;
    uint64_t tallies_off;
    uint64_t firsts_off;        /* struct fl_event: the first firing of each rule, which the ring forgets */
    uint64_t procs_off;
    uint64_t pages_off;
    uint64_t launches_off;
    uint64_t buckets_off;
    uint64_t paths_off;
    uint64_t path_bytes_off;
    uint64_t path_counters_off;
    uint64_t clocks_off;
    uint64_t strings_off;
    uint32_t clock_rule[FL_MAX_CLOCKS]; /* by domain: slot + 1 of the rule whose proc= says who is bound to it; 0: not in use */
    struct fl_ring journal;
    struct fl_ring firings;
    uint64_t apart;             /* so that the next begins on a line */
    struct fl_datalog datalog;
    struct fl_fork fork;
    struct fl_set set[2];
};

#define FL_OPT_TIMES 1
#define FL_OPT_STACKS 2
/* The journal's times are the processor's counter, until the controller takes them off the ring. */
#define FL_OPT_TICKS 4

#endif
