"""What is judged where nothing is wrong: at the end, where the check has to pass, and before the run, where it may well fail."""

from __future__ import annotations

import re

from faultlib.errors import UsageError
from faultlib.explore import oracle
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.judge import Case, Judges
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.readset import ReadSets
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.tester import FEW
from faultlib.explore.oracle import Verdict

NOT_STABLE = "the check passes and fails on the same state"
QUIET = re.compile(r"(status \d+|signal \d+|returned False|AssertionError:|still running after .*)?\s*")
"""All that is said of a failure by a check that says nothing."""


class Undamaged:
    """Tries the check on both. A state that fails is no worse than the one before the run if it looks the same to the check, in
    all that this has read of it; or if the check says the same of it, where it says anything.

    Raises UsageError if it fails at the end, or if nothing can be told from what it says before the run.
    """

    def __init__(self, recording: Recording, disk: Disk, judges: Judges) -> None:
        end = len(recording.model.changes)
        last, _, _ = _twice(judges, Case(State(end), end))
        if last.what == oracle.UNSTABLE:
            raise UsageError(f"{NOT_STABLE}, which the command leaves when nothing crashes: {last.text}")
        if last.failed:
            what = "recovery" if last.what == oracle.RECOVERY else "check"
            raise UsageError(f"the {what} fails although nothing has crashed, on the state that the command leaves: {last.text}")
        self._before, again, self._read = _twice(judges, Case(State(0), 0))
        self._is_masked = self._before != again
        self._is_quiet = QUIET.fullmatch(self._before.text) is not None
        self._sets = ReadSets(disk)
        self.notes = list[str]()
        if self._before.what == oracle.UNSTABLE:
            self.notes.append(f"{NOT_STABLE} before the run: {first_line(self._before)}")
        elif self._before.failed:
            self._check_that_it_tells(again)
            says = "looks the same to it" + ("" if self._is_quiet else ", or of which it says the same")
            self.notes.append(f"the check fails before the run already; as good counts what {says}: {first_line(self._before)}")

    def _check_that_it_tells(self, again: Verdict) -> None:
        if self._is_quiet and self._read is None:
            said = first_line(self._before)
            raise UsageError(
                f"the check fails before the run already, and says nothing but {said!r}, so that no state can be told from that: "
                "have it pass there, or say what is wrong"
            )
        if _masked(self._before) != _masked(again):
            raise UsageError(
                "the check fails before the run already, and says something else each time: nothing can be told from that:"
                f"\n  {first_line(self._before)}\n  {first_line(again)}"
            )

    def is_no_worse(self, plan: State, promised: int, verdict: Verdict) -> bool:
        """Whether a failing verdict on a state means no more than that on the state before the run."""
        if not self._before.failed or self._before.what == oracle.UNSTABLE:
            return False
        if self._read is not None and self._sets.key(self._read, plan, None) == self._sets.key(self._read, State(0), None):
            return True
        if self._is_quiet:
            return False
        return _masked(verdict) == _masked(self._before) if self._is_masked else verdict == self._before


def _twice(judges: Judges, case: Case) -> tuple[Verdict, Verdict, int | None]:
    """The verdicts of two looks at a state, if it fails, and what was read. The first is UNSTABLE if it passes then."""
    verdict, read = judges.answer(case)
    again = judges.judge(case._replace(again=FEW)) if verdict.failed else verdict
    if verdict.failed and again.what in (oracle.PASS, oracle.UNSTABLE):
        verdict = verdict._replace(what=oracle.UNSTABLE)
    return verdict, again, read


def _masked(verdict: Verdict) -> Verdict:
    """Without what may well be another one in each run: numbers, times, names of temporary files."""
    return verdict._replace(text=re.sub(r"\w*\d\w*", "#", verdict.text))


def first_line(verdict: Verdict) -> str:
    """Returns the beginning of what a verdict says."""
    return next(iter(verdict.text.splitlines()), verdict.what)
