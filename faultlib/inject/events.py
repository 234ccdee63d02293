"""Records of calls, as the shim writes them: firings of rules, and the journal of a trace."""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from faultlib._core import ffi, lib
from faultlib.inject.control import ControlBlock
from faultlib.inject.ops import ALL_OPERATIONS
from faultlib.inject.stacks import Frame, own_frame, parse

BATCH = 1024
_EFFECTS = {getattr(lib, name): name.removeprefix("FL_EFFECT_").lower() for name in dir(lib) if name.startswith("FL_EFFECT_")}
_OP_NAMES = tuple(op.name for op in ALL_OPERATIONS)
BEGUN, CAME_BACK, HELD, LAST = (int(getattr(lib, f"FL_CALL_{name}")) for name in ("BEGUN", "CAME_BACK", "HELD", "LAST"))
UNENDED = (BEGUN, HELD, LAST)
T = TypeVar("T")


class Actor(NamedTuple):
    """Who makes a call. `thread` is the thread's path ("1" is the main one), `tid` its number in the kernel."""

    lineage: str
    pid: int
    tid: int
    thread: str
    label: str
    comm: str


NOBODY = Actor("?", 0, 0, "?", "", "?")


class Event(NamedTuple):
    """One call. Times are session nanoseconds; `result` is negative for -errno; `rule` is the slot of the one that fired.

    `path2` is the second of two names; of a copy, it is the source's. The `path` of a new symbolic link is its content, as given.
    `extra` is one more argument of some operations: a mode, a protection, a clock, an exit status, a copy's source; `offset` of a
    nanosleep is its time in nanoseconds. `frames` are the source lines it was made from, innermost first. `ended` is false for a
    call that did not come back (exit, exec, the last of whoever is killed); `held` for one that was still under way in its fault
    when this was read.
    """

    number: int
    time_ns: int
    duration_ns: int
    op: int
    path: str | None
    path2: str | None
    fd: int | None
    size: int
    offset: int
    flags: int
    extra: int
    result: int
    ended: bool
    held: bool
    actor: Actor
    rule: int | None
    effect: str | None
    nth: int
    frames: tuple[Frame, ...]

    @property
    def operation(self) -> str:
        """The operation's name."""
        return _OP_NAMES[self.op]

    @property
    def outcome(self) -> str:
        """The result as a person would say it: a number, the errno's name, `...` for none so far, `?` for none at all."""
        if not self.ended:
            return "..." if self.held else "?"
        return errno.errorcode.get(-self.result, str(self.result)) if self.result < 0 else str(self.result)

    @property
    def route(self) -> str:
        """The files that it is about: one, or from which to which."""
        names = (self.path2, self.path) if "source" in ALL_OPERATIONS[self.op].arguments else (self.path, self.path2)
        return " -> ".join(name for name in names if name)

    @property
    def lineage(self) -> str:
        """The process, as its place in the tree."""
        return self.actor.lineage

    @property
    def pid(self) -> int:
        return self.actor.pid

    @property
    def where(self) -> Frame | None:
        """The line of the program's own code that made the call; the innermost line if none is its own."""
        return own_frame(self.frames)

    def as_dict(self) -> dict[str, Any]:
        """The event as plain values, for JSON."""
        plain = self._asdict()
        del plain["op"]
        frames, where = plain.pop("frames"), self.where
        return {
            **plain,
            "operation": self.operation,
            "actor": self.actor._asdict(),
            "where": where._asdict() if where else None,
            "stack": [frame._asdict() for frame in frames],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Event:
        """Reads what `as_dict` gave."""
        plain = {key: value for key, value in data.items() if key not in ("operation", "actor", "where", "stack")}
        frames = tuple(Frame(**frame) for frame in data["stack"])
        return cls(op=_OP_NAMES.index(data["operation"]), actor=Actor(**data["actor"]), frames=frames, **plain)


_CODES = {(1, False): "B", (2, False): "H", (4, False): "I", (8, False): "Q", (4, True): "i", (8, True): "q"}


NUMBERS = 7
"""So many fields of a record, from the first, are mere numbers. All the others make its shape, which many calls share."""
Raw = tuple[int, int, int, int, int, int, int, bytes]
"""A raw record: sequence, time_ns, duration_ns, result, size, offset, nth (struct fl_event in abi.h), and its shape."""


def _formats() -> tuple[struct.Struct, struct.Struct]:
    """How a record is taken apart, and its shape."""
    kinds = [field.type for _, field in ffi.typeof("struct fl_event").fields]
    codes = [_CODES[ffi.sizeof(kind), kind.cname.startswith("int")] for kind in kinds]
    shape = struct.Struct("=" + "".join(codes[NUMBERS:]))
    record = struct.Struct("=" + "".join(codes[:NUMBERS]) + f"{shape.size}s")
    if record.size != ffi.sizeof("struct fl_event"):
        raise AssertionError("struct fl_event has holes")
    return record, shape


RECORD, _SHAPE = _formats()
_STATE, _ACTOR, _STACK = (
    ffi.offsetof("struct fl_event", name) - RECORD.size + _SHAPE.size for name in ("state", "actor", "stack")
)
_PARTS = struct.Struct(f"={_ACTOR}sII{_SHAPE.size - _STACK - 4}s")
if _STACK != _ACTOR + 4 or _PARTS.size != _SHAPE.size:
    raise AssertionError("actor and stack are not neighbours in struct fl_event")
_HELD, _NOT_HELD, _LOW = _SHAPE.size - 4, bytes(4), (1 << 32) - 1
_DONE = bytes([lib.FL_CALL_DONE])


def records(data: bytes) -> Iterator[Raw]:
    """Returns the raw records in `data`."""
    return RECORD.iter_unpack(data)


def take_apart(shape: bytes) -> tuple[bytes, int, int, bytes]:
    """Returns the actor's and the stack's number of a shape, between what comes before and after them."""
    return _PARTS.unpack(shape)


def has_ended(shape: bytes) -> bool:
    """Whether the call came back: exit, a successful exec and the last call of whoever is killed do not."""
    return shape[_STATE] not in UNENDED


class Decoder:
    """Turns raw records into events. What a block has interned is read and parsed once."""

    def __init__(self, block: ControlBlock) -> None:
        self._block = block
        self._paths: dict[int, str | None] = {0: None}
        self._actors: dict[int, Actor] = {0: NOBODY}
        self._frames: dict[int, tuple[Frame, ...]] = {0: ()}

    def path(self, number: int) -> str | None:
        """The text of an interned path; None for 0."""
        return self._once(self._paths, number, self._block.path)

    def actor(self, number: int) -> Actor:
        """Who it was."""
        return self._once(self._actors, number, self._read_actor)

    def frames(self, number: int) -> tuple[Frame, ...]:
        """The source lines, innermost first."""
        return self._once(self._frames, number, lambda n: parse(self._block.text(n)))

    @staticmethod
    def _once(known: dict[int, T], number: int, read: Callable[[int], T]) -> T:
        found = known.get(number)
        if found is None and number:
            found = known[number] = read(number)
        return found if found is not None else known[0]

    def _read_actor(self, number: int) -> Actor:
        lineage, pid, tid, thread, label, comm = os.fsdecode(self._block.text(number)).split("\t", 5)
        return Actor(lineage, int(pid), int(tid), thread, label, comm)

    def event(self, raw: Raw) -> Event:
        """Returns one record with everything that it refers to."""
        sequence, time_ns, duration_ns, result, size, offset, nth, shape = raw
        path, fd, op, _, effect, actor, stack, path2, flags, extra, rule, state, *_ = _SHAPE.unpack(shape)
        return Event(
            sequence - 1, time_ns, duration_ns, op, self.path(path), self.path(path2), fd if fd >= 0 else None, size, offset,
            flags, extra, result, state not in UNENDED, state == HELD, self.actor(actor), rule - 1 if rule else None,
            _EFFECTS.get(effect) if rule else None, nth, self.frames(stack),
        )  # fmt: skip


class EventReader:
    """Takes records off one ring of the block. One reader per ring."""

    def __init__(self, block: ControlBlock, ring: Any) -> None:
        self._block = block
        self._ring = ring
        self._batch = ffi.new("struct fl_event[]", BATCH)
        self._decoder = Decoder(block)

    @property
    def lost(self) -> int:
        """Records that were overwritten before they were read."""
        return int(self._ring.lost)

    def read(self) -> list[Event]:
        """Returns the records finished since the last call, oldest first."""
        found: list[Event] = []
        while count := lib.fl_drain(self._block.ctl, ffi.addressof(self._ring), self._batch, BATCH):
            data = bytes(ffi.buffer(self._batch, count * RECORD.size))
            found.extend(map(self._decoder.event, records(data)))
        return found

    def again(self, number: int) -> Event | None:
        """Returns a record that was read before as it is by now; None if others have taken its place."""
        ring = self._block.at("struct fl_event", self._ring.offset)
        event = self._look_at(ring + (number & (self._ring.capacity - 1)))
        return event if event and event.number == number else None

    def first(self, slot: int) -> Event | None:
        """Returns the first firing of a rule, if there is one."""
        return self._look_at(self._block.area("struct fl_event", "firsts_off") + slot)

    def _look_at(self, record: Any) -> Event | None:
        """Reads a record where it lies, and once more if it changed meanwhile."""
        data = None
        while data != (data := bytes(ffi.buffer(record, RECORD.size))):
            continue
        (raw,) = records(data)
        return self._decoder.event(raw) if raw[0] else None


class Joiner:
    """Puts together what is written down in two halves.

    An exec that came back ends with the error of its second half. A call that was held in a fault has a whole record when it
    comes back; if it does not, the record of its beginning is all there is.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._threads: dict[bytes, int] = {}
        self._begun: dict[int, Raw] = {}
        self._held: dict[int, Raw] = {}

    def _thread(self, shape: bytes) -> int:
        actor = shape[_ACTOR:_STACK]
        found = self._threads.get(actor)
        if found is None:
            found = self._threads[actor] = self._decoder.actor(take_apart(shape)[1]).tid
        return found

    def joined(self, raws: Iterable[Raw]) -> Iterator[Raw]:
        """Yields whole records; an exec waits for the next record of its thread, in whichever image."""
        waiting = self._begun
        for raw in raws:
            shape = raw[-1]
            state = shape[_STATE]
            if state == HELD:
                self._held[raw[0] & _LOW] = raw
                continue
            if shape[_HELD:] != _NOT_HELD:
                self._held.pop(int.from_bytes(shape[_HELD:], sys.byteorder), None)
            if state == LAST:
                yield raw
                continue
            if state or waiting:
                begun = waiting.pop(self._thread(shape), None) if waiting else None
                if begun is not None and state == CAME_BACK:
                    came_back = begun[-1][:_STATE] + _DONE + begun[-1][_STATE + 1 :]
                    yield (*begun[:3], raw[3], *begun[4:-1], came_back)
                    continue
                if begun is not None:
                    yield begun
                if state == BEGUN:
                    waiting[self._thread(shape)] = raw
                    continue
                if state == CAME_BACK:
                    continue
            yield raw

    def rest(self) -> list[Raw]:
        """What never came back."""
        left = sorted([*self._begun.values(), *self._held.values()])
        self._begun.clear()
        self._held.clear()
        return left
