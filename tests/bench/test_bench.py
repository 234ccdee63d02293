"""The benchmark itself: that it measures what it says, and says what it could not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from faultlib.bench import chart, measure, programs, report, subjects
from tests.conftest import Run


def test_a_quick_run_measures_every_subject(faultlib: Run, tmp_path: Path) -> None:
    done = faultlib("bench", "--quick", "--json", "all.json", "--chart", "all.svg", timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "all.json").read_text())
    measured = {(row["subject"], row["operation"], row["stubbed"]) for row in found["rows"]}
    assert {(b.subject, b.operation, b.stubbed) for b in report.BUDGETS} <= measured
    peers, missing = subjects.peers()
    assert {peer.name for peer in peers} <= {name for name, _, _ in measured}
    assert found["missing"] == missing
    assert (tmp_path / "all.svg").exists() or (tmp_path / "all.txt").exists()
    assert "EXCEEDED" in done.stdout or "kept" in done.stdout


def test_every_rule_of_the_subjects_does_what_its_title_says(tmp_path: Path) -> None:
    compiled = programs.compile_all(tmp_path)
    expected = {"miss": {0}, "count": {100}, "sixteen": {0}, "sixteen-sizes": {0}, "sixteen-counting": {100}, "other": {0}}
    for subject in subjects.own(compiled):
        if subject.name not in expected or not subject.start:
            continue
        with subject.start() as session:
            worker = measure.Worker(subject, session, compiled, stubbed=True)
            worker.batch("write", 100)
            worker.close()
            counts = [row.count for row in session.report()]
        assert {count.matched for count in counts} == expected[subject.name], subject.name
        assert {count.fired for count in counts} == {0}


@pytest.mark.parametrize(
    "arguments",
    [["--rounds", "2"], ["--chart", "picture.gif"], ["--json", "no/such/place.json"], ["--rounds", "many"]],
)  # fmt: skip
def test_bad_options_are_refused_at_once(faultlib: Run, arguments: list[str]) -> None:
    done = faultlib("bench", *arguments)
    assert done.returncode == 2
    assert "measuring" not in done.stderr


def test_a_missing_compiler_is_named(faultlib: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    done = faultlib("bench", "--quick")
    assert done.returncode not in (0, 1)
    assert "no-such-compiler was not found (apt: gcc libc6-dev)" in done.stderr


def series(subject: str, *samples: float, operation: str = "write", stubbed: bool = True) -> measure.Series:
    return measure.Series(subject, operation, stubbed, list(samples))


def test_costs_are_compared_round_by_round() -> None:
    """A machine that becomes slower half-way does not make the later rounds look dear."""
    bare, own = series("bare", 10, 10, 90, 90, 90), series("count", 13, 13, 93, 93, 93)
    found = report.make([bare, own], [*map(titled, ("bare", "count"))], [], 5)
    assert [row.over_ns for row in found.rows] == [0, 3]
    assert found.rows[1].within is True


def titled(name: str) -> subjects.Subject:
    return subjects.Subject(name, name, ("write",))


def test_an_exceeded_budget_and_a_close_rival_are_said() -> None:
    all_series = [series("bare", 3.0), series("count", 13.0), series("libfiu", 50.0)]
    found = report.make(all_series, [*map(titled, ("bare", "count", "libfiu"))], ["strace"], 1)
    text = report.as_text(found)
    assert not found.fine
    assert "8.0 ns EXCEEDED" in text
    assert "libfiu adds 4.7 times as much to write as faultlib (count), less than the 15 wanted" in text
    assert "not installed, so not compared: strace" in text


def test_the_chart_as_text_has_a_bar_for_each() -> None:
    found = report.make(
        [series("bare", 3.0), series("count", 9.0), series("libfiu", 103.0)], [*map(titled, ("bare", "count", "libfiu"))], [], 1
    )
    lines = chart.as_text(found).splitlines()
    assert lines[0] == "ns added to write in user space"
    bars = {line.split()[0]: line.count("#") for line in lines[1:]}
    assert 0 < bars["count"] < bars["libfiu"] == chart.WIDTH
