"""The report of one run: which rules matched and fired, where first, and what was not covered."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol

from faultlib.errors import SessionGone
from faultlib.inject import background, stacks
from faultlib.inject.events import Event
from faultlib.inject.snapshot import RuleReport, Snapshot

POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Row:
    """One rule in the summary."""

    rule: str
    matched: int
    fired: int
    first: str
    number: int


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run was and did."""

    command: tuple[str, ...]
    status: int
    seed: int
    rules: tuple[Row, ...]
    events: tuple[Event, ...]
    attached: int
    warnings: tuple[str, ...]


def place(event: Event) -> str:
    """Where and how a call was hit: process, operation, number, path."""
    parts = [f"{event.operation} #{event.nth}"]
    if event.path:
        parts.append(event.path + (f" -> {event.path2}" if event.path2 else ""))
    parts.append(f"process {event.lineage}")
    if event.where:
        parts.append(f"at {stacks.short(event.where)}")
    return ", ".join(parts)


class Source(Protocol):
    """A session, our own or another process'."""

    def snapshot(self, launch: int | None = None) -> Snapshot: ...
    def events(self) -> list[Event]: ...


def collect(session: Source, command: Sequence[str], status: int, launch: int | None = None) -> RunReport:
    """Reads everything the report says out of the session, which must still be open.

    With `launch`, what is said of processes is of that launched command: a shared session has others.
    """
    snapshot = session.snapshot(launch)
    rows = tuple(
        Row(str(row.rule.text), row.count.matched, row.count.fired, _first(row), row.slot) for row in snapshot.rules
    )
    return RunReport(
        tuple(command), status, snapshot.seed, rows, tuple(session.events()), snapshot.attached,
        tuple(_warnings(snapshot, rows, launch)),
    )  # fmt: skip


def _first(row: RuleReport) -> str:
    if row.first:
        return place(row.first)
    return "no longer known" if row.count.fired else "-"


def _warnings(snapshot: Snapshot, rows: Sequence[Row], launch: int | None) -> list[str]:
    found = []
    processes = [process for process in snapshot.processes if launch in (None, process.launch)]
    if not snapshot.attached:
        found.append("the shim never woke up in the target: nothing could be injected")
    for process in processes:
        if process.state == "exec-pending":
            who = f"process {process.lineage}" + (f" (pid {process.pid})" if process.pid else "")
            found.append(f"not covered: {who} went on to {process.exe}, which does not load the shim")
    if snapshot.forgotten:
        found.append(f"not covered: {snapshot.forgotten} more processes went on to programs that do not load the shim")
    if any(process.io_uring for process in processes):
        found.append("not covered: a process uses io_uring, whose operations no rule sees")
    blind = [process.lineage for process in processes if process.no_stacks]
    if blind:
        found.append(f"no source lines: the Python of process {', '.join(blind[:3])} has no faulthandler that could be asked")
    if snapshot.refused:
        found.append(f"not covered: {snapshot.refused} processes found no free slot")
    if snapshot.uncounted:
        found.append(f"{snapshot.uncounted} matching calls could not be counted: the tables are full")
    silent = [row.rule for row in rows if not row.fired]
    if silent:
        found.append("never fired: " + ", ".join(silent))
    return found


def render(report: RunReport, stream: IO[str]) -> None:
    """Prints the table; coloured on a terminal, plain elsewhere."""
    bold, red, reset = ("\033[1m", "\033[31m", "\033[0m") if stream.isatty() else ("", "", "")
    if report.rules:
        width = max(4, *(len(row.rule) for row in report.rules))
        print(f"{bold}{'rule':{width}}  matched  fired  where first{reset}", file=stream)
        for row in report.rules:
            print(f"{row.rule:{width}}  {row.matched:7}  {row.fired:5}  {row.first}", file=stream)
    for warning in report.warnings:
        print(f"{red}faultlib: {warning}{reset}", file=stream)


def write_json(report: RunReport, file: str) -> None:
    """Writes the report as JSON; `-` is standard output."""
    data: dict[str, Any] = asdict(replace(report, events=())) | {"events": [event.as_dict() for event in report.events]}
    text = json.dumps(data, indent=2) + "\n"
    if file == "-":
        sys.stdout.write(text)
        return
    Path(file).write_text(text, encoding="utf-8")


class Live:
    """Prints each fault while the target runs."""

    def __init__(self, session: Source, stream: IO[str], launch: int | None = None) -> None:
        """Of a shared session, only the faults of that launched command."""
        self._session = session
        self._tree = None if launch is None else str(launch)
        self._stream = stream
        self._printed = 0
        self._stop = threading.Event()
        self._thread = background.start(self._loop, "faultlib-live")

    def _loop(self) -> None:
        while not self._stop.wait(POLL_S):
            self._print()

    def _print(self) -> None:
        try:
            events = self._session.events()
        except SessionGone:  # said at the end
            return
        for event in events[self._printed :]:
            if self._tree not in (None, event.lineage.split(".")[0]):
                continue
            seconds = event.time_ns / 1e9
            print(f"[{seconds:10.6f}] {event.effect} {place(event)} = {event.outcome} (INJECTED)", file=self._stream, flush=True)
        self._printed = len(events)

    def stop(self) -> None:
        """Prints what is left and ends."""
        self._stop.set()
        self._thread.join()
        self._print()
