"""A trace summed up: calls, errors, time and bytes per operation, file and source line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from faultlib._core import lib
from faultlib.inject import stacks
from faultlib.inject.events import Decoder
from faultlib.inject.ops import ALL_OPERATIONS
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

    def rows(self) -> list[tuple[Key, Sum]]:
        """The sums, the longest time first."""
        merged: dict[Key, Sum] = {}
        for (op, path, path2, stack), found in self._sums.items():
            frame = stacks.own_frame(self._decoder.frames(stack))
            names = [name for name in (self._decoder.path(path), self._decoder.path(path2)) if name]
            key = Key(ALL_OPERATIONS[op].name, " -> ".join(names), stacks.short(frame) if frame else "")
            merged.setdefault(key, Sum()).add(found)
        return sorted(merged.items(), key=lambda row: (-row[1].time_ns, row[0]))


def render(rows: list[tuple[Key, Sum]], stream: IO[str]) -> None:
    """Prints the table and its total."""
    total = Sum()
    print(f"{'calls':>9} {'errors':>7} {'seconds':>10} {'bytes':>12}  {'operation':15} {'where':28} file", file=stream)
    for key, row in rows:
        total.add(row)
        injected = f"  ({row.injected} INJECTED)" if row.injected else ""
        print(
            f"{row.calls:9} {row.errors or '':>7} {row.time_ns / 1e9:10.6f} {row.bytes or '':>12}  "
            f"{key.operation:15} {key.where or '-':28} {key.path or '-'}{injected}",
            file=stream,
        )
    print(f"{total.calls:9} {total.errors or '':>7} {total.time_ns / 1e9:10.6f} {total.bytes or '':>12}  total", file=stream)


def render_jsonl(rows: list[tuple[Key, Sum]], stream: IO[str]) -> None:
    """Prints one object per row."""
    for key, row in rows:
        plain = {
            **key._asdict(), "calls": row.calls, "errors": row.errors, "injected": row.injected, "time_ns": row.time_ns,
            "bytes": row.bytes,
        }  # fmt: skip
        print(json.dumps(plain), file=stream)
