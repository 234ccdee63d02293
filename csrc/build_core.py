"""Describes the extension `faultlib._core` to cffi: abi.h as it stands, and the pure C parts that Python calls."""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent


def declarations(header: str) -> str:
    """Returns the part of a header that cffi's parser reads: without guards and includes."""
    skip = ("#ifndef", "#endif", "#include", "#define FL_ABI_H")
    return "\n".join(line for line in (HERE / header).read_text().splitlines() if not line.startswith(skip))


FUNCTIONS = """
struct fl_op_info {
    uint8_t family, result;
    uint8_t fd, dirfd, path, dirfd2, path2, buf, size, iov, iovcnt, offset, flags, source;
    uint8_t from;
    ...;
};
extern const struct fl_op_info fl_op_table[];
const char *fl_op_name(int op);
const char *fl_family_name(int family);
const char *fl_symbol(int i, int *op);
int fl_op_count(void);
const char *fl_entry_name(int i);

struct fl_look {
    uint64_t size; int64_t offset; uint64_t flags; uint64_t now_ns; uint64_t seed; uint64_t identity; uint64_t thread;
    const char *thread_path; uint64_t path_key; uint32_t op; uint32_t have; ...;
};
struct fl_subject { const char *path, *path2; int32_t fd; uint32_t kind; ...; };
struct fl_who { const char *label, *comm, *lineage; ...; };
struct fl_thread_counter { uint64_t rule; struct fl_counter count; ...; };
struct fl_counters {
    struct fl_counter *process; struct fl_thread_counter *thread; struct fl_tally *tallies; struct fl_path_counter *paths;
    uint32_t *paths_full; uint32_t alone; struct fl_choice *disk; ...;
};
struct fl_choice { const struct fl_rule *rule; uint64_t nth; uint64_t draw; ...; };
int fl_glob(const char *pattern, const char *text);
uint64_t fl_hash(const char *text);
uint64_t fl_mix(uint64_t a, uint64_t b);
int fl_accepts(const struct fl_rule *rule, const char *strings, const struct fl_subject *subject);
int fl_accepts_who(const struct fl_rule *rule, const char *strings, const struct fl_who *who);
int fl_consider(const struct fl_rule *rule, const char *strings, const struct fl_look *look, const struct fl_counters *counters,
                int may_act, struct fl_choice *choice);

uint32_t fl_is_plain(const struct fl_rule *rule);
void fl_fired(const struct fl_rule *rule, const struct fl_counters *counters);
int fl_guard_spawn(struct fl_ctl *ctl, const int *descriptors, const char *folder);
void fl_count(struct fl_ctl *ctl, uint32_t rule, struct fl_counter *sum);
int fl_own(struct fl_ctl *ctl);
void fl_disown(struct fl_ctl *ctl);
int fl_continue_stopped(const struct fl_ctl *ctl, uint32_t rule);
int fl_guard_reap(int pid);
int fl_spawn(const char *file, char *const *argv, char *const *envp, uint64_t mask, int ignores_children);
void fl_clock_publish(struct fl_ctl *ctl, struct fl_clock *clock, const struct fl_clock_state *state);
void fl_clock_bind(struct fl_ctl *ctl);
void fl_disarm(struct fl_ctl *ctl);
int fl_layout(struct fl_ctl *ctl, uint64_t journal, uint64_t firings, uint64_t text_bytes, uint64_t datalog_bytes);
uint64_t fl_layout_size(uint64_t journal, uint64_t firings, uint64_t text_bytes, uint64_t datalog_bytes);
uint64_t fl_drain(struct fl_ctl *ctl, struct fl_ring *ring, struct fl_event *out, uint64_t most);
int fl_spill(struct fl_ctl *ctl, struct fl_ring *ring, int fd, uint64_t *stop);
int fl_datalog_spill(struct fl_ctl *ctl, int fd, uint64_t *stop);
uint64_t fl_load(uint64_t *word);
void fl_store(uint64_t *word, uint64_t value);
uint64_t fl_add(uint64_t *word, uint64_t value);
void fl_release_waiters(struct fl_ctl *ctl);
void fl_begin_time(struct fl_ctl *ctl);
void fl_publish(struct fl_ctl *ctl);
int fl_await(uint32_t *word, uint32_t seen, uint64_t most_ns);
void fl_wake(uint32_t *word);
"""

ffi = FFI()
ffi.cdef(declarations("abi.h") + FUNCTIONS)
ffi.set_source(
    "faultlib._core",
    '#include "abi.h"\n#include "ops.h"\n#include "decide.h"\n#include "control.h"\n#include "cleanup.h"\n',
    sources=[str((HERE / name).relative_to(Path.cwd())) if HERE.is_relative_to(Path.cwd()) else str(HERE / name)
             for name in ("ops.c", "names.c", "decide.c", "control.c", "guard.c", "lend.c", "cleanup.c", "spill.c",
                          "datalog_spill.c", "spawn.c", "await.c")],
    include_dirs=["csrc"],
    extra_compile_args=["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra"],
    depends=[str(p) for p in HERE.rglob("*.h")] + [str(p) for p in HERE.rglob("*.def")],
)
