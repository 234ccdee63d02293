"""The variants of one operation, plain and fortified: each C function is caught under its own name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import faultlib as api
from tests.matrix import workspace

VARIANTS = [
    ("pread", "read:call=pread:error=EIO:path=f", "f"),
    ("readv", "read:call=readv:error=EIO:path=f", "f"),
    ("pwrite", "write:call=pwrite:error=EIO:path=f", "f"),
    ("writev", "write:call=writev:error=EIO:path=f", "f"),
    ("lock", "flock:error=EINTR:path=f", "f"),
    ("remove", "remove:error=EIO:path=f", "f"),
    ("readlink", "readlink:error=EIO:path=l", "l"),
    ("readlinkat", "readlinkat:error=EIO:path=l", "l"),
]


@pytest.mark.parametrize("program", ["calls", "calls_fortified_2", "calls_fortified_3"])
@pytest.mark.parametrize(("call", "rule", "file"), VARIANTS)
def test_a_variant_is_caught(
    call: str, rule: str, file: str, program: str, tmp_path: Path, toolbox: workspace.Toolbox
) -> None:
    (tmp_path / "f").write_text("text")
    (tmp_path / "l").symlink_to("f")
    with api.Session([rule], cwd=tmp_path) as session:
        done = session.run([str(toolbox.get(program)), call, file], cwd=tmp_path, capture_output=True, text=True)
        assert session.report()[0].count.fired == 1
    assert done.stdout.startswith(f"{call} failed: ")


@pytest.mark.parametrize("program", ["calls_fortified_2", "calls_fortified_3"])
def test_the_fortified_programs_are_fortified(program: str, toolbox: workspace.Toolbox) -> None:
    symbols = subprocess.run(["nm", "-D", toolbox.get(program)], capture_output=True, text=True, check=True).stdout
    assert all(name in symbols for name in ("__open_2", "__read_chk", "__pread_chk", "__readlink_chk", "__readlinkat_chk"))
