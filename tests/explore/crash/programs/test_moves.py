"""What is moved must be somewhere, always: gzip, mv between directories, rotated logs, zip."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.explore.crash.programs.lab import ALWAYS, OLD, ORDER, POWER_CUT, RENAMED, UNFINISHED, Lab, Outcome

SOMEWHERE = "cmp -s f '{0}' || gzip -dc f.gz | cmp - '{0}'"


def gzip(lab: Lab, *options: str) -> Outcome:
    original = lab.beside / "original"
    original.write_text(OLD)
    return lab.write("f", OLD).crash("gzip", *options, "f", check=SOMEWHERE.format(original))


def test_gzip_removes_its_source_too_early(lab: Lab) -> None:
    outcome = gzip(lab)
    outcome.assert_found((ORDER, "gzip", "gzip"))
    (finding,) = outcome.violations
    assert finding["profiles"] == POWER_CUT
    assert finding["files"] == ["f", "f.gz"]
    assert finding["lost"]["text"].startswith("write(f.gz")
    assert finding["kept"]["text"].startswith("unlinkat(f)")
    assert finding["missing"].startswith("fsync of f.gz after ")


def test_gzip_synchronous_is_clean(lab: Lab) -> None:
    gzip(lab, "--synchronous").assert_clean()


def test_mv_between_directories_is_clean(lab: Lab) -> None:
    lab.write("a/f", OLD).prepare("mkdir b")
    lab.crash("mv", "a/f", "b/f", check="test -s a/f || test -s b/f").assert_clean()


def test_mv_between_file_systems_removes_its_source_too_early(lab: Lab, tmp_path: Path) -> None:
    lab.write("f", OLD)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other"
    outcome = lab.crash("mv", "f", f"{other}/f", roots=(lab.here, other), check=f"test -s f || test -s '{other}/f'")
    outcome.assert_found((ORDER, "mv", "mv"))
    assert outcome.violations[0]["profiles"] == POWER_CUT


def test_rotated_by_rename_is_clean(lab: Lab) -> None:
    lab.write("log", "one\n").write("log.1", "two\n")
    lab.crash_shell(
        "mv log.1 log.2; mv log log.1; : > log; printf fresh >> log", check="grep -q one log log.1 && grep -q two log.1 log.2"
    ).assert_clean()


def test_rotated_by_copy_and_truncate(lab: Lab) -> None:
    outcome = lab.write("log", "one\n").crash_shell("cp log log.1; : > log", check="grep -q one log log.1")
    outcome.assert_found((ORDER, "cp", "dash"))


@pytest.mark.skipif(not shutil.which("zip"), reason="zip is not installed")
def test_zip_unlinks_before_it_renames(lab: Lab) -> None:
    lab.write("a", OLD).write("b", OLD * 3).prepare("zip -q a.zip a")
    outcome = lab.crash("zip", "-q", "a.zip", "b", check="zip -qT a.zip")
    outcome.assert_found((UNFINISHED, "zip", "zip"), (RENAMED, "zip", "zip"))
    assert outcome.violations[0]["profiles"] == ALWAYS


PIP = """
import os, sys
open("package.py", "w").write("x = 1\\n" * 900)
with open("RECORD", "w") as file:
    file.write("package.py\\n")
    if sys.argv[1:]:
        file.flush()
        os.fsync(file.fileno())
"""


def test_a_record_of_files_that_are_not_there(lab: Lab) -> None:
    """As pip writes it: a list of what it has installed, of which nothing was made durable."""
    lab.write("app.py", PIP)
    check = "test ! -s RECORD || { grep -q . package.py && test $(stat -c %s package.py) = 5400; }"
    lab.crash(sys.executable, "-B", "app.py", check=check).assert_found((ORDER, "app.py:3", "app.py:4"))
