"""The log of real programs: what it says, done again, gives what they left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from faultlib.inject.datalog import DataLog, LogEntry, recording
from faultlib.inject.session import Session
from tests.targets.conftest import Compile


@contextmanager
def log_of(folder: Path, *, buffer_bytes: int = 8 << 20) -> Iterator[tuple[Session, DataLog]]:
    with Session(recording=recording(buffer_bytes=buffer_bytes), cwd=folder, stacks=False) as session, DataLog(session) as log:
        yield session, log


def logged(command: Sequence[str], folder: Path, **options: int) -> tuple[list[LogEntry], list[bytes]]:
    """Runs a program in `folder`; returns its entries and the data of each."""
    with log_of(folder, **options) as (session, log):
        done = session.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done
        log.finish()
        assert log.complaints() == []
        entries = list(log.entries())
        return entries, [log.read(entry.data) for entry in entries]


def again(entries: Sequence[LogEntry], data: Sequence[bytes]) -> dict[tuple[int, int], bytearray]:
    """What the files are, by device and inode, that were made or emptied first."""
    files: dict[tuple[int, int], bytearray] = {}
    for entry, written in zip(entries, data, strict=True):
        one, family = (entry.device, entry.inode), entry.operation.family
        if family == "open":
            if entry.event.flags & os.O_TRUNC or one not in files:
                files[one] = bytearray()
        elif family in ("write", "mmap") and one in files:
            now = files[one]
            position = len(now) if entry.position is None else entry.position
            now.extend(bytes(max(0, position - len(now))))
            now[position : position + len(written)] = written
        elif family == "truncate":
            now = files[one]
            now.extend(bytes(max(0, entry.event.size - len(now))))
            del now[entry.event.size :]
    return files


def check(path: Path, files: dict[tuple[int, int], bytearray]) -> None:
    status = path.stat()
    assert bytes(files[status.st_dev, status.st_ino]) == path.read_bytes(), path


def names(entries: Sequence[LogEntry], folder: Path) -> list[tuple[str, ...]]:
    """The operations below the folder, with its names in short; no closes."""
    prefix = os.fsencode(folder) + b"/"
    found = []
    for entry in entries:
        if entry.operation.family != "close" and any(name.startswith(prefix) for name in entry.names):
            found.append((entry.operation.name, *(os.fsdecode(name.removeprefix(prefix)) for name in entry.names if name)))
    return found


SCRIPT = """
echo hello > a; echo more >> a; mv a b; mkdir d; ln -s x d/l; ln b c; rm c; cp b e; truncate -s 3 e; sed -i s/h/H/ b; rm d/l; rmdir d
"""


def test_coreutils(tmp_path: Path) -> None:
    entries, data = logged(["bash", "-c", SCRIPT], tmp_path)
    files = again(entries, data)
    check(tmp_path / "b", files)
    check(tmp_path / "e", files)
    found = [one for one in names(entries, tmp_path) if not one[1].startswith("sed") or one[0] == "rename"]
    assert found[-1][0] == "rmdir" or found[-1][:2] == ("unlinkat", "d")
    said = [(one[0].removesuffix("at2").removesuffix("at"), *one[1:]) for one in found]
    assert said[:8] == [
        ("open", "a"), ("write", "a"), ("open", "a"), ("write", "a"), ("rename", "a", "b"), ("mkdir", "d"), ("symlink", "x", "d/l"),
        ("link", "b", "c"),
    ]  # fmt: skip


WAYS = """
import ctypes, os
fd = os.open("f", os.O_RDWR | os.O_CREAT)
twin = os.dup(fd)
os.write(fd, b"one "); os.write(twin, b"two ")
if os.fork() == 0:
    os.write(fd, b"child "); os._exit(0)
os.wait()
os.write(fd, b"parent ")
os.writev(fd, [b"a", b"", b"bc "]); os.pwrite(fd, b"X", 1); os.pwritev(fd, [b"Y", b"Z"], 2)
end = os.open("f", os.O_WRONLY | os.O_APPEND)
os.write(end, b"end "); os.pwrite(end, b"END ", 0); os.pwritev(fd, [b"late "], 0, os.RWF_APPEND)
source = os.open("source", os.O_RDWR | os.O_CREAT); os.write(source, bytes(range(256)) * 1000)
os.copy_file_range(source, fd, 5000, 10, 3); os.copy_file_range(source, fd, 70)
copy = os.open("copy", os.O_WRONLY | os.O_CREAT)
os.sendfile(copy, source, 0, 256000)
r, w = os.pipe(); os.write(w, b"through a pipe"); os.splice(r, copy, 14, offset_dst=100)
os.ftruncate(copy, 200000); os.truncate("source", 9)
hidden = os.open(".", os.O_TMPFILE | os.O_RDWR); os.write(hidden, b"hidden"); ctypes.CDLL(None).linkat(-100, f"/proc/self/fd/{hidden}".encode(), -100, b"shown", 0x400)
os.write(os.open("big", os.O_WRONLY | os.O_CREAT), b"0123456789" * 500000)
with open("f", "w+b") as again: again.write(b"anew")
os.fsync(fd); os.fdatasync(fd)
"""


@pytest.mark.parametrize("buffer_bytes", [1 << 20, 8 << 20])
def test_every_way_to_write(buffer_bytes: int, tmp_path: Path) -> None:
    entries, data = logged([sys.executable, "-c", WAYS], tmp_path, buffer_bytes=buffer_bytes)
    files = again(entries, data)
    for name in ("f", "source", "copy", "shown", "big"):
        check(tmp_path / name, files)
    said = [entry.operation.name for entry in entries]
    assert {"writev", "pwrite", "pwritev2", "copy_file_range", "sendfile", "splice", "ftruncate", "truncate", "linkat"} <= set(
        said
    )
    assert [name for name in said if name.endswith("sync")] == ["fsync", "fdatasync"]
    shown = (tmp_path / "shown").stat()
    (link,) = (entry for entry in entries if entry.operation.family == "link")
    assert (link.device, link.inode) == (shown.st_dev, shown.st_ino)


CROWD = """
import os, sys, threading
fd = os.open("log", os.O_WRONLY | os.O_CREAT | (os.O_APPEND if sys.argv[2] == "append" else 0))
def work(n):
    for i in range(200): os.write(fd, f"{os.getpid()}.{n}.{i}\\n".encode())
def all_():
    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    [t.start() for t in threads]; [t.join() for t in threads]
for _ in range(int(sys.argv[1])):
    if os.fork() == 0: all_(); os._exit(0)
all_()
for _ in range(int(sys.argv[1])): os.wait()
"""


@pytest.mark.parametrize("how", ["append", "shared offset"])
def test_the_order_of_a_crowd_is_the_kernels(how: str, tmp_path: Path) -> None:
    entries, data = logged([sys.executable, "-c", CROWD, "3", how], tmp_path)
    check(tmp_path / "log", again(entries, data))
    assert sum(entry.operation.family == "write" for entry in entries) == 4 * 3 * 200


@pytest.mark.parametrize("times, microseconds", [(300, 200), (5000, 30)])
def test_a_handler_may_write_in_the_middle_of_a_write(times: int, microseconds: int, compiled: Compile, tmp_path: Path) -> None:
    entries, data = logged([compiled("alarmed"), str(times), str(microseconds)], tmp_path)
    files = again(entries, data)
    (content,) = files.values()
    assert len(content) == (tmp_path / "log").stat().st_size
    assert data.count(b"handler\n") == content.count(b"handler\n") >= times
    check(tmp_path / "log", files)


def test_who_jumps_or_is_cancelled_in_a_write_leaves_the_turn(compiled: Compile, tmp_path: Path) -> None:
    with log_of(tmp_path) as (session, log):
        assert session.run([compiled("jumper")], cwd=tmp_path, timeout=60).returncode == 0
        log.finish()
        assert not log._ctl.datalog.lock_timeouts and not log._ctl.datalog.lost
        assert [log.read(entry.data) for entry in log.entries()].count(b"main\n") == 21


def test_whoever_is_killed_leaves_the_turn(tmp_path: Path) -> None:
    """At any moment: the others go on, and all that is written down is whole."""
    code = "import os\nfd = os.open('log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)\nwhile True: os.write(fd, b'0123456789' * 700)"
    with log_of(tmp_path) as (session, log):
        for _ in range(15):
            loops = [session.popen([sys.executable, "-c", code], cwd=tmp_path) for _ in range(3)]
            time.sleep(0.2)
            for loop in loops:
                loop.send_signal(signal.SIGKILL)
                loop.wait()
            (tmp_path / "log").unlink(missing_ok=True)
        done = session.run(["bash", "-c", "echo still here > log"], cwd=tmp_path, timeout=60)
        assert done.returncode == 0
        log.finish()
        entries = [(entry, log.read(entry.data)) for entry in log.entries() if entry.operation.family != "close"]
        assert all(data == b"0123456789" * 700 for entry, data in entries[:-3] if entry.operation.name == "write")
        assert entries[-2][1] == b"still here\n" or entries[-1][1] == b"still here\n"


CLOSES = """
import os, ctypes
libc = ctypes.CDLL(None)
open("other", "w").close()
def new(name): return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_SYNC)
a = new("a"); os.write(a, b"a"); b = os.dup(a); os.close(a); os.close(b)
with open("b", "w") as f: f.write("b")
os.close(os.open("b", os.O_RDONLY)); os.close(os.open(".", os.O_RDONLY)); [os.close(end) for end in os.pipe()]
libc.fopen.restype = ctypes.c_void_p
c = libc.fopen(b"c", b"w"); libc.fputs(b"c", ctypes.c_void_p(c)); libc.fclose(ctypes.c_void_p(c))
d, e = new("d"), new("e"); os.write(d, b"d"); os.closerange(d, e + 1)
g, h = new("g"), new("h"); os.write(g, b"g"); libc.close_range(g, h, 4); libc.close_range(g, h, 0)
"""


def test_files_that_were_open_for_writing_are_seen_closed(tmp_path: Path) -> None:
    entries, data = logged([sys.executable, "-c", CLOSES], tmp_path)
    closed = [entry for entry in entries if entry.operation.family == "close"]
    inodes = {path.stat().st_ino: path.name for path in tmp_path.iterdir()}
    assert [inodes[entry.inode] for entry in closed] == ["other", "a", "a", "b", "c", "d", "e", "g", "h"]
    assert [entry.operation.name for entry in closed][-2:] == ["close_range", "close_range"]
    assert closed[1].status & os.O_SYNC and not closed[3].status & os.O_SYNC
    assert all(entry.device == tmp_path.stat().st_dev and Path(os.fsdecode(entry.names[0])).name in "other a b c d e g h" for entry in closed)
    assert not any(data[entry.number] for entry in closed)
    said = [entry.operation.family for entry in entries if entry.inode == closed[3].inode]
    assert said == ["open", "write", "close"]


REUSED = """
import fcntl, os, threading
def new(name, flags=0): return os.open(name, os.O_RDWR | os.O_CREAT | flags)
for i in range(50):
    fd = new(f"f{i}"); os.write(fd, b"one"); os.pwrite(fd, b"two", 1); os.close(fd)
    with open(f"g{i}", "w") as f: f.write("three")
a, b = new("a"), new("b")
os.write(a, b"a1 "); os.write(b, b"b1 "); os.dup2(b, a); os.write(a, b"b2 "); os.pwrite(a, b"B", 0)
os.close(b); b = new("c"); os.write(b, b"c1 ")
os.pwrite(b, b"C", 0); fcntl.fcntl(b, fcntl.F_SETFL, os.O_APPEND); os.pwrite(b, b"end", 0); os.write(b, b"end")
fcntl.fcntl(b, fcntl.F_SETFL, 0); os.pwrite(b, b"D", 1)
if os.fork() == 0:
    fcntl.fcntl(b, fcntl.F_SETFL, os.O_APPEND); os._exit(0)
os.wait(); os.pwrite(b, b"by a child", 0); fcntl.fcntl(b, fcntl.F_SETFL, 0); os.pwrite(b, b"E", 2)
os.close(0); r = new("zero"); os.write(r, b"zero"); os.closerange(0, 1); r = new("nil"); os.write(r, b"nil"); os.pwrite(r, b"N", 0)
turn = [new("t0"), new("t1")]; t = os.dup(turn[0])
def write(): [os.write(t, b"%d\\n" % i) for i in range(3000)]
threads = [threading.Thread(target=write) for _ in range(2)]; [one.start() for one in threads]
for i in range(300): os.dup2(turn[i % 2], t)
[one.join() for one in threads]
"""


def test_what_a_descriptor_stands_for_may_change(tmp_path: Path) -> None:
    entries, data = logged([sys.executable, "-c", REUSED], tmp_path)
    files = again(entries, data)
    for path in tmp_path.iterdir():
        check(path, files)


def test_what_was_told_outside_stands_in_its_place(tmp_path: Path) -> None:
    script = "echo one > f; echo told; echo two >> f; exit 3"
    with log_of(tmp_path) as (session, log):
        assert session.run(["bash", "-c", script], cwd=tmp_path, stdout=subprocess.PIPE).returncode == 3
        log.finish()
        said = [log.read(entry.data) for entry in log.entries() if entry.operation.family == "write"]
        last = list(log.entries())[-1]
    assert said == [b"one\n", b"told\n", b"two\n"]
    assert last.operation.family == "exit" and last.event.extra == 3 and not last.event.ended


def test_a_session_without_a_data_log_costs_no_room() -> None:
    with Session() as session:
        assert session.block.ctl.datalog.capacity == 0
