"""A campaign in Markdown, as GitHub has it: for an issue, a job's summary, a wiki. Texts of other programs stay texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from faultlib.explore.finding import Campaign, Finding, Step
from faultlib.report import timeline, words
from faultlib.report.timeline import Fold

_BADGES = {"violation": "🔴", "suspicion": "🟠", "note": "🔵"}
_SPECIAL = re.compile(r"[\\`*\[\]<>|~#$&@!]|:(?=//)|(?<=www)\.|(?<![^\W_])_|_(?![^\W_])")
_BY_NUMBER = "<>&|:."
"""These have a meaning that a backslash does not take from them."""


def render(campaign: Campaign) -> str:
    """Returns the report."""
    campaign = words.shown(campaign)
    lines = [*_head(campaign)]
    for finding in campaign.findings:
        lines += ["", *_finding(finding)]
    lines += ["", *_summary(campaign), "", f"Next: {code(words.next_command(campaign))}"]
    return "".join(f"{line}\n" for line in lines)


def plain(text: str) -> str:
    """Returns a text that Markdown shows as it is: no markup, no link, no one who is mentioned."""
    return _SPECIAL.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    if character == "@":  # a mention is looked for when all else is done
        return "@<!-- -->"
    return f"&#{ord(character)};" if character in _BY_NUMBER else f"\\{character}"


def code(text: str, *, in_table: bool = False) -> str:
    """Returns a text in a fixed width, whatever backticks are in it. In a table a bar would end the cell."""
    if not text:
        return ""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") or (text[0] == text[-1] == " ") else ""
    return f"{fence}{space}{text.replace('|', chr(92) + '|') if in_table else text}{space}{fence}"


def block(text: str, language: str = "text") -> list[str]:
    """Returns a block of lines in a fixed width."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 3)
    return [f"{fence}{language}", *text.split("\n"), fence]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yields the lines of a table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(' --- ' for _ in head)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _head(campaign: Campaign) -> Iterator[str]:
    yield f"# faultlib crash: {words.result(campaign)}"
    yield ""
    yield f"{code(words.command(campaign))}: {words.counted(campaign.unique, 'state')}, {campaign.failing:,} failing."
    if campaign.findings:
        yield ""
        rows = ((_badge(one), f"{one.number}. {plain(words.heading(one))}", ", ".join(one.profiles)) for one in campaign.findings)
        yield from table(("severity", "finding", "happens on"), rows)


def _badge(finding: Finding) -> str:
    return f"{_BADGES.get(finding.severity, '')} {finding.severity}".strip()


def _finding(finding: Finding) -> Iterator[str]:
    yield f"## {finding.number}. {plain(words.heading(finding))}"
    yield ""
    yield f"{_badge(finding)} · on {', '.join(finding.profiles)} ({words.power(finding)}) · " + (
        f"{words.counted(finding.states, 'failing state')} · id {code(finding.fingerprint)}"
    )
    yield ""
    yield from table(("", "operation", "source line"), (
        (f"**{name}**", code(culprit.text, in_table=True), code(words.where(culprit), in_table=True))
        for name, culprit in words.culprits(finding)
    ))  # fmt: skip
    yield ""
    for name, text in (("Missing", finding.missing), ("On disk", finding.impact)):
        if text:
            yield f"- **{name}:** {plain(text)}"
    yield f"- **Files:** {', '.join(map(code, finding.files))}"
    yield f"- **Replay:** {code(finding.replay)}"
    yield f"- **Regression test:** {code(finding.test_file)}"
    yield ""
    yield from ("The check said:", "", *block(finding.symptom), "")
    yield from _details("Timeline", _timeline(finding))
    if any(culprit.stack for _, culprit in words.culprits(finding)):
        yield from _details("Stacks", block("\n".join(_stacks(finding))))
    yield from _details("Plan", block(json.dumps(finding.plan, ensure_ascii=False), "json"))


def _details(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield from (f"<details><summary>{title}</summary>", "", *lines, "", "</details>")


def _stacks(finding: Finding) -> Iterator[str]:
    for name, culprit in words.culprits(finding):
        yield f"{name} {culprit.text}"
        yield from (f"    {frame}" for frame in culprit.stack)


def _timeline(finding: Finding) -> Iterator[str]:
    rows = timeline.folded(finding)
    cells = [_cells(row) for row in rows]
    cells.insert(timeline.before_crash(rows), ("", "", "**crash**", "", ""))
    yield from table(("#", "process", "operation", "fate", "source line"), cells)


def _cells(row: Step | Fold) -> Sequence[str]:
    if isinstance(row, Fold):
        return "", "", f"*{row}*", "", ""
    text = code(row.text, in_table=True)
    if timeline.is_gone(row):
        text = f"~~{text}~~"
    mark = f" ← **{timeline.mark(row)}**" if row.mark else ""
    return str(row.number), plain(row.process), text, row.fate, f"{plain(row.place)}{mark}"


def _summary(campaign: Campaign) -> Iterator[str]:
    yield "## Summary"
    yield ""
    yield from table(("", ""), ((name, plain(value)) for name, value in words.summary(campaign)))
    if campaign.not_covered:
        yield ""
        yield "Not covered:"
        yield ""
        yield from (f"- {plain(sentence)}" for sentence in campaign.not_covered)
