"""What the table of the house target's defects says shows them: every rule is one, and acts in the command that is named."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

import faultlib as api
from faultlib.inject.compile import happens_at_a_call

HOUSE = Path(__file__).resolve().parent.parent / "experiments" / "coordination"
SHOWN = re.compile(r"(?P<rules>`[^`]+`(?: with `[^`]+`)*) on `(?P<on>[^`]+)`(?: after `(?P<after>[^`]+)`)?")
BEFORE = "leader init; leader add-task fetch --id fetch"
CASES = [
    (row.split("|")[1].strip(), *found.groups())
    for row in (HOUSE / "DEFECTS.md").read_text().splitlines() if row.startswith("| C")
    for found in SHOWN.finditer(row.split("|")[6])
]  # fmt: skip


def commands(text: str) -> list[list[str]]:
    return [[sys.executable, str(HOUSE / "coordination.py"), *shlex.split(one)] for one in text.split(";")]


def test_the_table_shows_most_of_its_defects() -> None:
    assert len({case[0] for case in CASES}) >= 35


def acts(session: api.Session) -> bool:
    """Whether every rule has fired that fires at a call; other clock rules hold from the beginning."""
    there = bool(session.processes())
    return there and all(row.count.fired or not happens_at_a_call(row.rule) for row in session.report())


@pytest.mark.parametrize(("number", "rules", "on", "after"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES])
def test_the_rule_acts_in_that_command(tmp_path: Path, number: str, rules: str, on: str, after: str | None) -> None:
    for command in commands(BEFORE) + commands(after or "leader status"):
        subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    with api.Session(re.findall("`([^`]+)`", rules), cwd=tmp_path) as session:
        for command in commands(on):
            child = session.popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 60
            while child.poll() is None:
                assert time.monotonic() < deadline, session.report()
                if acts(session) and ";" not in on:
                    child.kill()  # some of them wait for ever then, which is the defect
                time.sleep(0.02)
        assert acts(session), session.report()
