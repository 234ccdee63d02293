"""A fast way to a verdict is taken where it is the same as the plain one, and nowhere else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from faultlib.explore.crash.campaign import Spec, explore
from faultlib.explore.crash.explorer import Budget
from faultlib.explore.finding import Campaign

PROGRAM = """
import os
for text in ("mid", "mid 2", "last"):
    with open("f.tmp", "w") as f:
        f.write(text)
    os.rename("f.tmp", "f")
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "app.py").write_text(PROGRAM)
    (root / "f").write_text("first")
    return root


def campaign(tree: Path, check: str, recover: str | None = None) -> Campaign:
    spec = Spec(
        (sys.executable, "app.py"), tree, tree / ".faultlib" / "c", (tree,), check, recover, profiles=("ext4",),
        budget=Budget(states=60), jobs=2,
    )
    return explore(spec)


def command(tree: Path, name: str, code: str) -> str:
    (tree / name).write_text(code)
    return f"'{sys.executable}' {name}"


def told(found: Campaign) -> str:
    return "\n".join(found.not_covered)


def test_a_check_is_forked_and_finds_what_a_shell_finds(tree: Path) -> None:
    check = command(tree, "check.py", "import json\ntext = open('f').read()\nassert text in ('first', 'mid', 'mid 2', 'last'), text\n")
    forked = campaign(tree, check)
    assert "started anew" not in told(forked)
    assert forked.findings
    (tree / ".faultlib").rename(tree.parent / "aside")
    plain = campaign(tree, f"true; {check}")
    assert (plain.unique, plain.failing) == (forked.unique, forked.failing)
    assert [one.title for one in plain.findings] == [one.title for one in forked.findings]


@pytest.mark.parametrize("way", ["grep -Eqx 'first|mid|mid 2|last' f", "sh good.sh", "./good.sh", "test -e f && sh good.sh"])
def test_shells_and_scripts_are_forked_too(way: str, tree: Path) -> None:
    (tree / "good.sh").write_text("#!/bin/sh\nx=$(cat f)\ncase $x in first | mid | 'mid 2' | last) ;; *) exit 1 ;; esac\n")
    (tree / "good.sh").chmod(0o755)
    forked = campaign(tree, way)
    assert "started anew" not in told(forked) and "twice" not in told(forked)
    assert [one.kind for one in forked.findings] == ["rename before data"]


def test_what_does_something_else_as_a_fork_is_started_anew(tree: Path) -> None:
    code = "import os\npid = os.getpid()\nopen('f')\nassert os.getpid() == pid\n"
    found = campaign(tree, command(tree, "check.py", code))
    assert "the check is started anew for each state, which takes longer: as a fork of one process it does something else" in told(found)
    assert not found.failing


def test_what_cannot_be_forked_is_started_anew(tree: Path) -> None:
    code = "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()\nopen('f')\n"
    assert "it has threads by then" in told(campaign(tree, command(tree, "check.py", code)))


@pytest.mark.parametrize("wrong", ["passes", "fails"])
def test_a_verdict_that_is_found_wrong_takes_back_all(tree: Path, wrong: str) -> None:
    """In the fork it is otherwise for states in between only, which are not tried beforehand."""
    code = (
        "import os\npid = os.getpid()\nis_fork_wanted = " + str(wrong == "fails") + "\ntext = open('f').read()\n"
        "is_fork = os.getpid() != pid\nassert text in ('first', 'last') or is_fork != is_fork_wanted\n"
    )
    found = campaign(tree, command(tree, "check.py", code))
    assert "every state was judged twice" in told(found)
    assert bool(found.failing) == (wrong == "passes")


def test_a_server_that_ends_is_told_of(tree: Path) -> None:
    code = "import os, signal\npid = os.getpid()\nif open('f').read().startswith('mid'):\n    os.kill(os.getppid(), signal.SIGKILL)\n"
    spec_check = command(tree, "check.py", code.replace("os.kill(", "os.getpid() == pid or os.kill("))
    found = campaign(tree, spec_check)
    assert "the check is started anew for each state, which takes longer: the process that was forked has ended" in told(found)
    assert not found.failing


def test_a_recovery_is_forked_too(tree: Path) -> None:
    recover = command(
        tree, "recover.py", "import os\nif open('f').read() not in ('first', 'mid', 'mid 2', 'last'):\n    open('f', 'w').write('first')\n"
    )
    check = command(tree, "check.py", "assert open('f').read() in ('first', 'mid', 'mid 2', 'last')\n")
    found = campaign(tree, check, recover)
    assert "started anew" not in told(found)
    assert not found.failing


def test_a_recovery_that_leaves_something_else_as_a_fork_is_started_anew(tree: Path) -> None:
    code = "import os\npid = os.getpid()\ntext = open('f').read()\nif os.getpid() != pid:\n    open('g', 'w').write(text)\n"
    found = campaign(tree, command(tree, "check.py", "open('f')\n"), command(tree, "recover.py", code))
    assert "the recovery is started anew" in told(found)
