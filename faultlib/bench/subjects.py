"""What is compared: the measured program bare, under a session in each of its states, and under peers, where installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from faultlib.bench.programs import Programs
from faultlib.inject.recording import Recording
from faultlib.inject.session import Session

NEVER = 1 << 60
"""A window that no run reaches: such a rule counts and does not act."""

IO = ("write", "open", "fsync")
LIBFIU = ("/usr/lib/fiu", "/usr/local/lib/fiu", "/usr/lib64/fiu")
LIBFAKETIME = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime",
               "/usr/local/lib/faketime", "/usr/lib64/faketime")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Subject:
    """One way to run the measured program.

    `start` makes its session, if it has one. `preload` and `environment` are a peer's, `wrapper` is a command in front.
    `real` are the operations that are measured as they are, `stubbed` those whose system call is left out.
    """

    name: str
    title: str
    real: tuple[str, ...]
    stubbed: tuple[str, ...] = ()
    start: Callable[[], Session] | None = None
    preload: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()


def bare() -> Subject:
    """The program alone, which everything is compared with."""
    return Subject("bare", "no tool", (*IO, "clock", "fork", "exec"), ("write", "fsync"))


def own(programs: Programs) -> list[Subject]:
    """The states of a session, from doing nothing to doing the most on every call."""
    hit, miss = f"path={programs.target}", "path=*/no-such-file"
    counting = f"write:error=EIO:{hit}:when={NEVER}"

    def under(*rules: str) -> Callable[[], Session]:
        return lambda: Session(rules)

    def recording(times: bool) -> Callable[[], Session]:
        return lambda: Session(recording=Recording(capacity=4096, times=times, wait=False), stacks=False)

    return [
        Subject("idle", "shim, no rule", (*IO, "clock", "fork", "exec"), ("write", "fsync"), under()),
        Subject("other", "64 rules of other families", ("write",), ("write",),
                under(*[f"rename:error=EIO:path=*/none-{i}" for i in range(64)])),
        Subject("miss", "one path rule, no match", IO, ("write",), under(f"write:error=EIO:{miss}")),
        Subject("count", "one path rule, counting", (*IO, "fork", "exec"), ("write",), under(counting)),
        Subject("sixteen", "16 path rules, no match", ("write", "open"), ("write",),
                under(*[f"write:error=EIO:{miss}-{i}" for i in range(16)])),
        Subject("sixteen-sizes", "16 size rules, no match", ("write",), ("write",),
                under(*[f"write:error=EIO:{hit}:size={NEVER + i}+" for i in range(16)])),
        Subject("sixteen-counting", "16 path rules, counting", ("write",), ("write",), under(*[counting] * 16)),
        Subject("record", "recording, no times", IO, ("write",), recording(False)),
        Subject("record-times", "recording with times", ("write",), ("write",), recording(True)),
        Subject("clock", "clock 1 h ahead", ("clock",), (), under("clock:offset=+1h")),
    ]  # fmt: skip


def _library(folders: Iterable[str], name: str) -> str | None:
    return next((str(path) for folder in folders if (path := Path(folder) / name).exists()), None)


def peers() -> tuple[list[Subject], list[str]]:
    """The peers that this machine has, and the names of those that it has not."""
    found: list[Subject] = []
    missing: list[str] = []
    fiu, control = _library(LIBFIU, "fiu_posix_preload.so"), _library(LIBFIU, "fiu_run_preload.so")
    if fiu and control:
        preload, one = (control, fiu), "enable_random name=posix/io/rw/write,probability=0"
        found.append(Subject("libfiu", "libfiu, nothing enabled", (*IO, "fork", "exec"), ("write", "fsync"), None, preload))
        found.append(Subject("libfiu-one", "libfiu, write enabled", ("write",), ("write",), None, preload, {"FIU_ENABLE": one}))
    else:
        missing.append("libfiu (apt: fiu-utils)")
    if faketime := _library(LIBFAKETIME, "libfaketime.so.1"):
        hour = {"FAKETIME": "+3600"}
        found.append(Subject("libfaketime", "libfaketime, +1 h", ("clock", "fork", "exec"), (), None, (faketime,), hour))
    else:
        missing.append("libfaketime (apt: faketime)")
    if strace := shutil.which("strace"):
        inject = (strace, "-f", "-o", os.devnull, "-e", "trace=write", "-e", "inject=write:error=EIO:when=65535")
        found.append(Subject("strace", "strace, one rule", ("write", "exec"), wrapper=inject))
    else:
        missing.append("strace")
    return found, missing
