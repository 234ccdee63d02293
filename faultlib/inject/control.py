"""The control block of one session, from the controller's side: made, filled with rules, read.

The block is a sealed memfd that targets map through /proc/PID/fd/N (csrc/attach.c); its layout is csrc/abi.h.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultlib._core import ffi, lib
from faultlib.errors import FaultlibError
from faultlib.inject import compile as compiler
from faultlib.inject import effects
from faultlib.inject.clock import Clocks
from faultlib.inject.frozen import Frozen
from faultlib.inject.ops import ALL_OPERATIONS, FAMILY_NUMBERS, OPERATIONS, Operation
from faultlib.inject.rules import Rule

FIRST_GENERATION = 2
"""Generation 0 means "unknown" in the shim's tables, and tracking counts as begun at a generation that is not 0."""
FIRING_RECORDS = 4096
CLOCK_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
TEXT_BYTES = 1 << 20
"""Room for the source lines of firings, and for who called."""


class Recording(Frozen):
    """What the journal of a session takes down: every call of `operations`.

    `capacity` is the size of the ring in records (96 bytes each), `text_bytes` the room for distinct stacks. With `wait` a
    program whose records are not read quickly enough waits for the reader, so that none is lost.
    """

    operations: tuple[Operation, ...] = ALL_OPERATIONS
    capacity: int = 1 << 16
    times: bool = True
    wait: bool = True
    text_bytes: int = 32 << 20


@dataclass(frozen=True, slots=True)
class Count:
    """Matching calls and firings of one rule."""

    matched: int
    fired: int


@dataclass(frozen=True, slots=True)
class ProcessView:
    """What the block knows of one process that was attached at some time. `entries` are the functions inside glibc whose
    beginnings lead to the shim, `entries_missed` those that the shim did not recognise."""

    slot: int
    pid: int
    state: str
    lineage: str
    label: str
    comm: str
    exe: str
    uid: int
    entries: tuple[str, ...]
    entries_missed: tuple[str, ...]
    io_uring: bool
    orphan: bool
    launch: int
    no_stacks: bool


def _ticks_are_time() -> bool:
    """Whether the kernel itself tells the time by the processor's counter: then it runs evenly, and alike everywhere."""
    try:
        return CLOCK_SOURCE.read_text().strip() in ("tsc", "arch_sys_counter")
    except OSError:
        return False


def _entries(bits: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The functions inside glibc that are patched, and those that are not."""
    names: list[str] = []
    while name := lib.fl_entry_name(len(names)):
        names.append(ffi.string(name).decode())
    return tuple(n for i, n in enumerate(names) if bits >> i & 1), tuple(n for i, n in enumerate(names) if not bits >> i & 1)


_STATES = ("free", "claimed", "live", "exec-pending", "exited")


class ControlBlock:
    """A mapped control block. Writing methods are for its owner; `lock` keeps several threads of it apart."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, 0)
        self.ctl: Any = ffi.cast("struct fl_ctl *", ffi.from_buffer(self._map))
        if self.ctl.magic != lib.FL_MAGIC or self.ctl.abi != lib.FL_ABI:
            raise FaultlibError("this is not a control block of this version of faultlib")
        self.lock = threading.RLock()
        self._seats: dict[int, int] = {}
        self._rules: dict[int, Rule] = {}
        self._strings: dict[str, int] = {}
        self._next_string = 1
        self._next_slot = 0
        self._next_seat = 0
        self._clocks = Clocks(self)

    @classmethod
    def create(
        cls, seed: int, *, recording: Recording | None = None, firings: int = FIRING_RECORDS, stacks: bool = True
    ) -> ControlBlock:
        """Makes a fresh block. `recording`: what the journal takes down; `firings`: the capacity of that ring, in records.

        Raises OSError if the memory cannot be had: the block is allocated whole, so that no target ever meets SIGBUS.
        """
        journal = recording.capacity if recording else 1
        text_bytes = recording.text_bytes if recording else TEXT_BYTES
        size = lib.fl_layout_size(journal, firings, text_bytes)
        descriptor = os.memfd_create("faultlib", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.posix_fallocate(descriptor, 0, size)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            with mmap.mmap(descriptor, 0) as header:
                ctl: Any = ffi.cast("struct fl_ctl *", ffi.from_buffer(header))
                lib.fl_layout(ctl, journal, firings, text_bytes)
                ctl.uid = int.from_bytes(os.urandom(8), "little")
                ctl.seed = seed
                ctl.options = lib.FL_OPT_STACKS if stacks else 0
                if recording and recording.times:
                    ctl.options |= lib.FL_OPT_TIMES | (lib.FL_OPT_TICKS if _ticks_are_time() else 0)
                if recording and recording.wait:
                    ctl.journal.limit = ctl.journal.capacity - ctl.journal.capacity // 8
                lib.fl_begin_time(ctl)
                ctl.owner_pid = os.getpid()
                ctl.owner_uid = os.getuid()
                ctl.generation = FIRST_GENERATION
                ctl.set[FIRST_GENERATION & 1].generation = FIRST_GENERATION
                del ctl
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def close(self) -> None:
        """Lets go of the mapping and the descriptor; targets keep theirs."""
        self.ctl = None
        os.close(self.descriptor)

    # areas

    def area(self, kind: str, offset: str) -> Any:
        """Returns the area at `ctl.<offset>` as a pointer to `kind`."""
        return ffi.cast(f"{kind} *", ffi.cast("char *", self.ctl) + getattr(self.ctl, offset))

    def now_ns(self) -> int:
        """The session time in nanoseconds."""
        return time.monotonic_ns() - int(self.ctl.t0_ns)

    def intern(self, text: str) -> int:
        """Puts a string into the block and returns its offset, from 1. Raises FaultlibError when there is no room."""
        known = self._strings.get(text)
        if known is not None:
            return known
        data = os.fsencode(text) + b"\0"
        if self._next_string + len(data) > lib.FL_STRING_BYTES:
            raise FaultlibError("the session has no room for more patterns; start a new session")
        at = self._next_string
        strings = self.area("char", "strings_off")
        ffi.memmove(strings + at, data, len(data))
        self._next_string = at + len(data)
        self._strings[text] = at
        return at

    # rules

    @property
    def rules(self) -> dict[int, Rule]:
        """The live rules by slot, in the order in which they were added."""
        return dict(self._rules)

    def add(self, rules: Sequence[Rule], cwd: compiler.WorkingDirectory) -> list[int]:
        """Makes rules live, all at once, and returns their slots. Raises FaultlibError if there are too many."""
        with self.lock:
            if len(self._rules) + len(rules) > lib.FL_LIVE_RULES:
                raise FaultlibError(f"a session has room for {lib.FL_LIVE_RULES} live rules")
            if self._next_slot + len(rules) > lib.FL_MAX_RULES:
                raise FaultlibError(f"a session has room for {lib.FL_MAX_RULES} rules in all; start a new session")
            self._clocks.check({**self._rules, **dict(enumerate(rules, self._next_slot))})
            names = {rule.name: slot for slot, rule in self._rules.items() if rule.name}
            names |= {rule.name: self._next_slot + i for i, rule in enumerate(rules) if rule.name}
            table = self.area("struct fl_rule", "rules_off")
            tallies = self.area("struct fl_tally", "tallies_off")
            slots = []
            for rule in rules:
                slot = self._next_slot
                compiler.compile_rule(rule, slot, table + slot, self.intern, cwd, slots=names, now_ns=self.now_ns())
                if isinstance(rule.effect, effects.Space):
                    tallies[slot].space_left = rule.effect.size_bytes
                self._next_slot += 1
                table[slot].seat = self._seats[slot] = self._free_seat()
                self._rules[slot] = rule
                slots.append(slot)
            self._publish()
            return slots

    def remove(self, slots: Sequence[int]) -> None:
        """Takes rules out; whoever hangs in one or was stopped by it goes on. Their counters stay.

        Raises KeyError for a slot that is not live.
        """
        with self.lock:
            for slot in slots:
                del self._seats[slot]
                del self._rules[slot]
            self._publish()
            for slot in slots:
                lib.fl_continue_stopped(self.ctl, slot + 1)

    def _free_seat(self) -> int:
        """Seats are taken in turn, so that the one of a removed rule rests as long as possible."""
        taken = set(self._seats.values())
        for i in range(lib.FL_LIVE_RULES):
            seat = (self._next_seat + i) % lib.FL_LIVE_RULES
            if seat not in taken:
                self._next_seat = seat + 1
                return int(seat)
        raise FaultlibError("no free seat")

    def _publish(self) -> None:
        ctl = self.ctl
        following = ctl.set[(ctl.generation + 1) & 1]
        ffi.memmove(ffi.addressof(following), bytes(ffi.sizeof("struct fl_set")), ffi.sizeof("struct fl_set"))
        gate = self._record_gate()
        for slot, rule in self._rules.items():  # in the order in which they were added: the first to be open acts
            gate |= compiler.gate_bits(rule)
            if not compiler.happens_at_a_call(rule):
                continue
            position = following.count
            following.slot[position] = slot
            following.live |= 1 << position
            following.count += 1
            self._note_size(following, position, slot)
            for op in self._operations(rule):
                following.interest[op] |= 1 << position
                following.on_fds |= OPERATIONS[op].has_fd << position
        following.gate = gate
        track = 1 << FAMILY_NUMBERS["track"]
        if gate & track and not ctl.gate & track:
            ctl.track_since = ctl.generation + 1
        self._clocks.follow(self._rules)
        lib.fl_publish(ctl)

    def _note_size(self, following: Any, position: int, slot: int) -> None:
        """Has the size that a rule wants found without looking at the rule."""
        rule = self.area("struct fl_rule", "rules_off")[slot]
        if rule.has & lib.FL_HAS_SIZE:
            following.sized |= 1 << position
            following.size_min[position], following.size_span[position] = rule.size_min, rule.size_max - rule.size_min

    @staticmethod
    def _operations(rule: Rule) -> Iterator[int]:
        yield from compiler.interest(rule)
        if isinstance(rule.effect, effects.Space):
            yield from (op.number for op in OPERATIONS if op.family in compiler.GIVES_SPACE_BACK)

    def record(self, operations: Iterable[Operation]) -> None:
        """Opens the journal to these operations, and to no others."""
        with self.lock:
            wanted = sum(1 << number for number in {op.number for op in operations})
            self.ctl.journal_ops[0], self.ctl.journal_ops[1] = wanted & (1 << 64) - 1, wanted >> 64
            self._publish()

    def _record_gate(self) -> int:
        wanted = int(self.ctl.journal_ops[0]) | int(self.ctl.journal_ops[1]) << 64
        families = {op.family for op in ALL_OPERATIONS if wanted >> op.number & 1}
        if not families:
            return 0
        return sum(1 << FAMILY_NUMBERS[family] for family in families | {"track"}) | 1 << int(lib.FL_GATE_RECORD_BIT)

    def disarm(self) -> None:
        """Ends every fault for good: shuts the gate, releases whoever hangs or is stopped, lets nobody attach."""
        with self.lock:
            lib.fl_disarm(self.ctl)

    # reading

    def first_event(self, slot: int) -> int:
        """The number of a rule's first firing among the events, -1 if it never fired."""
        return int(self.area("struct fl_tally", "tallies_off")[slot].first_event) - 1

    def count(self, slot: int) -> Count:
        """The counters of one rule over all processes, those that ended included."""
        sum_ = ffi.new("struct fl_counter *")
        lib.fl_count(self.ctl, slot, sum_)
        return Count(int(sum_.matched), int(sum_.fired))

    def processes(self) -> list[ProcessView]:
        """Every process slot in use, in the order of attachment."""
        procs = self.area("struct fl_proc", "procs_off")
        found = [(procs[i].started_ns, i) for i in range(lib.FL_MAX_PROCS) if procs[i].state != lib.FL_PROC_FREE]
        return [self._view(i, procs[i]) for _, i in sorted(found)]

    @staticmethod
    def _view(slot: int, proc: Any) -> ProcessView:
        def text(field: Any) -> str:
            return os.fsdecode(ffi.string(field))

        return ProcessView(
            slot, proc.pid, _STATES[proc.state], text(proc.lineage), text(proc.label), text(proc.comm), text(proc.exe),
            proc.uid, *_entries(proc.entries), bool(proc.flags & lib.FL_PROC_IO_URING),
            bool(proc.flags & lib.FL_PROC_ORPHAN), proc.launch, bool(proc.flags & lib.FL_PROC_NO_STACKS),
        )  # fmt: skip

    def path(self, number: int) -> str | None:
        """The text of an interned path; None for 0."""
        if not number:
            return None
        entry = self.area("struct fl_path", "paths_off")[number - 1]
        return os.fsdecode(ffi.string(self.area("char", "path_bytes_off") + entry.offset))

    def text(self, number: int) -> bytes:
        """An interned text; empty for 0."""
        if not number:
            return b""
        entry = self.area("struct fl_text", "texts_off")[number - 1]
        return bytes(ffi.buffer(self.area("char", "text_bytes_off") + entry.offset, entry.length))
