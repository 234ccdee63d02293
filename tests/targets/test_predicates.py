"""Each predicate on real programs: what it takes, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import faultlib as api
from tests.targets.conftest import Compile, Under

WRITE_EACH = "mkdir -p d; for f in a.json b.log d/c.json; do echo x > $f || echo failed $f; done; exit 0"


@pytest.mark.parametrize(
    ("path", "failed"),
    [
        ("a.json", "a.json"),
        ("./a.json", "a.json"),
        ("*.json", "a.json d/c.json"),
        ("d/*", "d/c.json"),
        ("?.json", "a.json"),
        ("[ab].*", "a.json b.log"),
        ("*/a.json,*/b.log", "a.json b.log"),
        ("!*.json", "b.log"),
        ("!*/d/*", "a.json b.log"),
        ("*/none", ""),
    ],
)
def test_path(path: str, failed: str, under: Under) -> None:
    done = under(f"write:error=EIO:path={path}", "bash", "-c", WRITE_EACH)
    assert [line.split()[1] for line in done.out.splitlines()] == failed.split()


def test_an_absolute_path_and_one_through_a_link(under: Under, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    done = under(f"write:error=EIO:path={tmp_path}/link/f", "bash", "-c", "echo x > link/f || echo 1; echo x > real/f || echo 2; exit 0")
    assert done.out == "1\n", "a path is the name as it was given"


@pytest.mark.parametrize("directory", ["cd d", "cd d/.; cd ../d/../d", "pushd d >/dev/null"])
def test_a_program_that_changes_its_directory(directory: str, under: Under, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    done = under("write:error=EIO:path=d/f", "bash", "-c", f"echo x > f || echo outer; {directory}; echo x > f || echo inner; exit 0")
    assert done.out == "inner\n"


def test_chdir_by_descriptor_and_openat(under: Under, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    code = (
        "import os\n"
        "d = os.open('d', 0)\n"
        "def attempt(what, **options):\n"
        "  try: os.write(os.open('f', 65, 0o600, **options), b'x'); print(what, 'ok')\n"
        "  except OSError: print(what, 'failed')\n"
        "attempt('outer'); attempt('at', dir_fd=d); os.fchdir(d); attempt('inner')\n"
    )
    assert under("write:error=EIO:path=d/f", sys.executable, "-c", code).out == "outer ok\nat failed\ninner failed\n"


@pytest.mark.parametrize(("rule", "failed"), [("rename:error=EACCES:from=a", "1"), ("rename:error=EACCES:to=a", "2"), ("rename:error=EACCES:path=a", "1 2"), ("rename:error=EACCES:from=!*/a", "2")])
def test_from_and_to(rule: str, failed: str, under: Under) -> None:
    done = under(rule, "bash", "-c", "touch a b; mv -f a c 2>/dev/null || echo 1; mv -f b a 2>/dev/null || echo 2; exit 0")
    assert done.out.split() == failed.split()


def test_fd(under: Under) -> None:
    code = (
        "import os\n"
        "os.dup2(os.open('f', 65), 7); os.dup2(os.open('g', 65), 8)\n"
        "for fd in 7, 8:\n"
        "  try: os.write(fd, b'x')\n"
        "  except OSError: print(fd)\n"
    )
    assert under("write:error=EIO:fd=7", sys.executable, "-c", code).out == "7\n"


@pytest.mark.parametrize(
    ("kind", "failed"),
    [("", "file"), ("fdkind=pipe:", "pipe"), ("fdkind=socket:", "socket"), ("fdkind=file,pipe:", "pipe file"), ("fdkind=any:", "pipe socket file")],
)
def test_fdkind_leaves_pipes_and_sockets_alone_unless_asked(kind: str, failed: str, under: Under, tmp_path: Path) -> None:
    code = (
        "import os, socket\n"
        "r, w = os.pipe(); a, b = socket.socketpair(); f = os.open('f', 65, 0o600); failed = []\n"
        "for name, fd in (('pipe', w), ('socket', a.fileno()), ('file', f)):\n"
        "  try: os.write(fd, b'xx')\n"
        "  except OSError: failed.append(name)\n"
        "open('said', 'w').write(' '.join(failed))\n"
    )
    done = under(f"write:error=EIO:{kind}size=2", sys.executable, "-c", code)
    assert done.status == 0, done
    assert (tmp_path / "said").read_text() == failed


@pytest.mark.parametrize(("flags", "failed"), [("O_TRUNC", "1"), ("O_APPEND", "2"), ("!O_TRUNC", "2 3"), ("O_CREAT|!O_APPEND", "1")])
def test_flags_of_open(flags: str, failed: str, under: Under, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    script = "(echo > f) 2>/dev/null || echo 1; (echo >> f) 2>/dev/null || echo 2; (: < f) 2>/dev/null || echo 3; exit 0"
    done = under(f"open:error=EACCES:path=f:flags={flags}", "bash", "-c", script)
    assert done.out.split() == failed.split()


def test_flags_of_every_lock(under: Under) -> None:
    code = (
        "import fcntl, os\n"
        "fd = os.open('f', 66, 0o600)\n"
        "for name, how, kind in (('flock', fcntl.flock, fcntl.LOCK_EX), ('lockf', fcntl.lockf, fcntl.LOCK_EX), ('shared', fcntl.lockf, fcntl.LOCK_SH)):\n"
        "  for wait in (0, fcntl.LOCK_NB):\n"
        "    try: how(fd, kind | wait)\n"
        "    except OSError: print(name, 'waiting' if not wait else 'trying')\n"
    )
    assert under("lock:error=ENOLCK:path=f:flags=LOCK_EX|!LOCK_NB", sys.executable, "-c", code).out == "flock waiting\nlockf waiting\n"
    assert under("lock:error=ENOLCK:path=f:flags=LOCK_SH|LOCK_NB", sys.executable, "-c", code).out == "shared trying\n"


def test_size_and_offset(under: Under, compiled: Compile) -> None:
    calls = ["write", "10", "write", "100", "writev", "60", "60", ".", "pwrite", "10", "500", "pwrite", "10", "0"]
    big = under("write:error=EIO:path=f:size=50+", compiled("io"), "f", "open", "create", *calls)
    assert big.out.splitlines()[1:] == ["write 10", "write -1 EIO", "writev -1 EIO", "pwrite 10", "pwrite 10"]
    far = under("write:error=EIO:path=f:offset=110+", compiled("io"), "f", "open", "create", *calls)
    assert far.out.splitlines()[1:] == ["write 10", "write 100", "writev -1 EIO", "pwrite -1 EIO", "pwrite 10"]
    exact = under("write:error=EIO:path=f:offset=0..9:size=10", compiled("io"), "f", "open", "trunc", *calls)
    assert exact.out.splitlines()[1:] == ["write -1 EIO", "write 100", "writev 120", "pwrite 10", "pwrite -1 EIO"]


@pytest.mark.parametrize(
    ("call", "fails"),
    [
        ("os.pwrite(a, b'x', 0)", True), ("os.pwritev(a, [b'x'], 0)", True), ("os.pwrite(a, b'x', 10)", True),
        ("os.pwritev(f, [b'x'], 0, 16)", True), ("libc.pwritev2(f, vector, 1, -1, 0)", True), ("os.pwrite(f, b'x', 0)", False),
        ("os.pwrite(f, b'x', 10)", True), ("os.pwrite(f, b'x', 11)", False),
    ],
)  # fmt: skip
def test_offset_is_where_linux_writes(call: str, fails: bool, under: Under, tmp_path: Path) -> None:
    """On O_APPEND (a), with RWF_APPEND (16), and at the descriptor's own position for an offset of -1, whatever the arguments say."""
    (tmp_path / "f").write_bytes(b"0123456789")
    code = (
        "import ctypes, os\n"
        "class Vector(ctypes.Structure): _fields_ = [('at', ctypes.c_char_p), ('n', ctypes.c_size_t)]\n"
        "vector, libc = ctypes.byref(Vector(b'x', 1)), ctypes.CDLL(None)\n"
        "libc.pwritev2.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_int]\n"
        "a, f = os.open('f', os.O_WRONLY | os.O_APPEND), os.open('f', os.O_WRONLY)\n"
        "os.lseek(f, 10, 0)\n"
        f"try: print({call})\n"
        "except OSError as error: print(-1)\n"
    )
    done = under("write:error=EIO:path=f:offset=10", sys.executable, "-c", code)
    assert done.out == ("-1\n" if fails else "1\n"), done
    assert done.counts == [(fails, fails)]


@pytest.mark.parametrize("program", [["bash", "-c", "echo x >> f"], [sys.executable, "-c", "open('f', 'ab', 0).write(b'x')"]])
def test_an_appended_write_begins_at_the_end(program: list[str], under: Under, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("12345")
    assert under(["write:error=EIO:path=f:offset=0..4", "write:error=EIO:path=f:offset=5"], *program).counts == [(0, 0), (1, 1)]


@pytest.mark.parametrize(
    ("proc", "failed"),
    [("comm:dash", "dash"), ("comm:bash", "bash"), ("comm:*ash", "bash dash"), ("lineage:1", "bash"), ("lineage:1.*", "dash"), ("!comm:bash", "dash"), ("label:worker", "bash dash"), ("label:leader", "")],
)
def test_proc(proc: str, failed: str, under: Under) -> None:
    script = "echo x > f || echo bash; dash -c 'echo x > f' || echo dash; exit 0"
    done = under(f"write:error=EIO:path=f:proc={proc}", "bash", "-c", script, label="worker")
    assert done.out.split() == failed.split()


def test_labels_tell_two_trees_apart(tmp_path: Path) -> None:
    with api.Session(["write:error=EIO:path=f:proc=label:one"], cwd=tmp_path) as session:
        results = [session.run(["bash", "-c", "echo x > f"], cwd=tmp_path, label=label, stderr=subprocess.DEVNULL).returncode for label in ("one", "two")]
        assert results == [1, 0]
        assert [(p.lineage, p.label) for p in session.processes()] == [("1", "one"), ("2", "two")]


@pytest.mark.parametrize(("thread", "failed"), [("1", "1"), ("1.1", "1.1"), ("1.*", "1.1 1.1.1 1.2 1.2.1"), ("1.2.1", "1.2.1")])
def test_thread(thread: str, failed: str, under: Under, compiled: Compile) -> None:
    done = under(f"write:error=EIO:path=*/t*:thread={thread}", compiled("threads"))
    assert sorted(line.split(":")[0] for line in done.out.splitlines()) == failed.split()


def test_after(under: Under) -> None:
    rules = ["unlink:skip:path=g:name=gone", "write:error=EIO:path=f:after=gone"]
    done = under(rules, "bash", "-c", "touch g; echo x > f || echo early; rm g; echo x > f || echo late; exit 0")
    assert done.out == "late\n"


def test_call(under: Under, compiled: Compile) -> None:
    done = under("write:error=EIO:path=f:call=pwrite", compiled("io"), "f", "open", "create", "write", "3", "pwrite", "3", "0", "writev", "3", ".")
    assert done.out == "open 0\nwrite 3\npwrite -1 EIO\nwritev 3\n"


def test_what_a_descriptor_is_follows_dup_and_redirection(under: Under) -> None:
    script = "exec 5>f; exec 6>&5 5>&-; echo x >&6 || echo dup; exec 5>g; echo x >&5 || echo wrong; exec 6>&5; echo x >&6 || echo wrong; exit 0"
    assert under("write:error=EIO:path=f", "bash", "-c", script).out == "dup\n"


def test_a_deleted_file_keeps_its_path(under: Under) -> None:
    script = "exec 5>f; rm f; echo x >&5 || echo failed; exit 0"
    assert under("write:error=EIO:path=f", "bash", "-c", script).out == "failed\n"


def test_an_inherited_descriptor_has_its_path(tmp_path: Path) -> None:
    with api.Session(["write:error=EIO:path=f"], cwd=tmp_path) as session, (tmp_path / "f").open("w") as stream:
        assert session.run(["echo", "x"], stdout=stream, stderr=subprocess.DEVNULL).returncode == 1


def test_a_descriptor_that_was_opened_before_the_rule(tmp_path: Path) -> None:
    with api.Session(cwd=tmp_path) as session:
        script = "exec 5>f; echo ready; read line; echo x >&5 || echo failed"
        child = session.popen(["bash", "-c", script], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert child.stdin and child.stdout and child.stdout.readline() == "ready\n"
        session.add("write:error=EIO:path=f")
        assert child.communicate("\n", timeout=30)[0] == "failed\n"


@pytest.mark.parametrize("scope", ["process", "session", "thread", "path"])
def test_a_file_that_took_the_descriptor_unseen_is_left_alone(scope: str, under: Under, compiled: Compile) -> None:
    """And costs the rule none of its firings."""
    calls = ["open", "create", "write", "1", "swap", "g", "write", "5", "open", "rw", "write", "5", "write", "5"]
    done = under(f"write:error=EIO:path=f:size=5:times=1:scope={scope}", compiled("io"), "f", *calls)
    assert done.out == "open 0\nwrite 1\nswap 0\nwrite 5\nopen 0\nwrite -1 EIO\nwrite 5\n"
    assert [fired for _, fired in done.counts] == [1]


CLONE = """
import fcntl, os, struct
source, target = os.open("source", os.O_RDONLY), os.open("target", os.O_RDWR | os.O_CREAT)
for request, argument in ((0x40049409, source), (0x4020940D, struct.pack("qQQQ", source, 0, 0, 0))):
    try: fcntl.ioctl(target, request, argument)
    except OSError as error: print(error.errno)
"""


@pytest.mark.parametrize("rule", ["write:error=EIO:path=target:call=ficlone", "read:error=EIO:path=source", "ficlone:error=EIO"])
def test_both_requests_that_clone(rule: str, under: Under, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("x")
    done = under(rule, sys.executable, "-c", CLONE)
    assert done.out == "5\n5\n", done.err
    assert done.counts == [(2, 2)]


MAPS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
file, device = os.open("f", os.O_RDWR), os.open("/dev/zero", os.O_RDWR)
for what, flags, fd in (("anonymous", 0x22, -1), ("anonymous", 0x22, file), ("file", 1, file), ("device", 2, device)):
    address = libc.mmap(None, 4096, 3, flags, fd, 0)
    print(what, ctypes.get_errno() if address == 2**64 - 1 else "ok")
"""


@pytest.mark.parametrize(
    ("rule", "failing"),
    [
        ("mmap:error=ENOMEM:call=mmap", "anonymous anonymous file"),
        ("mmap:error=ENOMEM:call=mmap:fdkind=any", "anonymous anonymous file device"),
        ("mmap:error=ENOMEM:fdkind=file", "file"),
        ("mmap:error=ENOMEM:fdkind=other", "device"),
        ("mmap:error=ENOMEM:path=f", "file"),
        ("mmap:error=ENOMEM:path=!*/g", "file"),
        ("mmap:error=ENOMEM:flags=MAP_ANONYMOUS", "anonymous anonymous"),
        ("mmap:error=ENOMEM:flags=!MAP_ANONYMOUS", "file"),
    ],
)
@pytest.mark.parametrize("way", ["libc.mmap(", "libc.syscall(9, "])
def test_what_a_map_is_of(rule: str, failing: str, way: str, under: Under, tmp_path: Path) -> None:
    """An anonymous map is of no descriptor: rules that ask for none take it, others do not."""
    if way != "libc.mmap(" and os.uname().machine != "x86_64":
        pytest.skip("the number of mmap is another one here")
    (tmp_path / "f").write_bytes(b"x" * 4096)
    code = MAPS.replace("libc.mmap(", way).replace("2**64 - 1", "2**64 - 1 or address == -1")
    done = under(rule + ":size=4096", sys.executable, "-c", code)
    assert [line.split()[0] for line in done.out.splitlines() if line.endswith("12")] == failing.split(), done
    assert len(done.out.splitlines()) == 4
