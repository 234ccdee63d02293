/* The controller's side of the control block. Compiled into the extension and used by the guard, never by the shim. */
#ifndef FL_CONTROL_H
#define FL_CONTROL_H
#include "abi.h"

uint64_t fl_layout_size(uint64_t journal, uint64_t firings, uint64_t text_bytes, uint64_t datalog_bytes);
int fl_layout(struct fl_ctl *ctl, uint64_t journal, uint64_t firings, uint64_t text_bytes, uint64_t datalog_bytes);
void fl_begin_time(struct fl_ctl *ctl);
void fl_publish(struct fl_ctl *ctl);
void fl_clock_publish(struct fl_ctl *ctl, struct fl_clock *clock, const struct fl_clock_state *state);
void fl_clock_bind(struct fl_ctl *ctl);
void fl_disarm(struct fl_ctl *ctl);
void fl_release_waiters(struct fl_ctl *ctl);
uint64_t fl_drain(struct fl_ctl *ctl, struct fl_ring *ring, struct fl_event *out, uint64_t most);
/* Moves records from a ring to a file until *stop is not 0 and the ring is empty. Returns 0, or -errno if the file would not take
 * them all: what it did not take counts as lost. Blocks: for a thread of its own. */
/* The same for the data log. */
int fl_datalog_spill(struct fl_ctl *ctl, int fd, uint64_t *stop);
int fl_spill(struct fl_ctl *ctl, struct fl_ring *ring, int fd, uint64_t *stop);
uint64_t fl_load(uint64_t *word);
void fl_store(uint64_t *word, uint64_t value);
uint64_t fl_add(uint64_t *word, uint64_t value);
void fl_count(struct fl_ctl *ctl, uint32_t rule, struct fl_counter *sum);
int fl_op_count(void);

/* Starts the guard process. Returns its pid, or -errno. Of the descriptors, the first is a pidfd of the controller; the guard also
 * takes its leave when something can be read from the second, keeps the third, its end of the lifeline, open, and lends the
 * fourth, the block, to whom it is due at the fifth, a listening socket. */
#define FL_GUARD_DESCRIPTORS 5
int fl_guard_spawn(struct fl_ctl *ctl, const int *descriptors, const char *folder);
int fl_guard_reap(int pid);
/* Starts a program with these signals blocked (bit N - 1 is signal N), and SIGCHLD ignored or not. Returns its pid, or -errno if it
 * could not be started. */
int fl_spawn(const char *file, char *const argv[], char *const envp[], uint64_t mask, int ignores_children);

/* The calling thread of the controller owns the session from now on. Returns an errno. fl_disown is for the same thread. */
int fl_own(struct fl_ctl *ctl);
void fl_disown(struct fl_ctl *ctl);

/* Waits until the word is no longer `seen`, but at most so long; whether it has changed. Wakes who waits for one. */
int fl_await(uint32_t *word, uint32_t seen, uint64_t most_ns);
void fl_wake(uint32_t *word);

#endif
