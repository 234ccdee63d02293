"""What a write of 4 KiB costs more while it is recorded with its data, as for a crash: `python -m bench.crash_record [ROUNDS]`.

Both take turns, batch by batch; a batch fits into the ring that its data go through, as the bursts of most programs do.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench.budgets import at_most
from faultlib.bench import programs
from faultlib.bench.measure import Series, Worker
from faultlib.bench.subjects import Subject
from faultlib.inject import datalog
from faultlib.inject.datalog import DataLog
from faultlib.inject.session import Session

BATCH = 100
BUDGET_US = 0.6


class Cost(NamedTuple):
    """Nanoseconds for a write, and how many writes were recorded."""

    bare_ns: float
    recorded_ns: float
    writes: int


def measure(rounds: int) -> Cost:
    """Has so many batches written, bare and recorded."""
    bare, recorded = Series("bare", "page", False), Series("recorded", "page", False)
    chance = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="faultlib-bench.", dir="/dev/shm") as folder:
        compiled = programs.compile_all(Path(folder))
        with Session(recording=datalog.recording(), stacks=False) as session, DataLog(session, folder=folder) as log:
            subjects = [(Subject(one.subject, "", ("page",)), one, under) for one, under in ((bare, None), (recorded, session))]
            workers = [(Worker(subject, under, compiled, False), series) for subject, series, under in subjects]
            for _ in range(rounds):
                for worker, series in chance.sample(workers, len(workers)):
                    series.samples.append(worker.batch("page", BATCH) / BATCH)
            for worker, _ in workers:
                worker.close()
            log.finish()
            writes = sum(entry.data.size == 4096 for entry in log.entries())
    return Cost(bare.ns, recorded.ns, writes)


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
