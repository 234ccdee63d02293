"""Programs that cannot load a shim are refused when launched, and named when they are children."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.matrix import workspace
from tests.matrix.rows.outside import OUTSIDE, Outside

RULE = "write:error=EIO:path=out"


def build(outside: Outside, folder: Path) -> Path:
    missing = [command for command in outside.needs if not workspace.has(command)]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    if outside.name == "setuid" and os.geteuid() != 0:
        pytest.skip("making a program of another user needs root")
    out = folder / "program"
    env = os.environ | {"OUT": str(out), "TMP": str(folder)}
    subprocess.run(["bash", "-ec", outside.build], cwd=workspace.SOURCES, env=env, check=True)
    out.chmod(out.stat().st_mode | 0o755)
    return out


@pytest.mark.parametrize("outside", OUTSIDE, ids=lambda one: one.name)
def test_launched_directly_it_is_refused(outside: Outside, tmp_path: Path, faultlib: Run) -> None:
    program = build(outside, tmp_path)
    done = faultlib("run", "-e", RULE, "--", str(program))
    assert done.returncode == 126, done
    assert outside.reason in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("outside", OUTSIDE, ids=lambda one: one.name)
def test_as_a_child_it_runs_undisturbed_and_is_named(outside: Outside, tmp_path: Path, faultlib: Run) -> None:
    program = build(outside, tmp_path)
    tmp_path.chmod(0o777)
    bare = subprocess.run([program], cwd=tmp_path, capture_output=True, text=True)
    done = faultlib("run", "-e", RULE, "--", "bash", "-c", f"{program}; echo status $?; {program}; true")
    assert done.stdout == f"status {bare.returncode}\n"
    assert f"not covered: 2 processes (1.1, 1.2) went on to {program}: {outside.reason}" in done.stderr
    assert "ld.so" not in done.stderr, done.stderr
