"""What a write of 4 KiB costs more while it is recorded with its data, as for a crash: `python -m bench.crash_record [ROUNDS]`.

Two processes take turns, batch by batch; a batch fits into the ring that its data go through, as what most programs write at
once does. The loop around the writes is in both figures, not in their difference.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench.budgets import at_most
from faultlib.bench.measure import Series
from faultlib.inject import datalog
from faultlib.inject.datalog import DataLog
from faultlib.inject.session import Session

SIZE, BATCH = 4096, 100
BUDGET_US = 0.6
WRITER = f"""
import os, sys, time
fd, page = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), b"x" * {SIZE}
os.write(fd, page * {BATCH})
for line in sys.stdin:
    os.lseek(fd, 0, os.SEEK_SET)
    began = time.perf_counter_ns()
    for _ in range({BATCH}):
        os.write(fd, page)
    print(time.perf_counter_ns() - began, flush=True)
"""


class Cost(NamedTuple):
    """Nanoseconds for a write, and how many writes were recorded."""

    bare_ns: float
    recorded_ns: float
    writes: int


class Writer:
    """A process that writes a batch when it is asked to, alone or in a session."""

    def __init__(self, file: Path, session: Session | None) -> None:
        env = session.environment(env=dict(os.environ)) if session else None
        command = [sys.executable, "-c", WRITER, file]
        self._child = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.series = Series(file.name, "write", stubbed=False)

    def batch(self) -> None:
        """Measures one."""
        assert self._child.stdin and self._child.stdout
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        self.series.samples.append(int(self._child.stdout.readline()) / BATCH)

    def close(self) -> None:
        """Lets it end."""
        self._child.communicate()


def measure(rounds: int) -> Cost:
    """Has so many batches written by each."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="faultlib-bench.", dir="/dev/shm") as name:
        folder = Path(name)
        with Session(recording=datalog.recording(), stacks=False) as session, DataLog(session, folder=folder) as log:
            writers = bare, recorded = Writer(folder / "bare", None), Writer(folder / "recorded", session)
            for _ in range(rounds):
                for writer in chance.sample(writers, len(writers)):
                    writer.batch()
            for writer in writers:
                writer.close()
            log.finish()
            writes = sum(entry.data.size == SIZE for entry in log.entries())
    return Cost(bare.series.ns, recorded.series.ns, writes)


def main(rounds: int) -> None:
    """Prints what it costs."""
    cost = measure(rounds)
    more_us = (cost.recorded_ns - cost.bare_ns) / 1000
    print(
        f"a write of 4 KiB: {cost.bare_ns:,.0f} ns, recorded with its data {cost.recorded_ns:,.0f} ns, +{more_us:.2f} us; "
        f"{at_most(more_us, BUDGET_US, 'us')}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 200)
