"""What libc does on behalf of its own functions, and system calls by number, are calls of the program like any other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.targets.conftest import Compile, Under

IO = "Input/output error"
INSIDE = [
    ("scandir", "readdir:error=EIO:path=d", IO),
    ("scandir", "open:error=EACCES:path=d", "Permission denied"),
    ("glob", "readdir:error=EIO:path=d", IO),
    ("nftw", "readdir:error=EIO:path=d/sub", "ok"),
    ("fts", "readdir:error=EIO:path=d/sub", "ok"),
    ("fts", "write:error=EIO:path=f", "write: ok"),
    ("mkstemp", "open:error=ENOSPC:path=new-*", "No space left on device"),
    ("mkdtemp", "mkdir:error=ENOSPC:path=new-*", "No space left on device"),
    ("tmpfile", "open:error=ENOSPC:path=/tmp*", "No space left on device"),
    ("realpath", "readlink:error=EIO:path=link", IO),
    ("aio_read", "read:error=EIO:path=f", IO),
    ("aio_write", "write:error=EIO:path=f", IO),
    ("aio_fsync", "fsync:error=EIO:path=f", IO),
    ("high", "write:error=EIO:path=f", IO),
    ("openat2", "open:error=EACCES:path=f:flags=O_CREAT", "Permission denied"),
    ("openat2", "read:error=EIO:path=f", "ok"),
    ("pwritev2", "write:error=EIO:path=f:offset=5", IO),
    ("pwritev", "write:error=EIO:path=f:offset=5:call=pwritev", IO),
    ("preadv2", "read:error=EIO:path=f:call=preadv2", IO),
    ("faccessat2", "stat:error=EIO:path=f", IO),
    ("fchmodat", "attr:error=EPERM:path=f", "Operation not permitted"),
]


@pytest.mark.parametrize(("way", "rule", "said"), INSIDE)
def test_what_libc_does_inside(way: str, rule: str, said: str, under: Under, compiled: Compile, tmp_path: Path) -> None:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "a").touch()
    (tmp_path / "link").symlink_to("d")
    bare = subprocess.run([compiled("inside"), way], cwd=tmp_path, capture_output=True, text=True)
    assert bare.stdout == "ok\n"
    done = under(rule, compiled("inside"), way)
    assert done.out == said + "\n", done
    assert (done.counts[0][1] > 0) == (not rule.startswith("read:") or way != "openat2")  # nftw and fts take an error for the end


def test_functions_taken_from_libc_itself(under: Under, tmp_path: Path) -> None:
    """By a handle of libc's, where the shim's symbols are not looked for, as ctypes and JNA do it: those whose entries are patched."""
    (tmp_path / "f").touch()
    code = "import ctypes, os; c = ctypes.CDLL('libc.so.6', use_errno=True); fd = os.open('f', os.O_RDWR)\n"
    code += "for call in (c.fsync, c.fdatasync): print(call(fd), os.strerror(ctypes.get_errno()))"
    done = under("fsync:error=EIO:path=f", sys.executable, "-c", code)
    assert done.out == f"-1 {IO}\n" * 2
    assert done.counts == [(2, 2)]


def test_an_entry_is_counted_once(under: Under, compiled: Compile, tmp_path: Path) -> None:
    """The symbol and the patched entry behind it are one call, not two."""
    (tmp_path / "d").mkdir()
    calls = ["open", "create", "write", "1", "pwrite", "1", "0", "fsync", "seek", "0", "read", "1", "pread", "1", "0", "close"]
    rules = [f"{name}:skip:path=f:when=1000" for name in ("write:call=write", "write:call=pwrite", "fsync", "close")]
    rules += ["read:return=0:path=f:call=read:when=1000", "read:return=0:path=f:call=pread:when=1000", "open:error=EIO:path=f:when=1000"]
    rules += ["readdir:error=EIO:path=d:when=1000", "stat:error=EIO:path=d:call=fstat:when=1000"]
    assert [matched for matched, _ in under(rules[:7], compiled("io"), "f", *calls).counts] == [1] * 7
    code = "import ctypes, os; c = ctypes.CDLL(None); c.opendir.restype = ctypes.c_void_p; c.readdir.restype = ctypes.c_void_p; c.readdir(ctypes.c_void_p(c.opendir(b'd')))"
    assert [matched for matched, _ in under(rules[7:], sys.executable, "-c", code).counts] == [1, 1]


def test_many_children_with_a_large_environment_leave_no_memory_behind(under: Under) -> None:
    code = (
        "import os, subprocess\n"
        "env = {f'N{i}': 'x' * 100 for i in range(2000)}\n"
        "def pages(): return int(open('/proc/self/statm').read().split()[0])\n"
        "for _ in range(5): subprocess.run(['true'], env=env)\n"
        "before = pages()\n"
        "for _ in range(60): subprocess.run(['true'], env=env)\n"
        "for _ in range(60): os.waitpid(os.posix_spawn('/bin/true', ['true'], env), 0)\n"
        "print(pages() - before < 200)\n"
    )
    assert under([], sys.executable, "-c", code).out == "True\n"


@pytest.mark.parametrize(("setup", "said"), [("425, 4, p", "io_uring"), ("206, 4, p", "native AIO (io_submit)")])
def test_what_works_behind_our_back_is_named(setup: str, said: str, faultlib: Run) -> None:
    code = f"import ctypes; c = ctypes.CDLL(None); p = ctypes.create_string_buffer(256); c.syscall({setup})"
    done = faultlib("run", "-e", "write:error=EIO:path=f", "--", "bash", "-c", f'"{sys.executable}" -c "{code}"; true')
    assert f"not covered: a process uses {said}, whose operations no rule sees" in done.stderr
    assert done.stderr.count("not covered") == 1


def test_threads_that_spawn_at_once_keep_their_own_tables(under: Under) -> None:
    code = (
        "import os, subprocess, threading\n"
        "def work(n):\n"
        "  fd = os.open(f'f{n}', 66, 0o600)\n"
        "  for _ in range(8):\n"
        "    assert subprocess.run(['bash', '-c', 'echo x > g'], stderr=subprocess.DEVNULL, stdin=fd).returncode == 0\n"
        "    try: os.write(fd, b'x'); failed.append(n)\n"
        "    except OSError: pass\n"
        "failed = []\n"
        "all = [threading.Thread(target=work, args=(n,)) for n in range(4)]\n"
        "[t.start() for t in all]; [t.join() for t in all]; print(failed)\n"
    )
    done = under("write:error=EIO:path=f?", sys.executable, "-c", code)
    assert done.out == "[]\n", done.err
    assert done.counts == [(32, 32)]
