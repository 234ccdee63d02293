"""The timeline of a finding as a drawing: time from left to right, a lane for each file, the crash as a line across.

Here is only where everything stands, in the units of an SVG; the template draws it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from faultlib.explore.finding import Finding, Step
from faultlib.report import timeline
from faultlib.report.timeline import EVERYTHING, OUTSIDE, Fold, subjects

MOST = 14
"""Operations in a drawing: more cannot be taken in at a glance."""
MOST_LANES = 7
MOST_CHARACTERS, WIDEST_NAME = 9, 24
COLUMN, FOLDED, CRASH, LANE, TOP, BOX = 76, 44, 34, 62, 24, 26
MIDDLE = 34
"""Of a lane: above is its name, below the mark of a culprit."""
MARGIN = 6
OTHERS = "other files"


class Lane(NamedTuple):
    """A file, or what is not a file: who was told something."""

    name: str
    full: str
    y: float


class Box(NamedTuple):
    """One operation; `other` is the middle of the second lane of one that is about two names, else 0."""

    x: float
    y: float
    width: float
    label: str
    step: Step
    other: float


class Gap(NamedTuple):
    """Operations that are not drawn."""

    x: float
    number: str
    text: str


class Picture(NamedTuple):
    """All of it."""

    width: float
    height: float
    lanes: tuple[Lane, ...]
    boxes: tuple[Box, ...]
    gaps: tuple[Gap, ...]
    crash: float
    text: str


def picture(finding: Finding) -> Picture:
    """Returns the drawing of a finding's timeline."""
    rows = timeline.folded(finding, MOST)
    lanes = _lanes(finding, [row for row in rows if isinstance(row, Step)])
    boxes, gaps, x = list[Box](), list[Gap](), float(MARGIN)
    crash, at = timeline.before_crash(rows), x
    for number, row in enumerate(rows, 1):
        if isinstance(row, Fold):
            gaps.append(Gap(x + FOLDED / 2, f"{len(row.steps):,}", str(row)))
            x += FOLDED
        else:
            boxes.append(_box(row, x, lanes))
            x += COLUMN
        if number == crash:
            at = x + CRASH / 2
            x += CRASH
    ys = {lane.name: lane for lane in lanes.values()}
    height = TOP + LANE * len(ys) + 4
    return Picture(max(x, at + CRASH) + MARGIN, height, tuple(ys.values()), tuple(boxes), tuple(gaps), at, _said(finding))


def _said(finding: Finding) -> str:
    """The drawing in a sentence, for those who do not see it."""
    parts = [f"{step.text} (number {step.number}): {timeline.mark(step)}" for step in finding.timeline if step.mark]
    return f"The timeline up to the crash: {'; '.join(parts) or 'no operation is to blame alone'}. The table below says the same."


def _box(step: Step, x: float, lanes: dict[str, Lane]) -> Box:
    ys = [lanes[name].y for name in subjects(step.text)]
    name = re.match(r"\w*", step.text)
    label = name[0] if name and name[0] else step.text
    if len(label) > MOST_CHARACTERS:
        label = label[: MOST_CHARACTERS - 1] + "…"
    other = ys[-1] if len(ys) > 1 and ys[-1] != ys[0] else 0
    return Box(x + 3, ys[0] - BOX / 2, COLUMN - 6, label, step, other)


def _lanes(finding: Finding, steps: Sequence[Step]) -> dict[str, Lane]:
    """A lane for each name, those of the finding first, the world last; what there is no room for shares one."""
    used = dict.fromkeys(name for step in steps for name in subjects(step.text))
    special = [name for name in (EVERYTHING, OUTSIDE) if name in used]
    files = [name for name in finding.files if name in used]
    files += [name for name in used if name not in files and name not in special]
    own, rest = files[:MOST_LANES], files[MOST_LANES:]
    order = [*own, *([OTHERS] if rest else []), *special]
    lanes = {name: Lane(_short(name), name, TOP + LANE * place + MIDDLE) for place, name in enumerate(order)}
    return lanes | (dict.fromkeys(rest, lanes[OTHERS]) if rest else {})


def _short(name: str) -> str:
    """The end of a path tells more than its beginning."""
    return name if len(name) <= WIDEST_NAME else f"…{name[-WIDEST_NAME + 1 :]}"
