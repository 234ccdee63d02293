"""Records of calls, as the shim writes them: firings of rules, and the journal of a trace."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any

from faultlib._core import ffi, lib
from faultlib.inject.control import ControlBlock
from faultlib.inject.ops import ALL_OPERATIONS

BATCH = 1024
_EFFECTS = {getattr(lib, name): name.removeprefix("FL_EFFECT_").lower() for name in dir(lib) if name.startswith("FL_EFFECT_")}


@dataclass(frozen=True, slots=True)
class Event:
    """One call. Times are session nanoseconds; `result` is negative for -errno; `rule` is the slot of the one that fired."""

    number: int
    time_ns: int
    duration_ns: int
    operation: str
    path: str | None
    path2: str | None
    fd: int | None
    size: int
    offset: int
    flags: int
    result: int
    lineage: str
    pid: int
    thread: int
    rule: int | None
    effect: str | None
    nth: int

    @property
    def outcome(self) -> str:
        """The result as a person would say it: a number, or the errno's name."""
        return errno.errorcode.get(-self.result, str(self.result)) if self.result < 0 else str(self.result)


class EventReader:
    """Takes records off one ring of the block. One reader per ring."""

    def __init__(self, block: ControlBlock, ring: Any) -> None:
        self._block = block
        self._ring = ring
        self._batch = ffi.new("struct fl_event[]", BATCH)

    @property
    def lost(self) -> int:
        """Records that were overwritten before they were read."""
        return int(self._ring.lost)

    def read(self) -> list[Event]:
        """Returns the records finished since the last call, oldest first."""
        found: list[Event] = []
        while count := lib.fl_drain(self._block.ctl, ffi.addressof(self._ring), self._batch, BATCH):
            found.extend(self._event(self._batch[i]) for i in range(count))
        return found

    def _event(self, raw: Any) -> Event:
        proc = self._block.area("struct fl_proc", "procs_off")[raw.process]
        lineage = ffi.string(proc.lineage).decode() if proc.identity == raw.identity else "?"
        return Event(
            raw.sequence - 1, raw.time_ns, raw.duration_ns, ALL_OPERATIONS[raw.op].name, self._block.path(raw.path),
            self._block.path(raw.path2), raw.fd if raw.fd >= 0 else None, raw.size, raw.offset, raw.flags, raw.result,
            lineage, proc.pid, raw.thread, raw.rule - 1 if raw.rule else None, _EFFECTS.get(raw.effect) if raw.rule else None,
            raw.nth,
        )  # fmt: skip
