"""What recording a write with its data costs, beside the same write without: `python -m bench.crash_record [ROUNDS]`.

The budget is 0.6 us for 4 KiB. A program makes calls in batches, alone and recorded in turn; what counts is the median of what
the recorded one of each pair took longer. A batch fits into the buffer of the log, so that the call is measured, and not how fast
the file of the log takes what comes; "sustained" are batches that do not fit.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
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
FITS = BUFFER_BYTES // 4096 * 3 // 4
SUSTAINED = 10 * FITS
ROUNDS_IN_A_SESSION = 20


def rounds(compiled: programs.Programs, folder: Path, stacks: bool) -> Iterator[dict[tuple[str, int], tuple[float, float]]]:
    """Yields rounds of one session: nanoseconds of a call alone and recorded, by its name and the size of the batch."""
    subject = Subject("bare", "no tool", ())
    with Session(recording=datalog.recording(), stacks=stacks) as session, DataLog(session, folder=folder) as log:
        alone, recorded = (Worker(subject, one, compiled, stubbed=False) for one in (None, session))
        kinds = [(call, count) for call in CALLS for count in (FITS, SUSTAINED)]
        for number in range(ROUNDS_IN_A_SESSION):
            found = {}
            for call, count in random.sample(kinds, len(kinds)):
                a, b = (worker.batch(f"{call}-data", count) / count for worker in (alone, recorded))
                found[call, count] = a, b
            if number:  # the first round brings the buffer into the program's memory
                yield found
        alone.close()
        recorded.close()
        log.finish()
        if complaints := log.complaints():
            sys.exit("\n".join(complaints))


def main(wanted: int) -> None:
    """Prints a line for each kind of call."""
    with tempfile.TemporaryDirectory(prefix="faultlib-bench.", dir="/dev/shm") as name:
        compiled = programs.compile_all(Path(name))
        for stacks in (True, False):
            found = list[dict[tuple[str, int], tuple[float, float]]]()
            while len(found) < wanted:
                found += rounds(compiled, Path(name), stacks)
            for call in CALLS:
                for count in (FITS, SUSTAINED):
                    alone = statistics.median(one[call, count][0] for one in found)
                    extra = statistics.median(one[call, count][1] - one[call, count][0] for one in found)
                    how = ("with its source line" if stacks else "no source line") + (", sustained" if count == SUSTAINED else "")
                    verdict = "" if count == SUSTAINED else ", " + at_most(extra / 1000, BUDGET_US, "us")
                    print(f"{call:7} of 4 KiB, {how:32} {alone / 1000:6.2f} us bare {extra / 1000:+6.2f} us recorded{verdict}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 200)
