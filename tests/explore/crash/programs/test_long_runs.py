"""Programs of many small writes: a budget of time is one."""

from __future__ import annotations

from tests.explore.crash.programs.lab import Lab

PROGRAM = """
import os
fd = os.open("f", os.O_WRONLY | os.O_TRUNC)
for n in range(3000):
    os.write(fd, b"new\\n")
"""


def test_a_budget_of_time_holds(lab: Lab) -> None:
    outcome = lab.write("f", "old\n").crash_python(PROGRAM, check="true", budget="3s", patience_s=25)
    assert not outcome.campaign["complete"]
