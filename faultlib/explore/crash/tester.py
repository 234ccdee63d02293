"""Says whether a state fails: by what is known, or by having it judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from faultlib.explore.crash.judge import Answer, Case, Judges
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.verdicts import Verdicts
from faultlib.explore.oracle import SUSPECT, UNSTABLE, Verdict

TWICE, FEW, MANY = 2, 5, 20
"""So many times a state has to fail again before that is a finding; many, once a check has passed and failed on one state."""
IsNoWorse = Callable[[State, int, Verdict], bool]
"""Whether a failing verdict on a state means no more than that on the state before the run, which fails, too."""


class Tester:
    """The judges of a campaign, and what they have said. `tell` is called at each verdict, with how many there are."""

    def __init__(self, judges: Judges, verdicts: Verdicts, is_no_worse: IsNoWorse, tell: Callable[[int], None]) -> None:
        self._judges = judges
        self._verdicts = verdicts
        self._is_no_worse = is_no_worse
        self._tell = tell
        self._judged = 0

    @property
    def needs_promises(self) -> bool:
        """Whether a verdict depends on what the program has promised."""
        return self._verdicts.needs_promises

    def key(self, plan: State, promised: int) -> bytes:
        """Returns what a verdict depends on."""
        return self._verdicts.key(plan, promised)

    def known(self, plan: State, promised: int) -> Verdict | None:
        """Returns the verdict on a state, unless it has to be judged for that."""
        return self._verdicts.find(self.key(plan, promised), plan, promised)

    def verdict(self, plan: State, promised: int, *, is_certain: bool = False) -> Verdict:
        """Returns the verdict on a state. `is_certain`: on this very one, not on one that looks the same."""
        known = self.known(plan, promised)
        if known is None or (is_certain and not self._verdicts.is_certain(self.key(plan, promised))):
            return self._note(plan, promised, self._judges.answer(Case(plan, promised)))
        return known

    def all(self, cases: Iterable[Case], until: float | None) -> Iterator[tuple[Case, Verdict]]:
        """Has many judged; yields them in the order in which that is done, but for those that wait too long for it."""
        for case, answer in self._judges.all(((case, case) for case in cases), until):
            yield case, self._note(case.state, case.promised, answer)

    def _note(self, plan: State, promised: int, answer: Answer) -> Verdict:
        verdict = self._verdicts.note(self.key(plan, promised), plan, promised, answer)
        self._judged += 1
        self._tell(self._judged)
        return verdict

    def is_failure(self, plan: State, promised: int, verdict: Verdict) -> bool:
        """Whether a verdict on a state says that it fails."""
        return verdict.failed and verdict.what != UNSTABLE and not self._is_no_worse(plan, promised, verdict)

    def fails(self, plan: State, promised: int) -> bool:
        """Whether a state fails."""
        return self.is_failure(plan, promised, self.verdict(plan, promised))

    def is_bad(self, plan: State, promised: int) -> bool:
        """Whether a state fails; where one verdict means little, more than once."""
        return self.fails(plan, promised) and (not self.unstable or self.fails_again(plan, promised, TWICE))

    def is_hard(self, plan: State, promised: int) -> bool:
        """Whether a state that fails is more than suspected to."""
        return self.verdict(plan, promised).what != SUSPECT

    def fails_again(self, plan: State, promised: int, times: int | None = None) -> bool:
        """Whether a state that fails does so each time, in the plain way, too: else nothing is known of it."""
        again = self._judges.judge(Case(plan, promised, times or (MANY if self.unstable else FEW)))
        if self.is_failure(plan, promised, again):
            return True
        verdict = again if again.failed else Verdict(UNSTABLE, self.verdict(plan, promised).text)
        self._note(plan, promised, Answer(verdict))
        return False

    @property
    def unstable(self) -> list[Verdict]:
        """What was said of states that have passed and failed."""
        return self._verdicts.unstable
