"""A trace summed up: calls, errors, time and bytes per operation, file and source line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from faultlib._core import lib
from faultlib.inject import stacks
from faultlib.inject.events import Decoder
from faultlib.inject.ops import ALL_OPERATIONS
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


TOP_ROWS = 20
"""So many rows of the table are shown unless told otherwise."""
ORDERS: dict[str, Callable[[Sum], int]] = {"time": lambda row: row.time_ns, "calls": lambda row: row.calls}


class Key(NamedTuple):
    """A kind of call."""

    operation: str
    path: str
    where: str


class Counting:
    """Adds calls up as they come, by what the records hold; names are only looked up for the result."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._sums: dict[tuple[int, int, int, int], Sum] = {}

    def add(self, records: Iterable[Any]) -> None:
        """Adds raw records."""
        sums = self._sums
        for raw in records:
            key = (raw.op, raw.path, raw.path2, raw.stack)
            found = sums.get(key)
            if found is None:
                found = sums[key] = Sum()
            found.calls += 1
            found.time_ns += raw.duration_ns
            if raw.result < 0 and raw.state != lib.FL_CALL_BEGUN and trace_call.is_error(raw.op, raw.result):
                found.errors += 1
            elif raw.result > 0:
                found.bytes += trace_call.moved_bytes(raw.op, raw.result)
            if raw.rule:
                found.injected += 1

    def rows(self, by: str = "time") -> list[tuple[Key, Sum]]:
        """The sums, those with the most time first, or with the most calls (ORDERS)."""
        merged: dict[Key, Sum] = {}
        for (op, path, path2, stack), found in self._sums.items():
            frame = stacks.own_frame(self._decoder.frames(stack))
            names = [name for name in (self._decoder.path(path), self._decoder.path(path2)) if name]
            if "source" in ALL_OPERATIONS[op].arguments:
                names.reverse()
            key = Key(ALL_OPERATIONS[op].name, " -> ".join(names), stacks.short(frame) if frame else "")
            merged.setdefault(key, Sum()).add(found)
        weight = ORDERS[by]
        return sorted(merged.items(), key=lambda row: (-weight(row[1]), row[0]))


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
