"""What was measured, beside what it may cost: as a table, as JSON, and as a chart."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultlib.bench.measure import Series
from faultlib.bench.subjects import Subject


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that `subject` may add to an operation, in ns; `stubbed`: measured without the system call."""

    subject: str
    operation: str
    stubbed: bool
    most_ns: float


BUDGETS = (
    Budget("idle", "write", True, 1),
    Budget("idle", "fsync", True, 1),
    Budget("other", "write", True, 1),
    Budget("miss", "write", True, 6),
    Budget("count", "write", True, 8),
    Budget("sixteen", "write", True, 25),
    Budget("record", "write", True, 10),
    Budget("record-times", "write", True, 40),
    Budget("clock", "clock", False, 2.5),
    Budget("idle", "exec", False, 160_000),
    Budget("run", "start", False, 60_000_000),
)
TIMES_LESS = 15
"""How many times less than a peer the shim has to add."""
RIVALS = (("count", "libfiu", "write", True), ("clock", "libfaketime", "clock", False), ("idle", "libfiu", "exec", False))
"""Who is compared with whom, on what; exec only has to be less."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what a call took, and what that is above the bare one."""

    subject: str
    title: str
    operation: str
    stubbed: bool
    ns: float
    over_ns: float
    ratio: float
    budget_ns: float | None

    @property
    def within(self) -> bool | None:
        """Whether it keeps its budget; None if it has none."""
        return None if self.budget_ns is None else self.over_ns <= self.budget_ns


@dataclass(frozen=True, slots=True)
class Rivalry:
    """How much more a peer adds to the same calls."""

    subject: str
    peer: str
    operation: str
    times: float
    wanted: float


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the benchmark."""

    rows: list[Row]
    rivalries: list[Rivalry]
    missing: list[str]
    rounds: int

    @property
    def fine(self) -> bool:
        """Whether every budget was kept and every peer beaten."""
        return all(row.within is not False for row in self.rows) and all(r.times >= r.wanted for r in self.rivalries)


def make(series: Sequence[Series], subjects: Sequence[Subject], missing: Sequence[str], rounds: int) -> Report:
    """Works out costs, ratios and verdicts."""
    titles = {subject.name: subject.title for subject in subjects} | {"run": "faultlib run -- true"}
    found = {(one.subject, one.operation, one.stubbed): one for one in series}
    budgets = {(b.subject, b.operation, b.stubbed): b.most_ns for b in BUDGETS}
    rows = []
    for (name, operation, stubbed), one in found.items():
        plain = found["bare", operation, stubbed]
        over = 0.0 if one is plain else one.over(plain)
        budget = budgets.get((name, operation, stubbed))
        rows.append(Row(name, titles[name], operation, stubbed, one.ns, over, one.ns / plain.ns, budget))
    added = {(row.subject, row.operation, row.stubbed): row.over_ns for row in rows}
    rivalries = []
    for name, peer, operation, stubbed in RIVALS:
        ours, theirs = added.get((name, operation, stubbed)), added.get((peer, operation, stubbed))
        if ours is not None and theirs is not None:
            wanted = 1.0 if operation == "exec" else TIMES_LESS
            rivalries.append(Rivalry(name, peer, operation, theirs / max(ours, 0.1), wanted))
    return Report(rows, rivalries, list(missing), rounds)


def _amount(ns: float) -> str:
    for unit, size in (("ms", 1e6), ("us", 1e3)):
        if abs(ns) >= 10 * size:
            return f"{ns / size:.1f} {unit}"
    return f"{ns:.1f} ns"


_HEADINGS = {
    False: "As it is: each call with its system call",
    True: "In user space alone: the system call is left out",
}


def as_text(report: Report) -> str:
    """The table, one block per operation, bare first."""
    lines = []
    for stubbed, heading in _HEADINGS.items():
        lines += ["", heading, f"{'':4}{'':32}{'per call':>12}{'above bare':>14}{'ratio':>8}  budget"]
        for operation in dict.fromkeys(row.operation for row in report.rows if row.stubbed == stubbed):
            lines.append(f"  {operation}")
            for row in report.rows:
                if (row.operation, row.stubbed) != (operation, stubbed):
                    continue
                verdict = "" if row.budget_ns is None else f"  {_amount(row.budget_ns)} {'kept' if row.within else 'EXCEEDED'}"
                above = "" if row.subject == "bare" else f"{'+' if row.over_ns >= 0 else '-'}{_amount(abs(row.over_ns))}"
                lines.append(f"    {row.title:<32}{_amount(row.ns):>12}{above:>14}{row.ratio:>8.2f}{verdict}")
    for one in report.rivalries:
        verdict = "" if one.times >= one.wanted else f", less than the {one.wanted:.0f} wanted"
        lines.append(f"{one.peer} adds {one.times:.1f} times as much to {one.operation} as faultlib ({one.subject}){verdict}")
    if report.missing:
        lines.append(f"not installed, so not compared: {', '.join(report.missing)}")
    return "\n".join(lines[1:])


def as_dict(report: Report) -> dict[str, Any]:
    """The whole report, for JSON; times are nanoseconds per call."""
    return {
        "machine": machine(),
        "rounds": report.rounds,
        "rows": [
            {name: getattr(row, name) for name in Row.__dataclass_fields__} | {"within": row.within} for row in report.rows
        ],
        "rivalries": [{name: getattr(one, name) for name in Rivalry.__dataclass_fields__} for one in report.rivalries],
        "missing": report.missing,
        "fine": report.fine,
    }


def machine() -> dict[str, Any]:
    """What it was measured on."""
    return {"cpu": _cpu(), "cpus": os.cpu_count(), "kernel": platform.release(), "libc": " ".join(platform.libc_ver())}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def write_json(report: Report, path: Path) -> None:
    """Writes the report to a file."""
    path.write_text(json.dumps(as_dict(report), indent=2) + "\n")
