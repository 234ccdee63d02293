"""C programs of these tests, compiled once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compiles HERE/<name>.c and returns the program."""
    folder = tmp_path_factory.mktemp("compiled")

    def build(name: str) -> Path:
        program = folder / name
        if not program.exists():
            command = ["cc", "-O1", "-g", "-Wall", "-Wno-unused-result", "-pthread", "-o", program, HERE / f"{name}.c"]
            subprocess.run(command, check=True)
        return program

    return build
