"""The report of one run: which rules matched and fired, where first, and what was not covered."""

from __future__ import annotations

import sys
import time

from faultlib.errors import FaultlibError
from faultlib.inject import liveness
from faultlib.inject.frozen import Frozen
from faultlib.inject.snapshot import titles
from faultlib.inject.visible import visible
from faultlib.report.remarks import remarks
from faultlib.report.streams import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO, Any, Protocol

    from faultlib.inject.control import ProcessView
    from faultlib.inject.events import Event
    from faultlib.inject.snapshot import RuleReport, Snapshot

    class Source(Protocol):
        """A session, our own or another process'."""

        def snapshot(self, launch: int | None = None) -> Snapshot: ...
        def processes(self) -> list[ProcessView]: ...
        def events(self) -> list[Event]: ...


MOMENTS, MOMENT_S = 20, 0.01
WIDEST = 60
"""A rule that is longer does not push the columns of the others away."""


class Row(Frozen):
    """One rule in the summary; `below` is the directory of its relative patterns."""

    rule: str
    matched: int
    fired: int
    first: str
    number: int
    below: str | None = None


class RunReport(Frozen):
    """What one run was and did."""

    command: tuple[str, ...]
    status: int
    seed: int
    rules: tuple[Row, ...]
    events: tuple[Event, ...]
    attached: int
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        rules, events = [row.as_dict() for row in self.rules], [event.as_dict() for event in self.events]
        return {**self.as_dict(), "rules": rules, "events": events}


def place(event: Event) -> str:
    """Where and how a call was hit: process, operation, number, path."""
    parts = [f"{event.operation} #{event.nth}"]
    if event.route:
        parts.append(event.route)
    parts.append(f"process {event.lineage}")
    if event.where:
        from faultlib.inject import stacks

        parts.append(f"at {stacks.short(event.where)}")
    return ", ".join(parts)


def collect(session: Source, command: Sequence[str], status: int, launch: int | None = None) -> RunReport:
    """Reads everything the report says out of the session, which must still be open.

    With `launch`, what is said of processes is of that launched command: a shared session has others.
    """
    snapshot = _settled(session, launch)
    rows = tuple(
        Row(row.rule.text, row.count.matched, row.count.fired, _first(row), row.slot, row.below) for row in snapshot.rules
    )
    events = tuple(session.events())
    found = remarks(snapshot, [row.rule for row in rows if not row.fired], launch)
    return RunReport(
        tuple(command), status, snapshot.seed, rows, events, snapshot.attached, (*_not_listed(rows, events), *found),
    )  # fmt: skip


def _not_listed(rows: Sequence[Row], events: Sequence[Event]) -> list[str]:
    """Faults come faster than they are read, or nobody read them before the end."""
    fired = sum(row.fired for row in rows)
    missing = fired - len(events)
    return [f"{missing} of {fired} faults are counted but not listed: the newest are kept"] if missing > 0 else []


def _settled(session: Source, launch: int | None) -> Snapshot:
    """A child that was forked or went on to another image at the very end is given a moment to appear there."""
    snapshot = session.snapshot(launch)
    for _ in range(MOMENTS):
        left = liveness.running(snapshot.processes, launch)
        if all(process.state == "live" for process in left) and not liveness.one_is_coming(snapshot.processes):
            break
        time.sleep(MOMENT_S)
        snapshot = session.snapshot(launch)
    return snapshot


def _first(row: RuleReport) -> str:
    if row.first:
        return place(row.first)
    return "no longer known" if row.count.fired else "-"


def render(report: RunReport, stream: IO[str]) -> None:
    """Prints the table; coloured on a terminal, plain elsewhere. What the stream does not take is lost."""
    bold, red, reset = ("\033[1m", "\033[31m", "\033[0m") if stream.isatty() else ("", "", "")
    lines = []
    if report.rules:
        rules = [visible(title) for title in titles([(row.rule, row.below) for row in report.rules])]
        width = max(4, *(len(rule) for rule in rules if len(rule) <= WIDEST), 0)
        lines.append(f"{bold}{'rule':{width}}  matched  fired  where first{reset}")
        for rule, row in zip(rules, report.rules, strict=True):
            lines.append(f"{rule:{width}}  {row.matched:7}  {row.fired:5}  {visible(row.first)}")
    lines += [f"{red}faultlib: {visible(warning)}{reset}" for warning in report.warnings]
    say("".join(f"{line}\n" for line in lines), stream)


def write_json(report: RunReport, file: str) -> None:
    """Writes the report as JSON; `-` is standard output. Raises FaultlibError, which gives the command's status, if it cannot."""
    import json
    from pathlib import Path

    text = json.dumps(report.to_json(), indent=2) + "\n"
    try:
        if file == "-":
            failure = say(text, sys.stdout)
        else:
            with Path(file).open("w", encoding="utf-8") as stream:
                failure = say(text, stream)
    except OSError as error:
        failure = error
    if failure:
        raise FaultlibError(
            f"the report could not be written to {file}: {failure.strerror}; the command's exit status was {report.status}"
        )
