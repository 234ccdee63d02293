"""kill, signal, stop, skip, return, error on close."""

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
from tests.targets.conftest import Compile, Under

DEADLINE_S = 30


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.01)


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


@pytest.mark.parametrize(("rule", "content"), [("write:kill=before:path=f", ""), ("write:kill=after:path=f", "hi\n")])
def test_kill(rule: str, content: str, under: Under, tmp_path: Path) -> None:
    done = under(rule, "bash", "-c", "echo hi > f; echo survived")
    assert done.status == -signal.SIGKILL
    assert done.out == ""
    assert (tmp_path / "f").read_text() == content
    assert done.counts == [(1, 1)]


@pytest.mark.parametrize(("rule", "there"), [("rename:kill=before", False), ("rename:kill=after", True)])
def test_kill_at_a_rename_of_mv(rule: str, there: bool, under: Under, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    done = under(rule, "mv", "a", "b")
    assert done.status == -signal.SIGKILL
    assert (tmp_path / "b").exists() is there


def test_a_signal_is_handled_before_the_call(under: Under, tmp_path: Path) -> None:
    script = "trap 'echo got it >> log' USR1; echo hi > f; echo done >> log"
    done = under("write:signal=SIGUSR1:path=f", "bash", "-c", script)
    assert done.status == 0
    assert (tmp_path / "f").read_text() == "hi\n"
    assert (tmp_path / "log").read_text() == "got it\ndone\n"


def test_a_signal_that_ends_the_program(under: Under, tmp_path: Path) -> None:
    done = under("write:signal=SIGTERM:path=f", sys.executable, "-c", "import os; os.write(os.open('f', 65, 0o600), b'x')")
    assert done.status == -signal.SIGTERM
    assert (tmp_path / "f").read_text() == ""


@pytest.mark.parametrize("release", ["remove", "close", "reset"])
def test_stop_until_released(release: str, tmp_path: Path) -> None:
    with api.Session(["write:stop:path=f"], cwd=tmp_path) as session:
        child = session.popen(["bash", "-c", "echo hi > f; echo on > g"], cwd=tmp_path)
        wait_until(lambda: state(child.pid) == "T", "the process stops")
        assert not (tmp_path / "g").exists()
        assert session.report()[0].count.fired == 1
        if release == "remove":
            session.remove(0)
        elif release == "reset":
            session.reset()
        else:
            session.close()
        assert child.wait(DEADLINE_S) == 0
    assert (tmp_path / "f").read_text() == "hi\n"


@pytest.mark.parametrize("release", ["remove", "close"])
@pytest.mark.parametrize("rule", ["write:hang:path=f", "write:delay=1h:path=f"])
def test_hang_and_delay_until_released(rule: str, release: str, tmp_path: Path) -> None:
    with api.Session([rule], cwd=tmp_path) as session:
        child = session.popen(["bash", "-c", "echo hi > f; echo on > g"], cwd=tmp_path)
        wait_until(lambda: session.report()[0].count.matched == 1, "the call is there")
        assert (tmp_path / "f").read_text() == ""
        if release == "remove":
            session.remove(0)
        else:
            session.close()
        assert child.wait(DEADLINE_S) == 0
    assert (tmp_path / "f").read_text() == "hi\n"


def test_delay_after_has_done_the_call(tmp_path: Path) -> None:
    with api.Session(["write:delay_after=1h:path=f"], cwd=tmp_path) as session:
        child = session.popen(["bash", "-c", "echo hi > f; echo on > g"], cwd=tmp_path)
        wait_until(lambda: (tmp_path / "f").exists() and (tmp_path / "f").read_text() == "hi\n", "the write is done")
        assert not (tmp_path / "g").exists()
        session.remove(0)
        assert child.wait(DEADLINE_S) == 0


def test_a_delay_before_an_error(under: Under) -> None:
    done = under("write:error=EIO:delay=10ms+-5ms:path=f", "bash", "-c", "echo hi > f")
    assert "Input/output error" in done.err
    assert done.counts == [(1, 1)]


def test_a_hanging_lock_is_interrupted_like_a_real_one(under: Under) -> None:
    code = (
        "import fcntl, os, signal\n"
        "class Alarm(Exception): pass\n"
        "def ring(*_): raise Alarm\n"
        "signal.signal(signal.SIGALRM, ring); signal.setitimer(signal.ITIMER_REAL, 0.2)\n"
        "try: fcntl.flock(os.open('f', 66, 0o600), fcntl.LOCK_EX)\n"
        "except Alarm: print('interrupted')\n"
    )
    done = under("flock:hang:path=f", sys.executable, "-c", code)
    assert done.out == "interrupted\n"
    assert done.counts == [(1, 1)]


def test_skip_and_return_lie(under: Under, compiled: Compile, tmp_path: Path) -> None:
    calls = ["write", "10", "fsync", "truncate", "3", "close"]
    done = under(["write:skip:path=f", "fsync:return=0:path=f", "truncate:skip:path=f"], compiled("io"), "f", "open", "create", *calls)
    assert done.out == "open 0\nwrite 10\nfsync 0\ntruncate 0\nclose 0\nfcntl -1 EBADF\n"
    assert (tmp_path / "f").read_text() == ""
    assert [fired for _, fired in done.counts] == [1, 1, 1]


def test_return_of_a_read_is_the_end_of_the_file(under: Under, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("hello\n")
    done = under("read:return=0:path=f", "cat", "f")
    assert (done.status, done.out) == (0, "")


def test_a_skipped_unlink_and_rename_leave_everything(under: Under, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    (tmp_path / "g").write_text("new")
    done = under(["unlink:skip:path=f", "rename:skip:from=g"], "bash", "-c", "rm f && mv g h && echo fine")
    assert done.out == "fine\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "g"]


def test_a_failing_close_closes(under: Under, compiled: Compile) -> None:
    done = under("close:error=EIO:path=f", compiled("io"), "f", "open", "create", "close")
    assert done.out == "open 0\nclose -1 EIO\nfcntl -1 EBADF\n"


def test_errno_is_the_rules(under: Under, compiled: Compile) -> None:
    rules = ["write:error=EDQUOT:path=f:when=1", "write:error=EFBIG:path=f:when=2", "fallocate,posix_fallocate:error=ENOSPC:path=f"]
    done = under(rules, compiled("io"), "f", "open", "create", "write", "1", "write", "1", "write", "1", "fallocate", "9")
    assert done.out == "open 0\nwrite -1 EDQUOT\nwrite -1 EFBIG\nwrite 1\nfallocate 28\n"


def test_the_environment_of_the_tests_is_not_stopped() -> None:
    """A stop reaches the process alone, not its group."""
    with api.Session(["write:stop:path=*/never"]) as session:
        assert session.run(["true"]).returncode == 0
    assert os.getpid() > 0 and subprocess.run(["true"]).returncode == 0


@pytest.mark.parametrize("name", ["TERM", "SEGV", "USR1"])
def test_a_signal_that_kills_is_counted(name: str, under: Under) -> None:
    done = under(f"write:signal=SIG{name}:path=f", "sh", "-c", "echo hi > f")
    assert done.status == -getattr(signal, f"SIG{name}")
    assert done.counts == [(1, 1)]


@pytest.mark.parametrize("effect", ["delay=1h", "delay=1h:error=EIO", "delay_after=1h"])
def test_whoever_is_killed_in_a_delay_was_hit(effect: str, under: Under) -> None:
    done = under(f"write:{effect}:path=f", "sh", "-c", "(sleep 0.5; kill -KILL $$) & echo hi > f")
    assert done.status == -signal.SIGKILL
    assert done.counts == [(1, 1)]


def test_the_result_of_a_late_call_is_in_its_event(tmp_path: Path) -> None:
    with api.Session(["write:delay=10ms:error=EIO:path=*/f", "write:delay=10ms:path=*/g"]) as session:
        session.run(["sh", "-c", "echo hi > f; echo hi > g"], cwd=tmp_path, stderr=subprocess.DEVNULL)
        assert [(event.ended, event.outcome) for event in session.events()] == [(True, "EIO"), (True, "3")]


def events(session: api.Session) -> list[tuple[int, bool, bool]]:
    return [(event.result, event.ended, event.held) for event in session.events()]


@pytest.mark.parametrize(("rule", "result"), [("hang", 3), ("stop", 3), ("delay=1h", 3), ("error=EIO:delay=1h", -5)])
def test_a_fault_that_was_looked_at_before_its_end_has_its_result_after_it(rule: str, result: int, tmp_path: Path) -> None:
    with api.Session([f"write:{rule}:path=f"], cwd=tmp_path) as session:
        child = session.popen(["bash", "-c", "echo hi > f"], cwd=tmp_path)
        wait_until(lambda: bool(session.events()), "it has begun")
        assert events(session) == [(0, False, True)]
        session.remove(0)
        child.wait(DEADLINE_S)
        assert events(session) == [(result, True, False)]
        assert session.events()[0].duration_ns > 0


def test_a_fault_that_never_ends_is_said_to_be_held(tmp_path: Path) -> None:
    with api.Session(["write:hang:path=f"], cwd=tmp_path) as session:
        child = session.popen(["bash", "-c", "echo hi > f"], cwd=tmp_path)
        wait_until(lambda: bool(session.events()), "it hangs")
        child.kill()
        child.wait()
        assert events(session) == [(0, False, True)]


@pytest.mark.parametrize(
    ("rule", "ended", "result"),
    [("kill=before", False, 0), ("kill=after", True, 0), ("kill=before:delay=1ms", False, 0), ("error=EIO:delay=20ms", True, -5)],
)
def test_what_is_said_of_a_rename(rule: str, ended: bool, result: int, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with api.Session([f"rename:{rule}"], cwd=tmp_path) as session:
        session.run(["mv", "a", "b"], cwd=tmp_path, stderr=subprocess.DEVNULL)
        (event,) = session.events()
        assert (event.ended, event.result, event.held) == (ended, result, False)
        assert event.duration_ns >= (20_000_000 if "20ms" in rule else 0)


def test_the_first_of_more_faults_than_are_kept_is_known(tmp_path: Path) -> None:
    with api.Session(["write:delay=1ns:path=f:when=2+"], cwd=tmp_path) as session:
        session.run(["dd", "if=/dev/zero", "of=f", "bs=1", "count=9000"], cwd=tmp_path, stderr=subprocess.DEVNULL)
        (row,) = session.report()
        assert row.first and (row.count.fired, row.first.nth, row.first.path) == (8999, 2, str(tmp_path / "f"))


@pytest.mark.parametrize("program", [["ls", "d"], [sys.executable, "-c", "import os; os.listdir('d')"]])
def test_a_directory_that_cannot_be_read_has_failed(program: list[str], tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with api.Session(["readdir:error=EIO:path=d"], cwd=tmp_path) as session:
        assert session.run(program, cwd=tmp_path, stderr=subprocess.DEVNULL).returncode
        assert {event.result for event in session.events()} == {-5}


def test_the_end_of_a_directory_is_no_error_and_leaves_errno_alone(compiled: Compile, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for rule in ("readdir:delay=1ms", "readdir:error=EIO:when=99"):
        with api.Session([rule], cwd=tmp_path) as session:
            done = session.run([compiled("ends"), "d"], cwd=tmp_path, capture_output=True, text=True)
            assert done.stdout == "3 times, errno 77\n"
            assert [event.result for event in session.events()] == ([1, 1, 0] if "delay" in rule else [])

