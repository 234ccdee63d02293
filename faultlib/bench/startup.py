"""What `faultlib run -- true` takes longer than starting Python and `true` by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from faultlib.bench.measure import Series

RUN = [sys.executable, "-m", "faultlib", "run", "--", "true"]
BARE = ([sys.executable, "-c", "pass"], ["true"])


def _seconds(*commands: list[str]) -> float:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begin = time.monotonic_ns()
    for command in commands:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=env, check=True)
    return float(time.monotonic_ns() - begin)


def run(rounds: int) -> list[Series]:
    """Starts both `rounds` times, in turn, after one start of each that does not count."""
    bare, own = Series("bare", "start", False), Series("run", "start", False)
    _seconds(*BARE)
    _seconds(RUN)
    for _ in range(rounds):
        bare.samples.append(_seconds(*BARE))
        own.samples.append(_seconds(RUN))
    return [bare, own]
