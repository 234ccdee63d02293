"""Stores through shared mappings: the log has them where the program makes them last."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.targets.conftest import Compile
from tests.targets.test_datalog import again, check, log_of, logged


@pytest.mark.parametrize("end", ["return", "x: exit", "_exit", "exec"])
def test_every_way_to_store(end: str, compiled: Compile, tmp_path: Path) -> None:
    entries, data = logged([compiled("mapped"), end], tmp_path)
    files = again(entries, data)
    for path in tmp_path.iterdir():
        check(path, files)
    assert len(list(tmp_path.iterdir())) == 6
    inode = (tmp_path / "synced").stat().st_ino
    story = [(entry.operation.name, entry.position, data[entry.number]) for entry in entries if entry.inode == inode]
    assert story[:7] == [
        ("open", 0, b""), ("ftruncate", 0, b""), ("mmap", 10, b"by msync"), ("mmap", 8192, b"x" * 8192),
        ("msync", 0, b""), ("mmap", 5 * 4096 - 3, b"by fsync"), ("fsync", 0, b""),
    ]  # fmt: skip
    (synced,) = (entry.number for entry in entries if entry.operation.name == "msync")
    assert [entry.operation.name for entry in entries[synced - 2 : synced]] == ["mmap", "mmap"]
    stored = next(entry for entry in entries if entry.operation.family == "mmap")
    assert stored.event.size == 8 and stored.event.fd is None and stored.names[0].endswith(b"/synced")
    assert any(written == b"abc" for written in data)  # the file without a name ended there


PYTHON = """
import mmap, os
with open("f", "w+b") as f:
    f.write(bytes(10000)); f.flush()
    with mmap.mmap(f.fileno(), 0) as m:
        m[5:8] = b"one"; m.flush(); m[9000:9003] = b"two"
    m = mmap.mmap(f.fileno(), 0); m[1:2] = b"!"; m.resize(20000); m[19999] = 7; del m
f = open("f", "r+b"); m = mmap.mmap(f.fileno(), 0); m[4096:8192] = b"z" * 4096
private = mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE); private[0:4] = b"none"; m[2] = 66; private.close()
"""


def test_python_stores(tmp_path: Path) -> None:
    entries, data = logged([sys.executable, "-c", PYTHON], tmp_path)
    check(tmp_path / "f", again(entries, data))
    assert [written for entry, written in zip(entries, data, strict=True) if entry.operation.family == "mmap"][:2] == [b"one", b"two"]


BETWEEN = """
import mmap, os, sys
def new(name, size):
    fd = os.open(name, os.O_RDWR | os.O_CREAT); os.ftruncate(fd, size); return fd, mmap.mmap(fd, 0)
fd, m = new("f", int(sys.argv[1])); j = os.open("j", os.O_WRONLY | os.O_CREAT); d = os.open("d", os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
m[0:1] = b"1"; os.write(j, b"record")
m[1:2] = b"2"; os.fsync(j)
m[2:3] = b"3"; os.rename("j", "k")
m[3:4] = b"4"; os.write(d, b"durable")
m[4:5] = b"5"; os.write(1, b"told")
m[5:6] = b"6"; m[8192:8193] = b"7"; m.flush()
"""


@pytest.mark.parametrize("size, before_writes", [(16384, True), (1 << 20, False)])
def test_stores_are_found_before_whatever_puts_them_in_an_order(size: int, before_writes: bool, tmp_path: Path) -> None:
    """Of small mappings before each write as well; and what is found was not there at the end of the call before."""
    entries, data = logged([sys.executable, "-c", BETWEEN, str(size)], tmp_path)
    check(tmp_path / "f", again(entries, data))
    names = [entry.operation.name for entry in entries]
    begin = names.index("write", names.index("ftruncate")) - before_writes
    found = [(entry.operation.name, data[entry.number]) for entry in entries[begin:] if entry.operation.name not in ("close", "exit")]
    first = [("mmap", b"1"), ("write", b"record"), ("mmap", b"2")] if before_writes else [("write", b"record"), ("mmap", b"12")]
    assert found[: len(first) + 11] == [
        *first, ("fsync", b""), ("mmap", b"3"), ("rename", b""), ("mmap", b"4"), ("write", b"durable"),
        ("mmap", b"5"), ("write", b"told"), ("mmap", b"6"), ("mmap", b"7"), ("msync", b""),
    ][: len(first) + 11]  # fmt: skip
    stored = [entry for entry in entries[begin + len(first) :] if entry.operation.family == "mmap" and data[entry.number] in b"34567"]
    ordered = ("fsync", "rename", "write", "msync")
    for entry in stored:
        last = max(n for n, name in enumerate(names[: entry.number]) if name in ordered)
        assert entry.began == last + 1


HANDLER = """
import mmap, os, signal, socket
fd = os.open("f", os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 131072); m = mmap.mmap(fd, 0); j = os.open("j", os.O_WRONLY | os.O_CREAT)
here, there = socket.socketpair(); here.setblocking(False); there.setblocking(False)
signal.set_wakeup_fd(here.fileno(), warn_on_full_buffer=False); seen = []; signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
while len(seen) < 300:
    m[len(seen)] = 1; os.pwrite(j, b"x", 0)
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_handler_may_come_while_stores_are_looked_for(tmp_path: Path) -> None:
    entries, data = logged([sys.executable, "-c", HANDLER], tmp_path)
    check(tmp_path / "f", again(entries, data))


THREADS = """
import mmap, os, threading
fd = os.open("f", os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 1 << 20)
m = mmap.mmap(fd, 0)
def work(n):
    for i in range(200):
        m[n * 1000 + i * 5000] = n + 1
        own = mmap.mmap(fd, 4096, offset=i * 4096); own[n] = 9; own.close()
        if i % 20 == 0: m.flush()
threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
[t.start() for t in threads]; [t.join() for t in threads]
if os.fork() == 0:
    m[77] = 77; os._exit(0)
m[78] = 78; os.wait()
"""


def test_threads_and_children_store_to_the_same_file(tmp_path: Path) -> None:
    entries, data = logged([sys.executable, "-c", THREADS], tmp_path)
    check(tmp_path / "f", again(entries, data))


LMDB = """
import lmdb
env = lmdb.open("db", map_size=4 << 20, writemap=True, map_async=True)
for i in range(50):
    with env.begin(write=True) as txn: txn.put(b"key%d" % i, b"value" * i)
env.sync(True); env.close()
"""


def test_lmdb_stores(tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    entries, data = logged([sys.executable, "-c", LMDB], tmp_path)
    check(tmp_path / "db" / "data.mdb", again(entries, data))


def test_what_is_not_covered_is_said(tmp_path: Path) -> None:
    code = """
import mmap, os, signal, sys
def new(name, size):
    fd = os.open(name, os.O_RDWR | os.O_CREAT); os.ftruncate(fd, size); return mmap.mmap(fd, 0)
if sys.argv[1] == "big": new("big", 65 << 20)[0] = 1
if sys.argv[1] == "killed": m = new("killed", 4096); m[0] = 1; os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "many": kept = [new("many", 4096) for _ in range(70)]
"""
    for how, expected in (("big", "/big"), ("killed", "1 shared mappings"), ("many", "/many")):
        with log_of(tmp_path) as (session, log):
            session.run([sys.executable, "-c", code, how], cwd=tmp_path, timeout=60)
            log.finish()
            (said,) = log.complaints()
            assert expected in said


UNSEEN = [(425, "", "io_uring"), (206, "", "libaio"), (0, "libaio.so.1", "libaio"), (0, "liburing.so.2", "io_uring")]


@pytest.mark.parametrize("number, library, expected", UNSEEN)
def test_what_is_written_without_a_call_is_said(number: int, library: str, expected: str, tmp_path: Path) -> None:
    """By system calls that go by us, or by libraries that make their own."""
    code = f"import ctypes; ctypes.CDLL(None).syscall({number}, 4, ctypes.create_string_buffer(256))" if number else ""
    command = [sys.executable, "-c", code]
    if library:
        built = ["-shared", "-Wl,-soname," + library, "-x", "c", "/dev/null", "-o", library]
        subprocess.run(["gcc", *built], cwd=tmp_path, check=True)
        source = tmp_path / "linked.c"
        source.write_text("int main(void) { return 0; }")
        linked = ["-Wl,--no-as-needed", library, "-Wl,-rpath," + str(tmp_path), "-o", "linked"]
        subprocess.run(["gcc", source, *linked], cwd=tmp_path, check=True)
        command = [str(tmp_path / "linked")]
    with log_of(tmp_path) as (session, log):
        session.run(command, cwd=tmp_path, timeout=60)
        log.finish()
        (said,) = log.complaints()
        assert expected in said
