"""Timed waits of Python, C++, node and Java keep to a faked clock: none is early by it, none hangs, also when it changes live."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faultlib import Session
from tests.inject.clock_targets import SOURCES, Target, Waited, compile_c

Command = list[str | Path]
"""Followed by the clock and the milliseconds."""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Callable[[str, int], Command]]:
    """How to start the program of a language."""
    folder = tmp_path_factory.mktemp("languages")
    built: dict[str, Callable[[str, int], Command]] = {}

    def make(language: str) -> Callable[[str, int], Command]:
        if language == "python":
            return lambda clock, ms: [sys.executable, SOURCES / "waits.py", str(ms / 1000)]
        if language == "node":
            return lambda clock, ms: ["node", SOURCES / "waits.js", str(ms)]
        if language == "c++":
            program = compile_c("waits.cc", folder)
            return lambda clock, ms: [program, clock, str(ms)]
        subprocess.run(["javac", "-d", folder, SOURCES / "Waits.java"], check=True)
        return lambda clock, ms: ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", folder, "Waits", clock, str(ms)]

    def get(language: str) -> Callable[[str, int], Command]:
        if language not in built:
            built[language] = make(language)
        return built[language]

    return get


Build = Callable[[str], Callable[[str, int], Command]]
PROGRAMS = [
    ("python", "monotonic", 12), ("node", "monotonic", 4), ("c++", "monotonic", 7), ("c++", "realtime", 7), ("java", "monotonic", 6),
    ("java", "realtime", 1),
]  # fmt: skip
programs = pytest.mark.parametrize(("language", "clock", "waits"), PROGRAMS)
MS_OF_ROUNDING = 2
"""Java and node count in whole milliseconds."""


def check(waited: list[Waited], waits: int, ms: float) -> None:
    assert len(waited) == waits
    assert [w for w in waited if w.virtual_ms < ms - MS_OF_ROUNDING] == []
    assert {w.outcome for w in waited} <= {"True", "true", "False", "1"}, waited


@programs
@pytest.mark.parametrize(("rule", "ms"), [("offset=+1h", 300), ("rate=0.5", 300), ("rate=10", 20000)])
def test_waits_follow_the_clock(build: Build, language: str, clock: str, waits: int, rule: str, ms: int) -> None:
    with Session([f"clock:{rule}:clock={clock}"]) as session:
        check(Target(session, build(language)(clock, ms)).finish(), waits, ms)


@programs
@pytest.mark.parametrize(
    ("before", "then"), [("freeze", "thaw"), ("offset=1s", "jump=+1h"), ("rate=0.5", "rate=10000"), ("rate=10", "rate=1000")]
)
def test_waits_notice_a_change(build: Build, language: str, clock: str, waits: int, before: str, then: str) -> None:
    """libstdc++ sleeps until a wall-clock time by relative sleeps, which run on MONOTONIC: there both clocks change."""
    ms = 300 if then == "thaw" else 1800000
    program = build(language)(clock, ms)
    if (language, clock) == ("c++", "realtime"):
        clock = "realtime,monotonic"
    with Session([f"clock:offset=1h:clock={clock}"]) as session:
        (slot,) = session.add(f"clock:{before}:clock={clock}") if then != "thaw" else (-1,)
        target = Target(session, program)
        if then == "thaw":  # not before: a start-up may wait as well
            (slot,) = session.add(f"clock:freeze:clock={clock}")
            session.remove(slot)
        else:
            session.add(f"clock:{then}:clock={clock}")
        check(target.finish(), waits, ms)


@programs
def test_a_standing_clock_ends_with_the_session(build: Build, language: str, clock: str, waits: int) -> None:
    with Session([f"clock:rate=0.9:clock={clock}"]) as session:
        target = Target(session, build(language)(clock, 500))
        session.add(f"clock:freeze:clock={clock}")
    assert len(target.finish()) == waits


@pytest.mark.parametrize("rule", ["offset=+1h", "rate=0.001", "freeze"])
@pytest.mark.parametrize("language", ["python", "node", "java"])
def test_a_wall_clock_does_not_touch_waits(build: Build, language: str, rule: str) -> None:
    """REALTIME by default: what these languages wait by is MONOTONIC."""
    waits = {name: n for name, clock, n in PROGRAMS if clock == "monotonic"}[language]
    with Session([f"clock:{rule}"]) as session:
        check(Target(session, build(language)("monotonic", 300)).finish(), waits, 300)


WALL_CLOCKS = {
    "python": [
        sys.executable,
        "-c",
        "import time, datetime; print(time.time(), datetime.datetime.now().timestamp(),"
        "time.mktime(time.strptime(time.strftime('%Y %m %d %H %M %S'), '%Y %m %d %H %M %S')),"
        "time.mktime(time.localtime()), time.clock_gettime(time.CLOCK_TAI))",
    ],
    "node": ["node", "-e", "console.log(Date.now() / 1000, new Date().getTime() / 1000)"],
    "date": ["date", "+%s.%N"],
    "bash": ["bash", "-c", "echo $EPOCHREALTIME $(printf '%(%s)T' -1)"],
    "perl": ["perl", "-MTime::HiRes", "-e", "print time(), ' ', Time::HiRes::time()"],
}


@pytest.mark.parametrize("language", WALL_CLOCKS)
def test_every_wall_clock_is_off(language: str) -> None:
    with Session(["clock:offset=-7d"]) as session:
        done = session.run(WALL_CLOCKS[language], capture_output=True, text=True, timeout=60)
    said = [float(word) for word in done.stdout.split()]
    assert said
    assert all(abs(value - (time.time() - 7 * 86400)) < 90 for value in said), said
