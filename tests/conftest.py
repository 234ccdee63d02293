"""What the tests share: the command line as a user calls it, and the check that nothing is left behind."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def faultlib(tmp_path: Path) -> Run:
    """Runs the `faultlib` command in a fresh directory; returns the completed process."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        settings: dict[str, object] = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 120, **options}
        return subprocess.run([sys.executable, "-m", "faultlib", *arguments], **settings)  # type: ignore[call-overload,no-any-return]

    return run


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has a place of its own for its sessions, with a short name for the sockets, and leaves it empty."""
    shm = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="fl-", dir=shm if shm.is_dir() else None))
    place.chmod(0o755)
    monkeypatch.setenv("FAULTLIB_DIR", str(place))
    yield
    deadline = time.monotonic() + 10  # a guard may still be at it
    while left := list(place.iterdir()):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.02)
    place.rmdir()
