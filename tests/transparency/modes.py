"""The ways in which the same program is run: bare, and under each state of the shim that must not be noticed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faultlib
from faultlib.inject.recording import Recording
from faultlib.inject.trace import Journal

ON_PATHS = "open,close,read,write,fsync,truncate,allocate,rename,unlink,link,mkdir,rmdir,stat,attr,readdir,seek,exec"
ARMED = (
    f"{ON_PATHS}:error=EIO:path=/nowhere/*",
    "mmap:error=ENOMEM:path=/nowhere/*",
    "lock:error=EINTR:path=/nowhere/*",
    "fork:error=EAGAIN:proc=label:none",
    "clock,sleep,exit:delay=1ms:proc=label:none",
)
"""Every family, on files and processes that do not exist: every call is looked at, none matches."""

NEVER = 1 << 60
COUNTING = (
    f"{ON_PATHS}:error=EIO:when={NEVER}",
    f"mmap:error=ENOMEM:when={NEVER}",
    f"lock:error=EINTR:when={NEVER}",
    f"fork:error=EAGAIN:when={NEVER}",
    f"clock,sleep,exit:delay=1ms:when={NEVER}",
)
"""Every family, every call matches and is counted, and the window never opens."""

MODES = ("idle", "armed", "counting", "recording")


@dataclass
class Bare:
    """No shim."""

    def run(self, command: Sequence[str], env: Mapping[str, str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Runs a command to its end, alone in its own process group."""
        return finish(command, subprocess.Popen(command, env=dict(env), **settings(options)), options)


@dataclass
class Shimmed:
    """Under a session. `processes` counts the processes that joined it: proof that the shim was there."""

    session: faultlib.Session
    processes: int = field(default=0)

    def run(self, command: Sequence[str], env: Mapping[str, str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Runs a command to its end, alone in its own process group."""
        done = finish(command, self.session.popen(command, env=dict(env), **settings(options)), options)
        attached = int(self.session.block.ctl.attached)
        assert attached > self.processes, "the shim was not there"
        self.processes = attached
        return done


def settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of Popen: everything but what `finish` takes."""
    chosen = {key: value for key, value in options.items() if key not in ("timeout", "input")}
    stdin = subprocess.PIPE if options.get("input") is not None else subprocess.DEVNULL
    return {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True, **chosen}


def finish(
    command: Sequence[str], child: subprocess.Popen[bytes], options: Mapping[str, Any]
) -> subprocess.CompletedProcess[bytes]:
    """Waits for the child; whatever happens, nothing of its process group is left running."""
    try:
        out, err = child.communicate(options.get("input"), timeout=options.get("timeout", 120))
    finally:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            alive = False  # the usual case: all of the group ended by themselves
        else:
            alive = True
        if alive:
            child.wait()
    return subprocess.CompletedProcess(list(command), child.returncode, out, err)


@contextmanager
def mode(name: str) -> Iterator[Bare | Shimmed]:
    """Yields a runner for one mode: `bare`, or one of MODES."""
    if name == "bare":
        yield Bare()
        return
    rules = {"armed": ARMED, "counting": COUNTING}.get(name, ())
    recording = Recording(times=True) if name == "recording" else None
    with faultlib.Session(rules, seed=1, recording=recording) as session:
        with Journal(session) if recording else nullcontext() as journal:
            yield Shimmed(session)
            if journal:
                journal.finish()
                assert any(journal.batches()), "nothing was recorded"
        assert not session.events(), "a rule fired that cannot match"
        matched = sum(row.count.matched for row in session.report())
        assert bool(matched) == (name == "counting"), f"{matched} calls matched"


def environment(home: Path) -> dict[str, str]:
    """The same small environment for every run; temporary files go below `home`."""
    home.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8", "TZ": "UTC",
        "PYTHONHASHSEED": "1", "GIT_CONFIG_NOSYSTEM": "1",
    }  # fmt: skip
