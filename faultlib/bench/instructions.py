"""Instructions per call, counted by valgrind: the same on every machine and under every load, which times are not."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from faultlib.bench.programs import Programs
from faultlib.errors import FaultlibError
from faultlib.inject.session import Session

FEW, MANY = 100, 1100


def per_call(programs: Programs, operation: str, session: Session | None = None, *, stubbed: bool = True) -> float:
    """Returns the instructions that one call of `operation` takes in user space, the calling loop included.

    The program runs with two counts of calls, so that what only happens at its start cancels out. Raises FaultlibError
    if there is no valgrind or it fails.
    """
    program = programs.stubbed if stubbed else programs.micro
    _total(programs, program, operation, FEW, session)  # what a session only learns once
    few = _total(programs, program, operation, FEW, session)
    return (_total(programs, program, operation, MANY, session) - few) / (MANY - FEW)


def _total(programs: Programs, program: str, operation: str, count: int, session: Session | None) -> int:
    # valgrind itself stays outside of the session: only what `env` starts gets the preload.
    env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    preload = f"LD_PRELOAD={session.environment(env=env)['LD_PRELOAD']}" if session else "LD_PRELOAD="
    tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--trace-children=yes"]
    command = [*tool, "/usr/bin/env", preload, program, programs.target, programs.tiny, operation, str(count)]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        raise FaultlibError("counting instructions needs valgrind (apt: valgrind)") from None
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    Path(programs.target).unlink(missing_ok=True)
    if done.returncode or not found:
        raise FaultlibError(f"valgrind failed:\n{done.stderr}")
    return int(found[1].replace(",", ""))
