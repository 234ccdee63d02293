"""Where the data of a logged write went: at the position that the kernel gave it, or at the end that the log tells by itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.targets.conftest import Compile
from tests.targets.test_datalog import again, check, logged

HEAD = """
import fcntl, os, subprocess, sys
def new(name, flags=0): return os.open(name, os.O_RDWR | os.O_CREAT | flags, 0o644)
NOAPPEND = 0x20
plain, end = new("f"), new("f", os.O_APPEND)
os.write(end, b"first ")
"""
APPENDS = {
    "other writes in between": "os.write(plain, b'over'); os.pwrite(plain, b'beyond', 20); os.write(end, b'end'); os.write(plain, b'ing')",
    "cut off and made longer": "os.ftruncate(plain, 3); os.write(end, b'one '); os.ftruncate(plain, 50); os.write(end, b'two'); os.truncate('f', 1); os.write(end, b'three')",
    "a position is given": "os.pwrite(end, b'here?', 0); os.pwritev(end, [b'or', b'here?'], 2); os.pwritev(plain, [b'no, there'], 0, os.RWF_APPEND)",
    "it is told not to": "os.pwritev(end, [b'X'], 1, NOAPPEND); os.write(end, b'after'); os.pwritev(end, [b'Y'], 3, NOAPPEND)",
    "its flags change": "fcntl.fcntl(end, fcntl.F_SETFL, 0); os.lseek(end, 2, 0); os.write(end, b'in'); fcntl.fcntl(end, fcntl.F_SETFL, os.O_APPEND); os.write(end, b'out')",
    "another changes its flags": """
pid = os.fork()
if not pid: fcntl.fcntl(end, fcntl.F_SETFL, 0); os._exit(0)
os.wait(); os.lseek(end, 1, 0); os.write(end, b'in'); os.pwrite(end, b'there', 9)
if not os.fork(): fcntl.fcntl(end, fcntl.F_SETFL, os.O_APPEND); os._exit(0)
os.wait(); os.write(end, b'out'); os.pwrite(end, b'last', 0)
""",
    "twins and children": """
twin = os.dup(end); os.write(twin, b'twin '); os.write(end, b'again ')
if not os.fork(): os.write(end, b'child '); os._exit(0)
os.wait(); os.write(twin, b'parent ')
subprocess.run(["sh", "-c", f"echo heir >&{twin}; echo too >&{twin}"], pass_fds=[twin], check=True); os.write(end, b'end')
""",
    "whole pages and more": "os.write(end, b'0123456789' * 60000); os.write(end, b'tail'); os.writev(end, [b'a' * 70000, b'', b'b' * 70000])",
    "nothing is written": "os.write(end, b''); os.writev(end, [b'', b'']); os.write(end, b'end')",
    "another file of that name": "os.unlink('f'); other = new('f', os.O_APPEND); os.write(end, b'old'); os.write(other, b'new'); os.write(end, b'old'); os.write(other, b'er')",
    "copies": "s = new('s'); os.write(s, b'source' * 9); os.lseek(s, 0, 0); os.lseek(plain, 0, 2); os.sendfile(plain, s, 0, 20); os.write(end, b'end'); os.copy_file_range(s, plain, 9, 5, 70); os.write(end, b'last')",
}  # fmt: skip


@pytest.mark.parametrize("what", APPENDS)
def test_appends_come_to_the_end_that_the_log_tells(what: str, tmp_path: Path) -> None:
    entries, data = logged([sys.executable, "-c", HEAD + APPENDS[what]], tmp_path)
    files = again(entries, data)
    check(tmp_path / "f", files)
    first = next(entry for entry, written in zip(entries, data, strict=True) if written == b"first ")
    assert first.position is None and first.status & os.O_APPEND


MOVED = """
import os, socket
def new(name): return os.open(name, os.O_RDWR | os.O_CREAT, 0o644)
f, other = new("f"), new("other")
os.write(f, b"0123456789" * 30); os.lseek(f, 0, 0)
os.write(f, b"a"); os.read(f, 3); os.write(f, b"b"); os.readv(f, [bytearray(2), bytearray(3)]); os.write(f, b"c"); os.pread(f, 5, 0); os.write(f, b"d")
os.lseek(f, 5, 1); os.write(f, b"e"); os.lseek(f, -20, 2); os.write(f, b"g"); os.pwrite(f, b"!", 90); os.write(f, b"h"); os.lseek(f, 40, 0)
os.sendfile(other, f, None, 7); os.write(f, b"i"); os.copy_file_range(f, other, 4); os.write(f, b"j"); os.write(other, b"k")
r, w = os.pipe(); os.write(w, b"pipe"); os.splice(r, f, 4); os.write(f, b"m")
twin = os.dup(f); os.lseek(twin, 3, 1); os.write(f, b"n"); os.read(twin, 2); os.write(f, b"o"); os.write(twin, b"p"); os.write(f, b"q")
os.dup2(other, twin); os.write(twin, b"r"); os.write(f, b"s"); os.write(other, b"t")
if not os.fork(): os.lseek(f, 10, 1); os.read(f, 2); os._exit(0)
os.wait(); os.write(f, b"u")
a, b = socket.socketpair()
if not os.fork():
    (got,) = socket.recv_fds(b, 10, 1)[1]; os.lseek(got, 2, 1); os.write(got, b"v"); os._exit(0)
socket.send_fds(a, [b"x"], [f]); os.wait(); os.write(f, b"w")
os.set_inheritable(f, True)
if not os.fork(): os.execvp("sh", ["sh", "-c", f"read x <&{f}; echo y >&{f}"])
os.wait(); os.write(f, b"z"); os.ftruncate(f, 30); os.write(f, b"beyond")
with open("f", "r+") as again: again.read(4); again.seek(12); again.write("A"); again.flush(); again.seek(3); again.write("B")
"""


def test_a_write_goes_on_where_the_position_is_by_then(tmp_path: Path) -> None:
    """Whoever has moved it: reads, seeks and copies, by twins of the descriptor, children, and those it was sent to."""
    entries, data = logged([sys.executable, "-c", MOVED], tmp_path)
    files = again(entries, data)
    check(tmp_path / "f", files)
    check(tmp_path / "other", files)


COPIES_OUT = """
import os, socket
source = os.open("source", os.O_RDWR | os.O_CREAT); os.write(source, b"0123456789"); os.lseek(source, 0, 0)
r, w = os.pipe(); a, b = socket.socketpair()
os.sendfile(w, source, 2, 3); os.sendfile(a.fileno(), source, None, 4); os.splice(source, w, 2); os.splice(source, w, 3, 1)
"""


def test_what_is_copied_to_whom_it_cannot_be_read_from_is_read_where_it_came_from(tmp_path: Path) -> None:
    entries, data = logged([sys.executable, "-c", COPIES_OUT], tmp_path)
    copied = [data[entry.number] for entry in entries if entry.operation.name in ("sendfile", "splice")]
    assert copied == [b"234", b"0123", b"45", b"123"]


OWN_DESCRIPTORS = """
import os, threading
open("log", "w").close()
def work(name):
    end = os.open("log", os.O_WRONLY | os.O_APPEND)
    for i in range(300): os.write(end, f"{name} {i}\\n".encode() * (i % 7 + 1))
def all_():
    threads = [threading.Thread(target=work, args=(f"{os.getpid()}.{n}",)) for n in range(3)]
    [t.start() for t in threads]; [t.join() for t in threads]
for _ in range(3):
    if not os.fork(): all_(); os._exit(0)
all_()
for _ in range(3): os.wait()
"""


def test_appends_of_many_are_in_the_order_of_the_kernel(tmp_path: Path) -> None:
    entries, data = logged([sys.executable, "-c", OWN_DESCRIPTORS], tmp_path)
    check(tmp_path / "log", again(entries, data))
    writes = [entry for entry in entries if entry.operation.name == "write"]
    assert len(writes) == 4 * 3 * 300 and all(entry.position is None for entry in writes)


@pytest.mark.parametrize("flag", ["append", "plain", "other file"])
def test_whose_handler_writes_says_where_it_wrote_itself(flag: str, compiled: Compile, tmp_path: Path) -> None:
    """A handler's write stands in the log before that of the call that it came in between of, even if it came after it."""
    entries, data = logged([compiled("alarmed"), "3000", "30", flag], tmp_path)
    files = again(entries, data)
    for name in {entry.names[0] for entry in entries if entry.operation.family == "write"}:
        check(Path(os.fsdecode(name)), files)
    assert sum(written == b"handler\n" for written in data) >= 3000
    if flag == "append":
        handled = [entry for entry, written in zip(entries, data, strict=True) if written == b"handler\n"]
        assert any(entry.position is None for entry in handled) and any(entry.position is not None for entry in handled)
