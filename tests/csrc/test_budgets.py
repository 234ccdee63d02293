"""What the shim may cost, in instructions: the same number on every machine, so a ceiling is a gate and not a guess.

The ceilings are a little above what the code takes today. Whoever raises one should know why.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import faultlib
from faultlib.bench import instructions, programs, subjects
from faultlib.inject import datalog
from faultlib.inject.session import Session

SHIM = Path(faultlib.__file__).parent / "libfaultlib_preload.so"

WRITE = {
    "idle": 8,
    "other": 8,
    "miss": 43,
    "count": 90,
    "sixteen": 43,
    "sixteen-sizes": 325,
    "sixteen-counting": 1120,
    "record": 98,
    "record-times": 133,
}
"""Instructions that one write costs above a bare one, by the state of its session (faultlib.bench.subjects)."""


DATA_BYTES = 4096
WITH_DATA = {"write-data": 1290, "append-data": 1265, "pwrite-data": 1320}
"""Instructions that one write costs above a bare one while its data are recorded, beside the copy of them: one for each byte."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[programs.Programs]:
    yield programs.compile_all(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def bare(compiled: programs.Programs) -> dict[str, float]:
    """A bare call, by operation: the loop, the jump through the linkage table, the stub."""
    return {
        "write": instructions.per_call(compiled, "write"),
        "open": instructions.per_call(compiled, "open", stubbed=False),
        "clock": instructions.per_call(compiled, "clock", stubbed=False),
    }


@pytest.mark.parametrize("name", WRITE)
def test_a_write_stays_within_its_budget(name: str, compiled: programs.Programs, bare: dict[str, float]) -> None:
    subject = next(one for one in subjects.own(compiled) if one.name == name)
    assert subject.start
    with subject.start() as session:
        cost = instructions.per_call(compiled, "write", session) - bare["write"]
    assert 0 < cost <= WRITE[name]


@pytest.mark.parametrize("operation", WITH_DATA)
def test_a_write_with_its_data_stays_within_its_budget(operation: str, compiled: programs.Programs) -> None:
    plain = instructions.per_call(compiled, operation, stubbed=False)
    with Session(recording=datalog.recording(), stacks=False) as session, datalog.DataLog(session):
        cost = instructions.per_call(compiled, operation, session, stubbed=False) - plain
    assert DATA_BYTES < cost <= DATA_BYTES + WITH_DATA[operation]


def test_counting_really_counted(compiled: programs.Programs) -> None:
    with Session([f"write:error=EIO:path={compiled.target}:when=1000000+"]) as session:
        instructions.per_call(compiled, "write", session)
        assert session.report()[0].count.matched == 2 * instructions.FEW + instructions.MANY


@pytest.mark.parametrize("operation", ["open", "clock"])
def test_an_idle_call_costs_a_few_instructions(operation: str, compiled: programs.Programs, bare: dict[str, float]) -> None:
    with Session() as session:
        cost = instructions.per_call(compiled, operation, session, stubbed=False) - bare[operation]
    assert 0 < cost <= {"open": 50, "clock": 8}[operation]  # open stands for open and close


def open_cost(compiled: programs.Programs, *rules: str) -> float:
    with Session(rules) as session:
        return instructions.per_call(compiled, "open", session, stubbed=False)


def test_an_open_is_not_dearer_for_rules_that_want_writes(compiled: programs.Programs, bare: dict[str, float]) -> None:
    """While some rule has a path, opens are tracked: that costs, but not once per rule."""
    one = open_cost(compiled, "write:error=EIO:path=*/none")
    assert one - bare["open"] <= 1300
    assert open_cost(compiled, *[f"write:error=EIO:path=*/none-{i}" for i in range(60)]) == pytest.approx(one, abs=5)
    assert open_cost(compiled, *[f"rename:error=EIO:path=*/none-{i}" for i in range(60)]) == pytest.approx(one, abs=5)


def test_a_write_costs_the_same_among_many_processes(compiled: programs.Programs) -> None:
    with Session([f"write:error=EIO:path={compiled.target}:when=1000000+"]) as session:
        alone = instructions.per_call(compiled, "write", session)
        sleepers = [session.popen(["sleep", "600"]) for _ in range(40)]
        crowded = instructions.per_call(compiled, "write", session)
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()
    assert crowded == pytest.approx(alone, abs=1)


@pytest.mark.parametrize("symbol", ["write", "read", "pwrite64", "fsync", "rename", "stat", "ftruncate", "unlink", "flock", "mmap"])
def test_an_idle_wrapper_is_a_load_a_test_and_a_jump(symbol: str) -> None:
    """Up to the jump into libc there is no call, no stack and no write."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", f"--disassemble={symbol}", SHIM], capture_output=True, text=True, check=True
    ).stdout
    body = re.findall(r"^\s+[0-9a-f]+:\t(.+?)\s*$", listing, re.MULTILINE)
    end = next(i for i, line in enumerate(body) if line.startswith("jmp"))
    names = [line.split()[0] for line in body[: end + 1]]
    assert len([name for name in names if name != "endbr64"]) <= 6, body
    assert not {"push", "call", "sub", "lock", "xchg"} & set(names), body
