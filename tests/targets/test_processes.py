"""Who is who in a tree of processes: lineages, counters, descriptors; daemons; users."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

import faultlib as api
from tests.conftest import Run
from tests.targets.conftest import Compile, Under

TREE = "(: & wait) ; dash -c 'true; env true' & for i in 1 2; do bash -c '/bin/true; exec env -i true'; done; wait; echo | cat | cat >/dev/null"


def test_the_same_tree_has_the_same_lineages(tmp_path: Path) -> None:
    seen = set()
    for _ in range(10):
        with api.Session(["write:error=EIO:path=none"], cwd=tmp_path) as session:
            assert session.run(["bash", "-c", TREE], cwd=tmp_path).returncode == 0
            seen.add(tuple(sorted(p.lineage for p in session.processes())))
    assert len(seen) == 1, seen
    (lineages,) = seen
    assert {"1", "1.1"} < set(lineages)
    assert len(set(lineages)) == len(lineages)


def test_threads_that_start_children_have_them_in_order(under: Under) -> None:
    code = (
        "import subprocess, threading\n"
        "def work():\n"
        "  for _ in range(5): subprocess.run(['true'])\n"
        "all = [threading.Thread(target=work) for _ in range(4)]\n"
        "[t.start() for t in all]; [t.join() for t in all]\n"
    )
    done = under("write:error=EIO:path=none", sys.executable, "-c", code)
    assert done.status == 0, done.err
    assert sorted(done.lineages) == sorted(["1", *(f"1.{n}" for n in range(1, 21))])


def test_exec_goes_on_counting_and_a_fork_begins_anew(under: Under) -> None:
    script = "echo 1 > f; (echo 1 > f); exec bash -c 'echo 2 > f || echo second; echo 3 > f'"
    done = under("write:error=EIO:path=f:when=2", "bash", "-c", script)
    assert done.out == "second\n"
    assert done.counts == [(4, 1)]


@pytest.mark.parametrize(("file", "said"), [("parent", "before: {e}\nchild: 0\nafter: {e}\nspawned: 0\nat last: {e}\n"), ("child", "before: ok\nchild: 7\nafter: ok\nspawned: 2\nat last: ok\n")])
def test_a_vfork_child_does_not_touch_the_parents_table(file: str, said: str, under: Under, compiled: Compile) -> None:
    """`child: 7` is a write in the vfork child itself, before its exec; dash ends with 2 or 1 when echo fails."""
    done = under(f"write:error=EIO:path={file}", compiled("vforked"))
    assert done.out.replace("spawned: 1", "spawned: 2") == said.format(e="Input/output error")
    assert done.lineages == ["1", "1.1", "1.2"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program makes its system call in x86-64 assembly")
@pytest.mark.parametrize("before", ["early", "late"])
@pytest.mark.parametrize(("way", "own"), [("fork", 1), ("vfork", 0)])
def test_a_child_made_behind_libcs_back_is_found(way: str, own: int, before: str, compiled: Compile, tmp_path: Path) -> None:
    """Whether or not its parent had been asked who it is."""
    with api.Session([f"write:error=EIO:path={name}:when=1000" for name in ("child", "parent")], cwd=tmp_path) as session:
        assert session.run([compiled("hidden"), way, before], cwd=tmp_path).returncode == 0
        child, parent = (row.count.matched for row in session.report())
        assert (child, parent) == (own + 1, 1 + (before == "early"))
        assert sorted(p.lineage for p in session.processes()) == ["1", "1.1"]


def test_the_parent_is_not_counted_for_its_vfork_child(under: Under, compiled: Compile) -> None:
    done = under("write:error=EIO:path=parent:when=3", compiled("vforked"))
    assert done.out == "before: ok\nchild: 0\nafter: ok\nspawned: 0\nat last: Input/output error\n"


@pytest.mark.parametrize(
    "closing",
    ["os.closerange(3, 65536)", "[os.close(int(f)) for f in os.listdir('/dev/fd') if int(f) > 2 and os.path.exists('/dev/fd/' + f)]", "ctypes.CDLL(None).close_range(3, 4294967295, 0)", "ctypes.CDLL(None).closefrom(3) if hasattr(ctypes.CDLL(None), 'closefrom') else os.closerange(3, 65536)"],
)
def test_a_daemon_that_closes_everything(closing: str, tmp_path: Path) -> None:
    code = (
        "import ctypes, os, time\n"
        "before = os.open('g', 65); os.write(before, b'x')\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        f"{closing}\n"
        "fd = os.open('f', 65, 0o600)\n"
        "try: os.write(fd, b'x'); said = 'ok'\n"
        "except OSError as error: said = str(error.errno)\n"
        "other = os.open('said.new', 65, 0o600); os.write(other, said.encode()); os.rename('said.new', 'said')\n"
    )
    with api.Session(["write:error=ENOSPC:path=f", "write:error=EIO:path=g:when=2"], cwd=tmp_path) as session:
        session.run([sys.executable, "-c", code], cwd=tmp_path)
        deadline = time.monotonic() + 30
        while not (tmp_path / "said").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert (tmp_path / "said").read_text() == "28"
        assert session.report()[0].first is not None
        assert session.report()[0].first.lineage == "1.1.1"


def test_freopen_moves_the_descriptor(under: Under, compiled: Compile) -> None:
    done = under("write:error=EIO:path=second", compiled("reopen"))
    assert done.err == "first ok\nsecond failed\n"


def test_a_fork_while_another_thread_writes(under: Under) -> None:
    code = (
        "import os, threading\n"
        "stop = False\n"
        "def work():\n"
        "  fd = os.open('w', 65, 0o600)\n"
        "  while not stop: os.write(fd, b'x')\n"
        "threads = [threading.Thread(target=work) for _ in range(3)]\n"
        "[t.start() for t in threads]\n"
        "for i in range(50):\n"
        "  pid = os.fork()\n"
        "  if not pid:\n"
        "    try: os.write(os.open('f', 65, 0o600), b'x'); os._exit(1)\n"
        "    except OSError: os._exit(0)\n"
        "  assert os.waitpid(pid, 0)[1] == 0\n"
        "stop = True; [t.join() for t in threads]; print('fine')\n"
    )
    done = under("write:error=EIO:path=f", sys.executable, "-c", code)
    assert done.out == "fine\n", done.err
    assert done.counts == [(50, 50)]


@pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")
@pytest.mark.parametrize(
    "become",
    [
        "setpriv --reuid=65534 --regid=65534 --clear-groups --reset-env",
        "runuser -u nobody --",
        "su -s /bin/sh nobody -c",
    ],
)
def test_the_child_of_another_user_has_its_faults(become: str, faultlib: Run, tmp_path: Path) -> None:
    """It may not open the session's memory: test_lending.py. Not a word from the loader either."""
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o777)
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    command = [*become.split(), *(["id -un; echo x > f"] if become.startswith("su ") else ["sh", "-c", "id -un; echo x > f"])]
    done = faultlib("run", "-e", "write:error=EIO:path=f", "--", "bash", "-c", '"$@"; exit 0', "bash", *command, cwd=place)
    assert "nobody" in done.stdout
    assert "ld.so" not in done.stderr, done.stderr
    assert "not covered" not in done.stderr and "I/O error" in done.stderr, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")
def test_a_process_that_changes_its_own_user_stays_covered(under: Under, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    code = "import os; os.setgid(65534); os.setuid(65534); os.write(os.open('f', 65, 0o600), b'x')"
    done = under("write:error=EIO:path=f", sys.executable, "-c", code)
    assert "[Errno 5]" in done.err, done


def test_a_preload_of_the_program_itself_survives(under: Under) -> None:
    script = "import os, subprocess; subprocess.run(['bash', '-c', 'echo $LD_PRELOAD'], env={'LD_PRELOAD': '/usr/lib/x86_64-linux-gnu/libm.so.6'})"
    done = under("write:error=EIO:path=f", sys.executable, "-c", script)
    first, *rest = done.out.strip().split(":")
    assert first.endswith("libm.so.6")
    assert len(rest) == 1 and "faultlib." in rest[0]


def test_a_session_inside_a_session(faultlib: Run) -> None:
    """The inner session's target belongs to the inner one; the outer one names nobody it does not know."""
    done = faultlib("run", "-e", "write:error=EIO:path=f", "--", sys.executable, "-m", "faultlib", "run", "-e", "write:error=ENOSPC:path=g", "--", "bash", "-c", "echo x > g; echo x > f")
    assert "write error: No space left on device" in done.stderr
    assert "write error: Input/output error" not in done.stderr
    assert "not covered" in done.stderr and "/bash" in done.stderr


def test_a_script_with_an_interpreter_of_another_libc_is_named(faultlib: Run, tmp_path: Path) -> None:
    static = tmp_path / "static"
    subprocess.run(["gcc", "-static", "-o", static, "-x", "c", "-"], input=b"int main(void){return 3;}", check=True)
    (tmp_path / "script").write_text(f"#!{static}\n")
    (tmp_path / "script").chmod(0o755)
    refused = faultlib("run", "--", "./script")
    assert refused.returncode == 126 and "statically linked" in refused.stderr
    named = faultlib("run", "--", "bash", "-c", "./script; echo $?")
    assert named.stdout == "3\n"
    assert "not covered" in named.stderr and "script" in named.stderr


def test_a_program_that_changes_is_looked_at_again(tmp_path: Path) -> None:
    """One parent starts the same name again and again: a script, then another program, a static one, and the first again."""
    for name, option in (("dynamic", "-O0"), ("static", "-static")):
        subprocess.run(["gcc", option, "-x", "c", "-o", tmp_path / name, "-"], input=b"int main(void) { return 0; }", check=True)
    code = (
        "import os, shutil, subprocess, time\n"
        "for name in ('dynamic', 'dynamic', 'static', 'static', 'dynamic', 'static'):\n"
        "    os.unlink('p') if os.path.exists('p') else None\n"
        "    os.link(name, 'p') if name == 'dynamic' else shutil.copy(name, 'p')\n"
        "    os.utime('p', (1, 1)); time.sleep(2.1)\n"
        "    [subprocess.run(['./p'], check=True) for _ in range(3)]\n"
    )
    with api.Session() as session:
        session.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
        states = [process.state for process in session.processes() if process.lineage != "1"]
        assert states == ["exited"] * 6 + ["exec-pending"] * 6 + ["exited"] * 3 + ["exec-pending"] * 3


FORKS = """
import os, ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
pid = {"fork": os.fork, "sysfork": lambda: libc.syscall(57), "sysclone": lambda: libc.syscall(56, 17, 0, 0, 0, 0)}[sys.argv[1]]()
if not pid:
    os.write(1, b"child\\n")
    os._exit(0)
os.waitpid(pid, 0)
os.write(1, b"parent\\n")
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="system calls by their numbers")
@pytest.mark.parametrize(
    ("way", "effect"),
    [("fork", "delay_after=30ms"), ("fork", "delay=30ms"), ("fork", "kill=after"), ("sysfork", "delay=30ms"), ("sysclone", "delay=30ms")],
)
def test_a_fork_that_comes_back_twice_is_one_call(way: str, effect: str, tmp_path: Path) -> None:
    """What is done to it is done to the parent; the event has the child's pid."""
    with api.Session([f"fork:{effect}"], cwd=tmp_path) as session:
        done = session.run([sys.executable, "-c", FORKS, way], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert sorted(done.stdout.split()) == (["child"] if "kill" in effect else ["child", "parent"])
        (row,) = session.report()
        assert (row.count.matched, row.count.fired) == (1, 1)
        (event,) = session.events()
        assert event.lineage == "1" and event.result > 1
        assert "kill" in effect or event.duration_ns >= 30_000_000


@pytest.mark.parametrize("effect", ["delay=30ms", "signal=SIGURG", "delay_after=30ms"])
def test_a_vfork_under_a_rule_is_one_line_of_a_trace(effect: str, faultlib: Run, compiled: Compile, tmp_path: Path) -> None:
    done = faultlib("trace", "--op", "vfork", "-o", "t", "--format", "jsonl", "-e", f"fork:call=vfork:{effect}", "--", compiled("vforked"))
    assert done.returncode == 0, done
    (line,) = (json.loads(line) for line in (tmp_path / "t").read_text().splitlines())
    assert line["operation"] == "vfork" and line["result"] > 1 and line["injected"]["nth"] == 1


def test_an_exec_that_failed_is_not_taken_for_the_fork_after_it(tmp_path: Path) -> None:
    """What a rule did to the one stays with it, also where the shim has to remember it for later."""
    script = "import os, subprocess\ntry: os.execv('none', ['none'])\nexcept OSError: subprocess.run(['true'])"
    with api.Session(["exec:delay=10ms:path=none"], cwd=tmp_path) as session:
        assert session.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True).returncode == 0
        (event,) = session.events()
        assert event.operation == "execve" and event.result <= 0
