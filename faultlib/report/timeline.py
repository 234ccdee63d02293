"""The operations of a finding in their order, and what a crash leaves of them: `faultlib replay --explain`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

import click

from faultlib.explore.finding import Finding, Step
from faultlib.report import terminal, words
from faultlib.report.terminal import SEVERITY, wrapped

MOST = 40
"""Operations that are shown one by one."""
LEAST_FOLDED = 3
"""Fewer are shown: saying that they are there takes as much space."""
WIDEST = 64
OUTSIDE, EVERYTHING = "the world", "all files"
FATES = {
    "durable": "on disk for certain",
    "kept": "done, and there after this crash",
    "partly": "done, and there in part",
    "lost": "done, and not there after this crash",
    "never": "not done before the crash",
}
MARKS = {"lost": "missing", "kept": "there without it"}
IN_PART = "missing in part"
_CALL = re.compile(r"(?P<name>\w+)\((?P<rest>.*)\)")
_FATE_STYLE: dict[str, dict[str, Any]] = {
    "durable": {"fg": "green"}, "lost": {"fg": "red", "bold": True}, "partly": {"fg": "yellow"}, "never": {"dim": True},
}  # fmt: skip


class Fold(NamedTuple):
    """Operations that are not shown one by one."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        fates = Counter(step.fate for step in self.steps)
        if len(fates) == 1:
            return f"… {len(self.steps):,} more {self.steps[0].fate}"
        return f"… {len(self.steps):,} more: {', '.join(f'{number:,} {fate}' for fate, number in fates.most_common())}"


def folded(finding: Finding, most: int = MOST) -> list[Step | Fold]:
    """Returns the timeline, its long stretches folded.

    Shown are the culprits, what is next to them, and what is about the same files.
    """
    steps = finding.timeline
    chosen = _chosen(finding, most)
    rows, waiting = list[Step | Fold](), list[Step]()
    for index, step in enumerate(steps):
        if index not in chosen:
            waiting.append(step)
            continue
        rows += _fold(waiting)
        rows.append(step)
        waiting = []
    return rows + _fold(waiting)


def _fold(steps: list[Step]) -> list[Step | Fold]:
    return [Fold(tuple(steps))] if len(steps) >= LEAST_FOLDED else [*steps]


def _chosen(finding: Finding, most: int) -> set[int]:
    """The most interesting ones: of equal interest, those nearest to a culprit."""
    steps = finding.timeline
    marks = [index for index, step in enumerate(steps) if step.mark]
    interest = {index: _interest(finding, index) for index in range(len(steps))}
    for index in marks:
        for near in (index - 1, index + 1):
            if near in interest:
                interest[near] = min(interest[near], 1)
    wanted = [index for index, rank in interest.items() if rank < 4]
    wanted.sort(key=lambda index: (interest[index], min((abs(index - mark) for mark in marks), default=0), index))
    return set(wanted[:most])


def _interest(finding: Finding, index: int) -> int:
    """Returns how much a step matters: 0 for a culprit, 1 for the last before the crash, 2 for the ends of a stretch of losses,
    3 for the first step and those about the finding's files, 4 for the others.
    """
    steps = finding.timeline
    step, following = steps[index], steps[index + 1].fate if index + 1 < len(steps) else ""
    before = steps[index - 1].fate if index else ""
    if step.mark:
        return 0
    if step.fate != "never" and following in ("", "never"):
        return 1
    if step.fate in ("lost", "partly") and not before == step.fate == following:
        return 2
    return 3 if index == 0 or not set(subjects(step.text)).isdisjoint(finding.files) else 4


def subjects(text: str) -> tuple[str, ...]:
    """Returns the names of the files that a call in words is about; OUTSIDE or EVERYTHING for what is about none."""
    found = _CALL.fullmatch(text)
    if not found or found["name"] in ("exit", "_exit", "output"):
        return (OUTSIDE,)
    if " -> " in found["rest"]:
        return tuple(found["rest"].split(" -> ")[:2])
    return (found["rest"].rpartition(", ")[0] or found["rest"] or EVERYTHING,)


def reached(row: Step | Fold) -> bool:
    """Whether a row, or some of it, is before the end: what comes behind was never done."""
    steps = row.steps if isinstance(row, Fold) else (row,)
    return any(step.fate != "never" for step in steps)


def before_crash(rows: Sequence[Step | Fold]) -> int:
    """Returns how many rows there are before the crash."""
    return max((number for number, row in enumerate(rows, 1) if reached(row)), default=0)


def is_gone(step: Step) -> bool:
    """Whether an operation is to be struck out: it is lost, or the one that is missing because the process died before it."""
    return step.fate == "lost" or (step.fate == "never" and step.mark == "lost")


def mark(step: Step) -> str:
    """What there is to say of an operation that is to blame; "" for others."""
    return IN_PART if (step.mark, step.fate) == ("lost", "partly") else MARKS.get(step.mark, step.mark)


# as text


def show(finding: Finding, stream: IO[str]) -> None:
    """Prints the timeline of a finding; coloured on a terminal, plain elsewhere."""
    terminal.put(render(finding, colour=terminal.coloured(stream), width=terminal.width(stream)), stream)


def render(finding: Finding, *, colour: bool = False, width: int | None = None) -> str:
    """Returns the timeline of a finding as text. Sentences are wrapped at `width`, if it is given."""
    finding = words.shown_finding(finding)
    rows = folded(finding)
    lines = [*_head(finding, width), "", *_table(rows), "", *_legend(rows), "", *_foot(finding, width)]
    text = "".join(f"{line}\n" for line in lines)
    return text if colour else click.unstyle(text)


def _head(finding: Finding, width: int | None) -> Iterator[str]:
    severity = click.style(finding.severity, **SEVERITY.get(finding.severity, {}))
    title = wrapped(f"{finding.number}  {words.heading(finding)}", width, len(finding.severity) + 2)
    yield f"{severity}  {click.style(title, bold=True)}"
    yield f"happens on {', '.join(finding.profiles)} ({words.power(finding)})"


class _Widths(NamedTuple):
    """Of the columns; a text that is longer does not push the columns of the others away. `process` is 0 if there is but one."""

    number: int
    process: int
    text: int
    place: int

    @classmethod
    def of(cls, steps: Sequence[Step]) -> _Widths:
        rows = [(str(step.number), step.process, step.text, step.place) for step in steps]
        columns = zip(("#", "process", "operation", "at"), *rows, strict=True)
        wide = cls(*(max(len(cell) for cell in column if len(cell) <= WIDEST) for column in columns))
        return wide if len({step.process for step in steps}) > 1 else wide._replace(process=0)

    def who(self, process: str) -> str:
        """The cell of a process, if there is such a column."""
        return f"{process:{self.process}}  " if self.process else ""


def _table(rows: Sequence[Step | Fold]) -> Iterator[str]:
    wide = _Widths.of([row for row in rows if isinstance(row, Step)])
    head = f"   {'#':>{wide.number}}  {wide.who('process')}{'operation':{wide.text}}  {'fate':7}  at"
    yield click.style(head, bold=True)
    lines = [_fold_line(row, wide) if isinstance(row, Fold) else _line(row, wide) for row in rows]
    crash = click.style(" crash ".center(len(head) - 2 + wide.place, "="), fg="red")
    lines.insert(before_crash(rows), crash)
    yield from lines


def _fold_line(fold: Fold, wide: _Widths) -> str:
    return click.style(f"   {'':{wide.number}}  {fold}", dim=True)


def _line(step: Step, wide: _Widths) -> str:
    """A dash at the margin says lost where there are no colours and nothing can be struck out."""
    margin = f"{'>' if step.mark else ' '}{'-' if is_gone(step) else ' '}"
    style = _FATE_STYLE.get("lost" if is_gone(step) else step.fate, {})
    called = click.style(step.text, strikethrough=is_gone(step), **style) + " " * (wide.text - len(step.text))
    fate = click.style(f"{step.fate.upper() if is_gone(step) else step.fate}", **style) + " " * (7 - len(step.fate))
    line = f"{margin} {step.number:{wide.number}}  {wide.who(step.process)}{called}  {fate}  "
    if not step.mark:
        return (line + step.place).rstrip()
    return f"{line}{step.place:{wide.place}}  {click.style('<- ' + mark(step), bold=True)}"


def _legend(rows: Sequence[Step | Fold]) -> Iterator[str]:
    seen = {step.fate for row in rows for step in (row.steps if isinstance(row, Fold) else (row,))}
    for fate, meaning in FATES.items():
        if fate in seen:
            yield f"  {click.style(f'{fate:8}', **_FATE_STYLE.get(fate, {}))} {meaning}"


def _foot(finding: Finding, width: int | None) -> Iterator[str]:
    for name, text in (("check", words.gist(finding.symptom)), ("on disk", finding.impact), ("missing", finding.missing)):
        if text:
            yield f"  {click.style(f'{name:8}', bold=True)} {wrapped(text, width, 11)}"
