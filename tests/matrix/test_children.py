"""Children stay in the session, however they are made."""

from __future__ import annotations

from pathlib import Path

import pytest

import faultlib as api
from tests.matrix import workspace
from tests.matrix.rows.children import WAYS, Way


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_child_stays_in_the_session(way: Way, tmp_path: Path, toolbox: workspace.Toolbox) -> None:
    needed = {"{rust}": "rustc", "java": "javac"}.get(way.command[0], way.command[0])
    if needed.isalpha() and not workspace.has(needed):
        pytest.skip(f"{needed} is not installed")
    with api.Session(["write:error=ENOSPC:path=out"], cwd=tmp_path) as session:
        done = session.run(
            toolbox.fill(way.command, tmp_path), cwd=tmp_path, env=workspace.environment({}), capture_output=True, text=True,
            timeout=60, input="x\n",
        )  # fmt: skip
        (report,) = session.report()
        lineages = [process.lineage for process in session.processes()]
        uncovered = session.uncovered()
    assert report.count.fired == 1, (done, lineages)
    assert "No space left on device" in done.stderr
    assert done.returncode not in (0, 95, 96, 97, 98, 99)
    assert not uncovered
    assert len(set(lineages)) == len(lineages)
    assert not any("?" in lineage for lineage in lineages), lineages
