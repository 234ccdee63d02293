"""Which operations a timeline shows, and where its drawing has them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultlib.explore.finding import Finding, Step
from faultlib.report import picture, timeline
from faultlib.report.timeline import Fold
from tests.report.campaigns import RENAMED, TRUNCATED

DONE = st.sampled_from(["kept", "durable", "lost", "partly"])


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    fates = draw(st.lists(DONE, max_size=120)) + ["never"] * draw(st.integers(0, 3))
    marks = draw(st.dictionaries(st.integers(0, 130), st.sampled_from(["lost", "kept"]), max_size=2))
    names = draw(st.sampled_from([(), ("a",), ("a", "b")]))
    steps = [Step(n, f"write({draw(st.sampled_from('abcdefghijk'))}, {n} bytes at 0)", f"x.py:{n}", "1", fate, marks.get(n, "")) for n, fate in enumerate(fates)]
    return RENAMED._replace(timeline=tuple(steps), files=names)


@given(findings(), st.sampled_from([4, picture.MOST, timeline.MOST]))
def test_every_operation_is_there_once_in_order(finding: Finding, most: int) -> None:
    rows = timeline.folded(finding, most)
    steps = [step for row in rows for step in (row.steps if isinstance(row, Fold) else (row,))]
    assert tuple(steps) == finding.timeline
    shown = [row for row in rows if isinstance(row, Step)]
    assert len([step for step in shown if step.mark]) == len([step for step in finding.timeline if step.mark])
    assert len(shown) <= most + (timeline.LEAST_FOLDED - 1) * (most + 1)
    assert all(len(row.steps) >= timeline.LEAST_FOLDED for row in rows if isinstance(row, Fold))


@given(findings())
def test_the_crash_is_between_what_was_done_and_what_was_not(finding: Finding) -> None:
    rows = timeline.folded(finding)
    crash = timeline.before_crash(rows)
    behind = [step for row in rows[crash:] for step in (row.steps if isinstance(row, Fold) else (row,))]
    assert all(step.fate == "never" for step in behind)
    assert crash == 0 or timeline.reached(rows[crash - 1])


@given(findings())
def test_everything_is_drawn_inside_the_picture(finding: Finding) -> None:
    it = picture.picture(finding)
    assert len(it.lanes) <= picture.MOST_LANES + 3
    assert all(one.x >= 0 and one.x + one.width <= it.width for one in it.boxes)
    assert all(one.y > 0 and one.y + picture.BOX < it.height and one.other < it.height for one in it.boxes)
    assert 0 <= it.crash <= it.width
    assert all((one.x < it.crash) == (one.step.fate != "never") for one in it.boxes)
    places = sorted([one.x for one in it.boxes] + [gap.x for gap in it.gaps])
    assert len(set(places)) == len(places)


def test_a_fold_says_what_is_in_it() -> None:
    kept, lost = (Step(0, "x", "", "1", fate) for fate in ("kept", "lost"))
    assert str(Fold((kept,) * 37)) == "… 37 more kept"
    assert str(Fold((kept,) * 1200 + (lost,) * 7)) == "… 1,207 more: 1,200 kept, 7 lost"


def test_a_long_stretch_is_folded() -> None:
    made = timeline.render(TRUNCATED)
    assert "… 38 more durable" in made and made.count("\n") < 20


def test_lost_ones_are_marked_in_a_pipe() -> None:
    lines = timeline.render(RENAMED._replace(timeline=tuple(step._replace(fate="lost") for step in RENAMED.timeline[:2]))).splitlines()
    assert [line[:2] for line in lines if " LOST" in line] == [" -", ">-"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("write(a, 3 bytes at 0)", ("a",)), ("write(a, b, 3 bytes at 0)", ("a, b",)), ("rename(a -> b)", ("a", "b")), ("fsync(a)", ("a",)),
        ("sync()", (timeline.EVERYTHING,)), ("exit(0)", (timeline.OUTSIDE,)), (r"output 'x\n'", (timeline.OUTSIDE,)), ("", (timeline.OUTSIDE,)),
    ],
)  # fmt: skip
def test_files_that_a_call_is_about(text: str, names: tuple[str, ...]) -> None:
    assert timeline.subjects(text) == names


def test_files_beyond_the_room_there_is_share_a_lane() -> None:
    steps = tuple(Step(n, f"unlink(f{n})", "", "1", "lost", "lost") for n in range(12))
    it = picture.picture(RENAMED._replace(timeline=steps, files=("f11",)))
    assert [lane.name for lane in it.lanes] == ["f11", *(f"f{n}" for n in range(6)), picture.OTHERS]
    assert len({box.y for box in it.boxes}) == len(it.lanes)


def test_a_rename_spans_two_lanes() -> None:
    it = picture.picture(RENAMED)
    ys = {lane.name: lane.y for lane in it.lanes}
    (one,) = [box for box in it.boxes if box.label == "rename"]
    assert (one.y + picture.BOX / 2, one.other) == (ys["workers.json.tmp"], ys["workers.json"])


def test_a_million_operations_do_not_take_long() -> None:
    steps = tuple(Step(n, f"write(log, 61 bytes at {n})", "a.py:1", "1", "kept", "lost" if n == 77 else "") for n in range(200_000))
    began = time.monotonic()
    made = timeline.render(TRUNCATED._replace(timeline=steps, files=("log",)))
    assert made.count("\n") < 70
    assert time.monotonic() - began < 20
