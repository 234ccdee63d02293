"""Interleaved measurement: one living process per subject, each asked for a batch in turn, round after round."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from faultlib.bench.programs import Programs
from faultlib.bench.subjects import Subject
from faultlib.errors import FaultlibError
from faultlib.inject.session import Session

BATCH_NS = {"write": 1_000_000, "open": 2_000_000, "fsync": 1_000_000, "clock": 1_000_000, "fork": 4_000_000, "exec": 8_000_000}
"""How long one batch of an operation should take: long enough to forget what the one before left in the caches."""


@dataclass(slots=True)
class Series:
    """Nanoseconds per call, one for each round."""

    subject: str
    operation: str
    stubbed: bool
    samples: list[float] = field(default_factory=list)

    @property
    def ns(self) -> float:
        """The first decile: whatever else a machine does only adds, and where others use the same core it nearly doubles."""
        return sorted(self.samples)[len(self.samples) // 10]

    def over(self, other: Series) -> float:
        """What this one cost more than `other`."""
        return self.ns - other.ns


class Worker:
    """A running measured program under one subject."""

    def __init__(self, subject: Subject, session: Session | None, programs: Programs, stubbed: bool) -> None:
        self.subject, self.stubbed = subject, stubbed
        env = {**os.environ, **subject.environment}
        env.pop("LD_PRELOAD", None)
        if session:
            env = session.environment(env=env)
        if subject.preload:
            env["LD_PRELOAD"] = ":".join(subject.preload)
        program = programs.stubbed if stubbed else programs.micro
        self._process = subprocess.Popen(
            [*subject.wrapper, program, programs.target, programs.tiny],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def batch(self, operation: str, count: int) -> int:
        """Has `count` calls made and returns the nanoseconds they took. Raises FaultlibError if the program is gone."""
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(f"{operation} {count}\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())
        except (BrokenPipeError, ValueError):
            raise FaultlibError(f"the measured program under {self.subject.title!r} ended at {operation!r}") from None

    def calibrate(self, operation: str) -> int:
        """Returns how many calls make a batch of the wanted length. The best of several: one may be interrupted."""
        count = 1
        while (took := min(self.batch(operation, count) for _ in range(4))) < BATCH_NS[operation] / 8:
            count *= 4
        return max(1, round(count * BATCH_NS[operation] / took))

    def close(self) -> None:
        """Lets the program end."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def run(
    subjects: Sequence[Subject], programs: Programs, rounds: int, progress: Callable[[int], None] = lambda _: None
) -> list[Series]:
    """Measures every operation of every subject `rounds` times; in each round all subjects take turns, in random order.

    `progress` is told each finished round. Raises FaultlibError if a measured program fails.
    """
    order = random.Random(1)
    with ExitStack() as stack:
        plan: list[tuple[Worker, Series, int]] = []
        for subject in subjects:
            session = stack.enter_context(subject.start()) if subject.start else None
            for stubbed, operations in ((False, subject.real), (True, subject.stubbed)):
                if not operations:
                    continue
                worker = Worker(subject, session, programs, stubbed)
                stack.callback(worker.close)
                for operation in operations:
                    series = Series(subject.name, operation, stubbed)
                    plan.append((worker, series, worker.calibrate(operation)))
        kinds = sorted({(series.stubbed, series.operation) for _, series, _ in plan})
        for done in range(rounds):
            for kind in kinds:
                group = [step for step in plan if (step[1].stubbed, step[1].operation) == kind]
                for worker, series, count in order.sample(group, len(group)):
                    series.samples.append(worker.batch(series.operation, count) / count)
            progress(done + 1)
        return [series for _, series, _ in plan]
