"""Rules that come and go in a running session: which of several acts, and what counts on meanwhile."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faultlib._core import lib

import faultlib as api
from faultlib.errors import FaultlibError

WRITER = """
import os, sys
fd = os.open("f", os.O_RDWR | os.O_CREAT)
for line in sys.stdin:
    try: print(os.pwrite(fd, b"x", 0), flush=True)
    except OSError as error: print(-error.errno, flush=True)
"""
EIO, ENOSPC, EDQUOT = -5, -28, -122


@contextmanager
def writer(session: api.Session, cwd: Path) -> Iterator[Callable[[], int]]:
    """A program whose one thread makes a pwrite, or fails in it, each time it is asked to."""
    child = session.popen([sys.executable, "-c", WRITER], cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def write() -> int:
        assert child.stdin and child.stdout
        child.stdin.write("\n")
        child.stdin.flush()
        return int(child.stdout.readline())

    with child:
        yield write


def come_and_go(session: api.Session, times: int) -> None:
    for _ in range(times):
        session.remove(*session.add("fsync:error=EIO:path=*/none"))


@pytest.mark.parametrize("passed", [0, 1, 61, 62, 63, 64, 200])
def test_the_rule_that_was_added_first_acts(tmp_path: Path, passed: int) -> None:
    """However many rules came and went in between: a new one never stands before an older one."""
    with api.Session(cwd=tmp_path) as session, writer(session, tmp_path) as write:
        first, second = session.add("pwrite:error=EIO:path=f", "pwrite:error=ENOSPC:path=f")
        come_and_go(session, passed)
        assert write() == EIO
        session.remove(first)
        session.add("pwrite:error=EDQUOT:path=f")
        assert write() == ENOSPC
        session.remove(second)
        assert write() == EDQUOT


@pytest.mark.parametrize("passed", [0, 1, 62, 63])
def test_a_thread_goes_on_counting_while_other_rules_come_and_go(tmp_path: Path, passed: int) -> None:
    with api.Session(cwd=tmp_path) as session, writer(session, tmp_path) as write:
        first, *_ = session.add(
            f"pwrite:error=EDQUOT:path=f:scope=thread:when={1 << 40}",
            "pwrite:error=ENOSPC:path=f:scope=thread:when=4",
            "pwrite:error=EIO:path=f:scope=thread:when=6",
        )
        assert [write(), write()] == [1, 1]
        session.remove(first)
        come_and_go(session, passed)
        session.add(f"pwrite:error=EDQUOT:path=f:scope=thread:when={1 << 40}")
        assert [write(), write(), write(), write()] == [1, ENOSPC, 1, EIO]


def test_as_many_rules_as_there_is_room_for(tmp_path: Path) -> None:
    """All of them count in their own place, also those that took that of another."""
    with api.Session(cwd=tmp_path) as session, writer(session, tmp_path) as write:
        come_and_go(session, 5)
        counting = f"pwrite:error=EIO:path=f:scope=thread:when={1 << 40}"
        slots = session.add(*[counting] * lib.FL_LIVE_RULES)
        assert write() == 1
        session.remove(*slots[::2])
        session.add(*[counting] * (lib.FL_LIVE_RULES // 2 - 1), "pwrite:error=EIO:path=f:scope=thread:when=2")
        assert [write(), write()] == [1, EIO]
        report = {row.slot: row.count.matched for row in session.report()}
    assert [report[slot] for slot in slots] == [1, 3] * (lib.FL_LIVE_RULES // 2)


def test_rules_that_find_no_room_leave_nothing_behind(tmp_path: Path) -> None:
    """Not even the first of them, which had found its own."""
    with api.Session(cwd=tmp_path) as session, writer(session, tmp_path) as write:
        tail = "/".join(["x" * 250] * 8)
        with pytest.raises(FaultlibError, match="no room for more patterns"):
            for i in range(lib.FL_STRING_BYTES // len(tail)):
                session.remove(*session.add(f"pwrite:error=EIO:path=*/{i}/{tail}"))
        with pytest.raises(FaultlibError, match="no room for more patterns"):
            session.add("pwrite:error=EIO", f"pwrite:error=EIO:path=*/other/{tail}")
        assert not session.block.live.rules
        session.add("pwrite:error=ENOSPC")
        assert write() == ENOSPC
