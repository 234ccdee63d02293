"""What recording a write with its data costs, beside the same write without: `python -m bench.crash_record [ROUNDS]`.

The budget is 0.6 us for 4 KiB. A program makes calls in batches, alone and recorded in turn; what counts is the median of what
the recorded one of each pair took longer. Beside it stands what the first decile of the recorded ones is above that of the
others, as whatever else a machine does only adds. A batch fits into the log's buffer, so that the call is measured, and not how
fast the log's file takes what comes; "sustained" are batches that do not fit.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.budgets import at_most
from faultlib.bench import programs
from faultlib.bench.measure import Worker
from faultlib.bench.subjects import Subject
from faultlib.inject import datalog
from faultlib.inject.datalog import BUFFER_BYTES, DataLog
from faultlib.inject.session import Session

BUDGET_US = 0.6
CALLS = ("write", "append", "pwrite")
FITS = BUFFER_BYTES // 4096 // 4
SUSTAINED = 30 * FITS
ROUNDS_IN_A_SESSION = 50
Round = dict[str, tuple[float, float]]
"""Nanoseconds of a call alone and recorded, by its name."""


def wait_until_empty(session: Session) -> None:
    """Waits until all that was recorded has gone into the log's file."""
    log = session.block.ctl.datalog
    while log.tail != log.head:
        time.sleep(0.0005)


def pair(alone: Worker, recorded: Worker, operation: str, count: int) -> tuple[float, float]:
    """Returns what a call takes alone and recorded. The programs have been at rest: a batch that does not count wakes each up."""
    took = dict[Worker, float]()
    for worker in random.sample([alone, recorded], 2):
        worker.batch(operation, FITS)
        took[worker] = worker.batch(operation, count) / count
    return took[alone], took[recorded]


def rounds(compiled: programs.Programs, folder: Path, count: int, stacks: bool) -> Iterator[Round]:
    """Yields the rounds of one session, with batches of `count` calls."""
    subject = Subject("bare", "no tool", ())
    with Session(recording=datalog.recording(), stacks=stacks) as session, DataLog(session, folder=folder) as log:
        alone, recorded = (Worker(subject, one, compiled, stubbed=False) for one in (None, session))
        for number in range(ROUNDS_IN_A_SESSION):
            found: Round = {}
            for call in random.sample(CALLS, len(CALLS)):
                wait_until_empty(session)
                found[call] = pair(alone, recorded, f"{call}-data", count)
            if number > 2:  # the first rounds bring the buffer into the program's memory
                yield found
        alone.close()
        recorded.close()
        log.finish()
        if complaints := log.complaints():
            sys.exit("\n".join(complaints))


def line(call: str, how: str, found: list[Round]) -> str:
    """Says what one kind of call costs."""
    pairs = [one[call] for one in found]
    bare, own = (sorted(one)[len(pairs) // 10] for one in zip(*pairs, strict=True))
    extra = statistics.median(own - bare for bare, own in pairs)
    verdict = "" if "sustained" in how else ", " + at_most(extra / 1000, BUDGET_US, "us")
    figures = f"{bare / 1000:5.2f} us bare, recorded {extra / 1000:+5.2f} us ({(own - bare) / 1000:+5.2f})"
    return f"{call:6} of 4 KiB, {how:31} {figures}{verdict}"


def main(wanted: int) -> None:
    """Prints a line for each kind of call."""
    with tempfile.TemporaryDirectory(prefix="faultlib-bench.", dir="/dev/shm") as name:
        compiled = programs.compile_all(Path(name))
        for stacks, size in ((True, ""), (False, ""), (True, ", sustained"), (False, ", sustained")):
            found = list[Round]()
            while len(found) < (wanted // 5 if size else wanted):
                found += rounds(compiled, Path(name), SUSTAINED if size else FITS, stacks)
            for call in CALLS:
                print(line(call, f"{'with its source line' if stacks else 'no source line'}{size}", found))


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 300)
