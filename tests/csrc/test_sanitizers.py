"""The C side under the sanitizers: its pure parts with generated input (generated.c), the shim itself under the run tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_readme import checkout

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
PURE = ("decide", "ops", "control", "cleanup", "path", "fdtable", "text")
FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-cast-function-type", "-Wno-array-parameter")
SEEDS = range(1, 9)
ROUNDS = 20_000
DEADLINE_S = 900


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("sanitizers") / "generated"
    sources = [Path(__file__).with_name("generated.c"), *(CSRC / f"{name}.c" for name in PURE)]
    sanitizers = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    subprocess.run(["cc", *FLAGS, *sanitizers, f"-I{CSRC}", "-o", program, *sources], check=True, timeout=DEADLINE_S)
    return program


@pytest.mark.parametrize("seed", SEEDS)
def test_generated_input(generated: Path, tmp_path: Path, seed: int) -> None:
    command = [generated, str(seed), str(ROUNDS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    assert "16384 paths" in done.stdout, "the table of paths was filled"


def test_run_tests_under_a_shim_that_traps_undefined_behaviour(tmp_path: Path) -> None:
    """Builds a copy of the checkout with traps in the shim and runs its tests of `run` there."""
    copy = checkout(tmp_path)
    flags = "-fsanitize=undefined -fsanitize-undefined-trap-on-error"
    env = os.environ | {"FAULTLIB_SHIM_FLAGS": flags, "PYTHONPATH": str(copy)}
    for command in (
        ("setup.py", "-q", "build_ext", "--inplace"),
        ("-c", f"import faultlib; assert faultlib.__file__.startswith({str(copy)!r}), faultlib.__file__"),
        ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/inject/test_run.py", "tests/inject/test_session_signals.py"),
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=copy, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:]
    shim = copy / "faultlib" / "libfaultlib_preload.so"
    code = subprocess.run(["objdump", "-d", shim], capture_output=True, text=True, check=True).stdout
    assert code.count("\tud2") > 20, "the traps are in it"
