"""The report of one run: which rules matched and fired, where first, and what was not covered."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from faultlib.inject import background, stacks
from faultlib.inject.events import Event
from faultlib.inject.session import Session

POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Row:
    """One rule in the summary."""

    rule: str
    matched: int
    fired: int
    first: str


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


def collect(session: Session, command: Sequence[str], status: int) -> RunReport:
    """Reads everything the report says out of the session, which must still be open."""
    rows = tuple(
        Row(str(row.rule.text), row.count.matched, row.count.fired, place(row.first) if row.first else "-")
        for row in session.report()
    )
    attached = int(session.block.ctl.attached)
    return RunReport(
        tuple(command), status, session.seed, rows, tuple(session.events()), attached, tuple(_warnings(session, rows, attached))
    )


def _warnings(session: Session, rows: Sequence[Row], attached: int) -> list[str]:
    found = []
    if not attached:
        found.append("the shim never woke up in the target: nothing could be injected")
    for process in session.uncovered():
        who = f"process {process.lineage} (pid {process.pid})"
        found.append(f"not covered: {who} went on to {process.exe}, which does not load the shim")
    if any(process.io_uring for process in session.processes()):
        found.append("not covered: a process uses io_uring, whose operations no rule sees")
    ctl = session.block.ctl
    if ctl.attach_refused:
        found.append(f"not covered: {ctl.attach_refused} processes found no free slot")
    if ctl.counters_full:
        found.append(f"{ctl.counters_full} matching calls could not be counted: the tables are full")
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

    def __init__(self, session: Session, stream: IO[str]) -> None:
        self._session = session
        self._stream = stream
        self._printed = 0
        self._stop = threading.Event()
        self._thread = background.start(self._loop, "faultlib-live")

    def _loop(self) -> None:
        while not self._stop.wait(POLL_S):
            self._print()

    def _print(self) -> None:
        events = self._session.events()
        for event in events[self._printed :]:
            seconds = event.time_ns / 1e9
            print(f"[{seconds:10.6f}] {event.effect} {place(event)} = {event.outcome} (INJECTED)", file=self._stream, flush=True)
        self._printed = len(events)

    def stop(self) -> None:
        """Prints what is left and ends."""
        self._stop.set()
        self._thread.join()
        self._print()
