"""A cell keeps its mounts and processes to itself, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faultlib.errors import UsageError
from faultlib.explore import cell

pytestmark = pytest.mark.skipif(cell.why_not() is not None, reason="namespaces are forbidden here")


def test_what_is_mounted_in_it_is_seen_in_it_alone(tmp_path: Path) -> None:
    (tmp_path / "before").touch()

    def work() -> list[str]:
        cell.mount("faultlib", tmp_path, "tmpfs")
        (tmp_path / "inside").touch()
        return sorted(path.name for path in tmp_path.iterdir())

    assert cell.call(work) == ["inside"]
    assert [path.name for path in tmp_path.iterdir()] == ["before"]


def test_its_processes_are_numbered_from_one() -> None:
    assert cell.call(os.getpid) == 1
    assert cell.call(lambda: [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]) == ["1"]


def test_a_directory_can_be_held_below_a_mount(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")

    def work() -> str:
        held = cell.held(tmp_path)
        cell.mount("faultlib", tmp_path, "tmpfs")
        return (held / "f").read_text()

    assert cell.call(work) == "old"


def test_an_error_comes_through_as_it_is() -> None:
    def fail() -> None:
        raise UsageError("that makes no sense")

    with pytest.raises(UsageError, match="that makes no sense"):
        cell.call(fail)
    with pytest.raises(cell.CellError, match="ended with status 7 before it had answered"):
        cell.call(lambda: os._exit(7))


def test_its_own_shared_memory_hides_nothing_that_is_needed(tmp_path: Path) -> None:
    def names(*needed: Path) -> list[str]:
        cell.own_shm(needed)
        return sorted(path.name for path in cell.SHM.iterdir())

    (cell.SHM / "fl-test-cell").touch()
    try:
        assert "fl-test-cell" not in cell.call(lambda: names(tmp_path))
        assert "fl-test-cell" in cell.call(lambda: names(cell.SHM / "fl-test-cell"))
    finally:
        (cell.SHM / "fl-test-cell").unlink()


ORPHANS = """
import os, subprocess, sys, time
from faultlib.explore import cell
def work():
    subprocess.Popen(["sleep", "86399"], start_new_session=True)
    open(sys.argv[1], "w").close()
    time.sleep(600)
cell.start(work)
time.sleep(600)
"""


def sleepers() -> list[str]:
    done = subprocess.run(["pgrep", "-f", "sleep 86399"], capture_output=True, text=True)
    return done.stdout.split()


def test_whoever_made_it_is_killed_and_everything_in_it_goes(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    maker = subprocess.Popen([sys.executable, "-c", ORPHANS, str(ready)])
    deadline = time.monotonic() + 60
    while not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sleepers()
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    while sleepers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not sleepers()


def test_without_namespaces_it_is_a_mere_process() -> None:
    assert cell.call(os.getpid, isolated=False) not in (1, os.getpid())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_chroot_can_have_cells(tmp_path: Path) -> None:
    """Its root directory is no mount, so that it cannot be kept from spreading what is mounted below it."""

    def work() -> object:
        (tmp_path / "proc").mkdir()
        cell.mount("proc", tmp_path / "proc", "proc")
        os.chroot(tmp_path)
        os.chdir("/")
        return cell.call(lambda: [os.getpid(), [path.name for path in Path("/").iterdir()], cell.mount("none", "/proc", "tmpfs")])

    assert cell.call(work) == [1, ["proc"], None]


def test_why_there_is_no_cell_comes_through() -> None:
    def work() -> str | None:
        os.chroot("/dev")  # in which no mount is one of those that serve
        os.chdir("/")
        return cell.why_not()

    if os.geteuid() == 0:
        assert "No such file or directory" in str(cell.call(work))
