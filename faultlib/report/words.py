"""What all reports of a campaign say in the same words, and the texts of other programs made fit to be shown.

The reports in one order: what breaks a promise before what might, and what needs the least to happen before what needs more.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from typing import Any, NamedTuple

from faultlib.explore.finding import NOTE, SUSPICION, VIOLATION, Campaign, Culprit, Finding
from faultlib.inject.visible import visible, visible_lines

SEVERITIES = (VIOLATION, SUSPICION, NOTE)
PROFILES = ("kill", "ext4", "xfs", "btrfs", "posix")
"""The strongest first."""
POWER = {True: "no power cut needed", False: "needs a power cut"}
STRATEGIES = {
    "A": "everything up to a moment",
    "B": "nothing but what a sync made durable",
    "C": "names without data, data without names",
    "C2": "names with the data of some files",
    "E": "torn writes, tails of zeros",
    "D": "all but one operation",
}
MORE_BUDGET = 4
_LINES = frozenset({"symptom"})
"""The texts of several lines."""


class Kind(NamedTuple):
    """A kind of findings: what it is, and what generally helps."""

    what: str
    remedy: str


_BESIDE = "Write a temporary file beside it, fsync that, rename it over the old one, and fsync the directory."
KINDS = {
    "truncate-then-write": Kind("A file is emptied before its new content is there.", _BESIDE),
    "torn write": Kind("A file is changed in place; a crash can leave some of the change.", _BESIDE),
    "rename before data": Kind(
        "A file gets its name before its data are durable: the name can lead to an empty or short file.",
        "Call fsync on the new file before the rename.",
    ),
    "name not durable": Kind(
        "A name that was promised is not durable: the file can be gone, or be back.",
        "Call fsync on the directory before the promise is made.",
    ),
    "order of two files": Kind(
        "A change can be durable before another on which it depends.", "Call fsync on the first before the second is made."
    ),
    "lost acknowledged data": Kind(
        "Data that were promised are not durable.", "Call fsync on the file before the promise is made."
    ),
    "failed recovery": Kind(
        "The program's own recovery does not get along with what a crash leaves.",
        "Have recovery finish or undo what it finds half done.",
    ),
    "unfinished sequence": Kind(
        "Several files are changed one after the other, and recovery does not finish it.",
        "Have recovery finish or undo what it finds half done.",
    ),
}


# order and safety


def ordered(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Returns the worst first: by severity, then by the strongest profile on which it happens."""
    return tuple(sorted(findings, key=lambda one: (_rank(SEVERITIES, one.severity), _strength(one), one.number)))


def _strength(finding: Finding) -> int:
    return min((_rank(PROFILES, name) for name in finding.profiles), default=len(PROFILES))


def _rank(among: tuple[str, ...], name: str) -> int:
    return among.index(name) if name in among else len(among)


def shown(campaign: Campaign) -> Campaign:
    """Returns the campaign for a person's eye: in order, and with nothing in its texts that a terminal or a page would obey."""
    rest = {key: _seen(value, key) for key, value in campaign._asdict().items() if key != "findings"}
    return Campaign(**rest, findings=tuple(map(shown_finding, ordered(campaign.findings))))


def shown_finding(finding: Finding) -> Finding:
    """The same for one finding."""
    seen: Finding = _seen(finding)
    return seen


def _seen(value: Any, key: str = "") -> Any:
    if isinstance(value, str):
        return visible_lines(value.replace("\r\n", "\n").expandtabs(4)).strip("\n") if key in _LINES else visible(value)
    if isinstance(value, dict):
        return {visible(name) if isinstance(name, str) else name: _seen(inner) for name, inner in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_seen(inner, name) for name, inner in zip(value._fields, value, strict=True)))
    if isinstance(value, tuple | list):
        return type(value)(_seen(inner) for inner in value)
    return value


# of one finding


def heading(finding: Finding) -> str:
    """The kind and the title."""
    return finding.title if finding.title.startswith(finding.kind) else f"{finding.kind}: {finding.title}"


def power(finding: Finding) -> str:
    """Whether it takes more than the death of the process."""
    return POWER["kill" in finding.profiles]


def culprits(finding: Finding) -> tuple[tuple[str, Culprit], ...]:
    """Returns the operations to blame by what became of them, `lost` and `kept`."""
    both = (("lost", finding.lost), ("kept", finding.kept))
    return tuple((name, culprit) for name, culprit in both if culprit)


def where(culprit: Culprit) -> str:
    """The source line of an operation, and its function."""
    place = culprit.place or (f"{culprit.file}:{culprit.line}" if culprit.line else culprit.file) or "source line not known"
    return f"{place} in {culprit.function}" if culprit.function and culprit.line else place


def callers(culprit: Culprit) -> tuple[str, ...]:
    """The frames that led to its source line, innermost first."""
    own = culprit.place.rpartition("/")[2]
    names = [re.sub(r"^.*/", "", frame) for frame in culprit.stack]
    first = names.index(own) if own in names else 0
    return culprit.stack[first + 1 :]


def gist(symptom: str) -> str:
    """What a check said, on one line: how it ended and its last word, which in a traceback is the error."""
    lines = [line.strip() for line in symptom.splitlines() if line.strip()]
    if len(lines) < 2:
        return lines[0] if lines else ""
    return f"{lines[0]}{':' if len(lines) == 2 else ' …'} {lines[-1]}"


# of the campaign


def counted(number: int, noun: str) -> str:
    """A number and what it counts, in the plural where it has to be."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def severities(campaign: Campaign) -> dict[str, int]:
    """How many findings there are of each severity, the worst first; those without any too."""
    found = Counter(finding.severity for finding in campaign.findings)
    return {severity: found[severity] for severity in SEVERITIES}


def result(campaign: Campaign) -> str:
    """What was found, in a few words."""
    found = [counted(number, severity) for severity, number in severities(campaign).items() if number]
    nothing = f"nothing {'new ' if campaign.accepted else ''}found{'' if campaign.complete else ' so far'}"
    return ", ".join(found) or ("inconclusive: " if campaign.is_inconclusive else "") + nothing


def tone(campaign: Campaign) -> str:
    """The colour of the whole: the worst severity; `clean` if every state was looked at and none is bad, else `open`."""
    worst = next((severity for severity, number in severities(campaign).items() if number), "")
    return worst or ("clean" if campaign.complete and not campaign.is_inconclusive else "open")


def by_profile(campaign: Campaign) -> dict[str, dict[str, int]]:
    """For each profile how many findings of each severity happen on it."""
    found = {name: Counter(one.severity for one in campaign.findings if name in one.profiles) for name in campaign.profiles}
    names = sorted(found, key=lambda name: _rank(PROFILES, name))
    return {name: {severity: found[name][severity] for severity in SEVERITIES} for name in names}


def rate(campaign: Campaign) -> float:
    """States per second."""
    return campaign.unique / campaign.seconds if campaign.seconds > 0 else 0.0


def summary(campaign: Campaign) -> tuple[tuple[str, str], ...]:
    """Returns what was done, as pairs of a word and its value."""
    strategies = " · ".join(f"{name} {number:,}" for name, number in campaign.strategies.items())
    same = "; of states that are the same in all that the check has read, one was judged"
    rows = [
        ("states", f"{campaign.states:,} looked at, {campaign.unique:,} unique, {campaign.failing:,} failing"),
        ("judged", f"{counted(campaign.judged, 'time')}{same if campaign.judged < campaign.unique else ''}"),
        ("time", f"{campaign.seconds:.1f} s, {rate(campaign):,.0f} states per second"),
        ("strategies", strategies or "none"),
        ("profiles", ", ".join(campaign.profiles)),
        ("recorded", f"{counted(campaign.operations, 'operation')} below {', '.join(campaign.roots)}"),
        ("check", campaign.check or "none: the built-in ones"),
        ("complete", "yes" if campaign.complete else "no: the budget was spent before every state was looked at"),
    ]
    if campaign.accepted:
        rows.append(("accepted", f"{counted(len(campaign.accepted), 'finding')} of the baseline, not shown"))
    return tuple(rows)


def command(campaign: Campaign) -> str:
    """The command that was tested, as one would type it."""
    return shlex.join(campaign.command)


def next_command(campaign: Campaign) -> str:
    """What to type next: to see the worst finding, to look at more states, or to see what a full disk does."""
    replay = next((finding.replay for finding in campaign.findings if finding.replay), "")
    if replay:
        return replay if "--explain" in replay.split() else f"{replay} --explain"
    if campaign.complete:
        return f"faultlib run -e write:error=ENOSPC -- {command(campaign)}"
    option = f"--budget {max(1000, MORE_BUDGET * campaign.unique)}"
    check = f" --check {shlex.quote(campaign.check)}" if campaign.check else ""
    return f"faultlib crash {option}{check} -- {command(campaign)}"
