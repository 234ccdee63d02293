"""Programs of many small writes: a budget of time is one."""

from __future__ import annotations

import time

import pytest

from tests.explore.crash.programs.lab import Lab

PROGRAM = """
import os
fd = os.open("f", os.O_WRONLY | os.O_TRUNC)
for n in range(3000):
    os.write(fd, b"new\\n")
"""


@pytest.mark.xfail(reason="a strategy that yields nothing for long does not look at the clock", strict=True)
def test_a_budget_of_time_holds(lab: Lab) -> None:
    began = time.monotonic()
    outcome = lab.write("f", "old\n").crash_python(PROGRAM, check="true", budget="5s")
    assert time.monotonic() - began < 15
    assert not outcome.campaign["complete"]
