"""Which system calls a program makes: with an idle shim the same ones in the same order, and those that join."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import faultlib
from tests.transparency.modes import ARMED, COUNTING

JOIN = {
    "openat", "read", "newfstatat", "fstat", "mmap", "close", "mprotect", "fcntl", "getpid", "readlinkat",
    "getuid", "prctl", "clock_gettime",
}  # fmt: skip
"""The loader's for one more library, then those of the constructor, which does not wake the vDSO up for one look at the clock."""
JOIN_AT_MOST = 25
SPAWNING = {"getpid", "madvise"}
"""Whoever makes a child that shares its memory wants to hear of forks first."""
FORKED = {"getpid", "getuid", "prctl", "clock_gettime"}
EXECUTING = {"openat", "read", "pread64", "close", "faccessat2"}
"""Which loader and which libraries the new image asks for, and whether it finds our link; before the join of that image."""
LOOKING = {"getcwd", "fstat", "readlinkat", "getpid", "madvise"}
"""An armed shim asks once what is behind a descriptor, where the working directory is, and who it is: then it wants to hear of forks."""


def traces(program: Path, work: Path, link: str | None, *arguments: str) -> list[list[str]]:
    """The calls of each process of the program, in the order of their pids, without what differs in every run."""
    work.mkdir()
    preload = ["-E", f"LD_PRELOAD={link}"] if link else []
    command = ["strace", "-ff", "-o", "t", *preload, program, *arguments]
    null = subprocess.DEVNULL
    subprocess.run(command, cwd=work, env={"PATH": "/usr/bin:/bin"}, stdin=null, stdout=null, check=True)
    files = sorted(work.glob("t.*"), key=lambda path: int(path.suffix[1:]))
    found = []
    for file in files:
        text = re.sub(r"0x[0-9a-f]+|(?<=getrandom\().*?(?=,)", "ADDRESS", file.read_text())
        text = re.sub(r"st_[a-z]time=[^,}]*|si_[a-z]time=.*|\b\d{4,}\b|^[+-]{3} .*\n", "", text, flags=re.MULTILINE)
        found.append([re.sub(r"\s+= ", " = ", line) for line in text.splitlines()])
    return found


def between_marks(calls: Sequence[str]) -> list[str]:
    """What the program's own code did."""
    first, last = (next(i for i, call in enumerate(calls) if call.startswith(f"fadvise64(-1, {n},")) for n in (1, 2))
    return list(calls[first:last])


def additions(bare: Sequence[str], shimmed: Sequence[str]) -> list[str]:
    """The names of the calls that `shimmed` has beyond `bare`. Fails if one of bare's is missing.

    Order is not judged here: a shell that finds one more variable in its environment allocates memory for it earlier.
    """
    before, after = (Counter(call.split("(")[0] for call in calls) for calls in (bare, shimmed))
    assert not before - after, f"not made any more: {before - after}"
    return list((after - before).elements())


@pytest.fixture
def program(compiled: Callable[[str], Path]) -> Path:
    return compiled("calls")


def test_an_idle_shim_adds_no_call(program: Path, tmp_path: Path) -> None:
    (bare,) = traces(program, tmp_path / "bare", None)
    with faultlib.Session() as session:
        (idle,) = traces(program, tmp_path / "idle", session.environment()["LD_PRELOAD"])
    assert len(between_marks(bare)) > 60
    assert between_marks(idle) == between_marks(bare)
    joining = additions(bare, idle)
    assert set(joining) <= JOIN
    assert len(joining) <= JOIN_AT_MOST


@pytest.mark.parametrize("rules", [ARMED, COUNTING], ids=["armed", "counting"])
def test_an_armed_shim_only_looks(program: Path, tmp_path: Path, rules: Sequence[str]) -> None:
    (bare,) = traces(program, tmp_path / "bare", None)
    with faultlib.Session(rules) as session:
        (armed,) = traces(program, tmp_path / "armed", session.environment()["LD_PRELOAD"])
    assert set(additions(between_marks(bare), between_marks(armed))) <= LOOKING


def test_processes_only_join(program: Path, tmp_path: Path) -> None:
    """fork, vfork, posix_spawn, system and popen, under an idle shim."""
    bare = traces(program, tmp_path / "bare", None, "processes")
    with faultlib.Session() as session:
        idle = traces(program, tmp_path / "idle", session.environment()["LD_PRELOAD"], "processes")
    main, forked, vforked, *spawned, thread = (additions(*pair) for pair in zip(bare, idle, strict=True))
    assert set(main) <= JOIN | SPAWNING and len(main) <= JOIN_AT_MOST + len(SPAWNING)
    assert set(forked) <= FORKED
    assert set(vforked) <= FORKED
    assert len(spawned) == 3
    for names in spawned:
        assert set(names) <= JOIN | FORKED | EXECUTING
        assert len(names) <= JOIN_AT_MOST + len(EXECUTING) + 8
    assert not thread
