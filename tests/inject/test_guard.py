"""Whoever is killed, at whatever moment: targets go on disarmed, nothing hangs, nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import faultlib as api
from faultlib.inject import folder

TARGET = r"""
import fcntl, os, signal, sys
verb = sys.argv[1]
fd = os.open("t", os.O_RDWR | os.O_CREAT, 0o600)
print("begin", flush=True)
calls = 0
for line in sys.stdin:
    try:
        os.pwrite(fd, b"x", 0)
        fcntl.flock(fd, fcntl.LOCK_EX)
        print("ok", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""
RULES = {
    "error": "pwrite:error=EIO:path=*/t",
    "hang": "flock:hang:path=*/t",
    "delay": "flock:delay=1000s:path=*/t",
    "delay a write": "pwrite:delay=1000s:path=*/t",
    "stop": "pwrite:stop:path=*/t",
}
VICTIMS = ["controller", "guard then controller", "both at once"]


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    """The pids below a process, whatever their kind."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def guard_of(pid: int) -> int:
    def find() -> list[int]:
        return [p for p in children(pid) if comm(p) == "faultlib-guard"]

    until(find, "no guard")
    return find()[0]


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


class Victim:
    """`faultlib run` with a target that does one call for each line it reads; the target outlives its controller."""

    def __init__(self, cwd: Path, rule: str) -> None:
        read, self.lines = os.pipe()
        self.controller = subprocess.Popen(
            [sys.executable, "-m", "faultlib", "run", "-q", "-e", rule, "--", sys.executable, "-c", TARGET, "x"],
            cwd=cwd, stdin=read, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        os.close(read)
        assert self.controller.stdout
        assert self.controller.stdout.readline() == "begin\n"
        self.guard = guard_of(self.controller.pid)
        (self.target,) = [pid for pid in children(self.controller.pid) if pid != self.guard]

    def send(self) -> None:
        os.write(self.lines, b"\n")

    def answer(self) -> str:
        assert self.controller.stdout
        return self.controller.stdout.readline().strip()

    def kill(self, whom: str) -> None:
        if whom == "both at once":
            os.kill(self.controller.pid, signal.SIGSTOP)  # so that it cannot start another guard in between
        if whom != "controller":
            os.kill(self.guard, signal.SIGKILL)
        self.controller.kill()
        self.controller.wait()

    def end(self) -> None:
        os.close(self.lines)
        until(lambda: state(self.target) in ("gone", "Z"), "the target does not end")


def folders_of(pid: int) -> list[Path]:
    return list(Path(folder.base()).glob(f"faultlib.{pid}.*"))


@pytest.mark.parametrize("whom", VICTIMS)
@pytest.mark.parametrize("what", RULES)
def test_targets_are_released_and_disarmed(tmp_path: Path, what: str, whom: str) -> None:
    victim = Victim(tmp_path, RULES[what])
    victim.send()
    if what == "error":
        assert victim.answer() == "5"
        victim.kill(whom)
        victim.send()
    else:
        waiting = ("T",) if what == "stop" else ("S",)
        until(lambda: state(victim.target) in waiting, "not waiting")
        time.sleep(0.2)  # it waits for its input too
        victim.kill(whom)
    assert victim.answer() == "ok"
    victim.end()
    until(lambda: not folders_of(victim.controller.pid), "the folder is left")
    until(lambda: state(victim.guard) in ("gone", "Z"), "the guard is left")


def test_children_of_a_target_hear_nothing_of_it(tmp_path: Path) -> None:
    """The link stays as long as any target lives: the loader would print an error in each of its children."""
    victim = subprocess.Popen(
        [sys.executable, "-m", "faultlib", "run", "-q", "--", "bash", "-c", "read; echo begin; read; /bin/true; echo end"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert victim.stdin and victim.stdout and victim.stderr
    victim.stdin.write("\n")
    victim.stdin.flush()
    assert victim.stdout.readline() == "begin\n"
    os.kill(guard_of(victim.pid), signal.SIGSTOP)
    os.kill(victim.pid, signal.SIGSTOP)
    os.kill(guard_of(victim.pid), signal.SIGKILL)
    victim.kill()
    victim.wait()
    with api.Session() as other:  # looks for leftovers: this is none yet
        assert other
    victim.stdin.write("\n")
    victim.stdin.flush()
    assert victim.stdout.readline() == "end\n"
    assert victim.stderr.read() == ""
    until(lambda: not folders_of(victim.pid), "the last target did not clear up")


def test_a_killed_guard_is_replaced(tmp_path: Path) -> None:
    with api.Session() as session:
        for _ in range(3):
            first = int(session.block.ctl.guard_pid)
            os.kill(first, signal.SIGKILL)
            until(lambda first=first: int(session.block.ctl.guard_pid) != first, "no other guard")  # type: ignore[misc]
            assert state(first) == "gone"
    assert not folders_of(os.getpid())


def test_what_everybody_killed_at_once_left_is_swept_by_the_next(tmp_path: Path) -> None:
    victim = Victim(tmp_path, RULES["error"])
    os.kill(victim.controller.pid, signal.SIGSTOP)
    for pid in (victim.guard, victim.target, victim.controller.pid):
        os.kill(pid, signal.SIGKILL)
    victim.controller.wait()
    os.close(victim.lines)
    until(lambda: state(victim.target) in ("gone", "Z"), "not dead")
    assert folders_of(victim.controller.pid)
    with api.Session() as other:
        assert other
        assert not folders_of(victim.controller.pid)


INTERRUPTED = r"""
import ctypes, errno, fcntl, os, signal, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
what, restart = sys.argv[1], sys.argv[2] == "restart"
seen = []
signal.signal(signal.SIGALRM, lambda n, f: seen.append(n))
signal.siginterrupt(signal.SIGALRM, not restart)
fd = os.open("t", os.O_RDWR | os.O_CREAT, 0o600)
pipe = os.pipe()
os.write(pipe[1], b"abc")
print("begin", flush=True)
signal.setitimer(signal.ITIMER_REAL, 0.2)
calls = {
    "flock": lambda: libc.flock(fd, fcntl.LOCK_EX),
    "write": lambda: libc.pwrite(fd, b"x", ctypes.c_size_t(1), ctypes.c_long(0)),
    "pipe": lambda: libc.read(pipe[0], ctypes.create_string_buffer(1), ctypes.c_size_t(1)),
    "sleep": lambda: libc.usleep(1),
}
result = calls[what]()
print("interrupted" if result == -1 and ctypes.get_errno() == errno.EINTR else "went on", flush=True)
"""
HANG = {"flock": "flock:hang", "write": "pwrite:hang:path=*/t", "pipe": "read:hang:fdkind=pipe", "sleep": "usleep:delay=100s"}
OUTCOMES = [
    ("flock", "plain", "interrupted"), ("flock", "restart", "went on"), ("pipe", "plain", "interrupted"),
    ("pipe", "restart", "went on"), ("write", "plain", "went on"), ("write", "restart", "went on"),
    ("sleep", "plain", "interrupted"), ("sleep", "restart", "interrupted"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "handler", "outcome"), OUTCOMES)
def test_signals_end_a_hang_where_they_end_the_call(tmp_path: Path, what: str, handler: str, outcome: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, what, handler]
    with api.Session([HANG[what]], cwd=tmp_path) as session:
        child = session.popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        assert child.stdout and child.stdout.readline() == "begin\n"
        if outcome == "went on":
            until(lambda: session.report()[0].count.fired, "no hang")
            time.sleep(0.6)  # the timer's signal is over
            assert child.poll() is None
            session.reset()
        assert child.stdout.read() == outcome + "\n"
        child.wait()


def test_removing_a_rule_wakes_those_it_stopped(tmp_path: Path) -> None:
    with api.Session(["open:stop:path=*/a:name=a", "open:stop:path=*/b:name=b"]) as session:
        first = session.popen(["cat", "a"], cwd=tmp_path, stderr=subprocess.DEVNULL)
        second = session.popen(["cat", "b"], cwd=tmp_path, stderr=subprocess.DEVNULL)
        until(lambda: state(first.pid) == state(second.pid) == "T", "not stopped")
        session.remove(0)
        assert first.wait(30) == 1
        assert state(second.pid) == "T"
        session.reset()
        assert second.wait(30) == 1


def test_a_stopped_target_shows_no_descriptor_of_ours_afterwards(tmp_path: Path) -> None:
    look = "os.listdir('/proc/self/fd')"
    script = f"import os\nbefore = {look}\ntry: open('a')\nexcept OSError: pass\nprint(before == {look})"
    with api.Session(["open:stop:path=*/a"]) as session:
        child = session.popen([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        until(lambda: state(child.pid) == "T", "not stopped")
        os.kill(child.pid, signal.SIGCONT)
        assert child.communicate(timeout=30)[0] == "True\n"


def test_a_guard_that_is_killed_while_it_is_dismissed_leaves_nothing() -> None:
    session = api.Session()
    guard = session._guard
    guard._dismissed = True  # as if it were killed just behind this
    os.kill(session.block.ctl.guard_pid, signal.SIGKILL)
    guard._watcher.join()
    session.close()
    assert not session.folder.exists()
