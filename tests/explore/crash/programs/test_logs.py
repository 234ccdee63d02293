"""Logs: a line that is cut off at the end is no harm to who expects it, a line that was acknowledged and is gone is."""

from __future__ import annotations

import pytest

from tests.explore.crash.programs.lab import POWER_CUT, TORN, UNSYNCED, Lab, Outcome

WRITER = """
import os
log = open("app.log", "a")
for n in range(8):
    log.write("%d %s end\\n" % (n, "x" * 300))
    log.flush()
"""
SYNCED = "    os.fsync(log.fileno())\n"
SAID = "    print(n, flush=True)\n"
READER = """
def check(directory, output):
    *lines, torn = (directory / "app.log").read_text().split("\\n")
    assert lines[0] == "old"
    for n, line in enumerate(lines[1:]):
        assert line == "%d %s end" % (n, "x" * 300), (n, line)
    assert len(lines) > len(output.split()), "acknowledged and gone"
"""
STRICT = READER.replace("    for n", "    assert not torn, torn\n    for n")


def appended(lab: Lab, program: str) -> Outcome:
    return lab.write("app.log", "old\n").crash_python(program, check=READER)


@pytest.mark.parametrize("more", ["", SYNCED, SYNCED + SAID], ids=["plain", "synced", "acknowledged"])
def test_a_log_is_clean_whose_reader_expects_a_torn_end(lab: Lab, more: str) -> None:
    outcome = appended(lab, WRITER + more)
    outcome.assert_clean()
    assert {tuple(note["profiles"]) for note in outcome.findings} <= {("posix",)}


def test_a_reader_who_expects_none(lab: Lab) -> None:
    lab.write("app.log", "old\n").crash_python(WRITER + SYNCED, check=STRICT).assert_found((TORN, "app.py:6", "app.py:6"))


def test_acknowledged_lines_are_lost_without_fsync(lab: Lab) -> None:
    outcome = appended(lab, WRITER + SAID)
    outcome.assert_found((UNSYNCED, "app.py:6", "app.py:7"))
    assert outcome.violations[0]["profiles"] == POWER_CUT
