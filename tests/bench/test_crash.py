"""The benchmarks of crash campaigns: that they measure what they say. How fast it is here is nobody's business."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import budgets, crash_record
from faultlib.bench import programs

ROOT = Path(__file__).resolve().parents[2]


def bench(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"bench.{name}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_broken_and_clean_programs_are_told_apart() -> None:
    pytest.importorskip("pickledb")
    pytest.importorskip("atomicwrites")
    done = bench("crash_findings", "--json", "--only", "pickledb", "--only", "atomicwrites")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["machine"]["cpus"] >= 1
    broken, clean = found["rows"]
    assert (broken["broken"], broken["violations"], broken["complete"]) == (True, 2, True)
    assert 0 < broken["first"] <= broken["states"]
    assert 0 < broken["first_s"] <= broken["seconds"]
    assert (clean["broken"], clean["violations"], clean["complete"]) == (False, 0, True)
    assert clean["states"] > 10
    assert clean["first"] is clean["first_s"] is None


def test_a_clean_program_that_was_not_looked_at_to_its_end_is_no_success() -> None:
    pytest.importorskip("atomicwrites")
    done = bench("crash_findings", "--only", "atomicwrites", "--budget", "3")
    assert done.returncode == 1, done.stdout
    assert " 3+ " in done.stdout
    assert "WRONG: should be clean, and looked at to its end" in done.stdout


def test_a_program_that_there_is_not() -> None:
    done = bench("crash_findings", "--only", "no such program")
    assert done.returncode == 2
    assert "there are pickledb 0.9.2, dump, " in done.stderr


def test_a_recorded_write_is_beside_the_bare_one(tmp_path: Path) -> None:
    """Each round has every kind of call; a log that were not whole would end it."""
    found = list(crash_record.rounds(programs.compile_all(tmp_path), tmp_path, crash_record.FITS, stacks=False))
    assert len(found) == crash_record.ROUNDS_IN_A_SESSION - 3
    assert all(set(one) == set(crash_record.CALLS) and min(map(min, one.values())) > 0 for one in found)



def test_each_kind_of_check_is_beside_its_budget() -> None:
    done = bench("crash_judges", "20")
    assert done.returncode == 0, done.stderr
    assert [line.count("budget") for line in done.stdout.splitlines()] == [1, 1, 1]


def test_enumeration_is_beside_its_budget() -> None:
    done = bench("crash_states", "--only", "database, 300", "--profile", "kill")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert "budget 5,000 " in line


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (budgets.at_least(5000, 5000), "budget 5,000 kept (1.0 times)"),
        (budgets.at_least(4000, 5000), "budget 5,000 MISSED (0.8 times)"),
        (budgets.at_most(0.5, 2, "s"), "budget 2 s kept (0.2 times)"),
        (budgets.at_most(3, 2, "s"), "budget 2 s EXCEEDED (1.5 times)"),
    ],
)
def test_budgets(said: str, wanted: str) -> None:
    assert said == wanted
