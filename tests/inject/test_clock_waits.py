"""No wait is early or hangs by the clock that it runs on: every timed function of libc, under every kind of clock change."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faultlib import Session
from tests.inject.clock_targets import DEADLINE_S, LATE_S, SETTLED_S, Target, Waited, compile_c, read

SLEEPS = {
    "clock_nanosleep_until", "syscall_clock_nanosleep", "nanosleep", "clock_nanosleep", "usleep", "sleep", "thrd_sleep", "poll",
    "ppoll", "select", "pselect", "epoll_wait", "epoll_pwait", "epoll_pwait2", "syscall_ppoll", "timerfd_until", "timerfd",
    "timer_until", "timer", "setitimer",
}  # fmt: skip
TRIES = {"semtimedop", "sigtimedwait"}
CLOCKS = ("realtime", "monotonic")
WAITS = {"realtime": 21, "monotonic": 31}


@pytest.fixture(scope="module")
def waits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_c("waits.c", tmp_path_factory.mktemp("waits"))


def expected(name: str) -> int:
    """What a wait in waits.c returns when its time has come."""
    return 0 if name in SLEEPS else errno.EAGAIN if name in TRIES else errno.ETIMEDOUT


def check(waited: list[Waited], clock: str, at_least_ms: float) -> None:
    """All came back, with the right answer, and none before its time."""
    assert len(waited) == WAITS[clock]
    assert {w.name: int(w.outcome) for w in waited} == {w.name: expected(w.name) for w in waited}
    assert [w for w in waited if w.virtual_ms < at_least_ms] == []


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize(
    ("rules", "ms", "rate"),
    [
        (["clock:offset=+1h"], 1000, 1.0),
        (["clock:offset=-30s"], 1000, 1.0),
        (["clock:rate=0.5"], 1000, 0.5),
        (["clock:rate=10"], 20000, 10.0),
        (["clock:rate=10", "clock:offset=+1d"], 20000, 10.0),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else None,
)
def test_waits_follow_their_clock(waits: Path, clock: str, rules: list[str], ms: int, rate: float) -> None:
    with Session([f"{rule}:clock={clock}" for rule in rules]) as session:
        waited = Target(session, [waits, clock, str(ms)]).finish()
    check(waited, clock, ms)
    for wait in waited:
        assert ms / rate * 0.999 <= wait.real_ms <= ms / rate + LATE_S * 1000, wait


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize(
    ("before", "then"),
    [
        ("freeze", "thaw"),
        ("offset=1s", "jump=+1h"),
        ("rate=0.001", "rate=100000"),
        ("freeze", "jump=+1h"),
        ("rate=10", "offset=+1h"),
        ("offset=0s", "rate=100000"),
        ("offset=0s", "jump=+1h"),
        ("offset=0s", "offset=+1h"),
    ],
)
def test_waits_notice_a_change(waits: Path, clock: str, before: str, then: str) -> None:
    """They would all last for half an hour or for ever."""
    with Session([f"clock:offset=1h:clock={clock}", f"clock:{before}:clock={clock}"]) as session:
        target = Target(session, [waits, clock, "2000" if then == "thaw" else "1800000"])
        assert target.child.stdout is not None
        assert not select.select([target.child.stdout], [], [], 0.5)[0], "came back before its time"
        if then == "thaw":
            session.remove(1)
        else:
            session.add(f"clock:{then}:clock={clock}")
        check(target.finish(), clock, 2000 if then == "thaw" else 1800000)


@pytest.mark.filterwarnings("ignore::faultlib.LateChange")
@pytest.mark.parametrize("clock", CLOCKS)
def test_waits_follow_a_clock_that_was_real_in_between(waits: Path, clock: str) -> None:
    with Session([f"clock:offset=0s:clock={clock}"]) as session:
        target = Target(session, [waits, clock, "1800000"])
        assert target.child.stdout is not None
        session.remove(0)
        assert not select.select([target.child.stdout], [], [], SETTLED_S)[0], "came back before its time"
        (freeze,) = session.add(f"clock:freeze:clock={clock}")
        assert not select.select([target.child.stdout], [], [], SETTLED_S)[0], "came back before its time"
        session.add(f"clock:jump=+1h:clock={clock}")
        session.remove(freeze)
        check(target.finish(), clock, 1800000)


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_jump_back_makes_them_wait_longer(waits: Path, clock: str) -> None:
    """By their own clock each lasts as long as it should; really half a second more."""
    with Session([f"clock:offset=1h:clock={clock}"]) as session:
        target = Target(session, [waits, clock, "2000"])
        session.add(f"clock:jump=-500ms:clock={clock}")
        waited = target.finish()
    check(waited, clock, 2000)
    assert [w for w in waited if w.real_ms < 2499] == []


@pytest.mark.parametrize("clock", CLOCKS)
def test_waits_end_after_the_session(waits: Path, clock: str) -> None:
    """The clock stood still; without the session it is real again, and what was left of each wait passes."""
    with Session([f"clock:freeze:clock={clock}"]) as session:
        target = Target(session, [waits, clock, "1000"])
    waited = target.finish()
    assert len(waited) == WAITS[clock]
    assert {w.name: int(w.outcome) for w in waited} == {w.name: expected(w.name) for w in waited}


def test_waits_end_after_a_killed_controller(waits: Path) -> None:
    command = [sys.executable, "-m", "faultlib", "run", "-e", "clock:freeze:clock=monotonic", "--", waits, "monotonic", "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as controller:
        assert controller.stdout is not None
        assert controller.stdout.readline() == "ready\n"
        os.kill(controller.pid, signal.SIGKILL)
        fence = time.monotonic() + DEADLINE_S
        lines = []
        while time.monotonic() < fence and (line := controller.stdout.readline()):
            lines.append(line)
    assert len(read(lines)) == WAITS["monotonic"]


def test_no_wake_up_is_lost(tmp_path: Path) -> None:
    """Condition waits are made of slices; a signal between two of them counts."""
    program = compile_c("pingpong.cc", tmp_path)
    with Session(["clock:rate=0.5:clock=monotonic,realtime"]) as session:
        done = session.run([str(program), "100000"], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.stdout == "0\n"


ALARMS = """
import os, signal, time
def alarms(n, seconds):
    began, seen = time.monotonic(), []
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    for _ in range(n):
        signal.sigwait([signal.SIGALRM])
        seen.append(time.monotonic() - began)
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    assert 0 < left <= seconds and interval == seconds, (left, interval)
    old = signal.setitimer(signal.ITIMER_REAL, 0)
    assert 0 < old[0] <= seconds and old[1] == seconds and signal.getitimer(signal.ITIMER_REAL) == (0, 0), old
    assert all(at >= (i + 1) * seconds - 1e-3 for i, at in enumerate(seen)), seen
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
alarms(3, 20)
child = os.fork()
alarms(2, 20)
if not child:
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print('done')
"""


def test_periodic_timers_and_what_is_left_of_them() -> None:
    """Also in a forked child, which has no keeper of its parent's."""
    with Session(["clock:rate=100:clock=monotonic"]) as session:
        done = session.run([sys.executable, "-c", ALARMS], capture_output=True, text=True, timeout=DEADLINE_S)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_waits_on_another_clock_are_left_alone(waits: Path) -> None:
    """With REALTIME standing still, what waits on MONOTONIC does not notice."""
    with Session(["clock:freeze"]) as session:
        waited = Target(session, [waits, "monotonic", "1000"]).finish()
    check(waited, "monotonic", 1000)
