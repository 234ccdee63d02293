"""The control block of one session, from the controller's side: made and read. Its rules are live.py's.

The block is a sealed memfd that targets map through /proc/PID/fd/N (csrc/attach.c); its layout is csrc/abi.h.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import time
from functools import cached_property

from faultlib._core import ffi, lib
from faultlib.errors import FaultlibError
from faultlib.inject import liveness
from faultlib.inject.frozen import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from faultlib.inject.live import LiveRules
    from faultlib.inject.recording import Recording

FIRST_GENERATION = 2
"""Generation 0 means "unknown" in the shim's tables, and tracking counts as begun at a generation that is not 0."""
FIRING_RECORDS = 4096
CLOCK_SOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
TEXT_BYTES = 1 << 20
"""Room for the source lines of firings, and for who called."""


class Count(Frozen):
    """Matching calls and firings of one rule."""

    matched: int
    fired: int


class ProcessView(Frozen):
    """What the block knows of one process that was attached at some time.

    `state` is "live", "exec-pending" (it went on to an image in which the shim did not wake up), "exited", or "claimed" for a
    moment; `alive` is whether it still runs, in either image. `children` counts its forks and spawns; the lineage of the n-th
    is its own with `.n` behind it. `entries` are the functions inside glibc whose beginnings lead to the shim,
    `entries_missed` those that the shim did not recognise. `out_of_reach` and `other_session` say of one in state exec-pending
    why the shim is not in it.
    """

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
    children: int
    no_stacks: bool
    native_aio: bool
    out_of_reach: bool
    other_session: bool
    alive: bool


def _ticks_are_time() -> bool:
    """Whether the kernel itself tells the time by the processor's counter: then it runs evenly, and alike everywhere."""
    try:
        with open(CLOCK_SOURCE) as source:
            return source.read().strip() in ("tsc", "arch_sys_counter")
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

    @classmethod
    def create(
        cls, seed: int, *, recording: Recording | None = None, firings: int = FIRING_RECORDS, stacks: bool = True
    ) -> ControlBlock:
        """Makes a fresh block. `recording`: what the journal takes down; `firings`: the capacity of that ring, in records.

        Raises FaultlibError if the memory cannot be had: the block is allocated whole, so that no target ever meets SIGBUS.
        """
        journal = recording.capacity if recording else 1
        text_bytes = recording.text_bytes if recording else TEXT_BYTES
        datalog = recording.datalog_bytes if recording else 0
        size = lib.fl_layout_size(journal, firings, text_bytes, datalog)
        descriptor = os.memfd_create("faultlib", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.posix_fallocate(descriptor, 0, size)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            with mmap.mmap(descriptor, 0) as header:
                ctl: Any = ffi.cast("struct fl_ctl *", ffi.from_buffer(header))
                lib.fl_layout(ctl, journal, firings, text_bytes, datalog)
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
                ctl.proc_device = os.stat("/proc").st_dev
                ctl.generation = FIRST_GENERATION
                ctl.set[FIRST_GENERATION & 1].generation = FIRST_GENERATION
                del ctl
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError):
                raise FaultlibError(f"no memory for the session ({size >> 20} MiB): {error.strerror}") from error
            raise
        return cls(descriptor)

    def close(self) -> None:
        """Lets go of the mapping and the descriptor; targets keep theirs."""
        self.ctl = None
        os.close(self.descriptor)

    # areas

    def area(self, kind: str, offset: str) -> Any:
        """Returns the area at `ctl.<offset>` as a pointer to `kind`."""
        return self.at(kind, getattr(self.ctl, offset))

    def at(self, kind: str, offset: int) -> Any:
        """Returns what lies at an offset of the block as a pointer to `kind`."""
        return ffi.cast(f"{kind} *", ffi.cast("char *", self.ctl) + offset)

    def now_ns(self) -> int:
        """The session time in nanoseconds."""
        return time.monotonic_ns() - int(self.ctl.t0_ns)

    @cached_property
    def live(self) -> LiveRules:
        """The rules in the block. What they need is imported with the first one: a session may have none."""
        from faultlib.inject.live import LiveRules

        return LiveRules(self)

    def disarm(self) -> None:
        """Ends every fault for good: shuts the gate, releases whoever hangs or is stopped, lets nobody attach."""
        with self.lock:
            lib.fl_disarm(self.ctl)

    # reading

    def count(self, slot: int) -> Count:
        """The counters of one rule over all processes, those that ended included."""
        sum_ = ffi.new("struct fl_counter *")
        lib.fl_count(self.ctl, slot, sum_)
        return Count(int(sum_.matched), int(sum_.fired))

    def processes(self) -> list[ProcessView]:
        """Every process slot in use, in the order of attachment."""
        procs = self.area("struct fl_proc", "procs_off")
        found = [(procs[i].started_ns, i) for i in range(lib.FL_MAX_PROCS) if procs[i].state != lib.FL_PROC_FREE]
        zero_ns = liveness.boot_ns() - self.now_ns()
        return [self._view(i, procs[i], zero_ns) for _, i in sorted(found)]

    @staticmethod
    def _view(slot: int, proc: Any, zero_ns: int) -> ProcessView:
        def text(field: Any) -> str:
            return os.fsdecode(ffi.string(field))

        state = _STATES[proc.state]
        since_ns = liveness.boot_ns() if state == "claimed" else zero_ns + proc.started_ns
        alive = state != "exited" and liveness.runs(proc.pid, since_ns)
        return ProcessView(
            slot, proc.pid, "exited" if state == "live" and not alive else state,
            text(proc.lineage), text(proc.label), text(proc.comm), text(proc.exe),
            proc.uid, *_entries(proc.entries), bool(proc.flags & lib.FL_PROC_IO_URING),
            bool(proc.flags & lib.FL_PROC_ORPHAN), proc.launch, proc.children,
            bool(proc.flags & lib.FL_PROC_NO_STACKS),
            bool(proc.flags & lib.FL_PROC_NATIVE_AIO),
            bool(proc.flags & lib.FL_PROC_OUT_OF_REACH), bool(proc.flags & lib.FL_PROC_OTHER_SESSION), alive,
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
