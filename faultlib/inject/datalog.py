"""The data log of a session: what its programs did to files, with the data, in the order of the kernel (csrc/datalog.c)."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from faultlib._core import ffi, lib
from faultlib.inject.events import RECORD, Decoder, Event, records
from faultlib.inject.ops import ALL_OPERATIONS, Operation
from faultlib.inject.recording import Recording
from faultlib.inject.session import Session
from faultlib.inject.spill import Spill

FAMILIES = ("write", "truncate", "allocate", "rename", "unlink", "link", "mkdir", "rmdir", "attr", "fsync", "open", "close",
            "mmap", "exit")  # fmt: skip
CHANGING = tuple(op for op in ALL_OPERATIONS if op.family in FAMILIES)
"""The operations that are logged. Of `open` there are those that may make a file or empty it, of `close` those of a file that was
open for writing."""
BUFFER_BYTES = 1 << 20
"""A ring that stays in the processor's cache is written in half the time: a larger one is not a faster one."""
_TAIL = struct.Struct("=QQQQQQII")
_ENTRY = RECORD.size + _TAIL.size
if ffi.sizeof("struct fl_log_entry") != _ENTRY:
    raise AssertionError("struct fl_log_entry has holes")


def recording(*, buffer_bytes: int = BUFFER_BYTES) -> Recording:
    """Returns the recording of a session that has a data log. `buffer_bytes` is the room for what was not yet taken off."""
    return Recording(CHANGING, capacity=1, times=False, datalog_bytes=buffer_bytes)


class Extents(NamedTuple):
    """Bytes in the log's file, in pieces: (place, length)."""

    pieces: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """How many."""
        return sum(length for _, length in self.pieces)


class LogEntry(NamedTuple):
    """One call that changed something, saved something, or told somebody.

    `event` says what, who, where from, and how it ended. `began` is how many entries there were when it began, if it was made
    without the lock. `device` and `inode` are of the file or directory that it was about, right after it; 0 and 0 if it has none.
    `names` are the one or two names that it was given, absolute; the first of a symbolic link is its content. Data went to
    `position` of the file; None: to the end that it had, which the entries before this one tell. `status` are the open flags of a
    descriptor that was written to or closed (fcntl's F_GETFL).

    An entry of the family mmap is no call: it is what stores through a shared mapping have changed since there were `began`
    entries, in one run of pages, found when the program was about to do something that puts its changes in an order, to end or
    change the mapping, or to end (`event.size` bytes, without a descriptor). What others have written there meanwhile may be in
    it again.
    """

    number: int
    event: Event
    began: int
    device: int
    inode: int
    names: tuple[bytes, bytes]
    position: int | None
    status: int
    data: Extents

    @property
    def operation(self) -> Operation:
        """What it was."""
        return ALL_OPERATIONS[self.event.op]


def _paths(event: Event) -> tuple[bytes, bytes]:
    return os.fsencode(event.path or ""), os.fsencode(event.path2 or "")


class DataLog:
    """Takes the data log of one session, which must have been made with `recording()`, into an unlinked temporary file.

    with Session(recording=datalog.recording()) as session, DataLog(session) as log:
        session.run(command)
        log.finish()
        for entry in log.entries(): ...
    """

    def __init__(self, session: Session, folder: str | os.PathLike[str] | None = None) -> None:
        self._ctl = session.block.ctl
        self._decoder = Decoder(session.block)
        self._map: mmap.mmap | None = None
        self._spill = Spill("log", lambda fd, stop: lib.fl_datalog_spill(self._ctl, fd, stop), folder)

    def __enter__(self) -> DataLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def finish(self) -> None:
        """The targets have ended: takes what is left."""
        self._spill.finish()
        size = self._spill.size
        self._map = mmap.mmap(self._spill.fileno(), size, access=mmap.ACCESS_READ) if size else None

    def close(self) -> None:
        """Stops, if it has not finished, and lets go of the file."""
        if self._map is not None:
            self._map.close()
        self._spill.close()

    def read(self, data: Extents) -> bytes:
        """Returns what an entry has written."""
        return b"".join(self.at(at, length) for at, length in data.pieces)

    def at(self, position: int, length: int) -> bytes:
        """Returns bytes of the log's file."""
        return self._map[position : position + length] if self._map is not None else b""

    def entries(self) -> Iterator[LogEntry]:
        """Yields every entry, in order."""
        begins: dict[int, int] = {}
        open_: dict[int, tuple[int, list[tuple[int, int]]]] = {}
        found: list[tuple[int, list[tuple[int, int]]]] = []
        at, end = 0, len(self._map) if self._map else 0
        while at < end:
            length, bytes_, names, more, sequence = self._measures(at)
            piece = (at + _ENTRY + names, bytes_)
            call = open_.get(sequence)
            if call is None:
                call = open_[sequence] = (at, [])
                found.append(call)
            if bytes_:
                call[1].append(piece)
            if not more:
                del open_[sequence]
            at += length
            begins[at] = len(found)
        unfinished = set(open_)
        for number, (begin, pieces) in enumerate(found):
            if begin + 1 not in unfinished:
                yield self._entry(number, begin, Extents(tuple(pieces)), begins)

    def _measures(self, at: int) -> tuple[int, int, int, int, int]:
        assert self._map is not None
        (sequence,) = struct.unpack_from("=Q", self._map, at)
        length, _, _, _, _, bytes_, names, more = _TAIL.unpack_from(self._map, at + RECORD.size)
        return length, bytes_, names, more, sequence

    def _entry(self, number: int, at: int, data: Extents, begins: dict[int, int]) -> LogEntry:
        assert self._map is not None
        (raw,) = records(self._map[at : at + RECORD.size])
        _, before, device, inode, position, _, names, _ = _TAIL.unpack_from(self._map, at + RECORD.size)
        event = self._decoder.event(raw)
        first, second = self._map[at + _ENTRY : at + _ENTRY + names].split(b"\0")[:2] if names else _paths(event)
        began = begins.get(before, 0)
        place = None if position == lib.FL_AT_END else position
        return LogEntry(number, event, began, device, inode, (first, second), place, event.nth, data)

    def save(self, path: Path) -> None:
        """Copies the log's file, in which the extents of all entries lie."""
        with path.open("wb") as file:
            for at in range(0, self._spill.size, 1 << 20):
                file.write(self.at(at, 1 << 20))

    def complaints(self) -> list[str]:
        """Why the log may not be whole, in sentences; empty if it is."""
        found, ctl, log = [], self._ctl, self._ctl.datalog
        if log.lost:
            found.append(f"{log.lost} calls were not logged: the reader was too slow, or had gone")
        if log.unread:
            found.append(f"{log.unread} bytes that the kernel copied could not be read where they had come to")
        if log.lock_timeouts:
            found.append(f"{log.lock_timeouts} calls did not get the lock, as another took too long: their order is not sure")
        if log.owners_died:
            found.append(f"{log.owners_died} times a call that changed something was killed or jumped out of in the middle")
        if log.unlogged:
            found.append(f"{log.unlogged} calls were not logged, as they did not get the lock")
        found += self._unseen() + self._spill.complaints()
        if ctl.paths_full:
            found.append(f"{ctl.paths_full} names are missing: there was only room for {lib.FL_MAX_PATHS} distinct ones")
        return found

    def _unseen(self) -> list[str]:
        """What changed files in ways that are not logged, in sentences."""
        found, log = [], self._ctl.datalog
        if log.unseen & lib.FL_PROC_IO_URING:
            found.append("not covered: a process uses io_uring, or is linked with liburing: what it writes by that is not seen")
        if log.unseen & lib.FL_PROC_NATIVE_AIO:
            found.append("not covered: a process uses or is linked with libaio: what it writes by that is not seen")
        if log.maps_missed:
            named = {self._decoder.path(path) for path in log.maps_named[0 : lib.FL_MAPS_NAMED] if path}
            names = f": {', '.join(sorted(filter(None, named)))}" if any(named) else ""
            found.append(f"not covered: {log.maps_missed} times stores through a shared mapping could not be looked for{names}")
        if log.maps_open:
            n = log.maps_open
            found.append(f"{n} shared mappings belong to processes that were killed or still run: the last stores are missing")
        return found
