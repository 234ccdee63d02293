"""Files that are not there before the run, with a check that nobody has thought much about."""

from __future__ import annotations

from tests.explore.crash.programs.lab import RENAMED, TRUNCATED, Lab, json_tool

SAFE = """
import os
with open("new.tmp", "w") as file:
    file.write("[1]")
    file.flush()
    {0}
os.rename("new.tmp", "new.json")
"""


def test_a_file_that_is_not_there_yet_is_no_violation(lab: Lab) -> None:
    lab.crash_python(SAFE.format("os.fsync(file.fileno())"), check=json_tool("new.json")).assert_clean()


def test_nor_does_it_hide_one_that_is_torn(lab: Lab) -> None:
    outcome = lab.crash_python('with open("new.json", "w") as file:\n    file.write("[1]")', check=json_tool("new.json"))
    outcome.assert_found((TRUNCATED, "app.py:1", "app.py:1"))


def test_with_a_thoughtful_check(lab: Lab) -> None:
    check = f"test ! -e new.json || {json_tool('new.json')}"
    lab.crash_python(SAFE.format("os.fsync(file.fileno())"), check=check).assert_clean()
    outcome = lab.crash_python(SAFE.format("pass"), check=check)
    outcome.assert_found((RENAMED, "app.py:5", "app.py:7"))
