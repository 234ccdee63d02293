"""A campaign as text, for a terminal or a log: what was found, in a few lines each, what was done, and what to type next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import click

from faultlib.explore.finding import Campaign, Finding
from faultlib.report import terminal, words
from faultlib.report.terminal import SEVERITY, wrapped

LABEL = 9
"""The width of the words at the margin."""
WIDEST = 60
MOST_CALLERS = 3
_TITLE = 11


def show(campaign: Campaign, stream: IO[str]) -> OSError | None:
    """Prints a campaign: coloured and wrapped on a terminal, elsewhere plain and one line for each thing.

    Returns why not all of it could be printed.
    """
    return terminal.put(render(campaign, colour=terminal.coloured(stream), width=terminal.width(stream)), stream)


def render(campaign: Campaign, *, colour: bool = False, width: int | None = None) -> str:
    """Returns the text. Sentences are wrapped at `width`, if it is given."""
    campaign = words.shown(campaign)
    lines = [*_head(campaign), ""]
    for finding in campaign.findings:
        lines += [*_finding(finding, width), ""]
    lines += [*_summary(campaign, width), "", f"next: {click.style(words.next_command(campaign), bold=True)}"]
    text = "".join(f"{line}\n" for line in lines)
    return text if colour else click.unstyle(text)


def _head(campaign: Campaign) -> Iterator[str]:
    tones = {**SEVERITY, "clean": {"fg": "green", "bold": True}}
    found = click.style(words.result(campaign), **tones.get(words.tone(campaign), {"bold": True}))
    yield f"faultlib crash: {found} in {words.counted(campaign.unique, 'state')} of {words.command(campaign)}"


def _finding(finding: Finding, width: int | None) -> Iterator[str]:
    severity = click.style(f"{finding.severity:{_TITLE - 1}}", **SEVERITY.get(finding.severity, {}))
    title = wrapped(f"{finding.number}  {words.heading(finding)}", width, _TITLE)
    yield f"{severity} {click.style(title, bold=True)}"
    yield from _culprits(finding)
    for name, text in _facts(finding):
        if text:
            yield _row(name, text, width)


def _facts(finding: Finding) -> Iterator[tuple[str, str]]:
    yield "on", f"{', '.join(finding.profiles)} ({words.power(finding)})"
    yield "files", ", ".join(finding.files)
    yield "check", words.gist(finding.symptom)
    yield "on disk", finding.impact
    yield "missing", finding.missing
    yield "states", f"{finding.states:,} failing {'states come' if finding.states != 1 else 'state comes'} from it"
    yield "replay", finding.replay
    yield "test", finding.test_file
    yield "id", finding.fingerprint


def _culprits(finding: Finding) -> Iterator[str]:
    both = words.culprits(finding)
    wide = max((len(culprit.text) for _, culprit in both if len(culprit.text) <= WIDEST), default=0)
    for name, culprit in both:
        text = click.style(culprit.text, fg="red" if name == "lost" else "green")
        yield f"{_label(name)}{text}{'':{max(0, wide - len(culprit.text))}}  {words.where(culprit)}"
        callers = [frame.rpartition("/")[2] for frame in words.callers(culprit)]
        if callers:
            more = " …" if len(callers) > MOST_CALLERS else ""
            yield click.style(f"  {'':{LABEL}}called from {' < '.join(callers[:MOST_CALLERS])}{more}", dim=True)


def _label(name: str) -> str:
    return f"  {click.style(f'{name:{LABEL}}', fg='cyan')}"


def _row(name: str, text: str, width: int | None) -> str:
    shown = text if name in ("replay", "test", "id") else wrapped(text, width, LABEL + 2)
    return f"{_label(name)}{click.style(shown, bold=True) if name in ('missing', 'replay') else shown}"


def _summary(campaign: Campaign, width: int | None) -> Iterator[str]:
    yield click.style("summary", bold=True)
    rows = words.summary(campaign)
    left = max(len(name) for name, _ in rows) + 2
    for name, value in rows:
        yield f"  {click.style(f'{name:{left}}', fg='cyan')}{wrapped(value, width, left + 2)}"
    if campaign.not_covered:
        yield click.style("not covered", bold=True)
        for sentence in campaign.not_covered:
            yield f"  - {wrapped(sentence, width, 4)}"
