"""Runs of one command as forks of it: it is started once, and goes on from where it first looks at what differs between runs."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from faultlib.errors import FaultlibError
from faultlib.explore import oracle
from faultlib.explore.oracle import Verdict
from faultlib.inject.forkpoint import ForkPoint, Points
from faultlib.inject.readset import Group, Watch
from faultlib.inject.session import Session

_LITERAL = re.compile(r"""'[^']*'|"[^"$`\\!]*\"""")
_SPECIAL = frozenset("|&;<>()$`\\*?[]#~!{}\n\"'")
_SHELL = frozenset(
    "! . : [ [[ alias bg break case cd command continue do done echo elif else esac eval exec exit export false fg fi for "
    "getopts hash if in jobs kill local printf pwd read readonly return set shift source test then time times trap true type "
    "ulimit umask unalias unset until wait while".split()
)
OUTPUT = "output"


def plain_words(command: str, cwd: Path, path: str | None = None) -> list[str] | None:
    """Returns the words of a command that needs no shell; None for all others, and for a program that is not to be found."""
    if _SPECIAL & set(_LITERAL.sub("", command)):
        return None
    words = shlex.split(command)
    if not words or words[0] in _SHELL or "=" in words[0]:
        return None
    program = str(cwd / words[0]) if "/" in words[0] else words[0]
    return words if shutil.which(program, path=path) else None


class Ended(NamedTuple):
    """Exit status (or, negative, signal) and output of a run."""

    code: int
    output: bytes


class ForkServer:
    """One command, ready to be run many times in the same place. For the first process of a cell, or for a test.

    `folder` is where the output goes; it has to be out of the way of `points.roots`. `why_not` says why the command cannot be
    forked; then `run` must not be called. `quick`: a Python does not take itself down at the end of a run. `sessions` is a
    folder of a short name for what a session keeps in files. `groups` are names to watch for: `read` has a bit for each that
    the last run looked at; None: that is not known.
    """

    def __init__(
        self, words: Sequence[str], cwd: Path, points: Points, folder: Path, *, env: Mapping[str, str] | None = None,
        timeout_s: float = 10.0, sessions: Path | None = None, groups: Sequence[Group] | None = None,
    ) -> None:  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self._session: Session | None = None
        self._output = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._before = 0
        self.why_not: str | None = None
        self.quick = True
        self._watch: Watch | None = None
        self.read: int | None = None
        try:
            with _sessions_in(sessions):
                self._session = Session(cwd=cwd)
            self._point = ForkPoint(self._session, points)
            self._process = self._session.popen(
                words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output,
                start_new_session=True,
            )  # fmt: skip
            self.why_not = self._point.wait(timeout_s, self._is_alive)
        except (FaultlibError, OSError) as error:
            self.why_not = str(error)
        if self.why_not is not None:
            self.close()
        else:
            self._before = os.fstat(self._output).st_size
            if groups is not None and self._session:
                with contextlib.suppress(FaultlibError):  # too many, or too long names: then it is not known what is read
                    self._watch = Watch(self._session, self._point, groups)

    @property
    def pids(self) -> set[int]:
        """Processes that are no part of any run."""
        found = {self._process.pid} if self._process else set()
        return found | ({int(self._session.block.ctl.guard_pid)} if self._session else set())

    def run(self, timeout_s: float) -> Verdict | None:
        """Returns the verdict of one run; None if there could be none."""
        ended = self.run_once(timeout_s)
        return oracle.verdict(*ended) if isinstance(ended, Ended) else ended

    def run_once(self, timeout_s: float) -> Ended | Verdict | None:
        """Returns how one run ended; a verdict if it did not; None if there could be none."""
        self.read = None
        os.ftruncate(self._output, self._before)
        self._point.begin(self.quick)
        if not self._point.end(timeout_s, self._is_alive):
            if not self._is_alive():
                return None
            self._kill()
            return Verdict(oracle.HANG, f"still running after {timeout_s:g} s\n" + self._shown())
        status = self._point.status
        self.read = self._watch.touched() if self._watch else None
        return None if status is None else Ended(os.waitstatus_to_exitcode(status), self._read())

    @property
    def is_alive(self) -> bool:
        """Whether it is there to be forked."""
        return self._is_alive()

    def _is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _kill(self) -> None:
        """Ends the run that goes on, with its process group."""
        while not self._point.end(0.0, self._is_alive) and self._is_alive():
            if pid := self._point.pid:
                for kill in (os.killpg, os.kill):
                    with contextlib.suppress(ProcessLookupError):
                        kill(pid, signal.SIGKILL)
            self._point.end(0.02, self._is_alive)

    def _read(self) -> bytes:
        return os.pread(self._output, os.fstat(self._output).st_size, 0)

    def _shown(self) -> str:
        return oracle.shown(self._read())

    def close(self) -> None:
        """Ends the server."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._session:
            self._session.close()
            self._session = None
        if self._output >= 0:
            os.close(self._output)
            self._output = -1


@contextlib.contextmanager
def _sessions_in(folder: Path | None) -> Iterator[None]:
    """What a session leaves when it is killed goes with the folder."""
    before = os.environ.get("FAULTLIB_DIR")
    if folder is None:
        yield
        return
    os.environ["FAULTLIB_DIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["FAULTLIB_DIR"]
        else:
            os.environ["FAULTLIB_DIR"] = before
