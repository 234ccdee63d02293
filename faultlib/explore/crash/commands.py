"""What is run in each state: check, recovery, or the command itself; anew, or as a fork of one process."""

from __future__ import annotations

import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from faultlib.explore import oracle
from faultlib.explore.crash.restart import Restart
from faultlib.explore.forkserver import Ended, ForkServer, plain_words
from faultlib.explore.oracle import HANG, Promise, Verdict
from faultlib.inject.forkpoint import STARTS_OTHERS, Points, quoted
from faultlib.inject.readset import Group

NO_PROMISE = Promise(b"", 0)
GRACE_S, SLOWER = 2.0, 10.0
"""So many seconds, and so many times what plain runs take, a fork may take at most before it is run anew."""
MOST_WASTED = 1 / 3
"""Of the time that one run may take: no more is lost to forks that hang where plain runs do not."""


class Check(ABC):
    """Something that is run in each state: as a fork of one process where that is possible, else anew."""

    is_told = True
    """Whether it makes a difference that has to be told."""

    def __init__(self, title: str, timeout_s: float) -> None:
        self.title = title
        self._timeout_s = timeout_s
        self.server: ForkServer | None = None
        self.groups: list[Group] | None = None
        """What to watch for in forks, if anything."""
        self.read: int | None = None
        """Which of these the last run has read; None: that is not known."""
        self.is_lost = False
        self.waited_s = 0.0
        """So long the last run was waited for, as a fork, in vain; 0: it has ended."""
        self._slowest_s = self._wasted_s = 0.0

    @abstractmethod
    def start(self, cwd: Path, points: Points, folder: Path) -> str | None:
        """Starts the server of forks, where some state is. Returns why there is none, if that is worth telling."""

    def _start(self, words: Sequence[str], cwd: Path, points: Points, folder: Path) -> str | None:
        sessions = folder if os.geteuid() == 0 else None  # who is not root does not let its children look into /proc/1
        timeout_s, groups, points = self._timeout_s, self.groups, points._replace(aside=folder.stat().st_dev)
        server = ForkServer(words, cwd, points, folder, timeout_s=timeout_s, sessions=sessions, groups=groups)
        if server.why_not in STARTS_OTHERS:
            points = points._replace(starts=True)
            server = ForkServer(words, cwd, points, folder, timeout_s=timeout_s, sessions=sessions, groups=groups)
        if server.why_not is None:
            self.server = server
        return server.why_not

    @abstractmethod
    def _anew(self, cwd: Path, promise: Promise) -> Verdict:
        """Runs it anew."""

    @abstractmethod
    def _forked(self, server: ForkServer, cwd: Path, promise: Promise) -> Verdict | None:
        """Runs it as a fork. None: it could not be done."""

    def _patience_s_for(self, took_s: float) -> float:
        return min(self._timeout_s, GRACE_S + SLOWER * took_s)

    @property
    def _patience_s(self) -> float:
        return self._patience_s_for(self._slowest_s)

    @property
    def hangs_as_fork(self) -> bool:
        """Whether it is not worth a try any more."""
        return self._wasted_s > MOST_WASTED * self._timeout_s

    def plainly(self, cwd: Path, promise: Promise) -> Verdict:
        """Runs it anew. If it has not ended as a fork just before: was that too slow, or did it hang?"""
        began = time.monotonic()
        verdict = self._anew(cwd, promise)
        if verdict.what != HANG:
            took_s = time.monotonic() - began
            self._slowest_s = max(self._slowest_s, took_s)
            if 2 * self.waited_s >= self._patience_s_for(took_s):
                self._wasted_s += self.waited_s
        self.waited_s = 0.0
        return verdict

    def quickly(self, cwd: Path, promise: Promise) -> Verdict:
        """Runs it in the fastest way there is. A fork that has not ended, see `waited_s`, says nothing: plain runs alone hang."""
        verdict = self._forked(self.server, cwd, promise) if self.server else None
        self.waited_s = self._patience_s if verdict and verdict.what == HANG else 0.0
        self.read = self.server.read if verdict and self.server else None
        if verdict is None and self.server and not self.server.is_alive:
            self.close()
            self.is_lost = True
        return verdict or self.plainly(cwd, promise)

    def close(self) -> None:
        """Ends the server."""
        if self.server:
            self.server.close()
            self.server = None


class Command(Check):
    """A command. It runs without a shell if it needs none; a shell stops before the first program that it starts."""

    def __init__(self, title: str, text: str, cwd: Path, timeout_s: float) -> None:
        super().__init__(title, timeout_s)
        words = plain_words(text, cwd)
        self._needs_shell = words is None
        self._words = words or ["/bin/sh", "-c", text]

    def start(self, cwd: Path, points: Points, folder: Path) -> str | None:
        """Starts the server of forks."""
        return self._start(self._words, cwd, points._replace(starts=self._needs_shell), folder)

    def _anew(self, cwd: Path, promise: Promise) -> Verdict:
        """Runs it anew."""
        return oracle.run(self._words, cwd, self._timeout_s, promise)

    def _forked(self, server: ForkServer, cwd: Path, promise: Promise) -> Verdict | None:
        """Runs it as a fork."""
        return server.run(self._patience_s)


class Function(Check):
    """A function in Python: a fork of a small process that has little else, or else, not much slower, of this one."""

    is_told = False

    def __init__(self, text: str, cwd: Path, timeout_s: float) -> None:
        super().__init__("check", timeout_s)
        self._function = oracle.Function(text, cwd)
        self._text = text
        self._promise: Promise | None = None
        self._place = Path()

    def start(self, cwd: Path, points: Points, folder: Path) -> str | None:
        """Starts the small process."""
        self._place = folder / "promise"
        self._keep(NO_PROMISE)
        words = [sys.executable, "-m", "faultlib.explore.function_host", self._text, str(self._place)]
        return self._start(words, cwd, points._replace(paths=(*points.paths, quoted(str(self._place)))), folder)

    def _keep(self, promise: Promise) -> None:
        if promise != self._promise:
            self._place.write_bytes(b"%d\n%s" % (promise.operations, promise.output))
            self._promise = promise

    def _anew(self, cwd: Path, promise: Promise) -> Verdict:
        """Calls it in a fork of this process."""
        return self._function(cwd, self._timeout_s, promise)

    def _forked(self, server: ForkServer, cwd: Path, promise: Promise) -> Verdict | None:
        """Calls it in a fork of the small process."""
        self._keep(promise)
        ended = server.run_once(self._patience_s)
        if not isinstance(ended, Ended):
            return ended._replace(text=ended.text.strip()) if ended else None
        return oracle.verdict_of_function(ended.code, ended.output.decode("utf-8", "replace"))


class Restarted(Check):
    """The command of the recording, run again."""

    def __init__(self, restart: Restart, timeout_s: float) -> None:
        super().__init__("command", timeout_s)
        self._restart = restart

    def start(self, cwd: Path, points: Points, folder: Path) -> str | None:
        """Starts the server of forks."""
        return self._start(self._restart.command, cwd, points, folder)

    def _anew(self, cwd: Path, promise: Promise) -> Verdict:
        """Runs it anew."""
        return self._restart.verdict_on(oracle.run(self._restart.command, cwd, self._timeout_s))

    def _forked(self, server: ForkServer, cwd: Path, promise: Promise) -> Verdict | None:
        """Runs it as a fork."""
        verdict = server.run(self._patience_s)
        return self._restart.verdict_on(verdict) if verdict else None
