"""Processes in a pid namespace of their own: by the numbers that they go by there, they would be taken for others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faultlib._core import lib

import faultlib as api

pytestmark = pytest.mark.skipif(
    subprocess.run(["unshare", "--fork", "--pid", "true"], capture_output=True, check=False).returncode != 0,
    reason="a pid namespace needs root",
)
INSIDE = ["unshare", "--fork", "--pid", "--kill-child"]
TIMEOUT_S = 60

# Until its number stands for nobody outside, the program forks; then says by which number it is known there, and waits.
HIDDEN = """
import os, sys
while os.getpid() == 1 or os.path.exists(f"/proc/{os.getpid()}"):
    if pid := os.fork():
        os.waitpid(pid, 0)
        os._exit(0)
print(os.readlink("/proc/self"), os.getpid(), flush=True)
for line in sys.stdin:
    try: os.close(os.open("f", os.O_RDWR | os.O_CREAT)); print("ok", flush=True)
    except OSError as error: print(error.errno, flush=True)
"""


def hidden(session: api.Session, cwd: Path) -> tuple[subprocess.Popen[str], int, int]:
    """The process, its number out here, and that in there."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = session.popen([*INSIDE, sys.executable, "-c", HIDDEN], cwd=cwd, text=True, **pipes)
    assert child.stdout
    known, own = map(int, child.stdout.readline().split())
    assert known != own
    return child, known, own


def ask(child: subprocess.Popen[str]) -> str:
    assert child.stdin and child.stdout
    child.stdin.write("\n")
    child.stdin.flush()
    return child.stdout.readline().strip()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@contextmanager
def full_table(session: api.Session, but: int | None = None) -> Iterator[list[int]]:
    """Every slot that can be had, except one, is taken by a process that lives: this one. Gives the slots."""
    procs = session.block.area("struct fl_proc", "procs_off")
    free = lib.FL_PROC_FREE, lib.FL_PROC_EXITED
    filled = [i for i in range(lib.FL_MAX_PROCS) if i != but and (procs[i].state in free or not alive(procs[i].pid))]
    for i in filled:
        procs[i].pid, procs[i].state = os.getpid(), lib.FL_PROC_LIVE
    try:
        yield filled
    finally:
        for i in filled:
            if procs[i].pid == os.getpid():
                procs[i].state = lib.FL_PROC_FREE


def test_each_goes_by_the_number_that_the_controller_sees(tmp_path: Path) -> None:
    """Three namespaces with a process 1 and a process 2 each: none takes another's place."""
    code = "import os; print(os.readlink('/proc/self'), flush=True); os.close(os.open('f', 65, 0o600))"
    script = f'"{sys.executable}" -c "{code}"; exec "{sys.executable}" -c "{code}; input()"'
    with api.Session(["open:error=EIO:path=none"], cwd=tmp_path) as session:
        children = [
            session.popen([*INSIDE, "bash", "-c", script], cwd=tmp_path, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(3)
        ]
        said = [int(child.stdout.readline()) for child in children for _ in range(2) if child.stdout]
        assert len(set(said)) == 6
        assert {p.pid for p in session.processes() if "python" in p.exe} == set(said)
        for child in children:
            child.communicate("\n", timeout=TIMEOUT_S)
        lineages = [p.lineage for p in session.processes()]
    assert len(lineages) == len(set(lineages))
    assert not any("?" in lineage for lineage in lineages), "nobody lost his place in the tree"


def test_a_full_table_does_not_take_them_for_dead(tmp_path: Path) -> None:
    with api.Session(["open:error=EIO:path=f"], cwd=tmp_path) as session:
        child, known, _ = hidden(session, tmp_path)
        before = next(p for p in session.processes() if p.pid == known)
        with full_table(session):
            for _ in range(3):
                session.run(["true"], cwd=tmp_path)
        after = next(p for p in session.processes() if p.slot == before.slot)
        assert (after.pid, after.lineage, after.state) == (known, before.lineage, "live")
        assert ask(child) == "5"
        child.communicate(timeout=TIMEOUT_S)


def test_nor_do_they_take_others_for_dead(tmp_path: Path) -> None:
    with api.Session(["open:error=EIO:path=f"], cwd=tmp_path) as session, full_table(session) as filled:
        session.run([*INSIDE, "bash", "-c", "true; /bin/true"], cwd=tmp_path)
        procs = session.block.area("struct fl_proc", "procs_off")
        assert {procs[i].pid for i in filled} == {os.getpid()}
        assert session.block.ctl.attach_refused > 0


def test_the_slot_of_one_that_was_killed_is_used_again(tmp_path: Path) -> None:
    with api.Session(["open:error=EIO:path=f"], cwd=tmp_path) as session:
        child, known, _ = hidden(session, tmp_path)
        slot = next(p.slot for p in session.processes() if p.pid == known)
        child.kill()
        child.communicate(timeout=TIMEOUT_S)
        until(lambda: not any(alive(p.pid) for p in session.processes()))
        procs = session.block.area("struct fl_proc", "procs_off")
        with full_table(session, but=slot):
            session.run(["true"], cwd=tmp_path)
            assert procs[slot].pid not in (known, os.getpid())
        assert not session.block.ctl.attach_refused


def test_one_that_was_stopped_goes_on_when_the_rule_is_gone(tmp_path: Path) -> None:
    with api.Session(cwd=tmp_path) as session:
        child, known, _ = hidden(session, tmp_path)
        rule = session.add("open:stop:path=f")
        assert child.stdin and child.stdout
        child.stdin.write("\n")
        child.stdin.flush()
        stat = Path(f"/proc/{known}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
        session.remove(*rule)
        assert child.stdout.readline() == "ok\n"
        child.communicate(timeout=TIMEOUT_S)


def test_one_that_went_into_a_namespace_that_was_there(tmp_path: Path) -> None:
    """nsenter: nobody in the session was that namespace's first process."""
    keeper = subprocess.Popen([*INSIDE, "sh", "-c", "echo; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert keeper.stdout
    keeper.stdout.readline()
    first = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().strip()
    with api.Session(["open:error=EIO:path=none"], cwd=tmp_path) as session:
        code = "import os; print(os.readlink('/proc/self'))"
        done = session.run(["nsenter", "-t", first, "-p", sys.executable, "-c", code], capture_output=True, text=True)
        assert int(done.stdout) in {p.pid for p in session.processes() if "python" in p.exe}
    keeper.communicate("\n", timeout=TIMEOUT_S)
