"""A trace summed up: calls, errors, time and bytes per operation, file and source line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, NamedTuple

from faultlib.inject import stacks
from faultlib.inject.events import Decoder, Event, Raw, take_apart
from faultlib.inject.ops import ALL_OPERATIONS, Operation
from faultlib.inject.visible import visible
from faultlib.report import trace_call


@dataclass(slots=True)
class Sum:
    """What one kind of call came to."""

    calls: int = 0
    errors: int = 0
    injected: int = 0
    time_ns: int = 0
    bytes: int = 0

    def add(self, other: Sum) -> None:
        """Takes another sum in."""
        self.calls += other.calls
        self.errors += other.errors
        self.injected += other.injected
        self.time_ns += other.time_ns
        self.bytes += other.bytes


_CALLS, _TIME_NS, _POSITIVE, _ERRORS = range(4)
MOST_SHAPES = 1 << 16
TOP_ROWS = 20
"""So many rows of the table are shown unless told otherwise."""
ORDERS: dict[str, Callable[[Sum], int]] = {"time": lambda row: row.time_ns, "calls": lambda row: row.calls}


class Key(NamedTuple):
    """A kind of call."""

    operation: str
    path: str
    where: str


class _Call(NamedTuple):
    """What a shape says, but for who and from where."""

    operation: Operation
    path: str
    counts: bool
    can_fail: bool
    moves_bytes: bool
    injected: bool


class Counting:
    """Adds calls up by their shapes as they come; what a shape says is only looked at for the result.

    `fits` says of a call whether it counts.
    """

    def __init__(self, decoder: Decoder, fits: Callable[[Event], bool]) -> None:
        self._decoder = decoder
        self._fits = fits
        self._shapes: dict[bytes, list[int]] = {}
        self._calls: dict[tuple[bytes, bytes], _Call] = {}
        self._where: dict[int, str] = {}
        self._sums: dict[Key, Sum] = {}

    def add(self, raws: Iterable[Raw]) -> None:
        """Adds raw records."""
        shapes = self._shapes
        for _, _, duration_ns, result, _, _, _, shape in raws:
            found = shapes.get(shape)
            if found is None:
                found = shapes[shape] = [0, 0, 0, 0]
            found[_CALLS] += 1
            found[_TIME_NS] += duration_ns
            if result > 0:
                found[_POSITIVE] += result
            elif trace_call.LEAST_ERROR <= result < 0:
                found[_ERRORS] += 1
        if len(shapes) > MOST_SHAPES:
            self._fold()

    def _fold(self) -> None:
        """Makes sums by name of those by shape."""
        for shape, (calls, time_ns, positive, errors) in self._shapes.items():
            names, _, stack, rest = take_apart(shape)
            call = self._calls.get((names, rest)) or self._look_at(names, rest, shape)
            if not call.counts:
                continue
            where = self._where.get(stack)
            if where is None:
                frame = stacks.own_frame(self._decoder.frames(stack))
                where = self._where[stack] = stacks.short(frame) if frame else ""
            found = self._sums.setdefault(Key(call.operation.name, call.path, where), Sum())
            found.calls += calls
            found.time_ns += time_ns
            found.errors += errors * call.can_fail
            found.bytes += positive * call.moves_bytes
            found.injected += calls * call.injected
        self._shapes.clear()

    def _look_at(self, names: bytes, rest: bytes, shape: bytes) -> _Call:
        event = self._decoder.event((1, 0, 0, 0, 0, 0, 0, shape))
        operation = ALL_OPERATIONS[event.op]
        call = self._calls[names, rest] = _Call(
            operation, event.route, self._fits(event), event.ended and trace_call.can_fail(operation),
            trace_call.moves_bytes(operation), event.rule is not None,
        )  # fmt: skip
        return call

    def rows(self, by: str = "time") -> list[tuple[Key, Sum]]:
        """The sums, those with the most time first, or with the most calls (ORDERS)."""
        self._fold()
        weight = ORDERS[by]
        return sorted(self._sums.items(), key=lambda row: (-weight(row[1]), row[0]))


def _line(row: Sum, title: str) -> str:
    injected = f"  ({row.injected} INJECTED)" if row.injected else ""
    return f"{row.calls:9} {row.errors or '':>7} {row.time_ns / 1e9:10.6f} {row.bytes or '':>12}  {title}{injected}"


def render(rows: list[tuple[Key, Sum]], stream: IO[str], top: int | None = None) -> None:
    """Prints the table and its total: the first `top` rows (TOP_ROWS if None, 0 for all), and what the others come to."""
    shown = (TOP_ROWS if top is None else top) or len(rows)
    total, rest = Sum(), Sum()
    print(f"{'calls':>9} {'errors':>7} {'seconds':>10} {'bytes':>12}  {'operation':15} {'where':28} file", file=stream)
    for number, (key, row) in enumerate(rows):
        total.add(row)
        if number < shown:
            print(_line(row, visible(f"{key.operation:15} {key.where or '-':28} {key.path or '-'}")), file=stream)
        else:
            rest.add(row)
    if len(rows) > shown:
        print(_line(rest, f"… and {len(rows) - shown} more (--top 0 shows all)"), file=stream)
    total.injected = 0  # they are marked where they happened
    print(_line(total, "total"), file=stream)


def render_jsonl(rows: list[tuple[Key, Sum]], stream: IO[str], top: int | None = None) -> None:
    """Prints one object per row: the first `top`, or all of them (None, 0)."""
    for key, row in rows[: top or None]:
        plain = {
            **key._asdict(), "calls": row.calls, "errors": row.errors, "injected": row.injected, "time_ns": row.time_ns,
            "bytes": row.bytes,
        }  # fmt: skip
        print(json.dumps(plain), file=stream)
