"""The history of a session: what its programs did to files, with the data, in the order of the kernel (csrc/history.c)."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from faultlib._core import ffi, lib
from faultlib.inject import background
from faultlib.inject.events import RECORD, Decoder, Event, records
from faultlib.inject.ops import ALL_OPERATIONS, Operation
from faultlib.inject.recording import Recording
from faultlib.inject.session import Session

FAMILIES = ("write", "truncate", "allocate", "rename", "unlink", "link", "mkdir", "rmdir", "attr", "fsync", "open", "exit")
CHANGING = tuple(op for op in ALL_OPERATIONS if op.family in FAMILIES)
"""The operations of which a history knows. Of `open` it has those that may make a file or empty it."""
BUFFER_BYTES = 8 << 20
_TAIL = struct.Struct("=QQQQQQII")
_ENTRY = RECORD.size + _TAIL.size
if ffi.sizeof("struct fl_deed") != _ENTRY:
    raise AssertionError("struct fl_deed has holes")


def recording(*, buffer_bytes: int = BUFFER_BYTES) -> Recording:
    """Returns the recording of a session that has a history. `buffer_bytes` is the room for what was not yet taken off."""
    return Recording(CHANGING, capacity=1, times=False, history_bytes=buffer_bytes)


class Data(NamedTuple):
    """Bytes in the history's file, in pieces: (place, length)."""

    pieces: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """How many."""
        return sum(length for _, length in self.pieces)


class Deed(NamedTuple):
    """One call that changed something, saved something, or told somebody.

    `event` says what, who, where from, and how it ended. `began` is how many deeds had ended when it began, if it did not take
    its turn. `device` and `inode` are of the file or directory that it was about, right after it; 0 and 0 if it has none.
    `names` are the one or two names that it was given, absolute; the first of a symbolic link is its content. Data went to
    `position` of the file. `status` are the open flags of a descriptor that was written to (fcntl's F_GETFL).
    """

    number: int
    event: Event
    began: int
    device: int
    inode: int
    names: tuple[bytes, bytes]
    position: int
    status: int
    data: Data

    @property
    def operation(self) -> Operation:
        """What it was."""
        return ALL_OPERATIONS[self.event.op]


class History:
    """Takes the history of one session, which must have been made with `recording()`, into an unlinked temporary file.

        with Session(recording=history.recording()) as session, History(session) as past:
            session.run(command)
            past.finish()
            for deed in past.deeds(): ...
    """

    def __init__(self, session: Session, folder: str | os.PathLike[str] | None = None) -> None:
        self._ctl = session.block.ctl
        self._decoder = Decoder(session.block)
        self._file = tempfile.TemporaryFile(prefix="faultlib-history-", dir=folder)  # noqa: SIM115 - closed by close()
        self._stop = ffi.new("uint64_t *")
        self._ended = threading.Event()
        self._error = 0
        self._map: mmap.mmap | None = None
        self._thread = background.start(self._follow, "faultlib-history")

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _follow(self) -> None:
        self._error = lib.fl_follow(self._ctl, self._file.fileno(), self._stop)
        self._ended.set()

    def finish(self) -> None:
        """The targets have ended: takes what is left."""
        lib.fl_store(self._stop, 1)
        self._thread.join()
        size = os.fstat(self._file.fileno()).st_size
        self._map = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ) if size else None

    def close(self) -> None:
        """Stops, if it has not finished, and lets go of the file."""
        if not self._ended.is_set():
            self.finish()
        if self._map is not None:
            self._map.close()
        self._file.close()

    def read(self, data: Data) -> bytes:
        """Returns what a deed has written."""
        return b"".join(self.at(at, length) for at, length in data.pieces)

    def at(self, position: int, length: int) -> bytes:
        """Returns bytes of the history's file."""
        return self._map[position : position + length] if self._map is not None else b""

    def deeds(self) -> Iterator[Deed]:
        """Yields every deed, in order."""
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
                yield self._deed(number, begin, Data(tuple(pieces)), begins)

    def _measures(self, at: int) -> tuple[int, int, int, int, int]:
        assert self._map is not None
        (sequence,) = struct.unpack_from("=Q", self._map, at)
        length, _, _, _, _, bytes_, names, more = _TAIL.unpack_from(self._map, at + RECORD.size)
        return length, bytes_, names, more, sequence

    def _deed(self, number: int, at: int, data: Data, begins: dict[int, int]) -> Deed:
        assert self._map is not None
        (raw,) = records(self._map[at : at + RECORD.size])
        _, before, device, inode, position, _, names, _ = _TAIL.unpack_from(self._map, at + RECORD.size)
        event = self._decoder.event(raw)
        first, second = self._map[at + _ENTRY : at + _ENTRY + names].split(b"\0")[:2]
        began = begins.get(before, 0)
        return Deed(number, event, began, device, inode, (first, second), position, event.nth, data)

    def complaints(self) -> list[str]:
        """Why the history may not be whole, in sentences; empty if it is."""
        found, ctl, past = [], self._ctl, self._ctl.history
        if past.lost:
            found.append(f"{past.lost} calls were not taken down: the reader had gone")
        if past.out_of_turn:
            found.append(f"{past.out_of_turn} calls did not get their turn, as another took too long: their order is not sure")
        if past.turns_inherited:
            found.append(f"{past.turns_inherited} processes were killed in the middle of a call that changed something")
        if self._error:
            found.append(f"the temporary file in {Path(tempfile.gettempdir())} could not be written: {os.strerror(-self._error)}")
        if ctl.paths_full:
            found.append(f"{ctl.paths_full} names are missing: there was only room for {lib.FL_MAX_PATHS} distinct ones")
        return found
