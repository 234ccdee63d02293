"""The coordination target: its defects that a crash shows, by the lines of its table; and its hardened twin."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.explore.crash.programs.lab import ORDER, RECOVERY, RENAMED, TORN, TRUNCATED, UNNAMED, UNSYNCED, Lab, Outcome, json_tool

HOUSE = Path(__file__).resolve().parents[4] / "experiments" / "coordination"
TASKS = json_tool(".coordination/tasks.json")
WORKERS = f"for file in .coordination/workers/*.json; do test ! -e $file || {json_tool('$file')} || exit 1; done"
ADD, CLAIM = "leader add-task more --id more", "worker claim w1"

LOGGED = """
def check(directory, output):
    log = (directory / ".coordination/transactions.log").read_text(errors="replace")
    assert b"more" not in output or '"more"' in log, "acknowledged and not logged"
"""
THERE = """
import json

def check(directory, output):
    tasks = json.loads((directory / ".coordination/tasks.json").read_text())["tasks"]
    assert "fetch" in tasks
    assert b"more" not in output or "more" in tasks, "acknowledged and gone"
"""
REBUILT = """
def check(directory):
    log = (directory / ".coordination/transactions.log").read_text(errors="replace")
    checkpoints = (directory / ".coordination/checkpoints").glob("*.json")
    assert '"fetch"' in log or any('"fetch"' in path.read_text() for path in checkpoints), "neither log nor checkpoint"
"""


def prepared(lab: Lab, program: str, before: Iterable[str] = ()) -> list[str]:
    tool = [sys.executable, "-B", str(HOUSE / program)]
    commands = ("leader init", "leader add-task fetch --id fetch", *before)
    lab.prepare("\n".join(f"{shlex.join(tool)} {command}" for command in commands))
    return tool


def explored(lab: Lab, command: str, **options: str) -> Outcome:
    tool = prepared(lab, "coordination.py")
    options = {name: value.format(tool=shlex.join(tool)) if name == "recover" else value for name, value in options.items()}
    return lab.crash(*tool, *command.split(), **options)


def claim(lab: Lab) -> Outcome:
    return explored(lab, CLAIM, check=TASKS)


def lines_of(finding: dict[str, Any]) -> set[int]:
    """All lines of the target on the stacks of the two operations to blame."""
    stacks = [line for culprit in (finding["lost"], finding["kept"]) if culprit for line in culprit["stack"]]
    return {int(found[1]) for line in stacks if (found := re.search(r"coordination\.py:(\d+)", line))}


@pytest.mark.parametrize(
    ("numbers", "command", "options", "kind", "lines"),
    [
        ("C60 C01", CLAIM, {"check": TASKS}, TRUNCATED, {64, 193}),
        ("C01", CLAIM, {"check": WORKERS}, TRUNCATED, {64}),
        ("C02", ADD, {"check": TASKS}, RENAMED, {74}),
        ("C03", ADD, {"check": THERE}, UNNAMED, {74}),
        ("C06", ADD, {"check": THERE, "recover": "{tool} leader add-task later --id later"}, RENAMED, {74}),
        ("C12", ADD, {"check": LOGGED}, UNSYNCED, {94}),
        ("C14", ADD, {"check": "true", "recover": "{tool} recover"}, RECOVERY, {94}),
        ("C45", "leader checkpoint", {"check": REBUILT}, ORDER, {64, 445}),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("C") else "",
)
def test_a_defect_is_named_by_line(
    lab: Lab, numbers: str, command: str, options: dict[str, str], kind: str, lines: set[int]
) -> None:
    outcome = explored(lab, command, **options)
    assert outcome.status == 1, outcome.err
    found = [finding for finding in outcome.violations if finding["kind"] == kind and lines <= lines_of(finding)]
    assert len(found) == 1, outcome.found
    assert "ext4" in found[0]["profiles"]
    assert ("kill" in found[0]["profiles"]) == (kind == TRUNCATED)
    for number in numbers.split():
        assert f"| {number} |" in (HOUSE / "DEFECTS.md").read_text()


def test_of_a_claim_nothing_else_is_said(lab: Lab) -> None:
    """Both files are written by the same two lines: one cause."""
    outcome = explored(lab, CLAIM, check=f"{TASKS} && {WORKERS}")
    outcome.assert_found((TRUNCATED, "coordination.py:64", "coordination.py:64"))
    assert TORN not in {found.kind for found in outcome.found}


WORKS = """
import subprocess

def tool(directory, *words):
    done = subprocess.run([*{tool}, *words], cwd=directory, capture_output=True, text=True)
    assert not done.returncode, (words, done.stderr)
    return done.stdout

def check(directory, output):
    tool(directory, "recover")
    status = tool(directory, "leader", "status")
    assert "fetch" in status
    assert b"more" not in output or "more" in status, "acknowledged and gone"
"""


def hardened(lab: Lab, command: str, before: Iterable[str] = ()) -> Outcome:
    tool = prepared(lab, "hardened.py", before)
    return lab.crash(*tool, *command.split(), check=WORKS.replace("{tool}", repr(tool)))


@pytest.mark.parametrize(
    ("command", "before"),
    [
        (CLAIM, []),
        (ADD, []),
        ("leader checkpoint", []),
        ("leader restore", ["leader checkpoint", CLAIM]),
        ("worker complete w1 fetch --result ok", [CLAIM, "worker start w1 fetch"]),
        ("recover", [CLAIM]),
    ],
)
def test_the_hardened_twin_is_clean(lab: Lab, command: str, before: list[str]) -> None:
    hardened(lab, command, before).assert_clean()
