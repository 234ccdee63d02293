"""Checks that are Python functions."""

from __future__ import annotations

from pathlib import Path

from faultlib.explore.oracle import Function, Promise


def test_two_projects_have_a_checks_module_each(tmp_path: Path) -> None:
    """As happens when pytest runs two tests that `faultlib crash` has written for different programs."""
    for name, answer in (("one", "True"), ("two", "False")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same_name_checks.py").write_text(f"def check(directory):\n    return {answer}\n")
    verdicts = [
        Function("same_name_checks.py:check", tmp_path / name)(tmp_path / name, 10, Promise(b"", 0)).failed for name in ("one", "two")
    ]
    assert verdicts == [False, True]
