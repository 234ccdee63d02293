"""A libc that lacks what newer ones have: the loader must accept the shim there, and the shim must do without."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from faultlib.inject import folder
from tests.targets.conftest import Under

OLDEST = (2, 17)
"""The first version of aarch64, and older than any libc that anybody runs."""


def needed_versions() -> list[str]:
    """The versions of glibc's symbols that the loader wants to find for the shim."""
    command = ["readelf", "--wide", "--version-info", folder.SHIM]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.findall(r"Name: GLIBC_([\d.]+)", listed)


def test_only_what_every_libc_has_is_needed() -> None:
    versions = needed_versions()
    assert versions
    assert [v for v in versions if tuple(map(int, v.split("."))) > OLDEST] == []


@pytest.fixture
def without_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shim that asks libc for what it has not, under other names, in place of what newer ones have."""
    data = Path(folder.SHIM).read_bytes()
    for name in (b"__libc_single_threaded\0", b"pthread_testcancel\0"):
        assert name in data
        data = data.replace(name, name[:-3] + b"__\0")
    copy = tmp_path / "shim.so"
    copy.write_bytes(data)
    copy.chmod(0o755)
    monkeypatch.setattr(folder, "SHIM", str(copy))


THREADS = """
import os, threading
def work():
    for _ in range(500): os.pwrite(fd, b"x", 0)
fd = os.open("f", os.O_RDWR | os.O_CREAT)
work()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
try: os.pwrite(fd, b"x", 0)
except OSError as error: print(error.errno)
"""


@pytest.mark.usefixtures("without_the_new")
def test_faults_counters_and_waits_go_without(under: Under, tmp_path: Path) -> None:
    rules = ["pwrite:error=EIO:path=f:when=2501", "open:delay=1ms:path=f", f"pwrite:error=EIO:path=f:scope=session:when={1 << 40}"]
    done = under(rules, sys.executable, "-c", THREADS)
    assert (done.status, done.err, done.out) == (0, "", "5\n")
    assert done.counts == [(2501, 1), (1, 1), (2501, 0)]
