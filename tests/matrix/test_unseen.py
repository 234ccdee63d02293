"""What the documentation says is not seen is made by the program, and is not seen."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import faultlib as api
from tests.matrix import workspace
from tests.matrix.rows.unseen import UNSEEN, Unseen


@pytest.mark.parametrize("unseen", UNSEEN, ids=lambda one: one.way)
def test_it_is_made_and_not_seen(unseen: Unseen, tmp_path: Path, toolbox: workspace.Toolbox) -> None:
    if unseen.needs_root and os.geteuid():
        pytest.skip("needs root")
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "f").write_text("text")
    command = [str(toolbox.get("unseen")), unseen.way]
    subprocess.run(["strace", "-qq", "-e", f"trace={unseen.strace}", "-o", "t", *command], cwd=tmp_path, check=True)
    assert any(unseen.line in line for line in (tmp_path / "t").read_text().splitlines())
    with api.Session([unseen.rules], cwd=tmp_path) as session:
        assert session.run(command, cwd=tmp_path).returncode == 0
        assert session.report()[0].count.matched == 0, "seen by now: docs/targets.md should say so"
