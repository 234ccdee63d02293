"""What the clock tests share: compiled programs, and the lines in which they tell how long they waited."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from faultlib import Session

SOURCES = Path(__file__).parent.parent / "targets" / "clock"
DEADLINE_S = 60
"""No test waits longer for a program, whatever its clock says."""
SETTLED_S = 0.4
"""After it has said "ready", a program gets so long until all its threads really wait."""
LATE_S = 20
"""How late, really, a wait may come back on a busy machine."""


def compile_c(name: str, folder: Path) -> Path:
    """Builds a program of tests/targets/clock and returns where it is."""
    source, program = SOURCES / name, folder / Path(name).stem
    compiler = ["g++", "-std=c++20"] if source.suffix == ".cc" else ["gcc"]
    subprocess.run([*compiler, "-O1", "-Wall", "-Wextra", "-pthread", source, "-o", program], check=True)
    return program


@dataclass(frozen=True)
class Waited:
    """One wait, in milliseconds of its own clock and really."""

    name: str
    outcome: str
    virtual_ms: float
    real_ms: float


def read(lines: Sequence[str]) -> list[Waited]:
    """Reads "name outcome virtual [real]" lines."""
    found = [line.split() for line in lines if line.strip() != "ready"]
    return [Waited(f[0], f[1], float(f[2]), float(f[3]) if len(f) > 3 else float("nan")) for f in found]


class Target:
    """A program that says "ready" and then waits, under a session that can be changed meanwhile."""

    def __init__(self, session: Session, command: Sequence[str | Path]) -> None:
        words = [str(word) for word in command]
        self.child = session.popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.child.stdout is not None
        self.early: list[str] = []
        while (line := self.child.stdout.readline()) and line != "ready\n":
            self.early.append(line)
        time.sleep(SETTLED_S)

    def finish(self) -> list[Waited]:
        """Waits for its end, under the hard deadline."""
        try:
            out, _ = self.child.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, signal.SIGKILL)
            out, _ = self.child.communicate()
            raise AssertionError(f"still waiting; what came back: {out}") from None
        assert self.child.returncode == 0
        return read([*self.early, *out.splitlines()])
