"""Perl and Node: in place, by rename, with and without fsync."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.explore.crash.programs.lab import ALWAYS, OLD, POWER_CUT, RENAMED, TRUNCATED, WHOLE, Lab

NODE = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
TEXT = "'new\\n'.repeat(3000)"


@pytest.mark.skipif(not shutil.which("perl"), reason="perl is not installed")
@pytest.mark.parametrize("flag", ["-i", "-i.bak"])
def test_perl_in_place_renames_without_fsync(lab: Lab, flag: str) -> None:
    outcome = lab.write("f", OLD).crash("perl", flag, "-pe", "s/old/new/", "f", check=WHOLE)
    outcome.assert_found((RENAMED, "perl", "perl"))
    assert outcome.violations[0]["profiles"] == POWER_CUT


@NODE
@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (f"fs.writeFileSync('f', {TEXT})", TRUNCATED),
        (f"fs.writeFileSync('g', {TEXT}); fs.renameSync('g', 'f')", RENAMED),
        (f"(async () => {{ await fs.promises.writeFile('g', {TEXT}); await fs.promises.rename('g', 'f') }})()", RENAMED),
    ],
    ids=["in place", "rename", "promises"],
)
def test_node_without_fsync(lab: Lab, script: str, kind: str) -> None:
    outcome = lab.write("f", OLD).crash("node", "-e", script, check=WHOLE)
    ((found, *places),) = outcome.found
    assert (found, outcome.status) == (kind, 1)
    assert all(re.fullmatch(r"node|fs\.c:\d+", place) for place in places), "Node's own builds have lines for libuv"
    assert outcome.violations[0]["profiles"] == (ALWAYS if kind == TRUNCATED else POWER_CUT)


@NODE
@pytest.mark.parametrize(
    "script",
    [
        f"const h = fs.openSync('g', 'w'); fs.writeSync(h, {TEXT}); fs.fsyncSync(h); fs.closeSync(h); fs.renameSync('g', 'f')",
        f"(async () => {{ const h = await fs.promises.open('g', 'w'); await h.writeFile({TEXT}); await h.sync(); await h.close();"
        " await fs.promises.rename('g', 'f') })()",
    ],
    ids=["sync", "promises"],
)
def test_node_with_fsync_is_clean(lab: Lab, script: str) -> None:
    lab.write("f", OLD).crash("node", "-e", script, check=WHOLE).assert_clean()
