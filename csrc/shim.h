/* What the parts of the shim know of each other. The shim is a guest: nothing here allocates, locks, uses stdio or changes
 * errno of a call that succeeds. Unless a header or function says otherwise, everything may be called from constructors,
 * signal handlers and vfork children. */
#ifndef FL_SHIM_H
#define FL_SHIM_H
#include "abi.h"
#include "decide.h"
#include "ops.h"
#include <stddef.h>

#pragma GCC visibility push(hidden)

#define FL_EXPORT __attribute__((visibility("default")))
#define fl_likely(x) __builtin_expect(!!(x), 1)
#define fl_unlikely(x) __builtin_expect(!!(x), 0)
/* What every process writes to at its start lies together: a page less to get. */
#define FL_EARLY __attribute__((section(".data.early")))
/* And what every process runs at its start. */
#define FL_STARTUP __attribute__((section(".text.startup")))
#define FL_PATH_MAX 4096
#define FL_PATH_USUAL 256 /* room for most; more is taken from the stack when this falls short */
#define FL_MAX_FDS 16384

/* The control block. Never null: before the constructor a block whose gate is open (so that early calls come to fl_call,
 * which sets the shim up), without a session one whose gate is shut. */
extern struct fl_ctl *fl_ctl;

/* libc's functions behind the wrappers, by symbol. */
typedef long (*fl_fn)(long, long, long, long, long, long);
extern fl_fn fl_real[FL_SYMS];

/* Whether the process has one thread only, as glibc 2.32 and later tell; an older one never says so. Looked up by ourselves: with
 * a reference to libc's symbol the loader would end every program on an older libc. */
extern const char *fl_single_threaded;
#define fl_alone() (*fl_single_threaded)

/* What a descriptor is. `generation` is 0 while unknown; then neither mask nor path mean anything. */
struct fl_fd {
    uint64_t mask;        /* positions of rules whose settled predicates accept it */
    uint32_t generation;  /* of the rule set the mask was made for */
    uint32_t path;        /* interned, 0: none */
};
extern struct fl_fd fl_fds[FL_MAX_FDS];
extern uint8_t fl_fd_kinds[FL_MAX_FDS]; /* FL_KIND_*; 0: not asked yet */

/* This process. In a page that the kernel wipes on fork, so that no child, however made, takes its parent's place. */
struct fl_self {
    struct fl_proc *proc; /* null: not attached, fresh after a fork, or nobody has asked yet */
    uint64_t who_mask;    /* positions whose process predicate accepts us */
    uint64_t who_check;   /* who_mask ^ its generation: threads that write both at once cannot leave a pair that fits */
    uint64_t clock_seen[FL_CLOCKS]; /* the state of each clock that was last met: clock.c */
    /* By how much a clock that runs evenly is off; good while `epoch` is the session's. 0: being written, or unknown. */
    struct fl_shift { uint64_t epoch; int64_t s, ns; uint64_t writer; } clock_shift[2];
};
union fl_self_page { struct fl_self self; char page[4096]; } __attribute__((aligned(4096)));
extern union fl_self_page fl_self_page;

/* By operation: the generation for which its calls have only to be written down, as no rule is live for it. */
extern uint32_t fl_plain_ops[FL_OPS];

/* Who took a slot here last: this process, or in a child that nobody has noticed yet the one that made it. */
extern struct fl_attached { struct fl_proc *proc; int32_t pid; } fl_attached;

/* Bytes one behind the other in a file, by whichever calls. */
struct fl_run { uint64_t device, inode, start, end; };

/* A thread. `spawning` stands while a vfork or posix_spawn child may be running on this very thread's memory. */
struct fl_thread {
    uint64_t identity;
    uint32_t threads;     /* created by this one so far */
    uint32_t spawning;    /* number of the child, 0: none */
    int32_t child_pid;
    struct fl_proc *child;
    char path[48];
    void *left_behind;    /* by a spawned child's exec in our memory: a mapping of so many bytes, to be given back by us */
    size_t left_bytes;
    /* The call that makes a child, from when it was asked for (in the unit of the journal) until the parent goes on, if its wrapper
     * carries it out itself; and what a rule did to it. */
    struct fl_parting { uint64_t started, firing, acted_ns, nth; const struct fl_rule *rule; uint32_t held; } parting;
    uint32_t actor;       /* interned: who this is, 0: not yet asked */
    uint32_t plain_actor; /* the same, 0 as well while spawning or dumping */
    uint32_t tid;         /* 0: not yet asked */
    uintptr_t lock_frame; /* the stack of the call that holds the data log's lock, or is about to */
    uintptr_t outer_frame; /* what that was before */
    struct fl_run run;    /* what handlers have written to the file of such a call in the middle of it, the last of it */
    uint64_t stack_seen;  /* unwind.c */
    uint32_t dumping;     /* its Python stack is being asked for: what is called now is nobody's operation */
    struct fl_thread_counter counters[FL_LIVE_RULES];
};
extern __thread struct fl_thread fl_thread;

/* What an effect did to a call: nothing after all; something; something that is in the books already. */
enum fl_injected { FL_LEFT_ALONE, FL_INJECTED, FL_BOOKED };

/* One intercepted call on its way. fl_call fills in every member by hand, but for the counters. */
struct fl_frame {
    unsigned sym, op;
    long *a;                         /* arguments; an effect may change its copy */
    const struct fl_op_info *info;
    struct fl_proc *proc;
    int fd;                          /* -1: none */
    uint32_t kind;
    uint32_t path, path2;            /* interned, 0: none */
    int foreign;                     /* a vfork child: per-process tables are its parent's */
    int injected;                    /* FL_LEFT_ALONE .. */
    struct fl_counters counters;
    uint64_t acted_ns;               /* when the rule began to act, once it did */
    uint64_t firing;                 /* 1 + its number, once it is booked */
    uint32_t held;                   /* of struct fl_event */
    uint32_t actor;                  /* who it is, where that is not this thread */
    struct fl_frame *recorded;       /* the call as the journal wants it, NULL: it does not */
    uint64_t started;                /* in the unit of the journal */
    uint32_t stack;                  /* interned source lines, once `stacked` */
    uint8_t stacked;
    uint8_t state;                   /* FL_CALL_*, for its record */
    uint16_t full;                   /* `disk` said no */
    struct fl_choice disk;           /* the space rule that takes part, until the call is made; rule null: none */
};

/* call.c */
long fl_call(unsigned sym, unsigned op, long *a);
long fl_invoke(struct fl_frame *f);
void fl_count_again(struct fl_frame *f);
/* Functions that return int leave half of the register undefined. */
static inline long fl_result(const struct fl_op_info *info, long result)
{
    const unsigned ints = 1u << FL_RESULT_ZERO | 1u << FL_RESULT_FD | 1u << FL_RESULT_CODE | 1u << FL_RESULT_PID;
    return ints >> info->result & 1 ? (int)result : result;
}
/* A fork comes back twice: what a rule does to it is done to the parent's. */
static inline int fl_makes_a_child(unsigned op) { return op == FL_OP_FORK || op == FL_OP_VFORK || op == FL_OP_CLONE; }
static inline int fl_is_new_child(const struct fl_frame *f, long result) { return f->op == FL_OP_FORK && !result; }
struct fl_proc *fl_here(int *foreign);
int fl_appends(const struct fl_frame *f, uint32_t status);
int fl_says_where(const struct fl_frame *f);
uint64_t fl_lock_flags(const struct fl_frame *f);

/* attach.c: fl_boot is for the constructor */
void fl_boot(void);
struct fl_proc *fl_find_self(void);
struct fl_proc *fl_self_by_pid(int pid);
int fl_owner_alive(void);
void fl_leave(void);
int fl_fork_apart(void);
int fl_fork_along(void);
extern char fl_link_path[256];

/* place.c */
void fl_descriptor_path(char *out, int pid, int fd);

/* forkpoint.c: in a process that may be it, the fork point. Returns 1 in the children of runs, 0 where it cannot be. */
int fl_serve_forks(void);
int fl_differs_between_runs(const char *path);
void fl_note_name(int fd, const char *name, const char *path);
void fl_refuse_forks(uint32_t why);

/* slot.c */
int fl_proc_is_dead(const struct fl_proc *proc);
int fl_thread_is_dead(const struct fl_proc *proc, int tid);
struct fl_proc *fl_claim_child(struct fl_proc *parent, uint32_t nth, int pid);

/* fdtable.c */
void fl_fd_link(char *link, int fd); /* its name below /proc/self/fd: 32 bytes */
uint64_t fl_fd_settle(struct fl_frame *f, const struct fl_set *set, uint32_t generation, uint64_t who);
void fl_fd_opened(int fd, uint32_t path, uint32_t generation, int read_only);
uint32_t fl_fd_stamp(int fd);
int fl_fd_is_ours(int fd, uint32_t stamp);
int fl_fd_is_read_only(int fd);
unsigned fl_fd_highest(void); /* what is beyond it the table does not know */
void fl_fd_closed(int fd);
void fl_fd_dup(int from, int to);
void fl_fd_close_range(unsigned first, unsigned last);
int fl_fd_verify(struct fl_frame *f);
uint32_t fl_fd_path(int fd, uint32_t *kind);
uint32_t fl_fd_kind(int fd);

/* path.c */
uint32_t fl_intern(const char *path, size_t length);
uint32_t fl_intern_deep(void); /* the name of what lies too deep for the kernel to name it */
const char *fl_path_text(uint32_t id);
uint64_t fl_path_key(const struct fl_frame *f);
uint64_t fl_path_mask(uint32_t id, const struct fl_set *set, uint32_t generation);
uint64_t fl_names_mask(struct fl_frame *f, const struct fl_set *set, uint32_t generation, uint64_t among);
void fl_cwd_changed(void);

/* record.c, see also journal.h */
uint64_t fl_record_firing(struct fl_frame *f, long result, const struct fl_choice *choice);
void fl_amend_firing(const struct fl_frame *f, long result);
int fl_journal_begin(struct fl_frame *f, const struct fl_choice *choice);
void fl_journal_end(struct fl_frame *f, long result, const struct fl_choice *choice);
void fl_journal_last(struct fl_frame *f, long result, const struct fl_choice *choice);
void fl_journal_held(struct fl_frame *f, const struct fl_choice *choice);
void fl_journal_late(unsigned op, uint8_t state, long result);
uint64_t fl_now_ns(void);
void fl_ring_wait(struct fl_ring *ring); /* for room */
/* What the journal keeps of a call's arguments beside the descriptor. */
struct fl_described { uint64_t size; int64_t offset; uint32_t flags; int32_t extra; };
long fl_write_down_late(unsigned op, int fd, long result, uint64_t begun, struct fl_described args);

/* Fills in what the journal and the data log keep of a call, `result` as libc gave it. */
void fl_describe_call(struct fl_event *e, struct fl_frame *f, long result);

/* datalog.c: around a call while a data log is written; `before` is what fl_datalog_begin returned. */
struct fl_fileid { uint64_t device, inode, position; uint32_t status; /* of a regular file that was open for writing */ };
struct fl_before {
    uint64_t head;
    struct fl_run run;
    int lock, has_looked;
    uint32_t stamp;
    struct fl_fileid file; /* of a write or a close */
};
int fl_datalog_wants(const struct fl_frame *f);
void fl_datalog_begin(struct fl_frame *f, struct fl_before *before);
void fl_datalog_end(struct fl_frame *f, struct fl_before *before, long result);
int fl_datalog_set_flags(long (*call)(int fd, long flags), int fd, long flags); /* fcntl's F_SETFL */

struct link_map;
void fl_datalog_look_around(const struct link_map *maps);

/* text.c */
uint32_t fl_text(const char *text, uint32_t n);
uint32_t fl_actor(const struct fl_proc *proc, int foreign);

/* stack.c: the source lines from which a call is made, as an interned text; 0: none */
uint32_t fl_stack(struct fl_frame *f);

/* pystack.c: fl_python_find is for the constructor, once libc's functions are known and patched */
int fl_python_find(void);
uint32_t fl_python_stack(void);
void fl_python_before_fork(void);
void fl_python_after_fork(int in_child);

/* native.c */
uint32_t fl_native_stack(unsigned op);

/* effects/: carry out one decision; the result as libc would give it */
typedef long (*fl_effect_fn)(struct fl_frame *f, const struct fl_choice *choice);
extern const fl_effect_fn fl_effects[FL_EFFECT_COUNT];
void fl_book(struct fl_frame *f, long result, const struct fl_choice *choice);
void fl_book_begun(struct fl_frame *f, long result, const struct fl_choice *choice);
/* The same for a disk that said no, beside whatever else acts. */
void fl_book_disk(struct fl_frame *f, long result, const struct fl_choice *disk);
/* The call, while a space rule takes part in it. */
long fl_invoke_on_disk(struct fl_frame *f);
/* Counts and records a clock rule at the first call that meets it. */
void fl_book_clock(struct fl_frame *f, const struct fl_rule *rule);
long fl_fail(const struct fl_frame *f, int error);
/* Waits until `ns` have passed, or for ever, or until the rule is gone. Returns an errno if a signal ended it. */
int fl_wait(const struct fl_frame *f, const struct fl_choice *choice, uint64_t ns);
uint64_t fl_delay_ns(const struct fl_choice *choice);
/* The call with only its first `keep` bytes. */
long fl_invoke_part(struct fl_frame *f, uint64_t keep);
uint64_t fl_call_size(const struct fl_frame *f);
uint64_t fl_vector_size(const struct fl_op_info *info, const long *a);
_Noreturn void fl_die(struct fl_frame *f, long result, const struct fl_choice *choice);

/* wrap/: replaces what libc does not have, before anything else runs */
void fl_wrap_setup(void);
_Noreturn void fl_last_exit(int status);
void fl_spawn_begin(void);
void fl_spawn_end(void);

/* arch/: entry patch. Constructor only. Returns a bit for each function that was patched. */
uint32_t fl_patch_entries(void);
extern const uint32_t fl_close_entries; /* those that let us see every close; 0: there are none */
/* What does the work of a function of libc, if that is patched; else the function itself. */
void *fl_unpatched(void *function);
/* Code that finds the function of a symbol at its first call: so many bytes for each symbol. */
extern char fl_lazy[];
#define FL_LAZY_BYTES 16
static inline fl_fn fl_lazy_entry(unsigned sym) { return (fl_fn)(fl_lazy + FL_LAZY_BYTES * sym); }
void *fl_libc_symbol(const char *name);
void *fl_libc_function(const char *name, uint64_t *bytes);
void *fl_vdso_symbol(const char *name); /* null: the kernel gives none */
struct link_map;
void *fl_symbol_of(const struct link_map *map, const char *name);

/* import.c */
void *fl_redirect_import(const struct link_map *map, const char *name, void *to, void (*bind)(void *function));

static inline const struct fl_set *fl_current_set(uint32_t *generation)
{
    *generation = __atomic_load_n(&fl_ctl->generation, __ATOMIC_ACQUIRE);
    return &fl_ctl->set[*generation & 1];
}
/* Whether what was read of the set since is of one piece: its copy is written anew with the next change but one. */
static inline __attribute__((always_inline)) int fl_still_current(uint32_t generation)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return fl_likely(__atomic_load_n(&fl_ctl->generation, __ATOMIC_RELAXED) == generation);
}
#define FL_AREA(type, member) ((type *)((char *)fl_ctl + fl_ctl->member))
#define FL_STRINGS FL_AREA(const char, strings_off)

/* Not one of the usual bad addresses, for which the kernel says EFAULT: null and its page, -1 and its. */
static inline int fl_readable(const void *at) { return (uintptr_t)at - 4096 < -8192ul; }

/* This process' slot; null: none. */
static inline struct fl_proc *fl_myself(void)
{
    struct fl_proc *known = fl_self_page.self.proc;
    return fl_likely(known) ? known : fl_find_self();
}

/* A bit for each family for which something is armed; and one, the sign, while the journal is on. */
static inline uint64_t fl_gate(void) { return __atomic_load_n(&fl_ctl->gate, __ATOMIC_RELAXED); }
static inline int fl_gate_records(uint64_t gate) { return (int64_t)gate < 0; }
#define FL_GATE_BITS(OP) \
    ((1ull << FL_FAMILY_OF_##OP) | \
     ((int)FL_FAMILY_OF_##OP == FL_FAM_OPEN || (int)FL_FAMILY_OF_##OP == FL_FAM_CLOSE ? 1ull << FL_FAM_TRACK : 0))

/* Nothing is armed for this family: one relaxed load and a bit test. */
#define FL_IDLE(OP) fl_likely(!(fl_gate() & FL_GATE_BITS(OP)))

static inline int fl_recording(void) { return fl_gate_records(fl_gate()); }

#pragma GCC visibility pop

#endif
