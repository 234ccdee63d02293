"""The small C programs of the benchmark, compiled where it runs: the measured program, a stub of libc, a program to exec."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from faultlib.errors import FaultlibError

SOURCES = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the compiled programs are. `stubbed` is `micro` without the system calls of write and fsync, `target` the file
    that both write to."""

    micro: str
    stubbed: str
    tiny: str
    target: str


def compile_all(folder: Path) -> Programs:
    """Compiles the programs into `folder`. Raises FaultlibError if there is no working C compiler (`CC`, else `cc`)."""
    stub = str(folder / "librt.so.stub")
    programs = Programs(*(str(folder / name) for name in ("micro", "stubbed", "tiny", "target")))
    _compile(programs.tiny, "tiny.c")
    _compile(stub, "stub.c", "-shared", "-fPIC")
    _compile(programs.micro, "micro.c")
    _compile(programs.stubbed, "micro.c", stub)
    return programs


def _compile(target: str, source: str, *more: str) -> None:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [*compiler, "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-o", target, str(SOURCES / source), *more]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise FaultlibError(f"the benchmark needs a C compiler, and {compiler[0]} was not found (apt: gcc libc6-dev)") from None
    if done.returncode:
        raise FaultlibError(f"{shlex.join(command)} failed:\n{done.stderr}")
