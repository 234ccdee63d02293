"""The shim compiles for aarch64 from the same sources, apart from the entry patch."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILER = "aarch64-linux-gnu-gcc"


def test_every_source_compiles_for_aarch64(tmp_path: Path) -> None:
    if not shutil.which(COMPILER):
        pytest.skip(f"{COMPILER} is not installed")
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-cast-function-type", "-Wno-array-parameter", "-fPIC"]
    flags += ["-fvisibility=hidden", "-ftls-model=initial-exec", "-fno-strict-aliasing", "-fno-builtin", f"-I{ROOT}/csrc", "-c"]
    controller = {"control.c", "guard.c"}
    sources = [p for d in ("csrc", "csrc/effects", "csrc/wrap") for p in (ROOT / d).glob("*.c") if p.name not in controller]
    sources += [p for p in (ROOT / "csrc/arch").iterdir() if p.name.startswith("aarch64")]
    assert len(sources) > 20
    for source in sources:
        out = tmp_path / f"{source.stem}.o"
        done = subprocess.run([COMPILER, *flags, "-o", out, source], capture_output=True, text=True)
        assert done.returncode == 0, f"{source}:\n{done.stderr}"
