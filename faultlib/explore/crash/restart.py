"""Whether the program can start again: the recovery that every program has."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from faultlib.explore import oracle
from faultlib.explore.crash.judge import Case
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.model import Model
from faultlib.explore.crash.recording import Recording
from faultlib.explore.oracle import HANG, PASS, RECOVERY, Promise, Verdict

TRACEBACK = "Traceback (most recent call last):"
NOT_TRIED = "not tried whether it starts again"


class Restart:
    """The oracle: runs the command of a recording again. A traceback, a signal, or a status other than 0 is a failure.

    It says something only of a program that runs again without a crash: ask `can_restart` first. `reason` says why it cannot.
    """

    def __init__(self, recording: Recording, timeout_s: float) -> None:
        self._recording = recording
        self._timeout_s = timeout_s
        self._shown = shlex.join(recording.command)
        self.reason = ""

    def can_restart(self, judge: Callable[[Case], Verdict], model: Model) -> bool:
        """Whether the program runs again on the tree before the run, and on the one that it has left.

        `judge` gives the verdict of this oracle on a state, in a cell: that of `Judges` that were made with it.
        """
        if self._recording.status:
            self.reason = f"{NOT_TRIED}: {self._shown} ended with status {self._recording.status} without any crash"
            return False
        end = len(model.changes)
        for crash, tree in ((0, "the tree before the run"), (end, "the tree that it has left")):
            verdict = judge(Case(State(crash), crash))
            if verdict.failed:
                self.reason = f"{NOT_TRIED}: on {tree}, without any crash, {_first_line(verdict.text)}"
                return False
        return True

    @property
    def command(self) -> tuple[str, ...]:
        """What is started again."""
        return self._recording.command

    def __call__(self, cwd: Path, case: Case, promise: Promise) -> Verdict:
        """Judges a state in the place of the roots; it is another one afterwards."""
        return self.verdict_on(oracle.run(self.command, cwd, self._timeout_s))

    def verdict_on(self, verdict: Verdict) -> Verdict:
        """Returns what a run of the command, judged as a check, amounts to."""
        if verdict.what == PASS and TRACEBACK not in verdict.text.splitlines():
            return Verdict(PASS)
        if verdict.what == HANG:
            return Verdict(HANG, f"{self._shown}, started again, is {verdict.text}")
        how = verdict.text if verdict.failed else f"a traceback\n{verdict.text}"
        return Verdict(RECOVERY, f"{self._shown}, started again, ended with {how}")


def _first_line(text: str) -> str:
    return next(iter(text.splitlines()), "")
