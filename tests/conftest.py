"""What the tests share: the command line as a user calls it, and the check that nothing is left behind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faultlib.inject import folder

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def faultlib(tmp_path: Path) -> Run:
    """Runs the `faultlib` command in a fresh directory; returns the completed process."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        settings: dict[str, object] = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 120, **options}
        return subprocess.run([sys.executable, "-m", "faultlib", *arguments], **settings)  # type: ignore[call-overload,no-any-return]

    return run


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Every test leaves /dev/shm as it found it."""
    before = set(folder.base().glob("faultlib.*"))
    yield
    deadline = time.monotonic() + 10  # a guard may still be at it
    while left := [path for path in set(folder.base().glob("faultlib.*")) - before if _is_ours(path) and not _owner_lives(path)]:
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.02)


def _is_ours(path: Path) -> bool:
    """Whether a session's folder links to the shim of this checkout: somebody else may be at work on this machine."""
    try:
        return any(link.is_symlink() and link.readlink() == folder.SHIM for link in path.iterdir())
    except FileNotFoundError:
        return False


def _owner_lives(path: Path) -> bool:
    return Path(f"/proc/{path.name.split('.')[1]}").exists()
