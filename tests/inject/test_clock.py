"""Clock domains, the proof of clock rules, jumps at counted calls, and when a clock is real again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence

import pytest

from faultlib import Session
from faultlib.errors import FaultlibError, LateChange
from faultlib.inject.control import Count
from tests.conftest import Run
from tests.inject.clock_targets import SETTLED_S

pytestmark = pytest.mark.filterwarnings("ignore::faultlib.LateChange")

NEAR_S = 60
READ = "import time; print(time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))"
ASK = """
import os, sys, time
for line in sys.stdin:
    print(*[time.clock_gettime(clock) for clock in (time.CLOCK_REALTIME, time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME)], flush=True)
"""


def off(said: Sequence[str]) -> list[int]:
    """By how many minutes the three clocks are off, rounded."""
    real = (time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))
    return [round((float(word) - now) / NEAR_S) for word, now in zip(said, real, strict=True)]


def once(session: Session, label: str = "") -> list[int]:
    done = session.run([sys.executable, "-c", READ], label=label, capture_output=True, text=True, timeout=60)
    return off(done.stdout.split())


class Clock:
    """A process that can be asked for the time."""

    def __init__(self, session: Session, label: str = "") -> None:
        command = [sys.executable, "-c", ASK]
        self.child = session.popen(command, label=label, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self) -> list[float]:
        assert self.child.stdin and self.child.stdout
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return [float(word) for word in self.child.stdout.readline().split()]

    def off(self) -> list[int]:
        return off([str(value) for value in self.ask()])

    def stop(self) -> None:
        self.child.communicate(timeout=60)


@pytest.mark.parametrize(
    ("rules", "minutes"),
    [
        (["clock:offset=+1h"], [60, 0, 0]),
        (["clock:offset=+1h:clock=monotonic"], [0, 60, 0]),
        (["clock:offset=+1h:clock=boottime,realtime"], [60, 0, 60]),
        (["clock:offset=-1h", "clock:offset=+2h"], [60, 0, 0]),
        (["clock:jump=-3h"], [-180, 0, 0]),
        (["clock:offset=+1h:at=1h"], [0, 0, 0]),
        (["clock:offset=+1h:at=0s:for=1ns"], [0, 0, 0]),
    ],
)
def test_what_rules_make_of_the_clocks(rules: list[str], minutes: list[int]) -> None:
    with Session(rules) as session:
        assert once(session) == minutes


def test_workers_disagree() -> None:
    """Each proc= has a domain of its own, in which the rules without one hold as well; the first that fits counts."""
    rules = ["clock:offset=1h", "clock:offset=10m:proc=label:slow", "clock:offset=20m:proc=label:s*"]
    with Session(rules) as session:
        assert [once(session, label)[0] for label in ("other", "slow", "swift")] == [60, 70, 80]


def test_a_running_process_moves_to_a_new_domain_and_back() -> None:
    with Session() as session:
        mine, other = Clock(session, "mine"), Clock(session, "other")
        assert mine.off() == other.off() == [0, 0, 0]
        (slot,) = session.add("clock:offset=1h:proc=label:mine")
        assert (mine.off()[0], other.off()[0]) == (60, 0)
        session.add("clock:jump=10m")
        assert (mine.off()[0], other.off()[0]) == (70, 10)
        session.remove(slot)
        assert (mine.off()[0], other.off()[0]) == (10, 10)
        mine.stop()
        other.stop()


def test_children_stay_in_the_domain_of_their_label() -> None:
    code = "import os; print(*(os.popen('date +%s').read() for _ in range(2)))"
    with Session(["clock:offset=1h:proc=label:mine"]) as session:
        done = session.run([sys.executable, "-c", code], label="mine", capture_output=True, text=True, timeout=60)
    assert all(abs(float(word) - time.time() - 3600) < NEAR_S for word in done.stdout.split())


def test_a_new_rate_does_not_make_the_clock_jump() -> None:
    with Session(["clock:rate=100"]) as session:
        clock = Clock(session)
        first = clock.ask()[0]
        time.sleep(0.2)
        (slot,) = session.add("clock:freeze")
        stands = clock.ask()[0]
        assert stands - first >= 19
        assert clock.ask()[0] == stands
        session.remove(slot)
        session.add("clock:rate=0.01")
        assert 0 <= clock.ask()[0] - stands < 100 * NEAR_S
        clock.stop()


def test_a_clock_is_real_again_without_rules() -> None:
    with Session() as session:
        clock = Clock(session)
        slots = session.add("clock:offset=1h", "clock:jump=1h", "clock:offset=1h:clock=monotonic")
        assert clock.off() == [120, 60, 0]
        session.remove(slots[0])
        assert clock.off() == [60, 60, 0], "a jump that has happened stays"
        session.remove(*slots[1:])
        assert clock.off() == [0, 0, 0]
        session.add("clock:offset=1m:clock=boottime")
        assert clock.off() == [0, 0, 1], "nothing is left of what was removed"
    assert clock.off() == [0, 0, 0]
    clock.stop()


def test_steps_in_advance_need_nobody_to_be_awake() -> None:
    """The times of at= and for= are in the course itself."""
    with Session() as session:
        clock = Clock(session)
        start = clock.ask()[0]
        at = session.block.now_ns() // 1_000_000 + 300
        session.add(f"clock:offset=1h:at={at}ms:for=300ms", f"clock:offset=5h:at={at + 600}ms")
        seen = []
        while not seen or seen[-1] != 300:
            minutes = round((clock.ask()[0] - start) / NEAR_S)
            if not seen or seen[-1] != minutes:
                seen.append(minutes)
        assert seen == [0, 60, 0, 300]
        clock.stop()


def test_a_jump_at_a_counted_reading_is_for_everybody() -> None:
    """The readings of all processes count, and all see the jump."""
    with Session(["clock:jump=1h:when=3"]) as session:
        first, second = Clock(session), Clock(session)
        before = session.report()[0].count
        while session.report()[0].count.fired == 0:
            first.ask()
        assert first.off() == second.off() == [60, 0, 0]
        assert session.report()[0].count.fired == 1
        assert before.matched <= session.report()[0].count.matched
        first.stop()
        second.stop()


def test_proof_and_silence(faultlib: Run) -> None:
    """A rule fires once for each process and state that it is seen in; one that nobody saw is said."""
    done = faultlib("run", "-e", "clock:offset=1h", "--require-fired", "--", "date")
    assert done.returncode == 0
    assert "clock_gettime #1" in done.stderr
    done = faultlib("run", "-e", "clock:offset=1h:clock=monotonic", "--require-fired", "--", "date")
    assert done.returncode == 3
    assert "never fired" in done.stderr


def test_rules_on_reading_the_clock_go_along_with_faked_ones() -> None:
    """A read that a rule looked at is turned all the same; so is a sleep."""
    with Session(["clock:offset=1h", "clock:delay=1ms", "sleep:delay=1ms", "clock:rate=100:clock=monotonic"]) as session:
        code = f"import time; time.sleep(60); {READ}"
        done = session.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert off(done.stdout.split())[0] == 60
        assert all(report.count.fired for report in session.report())


def test_what_there_is_no_room_for_is_refused_before_anything_changes() -> None:
    with Session() as session:
        with pytest.raises(FaultlibError, match="at most 15 times in advance"):
            session.add(*(f"clock:jump=1s:at={i}h" for i in range(1, 17)))
        assert session.block.live.rules == {}
        session.add(*(f"clock:jump=1s:at={i}h" for i in range(1, 16)))
        assert once(session) == [0, 0, 0]


SLEEP = "import sys, time; print('asleep', flush=True); time.sleep(float(sys.argv[1]))"


class Sleeper:
    """A program that sleeps on MONOTONIC, and says nothing when it wakes up."""

    def __init__(self, session: Session, seconds: float) -> None:
        self.child = session.popen([sys.executable, "-c", SLEEP, str(seconds)], stdout=subprocess.PIPE, text=True)
        assert self.child.stdout is not None
        assert self.child.stdout.readline() == "asleep\n"
        time.sleep(SETTLED_S)

    def sleeps_on(self) -> bool:
        try:
            self.child.wait(SETTLED_S)
        except subprocess.TimeoutExpired:
            return True
        return False

    def wakes_up(self) -> None:
        assert self.child.communicate(timeout=60)[0] == ""


def test_a_sleep_that_was_prepared_follows_every_live_change() -> None:
    """The recipe of the documentation: an offset of nothing."""
    with Session(["clock:offset=0s:clock=monotonic"]) as session:
        sleeper = Sleeper(session, 3600)
        (freeze,) = session.add("clock:freeze:clock=monotonic")
        session.add("clock:rate=100000:clock=monotonic")
        assert sleeper.sleeps_on()
        session.remove(freeze)
        sleeper.wakes_up()
        sleeper = Sleeper(session, 1e9)
        session.clock("jump", "20000d", clock="monotonic")
        sleeper.wakes_up()


def test_it_is_said_when_begun_waits_are_out_of_reach() -> None:
    with warnings.catch_warnings(record=True) as seen, Session(["clock:offset=1h:proc=label:mine"]) as session:
        warnings.simplefilter("always")
        session.clock("offset", "1h", clock="boottime")
        assert not seen, "nobody is running"
        clock = Clock(session)
        clock.ask()  # it runs
        session.clock("jump", "1h", clock="boottime")
        assert not seen, "it is faked already"
        session.clock("rate", 2, clock="monotonic")
        assert "waits and timers on MONOTONIC that began while it was real" in str(seen[-1].message)
        assert "clock:offset=0s:clock=monotonic" in str(seen[-1].message)
        assert (seen[-1].category, seen[-1].filename) == (LateChange, __file__)
        session.add("clock:offset=1h:clock=realtime,monotonic")
        assert "waits and timers on REALTIME that" in str(seen[-1].message)
        session.reset()
        session.add("clock:freeze:clock=realtime,monotonic:proc=label:mine", "write:delay=1ms")
        assert len(seen) == 2, "there is no such process"
        clock.stop()
        session.add("clock:freeze:clock=realtime,monotonic")
        assert len(seen) == 2


def test_an_offset_of_nothing_is_explained(faultlib: Run) -> None:
    assert "the clock MONOTONIC is right, and waits on it are ready for changes" in faultlib("explain", "clock:offset=0s:clock=monotonic").stdout


@pytest.mark.parametrize("effect", ["freeze", "rate=10"])
def test_a_rule_that_is_over_before_the_clock_is_read_has_fired(effect: str) -> None:
    """It has made the clock what it is: the reading is its proof."""
    code = "import time; time.time(); time.sleep(0.8); time.time()"
    with Session([f"clock:{effect}:at=100ms:for=100ms"]) as session:
        session.run([sys.executable, "-c", code])
        (row,) = session.report()
        assert row.count.fired == row.count.matched >= 1


TIMER = """
import signal, sys
signal.pthread_sigmask(0, [14])
signal.setitimer(0, float(sys.argv[1]))
print("set", flush=True)
signal.sigwait([14])
"""


def await_fired(session: Session, number: int) -> Count:
    """Waits until a rule has fired, and returns its counts."""
    deadline = time.monotonic() + 30
    while not session.report()[number].count.fired:
        assert time.monotonic() < deadline, "it has not fired"
    return session.report()[number].count


@pytest.mark.parametrize("effect", ["freeze", "rate=0.5", "jump=1h", "offset=1h:for=1h"])
@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["sleep", "86400"], ""),
        ([sys.executable, "-c", TIMER, "86400"], "set\n"),
        (["perl", "-e", "select(undef, undef, undef, 86400)"], ""),
    ],
)
def test_a_clock_that_changes_under_a_wait_has_fired(effect: str, command: list[str], says: str) -> None:
    """Nobody reads it any more, but somebody waits for it. That it does, the first rule tells of programs that never read it."""
    with Session(["clock:offset=0s:clock=monotonic"]) as session:
        child = session.popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout and (not says or child.stdout.readline() == says)
            await_fired(session, 0)
            at = session.snapshot().time_ns // 1_000_000 + 100
            session.add(f"clock:{effect}:clock=monotonic:at={at}ms")
            count = await_fired(session, 1)
            assert count.fired == count.matched
            session.clock("jump", "2d", clock="monotonic")
            assert child.wait(60) == 0
        finally:
            child.kill()
            child.communicate()


@pytest.mark.parametrize("command", [[sys.executable, "-c", TIMER, "0.4"], ["timeout", "0.4", "cat"], ["perl", "-e", "alarm 1; sleep 9"]])
def test_a_timer_that_is_set_on_a_faked_clock_has_met_it(command: list[str]) -> None:
    with Session(["clock:rate=10:clock=monotonic"]) as session:
        session.run(command, stdin=subprocess.PIPE)
        (row,) = session.report()
        assert row.count.fired == row.count.matched >= 1


@pytest.mark.parametrize("timer", ["signal.alarm(9)", "signal.setitimer(0, 9)", "ctypes.CDLL(None).ualarm(900000, 0)"])
def test_a_clock_that_jumps_past_a_timer_has_met_whom_it_ends(timer: str) -> None:
    code = f"import ctypes, signal, sys; sys.stdin.read(1); {timer}; signal.pause()"
    with Session() as session:
        child = session.popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        assert child.stdin
        session.add(f"clock:jump=1h:clock=monotonic:at={session.snapshot().time_ns // 1000000 + 500}ms")
        child.stdin.close()
        assert child.wait(30) == -signal.SIGALRM
        (row,) = session.report()
        assert row.count.fired >= 1


def test_a_wait_that_a_live_change_ends_has_met_it() -> None:
    with Session(["clock:offset=0s:clock=monotonic"]) as session:
        child = session.popen(["sleep", "3600"])
        await_fired(session, 0)
        session.clock("rate", 100000, clock="monotonic")
        assert child.wait(30) == 0
        assert session.report()[1].count.fired == 1


def test_a_timer_that_is_gone_before_the_clock_changes_has_not_met_it() -> None:
    with Session(["clock:jump=1h:clock=monotonic:at=1h"]) as session:
        session.run(["timeout", "60", "true"])
        assert session.report()[0].count.fired == 0


@pytest.mark.parametrize(("effect", "fired"), [("offset=1h", 0), ("freeze", 1), ("jump=1h", 1)])
def test_what_was_over_when_a_program_began_counts_if_it_left_its_mark(effect: str, fired: int) -> None:
    with Session([f"clock:{effect}:clock=monotonic:at=0s" + (":for=50ms" if effect != "jump=1h" else "")]) as session:
        while session.snapshot().time_ns < 60_000_000:
            time.sleep(0.01)
        session.run(["perl", "-e", "use Time::HiRes; Time::HiRes::clock_gettime(1)"])
        assert session.report()[0].count.fired == fired
