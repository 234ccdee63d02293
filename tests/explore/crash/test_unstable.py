"""A check that says now this and now that of one state: no finding comes of it, and that is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from faultlib.errors import UsageError
from faultlib.testing.crash import assert_fixed
from tests.explore.crash.conftest import Explore

MANY = """import os
for i in range(12):
    with open('data.tmp', 'w') as file:
        file.write(f'new {i}')
        file.flush()
        os.fsync(file.fileno())
    os.replace('data.tmp', 'data')
"""
IN_PLACE = MANY.replace("'data.tmp', 'w'", "'data', 'w'").replace("    os.replace('data.tmp', 'data')\n", "    open('data.tmp', 'w').close()\n    os.unlink('data.tmp')\n")
BY_CHANCE, BY_TIME = "os.urandom(1)[0] < 64", "time.time_ns() // 1000 % 4 == 0"
FLAKY = """import os, time
def check(directory):
    assert (directory / 'data').read_text() in ('old', *(f'new {i}' for i in range(12))), 'torn'
    if WHEN:
        assert not CHANCE, 'unlucky'
"""
TEMPORARY = "(directory / 'data.tmp').exists()"


def flaky(chance: str = BY_CHANCE, when: str = TEMPORARY) -> dict[str, str]:
    return {"data": "old", "checks.py": FLAKY.replace("WHEN", when).replace("CHANCE", chance)}


AS_COMMAND = f"'{sys.executable}' -c \"import checks, pathlib; checks.check(pathlib.Path())\""


@pytest.mark.parametrize("chance", [BY_CHANCE, BY_TIME])
@pytest.mark.parametrize("check", ["checks:check", AS_COMMAND, AS_COMMAND + ";"])
def test_what_fails_by_chance_is_no_finding(check: str, chance: str, campaign: Explore) -> None:
    found = campaign(MANY, flaky(chance), check=check, profiles=("kill", "ext4"))
    assert found.findings == () and found.failing == 0
    assert found.unstable > 0 and found.is_inconclusive
    (note,) = [note for note in found.not_covered if "passed and failed" in note]
    assert note.startswith(f"{found.unstable} state")


def test_a_real_bug_is_found_all_the_same(campaign: Explore) -> None:
    found = campaign(IN_PLACE, flaky(), check="checks:check")
    assert [finding.kind for finding in found.findings] == ["truncate-then-write"]
    assert found.findings[0].symptom == "AssertionError: torn" and found.findings[0].states == found.failing


def test_a_check_that_is_unstable_where_nothing_is_wrong(campaign: Explore) -> None:
    fails_twice_in_three = FLAKY + "counter = 0\n"
    fails_twice_in_three = fails_twice_in_three.replace("if WHEN", "if True").replace("CHANCE", BY_CHANCE)
    for attempt in range(20):  # it may pass by chance
        try:
            campaign(IN_PLACE, {"data": "old", "checks.py": fails_twice_in_three}, folder=f"c{attempt}", check="checks:check", profiles=("kill",))
        except UsageError as error:
            assert "on the state that the command leaves" in str(error) or "passes and fails on the same state" in str(error)
            return
    pytest.fail("by chance it passed in twenty campaigns")


BEFORE = """import os
from pathlib import Path
def check(directory):
    if (directory / 'ready').exists():
        assert (directory / 'ready').read_text() == 'yes', 'torn'
    else:
        raise ValueError(TEXT)
"""
MAKES = "with open('ready', 'w') as file:\n    file.write('yes')\n"


@pytest.mark.parametrize("text", ["'not there'", "f'not there, said process {os.getpid()} {os.urandom(2).hex()}0'"])
def test_what_fails_before_the_run_already_is_no_worse(text: str, campaign: Explore) -> None:
    """Also if it is told with a number that is another one each time."""
    found = campaign(MAKES, {"checks.py": BEFORE.replace("TEXT", text)}, check="checks:check")
    assert [finding.symptom for finding in found.findings] == ["AssertionError: torn"]
    assert any("fails before the run already" in note for note in found.not_covered)


def test_what_is_said_before_the_run_has_to_be_recognised(campaign: Explore) -> None:
    text = "''.join(chr(97 + byte % 26) for byte in os.urandom(20))"
    with pytest.raises(UsageError, match="says something else each time"):
        campaign(MAKES, {"checks.py": BEFORE.replace("TEXT", text)}, check="checks:check")


def test_a_command_that_starts_again_only_by_chance(campaign: Explore) -> None:
    """What serves as recovery is the command itself."""
    program = MANY + "if os.path.exists('data.tmp') or not 'data.tmp' in FOUND:\n    pass\nelif CHANCE:\n    raise SystemExit(1)\n"
    program = "import os\nFOUND = os.listdir()\n" + program.replace("CHANCE", BY_CHANCE)
    found = campaign(program, {"data": "old"}, profiles=("kill",))
    assert found.findings == () and found.unstable > 0


def test_its_regression_test_warns(campaign: Explore, tmp_path: Path) -> None:
    campaign(IN_PLACE, flaky(), check="checks:check", profiles=("kill",))
    (tmp_path / "here" / "program.py").write_text(MANY)
    with pytest.warns(UserWarning, match=r"not found again, but .* states have passed and failed"):
        assert_fixed(tmp_path / "c" / "findings" / "crash_1.json", cwd=tmp_path / "here")


def test_nothing_can_be_said_then(tmp_path: Path) -> None:
    for name, text in {**flaky(), "program.py": MANY}.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "faultlib", "crash", "--check", "checks:check", "--profile", "kill", "--", sys.executable, "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3, done
    assert done.stdout.startswith("faultlib crash: inconclusive: nothing found in ")
    again = subprocess.run([*command[:4], "--campaign", ".faultlib/crash-1", "--json", *command[4:]], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 3 and json.loads(again.stdout)["unstable"] > 0
