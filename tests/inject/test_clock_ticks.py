"""Periodic timers on a faked clock: as many ticks as its time says, at whatever moment the clock changes, and always in phase."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from faultlib import Session
from tests.inject.clock_targets import DEADLINE_S, compile_c

KINDS = [("timerfd", "monotonic"), ("timerfd", "realtime"), ("nonblocking", "monotonic"), ("timer", "monotonic"),
         ("timer", "realtime"), ("itimer", "monotonic")]  # fmt: skip
COUNTING = [kind for kind in KINDS if kind[0] != "itimer"]
"""Those that say how many ticks they missed."""
SECOND_NS = 1_000_000_000
SLACK_NS = 1_000_000
QUIET_S = 0.3


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_c("ticks.c", tmp_path_factory.mktemp("ticks"))


class Ticker:
    """ticks.c at work, asked over a pipe."""

    def __init__(self, session: Session, command: Sequence[str]) -> None:
        self.child = session.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.ticks = 0
        self._buffer = b""
        assert self._line() == "ready"
        self.set_after_ns, self.set_before_ns = self.ask("s")

    def _line(self) -> str:
        assert self.child.stdout is not None
        until = time.monotonic() + DEADLINE_S
        while b"\n" not in self._buffer:
            assert select.select([self.child.stdout], [], [], until - time.monotonic())[0], "no answer"
            data = os.read(self.child.stdout.fileno(), 4096)
            assert data, "it has ended"
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode()

    def send(self, word: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(word.encode() + b"\n")

    def ask(self, word: str) -> list[int]:
        self.send(word)
        return [int(number) for number in self._line().split()]

    def is_quiet(self) -> bool:
        """Whether nothing comes for a while."""
        return not self._buffer and not select.select([self.child.stdout], [], [], QUIET_S)[0]

    def answer(self) -> int:
        """Takes the answer to "r", and returns what time it was. Its ticks are added up."""
        ticks, now = map(int, self._line().split())
        self.ticks += ticks
        return now

    def wait(self) -> int:
        self.send("r")
        return self.answer()


@contextmanager
def ticking(program: Path, kind: tuple[str, str], rules: Sequence[str], *arguments: object) -> Iterator[tuple[Session, Ticker]]:
    """A timer under rules of its clock."""
    with Session([on(rule, kind) for rule in rules]) as session:
        ticker = Ticker(session, [str(program), *kind, *map(str, arguments)])
        try:
            yield session, ticker
        finally:
            ticker.child.send_signal(signal.SIGKILL)
            ticker.child.communicate()


def on(rule: str, kind: tuple[str, str]) -> str:
    return f"clock:{rule}:clock={kind[1]}"


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_freeze_just_after_a_tick_does_not_repeat_it(program: Path, kind: tuple[str, str]) -> None:
    interval_ns = 300_000_000
    with ticking(program, kind, ["offset=0s"], interval_ns // 1_000_000) as (session, ticker):
        for _ in range(3):
            now = ticker.wait()
            (freeze,) = session.add(on("freeze", kind))
            assert ticker.ticks * interval_ns <= now - ticker.set_after_ns
            ticker.send("r")
            if not ticker.is_quiet():
                now = ticker.answer()  # it came before the clock stood still
                assert ticker.ticks * interval_ns <= now - ticker.set_after_ns
                ticker.send("r")
                assert ticker.is_quiet()
            session.remove(freeze)
            now = ticker.answer()
            assert ticker.ticks * interval_ns <= now - ticker.set_after_ns
        if kind in COUNTING:
            assert ticker.ticks >= (now - ticker.set_before_ns) // interval_ns - 1, "none is lost"


def check_phase(ticker: Ticker, next_ns: int) -> None:
    """The next tick comes so long after the timer was set."""
    left, asked, told = ticker.ask("l")
    assert asked + left <= ticker.set_before_ns + next_ns + SLACK_NS
    assert told + left >= ticker.set_after_ns + next_ns - SLACK_NS


@pytest.mark.parametrize("before", ["offset=0s", "rate=0.5", "freeze"])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_jump_over_several_ticks_counts_them_and_keeps_the_phase(program: Path, kind: tuple[str, str], before: str) -> None:
    with ticking(program, kind, ["offset=0s", before], 1_000_000) as (session, ticker):
        session.add(on("jump=3500s", kind))
        now = ticker.wait()
        assert ticker.ticks == (3 if kind in COUNTING else 1)
        assert now >= ticker.set_after_ns + 3500 * SECOND_NS
        check_phase(ticker, 4000 * SECOND_NS)
        session.add(on("jump=500s", kind))
        ticker.wait()
        assert ticker.ticks == (4 if kind in COUNTING else 2)
        check_phase(ticker, 5000 * SECOND_NS)


@pytest.mark.parametrize("before", ["offset=0s", "freeze"])
@pytest.mark.parametrize("kind", COUNTING, ids="-".join)
def test_ticks_that_nobody_has_read_outlive_changes(program: Path, kind: tuple[str, str], before: str) -> None:
    with ticking(program, kind, ["offset=0s", before], 1_000_000) as (session, ticker):
        session.add(on("jump=3500s", kind))
        time.sleep(QUIET_S)  # for the keeper to see it
        session.add(on("rate=0.5", kind))
        time.sleep(QUIET_S)
        session.add(on("jump=3500s", kind))
        while ticker.ticks < 7:
            ticker.wait()
        assert ticker.ticks == 7
        ticker.send("r")
        assert ticker.is_quiet()


@pytest.mark.parametrize("kind", COUNTING, ids="-".join)
def test_a_timer_that_is_set_into_the_past_counts_what_it_missed(program: Path, kind: tuple[str, str]) -> None:
    with ticking(program, kind, ["offset=1h"], 1_000_000, 2_500_000) as (_, ticker):
        ticker.wait()
        assert ticker.ticks == 3
        check_phase(ticker, 500 * SECOND_NS)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_quick_timer_keeps_count_while_its_clock_changes_all_the_time(program: Path, kind: tuple[str, str]) -> None:
    interval_ns = 2_000_000
    with ticking(program, kind, ["offset=0s"], interval_ns // 1_000_000) as (session, ticker):
        for change in ("rate=3", "freeze", "jump=50ms", "rate=0.3") * 5:
            (number,) = session.add(on(change, kind))
            for _ in range(3 if change != "freeze" else 0):
                ticker.wait()
            session.remove(number)
        session.add(on("freeze", kind))
        ticker.send("r")
        while not ticker.is_quiet():
            ticker.answer()
            ticker.send("r")
        if kind in COUNTING:
            session.add(on("jump=1s", kind))
            now = ticker.answer()
            assert (now - ticker.set_before_ns) // interval_ns - 1 <= ticker.ticks <= (now - ticker.set_after_ns) // interval_ns
