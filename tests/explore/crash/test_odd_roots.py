"""Roots as they can be: odd names, special files, links, other owners; and those that are refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faultlib.errors import FaultlibError, UsageError
from faultlib.explore import cell
from faultlib.explore.crash import record
from faultlib.explore.crash.campaign import Spec, explore
from faultlib.explore.crash.replay import replay
from faultlib.explore.oracle import UNSTABLE

TORN = "with open('data', 'w') as file:\n    file.write('new')\n"
CHECK = "test -s data"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    tree = tmp_path / "here"
    tree.mkdir()
    (tree / "data").write_text("old")
    (tree / "program.py").write_text(TORN)
    return tree


def spec(here: Path, check: str | None = CHECK, *, folder: str = "c", command: tuple[str, ...] = (sys.executable, "program.py"), **more: object) -> Spec:
    return Spec(command, here, here.parent / folder, check=check, profiles=("kill",), **more)  # type: ignore[arg-type]


def special(here: Path) -> None:
    os.mkfifo(here / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(here / "socket"))
    if not os.geteuid():
        os.mknod(here / "device", 0o20600, os.makedev(1, 3))


def named(here: Path) -> None:
    for name in (b"a\nb", b"\xff\xfe", b"-rf", b" "):
        Path(os.fsdecode(os.fsencode(here) + b"/" + name)).write_text("1")


def linked(here: Path) -> None:
    (here / "one").write_text("1")
    (here / "two").hardlink_to(here / "one")
    (here / "loop").symlink_to("pool")
    (here / "pool").symlink_to("loop")
    (here / "itself").symlink_to(".")
    (here / "dangling").symlink_to("nowhere")


def many(here: Path) -> None:
    for number in range(6000):
        (here / f"file-{number}").touch()
    (here / "file-last").hardlink_to(here / "file-0")


def of_others(here: Path) -> None:
    (here / "secret").write_text("1")
    if not os.geteuid():
        (here / "secret").chmod(0)
        os.chown(here / "secret", 1234, 1234)


@pytest.mark.parametrize("make", [special, named, linked, many, of_others])
def test_a_root_with(make: Callable[[Path], None], here: Path) -> None:
    make(here)
    (finding,) = explore(spec(here)).findings
    assert finding.kind == "truncate-then-write"
    _, verdict, place = replay(here.parent / "c" / "findings" / "crash_1.json")
    assert verdict.failed and (place / "data").read_bytes() == b""


def test_there_is_something_else_where_the_state_is_to_be_put(here: Path) -> None:
    explore(spec(here))
    other = here.parent / "c" / "findings" / "crash_1.state"
    other.write_text("mine")
    with pytest.raises(UsageError, match=r"crash_1\.state: the state is to be put there, and there is something else"):
        replay(other.with_suffix(".json"))
    assert other.read_text() == "mine"


def test_places_have_no_way_up_and_down(here: Path) -> None:
    """But a name through a link is no other's."""
    (here / "sub").mkdir()
    (finding,) = explore(spec(here, command=(sys.executable, "sub/../program.py"))).findings
    assert finding.lost and finding.lost.place.startswith("program.py:")
    (here.parent / "far" / "away").mkdir(parents=True)
    (here / "link").symlink_to(here.parent / "far" / "away")
    (here / "program.py").rename(here.parent / "far" / "program.py")
    (here / "program.py").write_text("raise SystemExit(3)\n")
    (finding,) = explore(spec(here, command=(sys.executable, "link/../program.py"), folder="d")).findings
    assert finding.lost and "link/../program.py:" in finding.lost.place


def test_odd_names_are_written_and_judged(here: Path) -> None:
    """Also without a check, when they are in what is said."""
    names = [b"a\nb", b"\xff\xfe", b"-rf", b" "]
    (here / "program.py").write_text(f"for name in {names!r}:\n    with open(name, 'w') as file:\n        file.write('new')\n")
    for name in names:
        Path(os.fsdecode(os.fsencode(here) + b"/" + name)).write_text('{"old": 1}')
    found = explore(spec(here, None))
    assert {finding.kind for finding in found.findings} == {"truncate-then-write"} and len(found.findings[0].files) == 1
    assert found.failing and explore(spec(here, None)).judged < found.judged


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("/proc", "no disk holds what is there"), ("/sys", "no disk holds"), ("/dev", "no disk holds"), ("/", "a copy is made of each root"),
        ("nowhere", "there is no such directory"), ("data", "this is no directory"),
    ],
)  # fmt: skip
def test_a_root_that_cannot_be(root: str, message: str, here: Path) -> None:
    with pytest.raises(UsageError, match=message):
        explore(spec(here, roots=(here / root if not root.startswith("/") else Path(root),)))
    assert not (here.parent / "c").exists()


def test_a_root_that_is_too_large(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (here / "sparse").open("wb") as file:
        file.truncate(20 << 30)
    with pytest.raises(UsageError, match="more than 1 GiB or 100,000 files: narrow it down"):
        explore(spec(here))
    (here / "sparse").unlink()
    monkeypatch.setattr(record, "MOST_FILES", 1)
    with pytest.raises(UsageError, match="more than 1 GiB"):
        explore(spec(here))


def test_a_campaign_below_a_root_is_no_part_of_it(here: Path) -> None:
    (here / "sub").mkdir()
    (here / "sub" / "kept").write_text("1")
    found = explore(spec(here)._replace(folder=here / "sub" / ".faultlib" / "crash-1"))
    assert len(found.findings) == 1
    copy = here / "sub" / ".faultlib" / "crash-1" / "initial" / "0"
    assert sorted(path.name for path in (copy / "sub").iterdir()) == ["kept"]


def test_what_is_made_elsewhere_is_named(here: Path, tmp_path: Path) -> None:
    """Names, too, without a byte being written."""
    (tmp_path / "old").touch()
    script = "echo new > data; mkdir ../made; mv ../old ../new; rm ../new"
    found = explore(spec(here, "true", command=("sh", "-c", script)))
    assert set(found.outside) == {str(tmp_path / name) for name in ("made", "old", "new")} and found.is_inconclusive


# a finding is looked at again


@pytest.fixture
def finding(here: Path) -> Path:
    explore(spec(here))
    return here.parent / "c" / "findings" / "crash_1.json"


def replayed(finding: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*words, sys.executable, "-m", "faultlib", "replay", str(finding)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("gone", ["log", "initial", "recording.json"])
def test_a_finding_whose_campaign_is_gone(gone: str, finding: Path) -> None:
    (finding.parent.parent / gone).rename(finding.parent / "aside")
    done = replayed(finding)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done
    assert str(finding.parent.parent) in done.stderr
    if gone == "log":
        (finding.parent.parent / gone).write_text("n")
        assert "log is cut off" in replayed(finding).stderr


def test_a_finding_whose_place_is_gone(here: Path, finding: Path) -> None:
    here.rename(here.with_name("aside"))
    with pytest.raises(UsageError, match="is not there any more"):
        replay(finding)


def test_a_finding_whose_program_is_gone(here: Path, tmp_path: Path) -> None:
    """What fails is that it cannot be started: that is no failed recovery."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\ntest -s data || exit 3\necho new > data\n")
    program.chmod(0o755)
    explore(spec(here, None, command=(str(program),)))
    path = tmp_path / "c" / "findings" / "crash_1.json"
    assert replay(path)[1].failed
    program.unlink()
    with pytest.raises(UsageError, match=r"the command cannot be started again: .* was not found"):
        replay(path)


def test_a_finding_whose_check_is_gone(here: Path, tmp_path: Path) -> None:
    check = tmp_path / "check"
    check.write_text("#!/bin/sh\ntest -s data\n")
    check.chmod(0o755)
    explore(spec(here, str(check)))
    check.unlink()
    with pytest.raises(UsageError, match="fails on undamaged files by now"):
        replay(tmp_path / "c" / "findings" / "crash_1.json")


def test_a_finding_of_which_the_check_says_now_this_and_now_that(here: Path, tmp_path: Path) -> None:
    check = tmp_path / "check"
    check.write_text("#!/bin/sh\ntest -s data\n")
    check.chmod(0o755)
    explore(spec(here, str(check)))
    check.write_text("#!/usr/bin/env python3\nimport os\nassert os.path.getsize('data') or os.urandom(1)[0] < 128\n")
    path = tmp_path / "c" / "findings" / "crash_1.json"
    said = {replay(path)[1].what for _ in range(30)}
    assert UNSTABLE in said
    while (done := replayed(path)).returncode != 3:
        assert done.returncode in (0, 1)
    assert "nothing can be said" in done.stdout


# without namespaces

FORBIDDEN = """import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
code = b"".join(struct.pack("=HBBI", *step) for step in ((0x20, 0, 0, 0), (0x15, 0, 1, 272), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)))
held = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("=H6xQ", 4, ctypes.addressof(held)))
assert libc.prctl(22, 2, program, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""A seccomp filter that answers unshare with EPERM."""


def test_without_namespaces_real_files_are_never_written_over(here: Path, finding: Path) -> None:
    before = {path: path.read_bytes() for path in here.iterdir()}
    for words in (("replay", str(finding)), ("crash", "--campaign", str(here.parent / "c"), "--check", CHECK, "--", sys.executable, "program.py")):
        command = [sys.executable, "-c", FORBIDDEN, sys.executable, "-m", "faultlib", *words]
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and "without namespaces states cannot be put there" in done.stderr, done
    assert {path: path.read_bytes() for path in here.iterdir()} == before


def test_without_namespaces(here: Path) -> None:
    """It works on copies, says so, and a check's daemons end all the same."""
    words = ["crash", "--check", f"setsid sleep 86397 & {CHECK}", "--profile", "kill", "--", sys.executable, "program.py"]
    command = [sys.executable, "-c", FORBIDDEN, sys.executable, "-m", "faultlib", *words]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "states were copied to another path, as there are no namespaces: unshare(" in done.stdout, done
    deadline = time.monotonic() + 10
    while (left := subprocess.run(["pgrep", "-f", "sleep 86397"], capture_output=True, text=True).stdout) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == ""
    path = here / ".faultlib" / "crash-1" / "findings" / "crash_1.json"
    for prefix in ([], [sys.executable, "-c", FORBIDDEN]):
        assert replayed(path, *prefix).returncode == 1
    assert (here / "data").read_text() == "old"


def test_why_there_are_no_namespaces_is_told() -> None:
    code = "from faultlib.explore import cell\nprint(cell.why_not())\n"
    done = subprocess.run([sys.executable, "-c", FORBIDDEN, sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("unshare(") and done.stdout.endswith(": Operation not permitted\n"), done


def test_an_error_of_the_system_in_a_cell_is_told() -> None:
    with pytest.raises(FaultlibError, match="/nowhere/at/all: No such file or directory"):
        cell.call(lambda: Path("/nowhere/at/all").read_text(), isolated=False)
