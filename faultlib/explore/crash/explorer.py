"""Goes through the states that crashes can leave, has each judged once, and finds out why those fail that do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from faultlib.explore.crash.causes import RENAMED, Cause, Fails, Minimiser, is_explained
from faultlib.explore.crash.judge import Answer, Case, Judges
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.profiles import KILL, PROFILES, Rules
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.strategies import STRATEGIES, Candidate
from faultlib.explore.crash.verdicts import Verdicts
from faultlib.explore.oracle import UNSTABLE, Verdict

TWICE, FEW, MANY = 2, 5, 20
"""So many times a state has to fail again before that is a finding; many, once a check has passed and failed on one state."""
MOST_KNOWN = 2000
"""So many states of known kinds in a row: the first round leaves what comes behind them to the second."""
Kind = tuple[str, str, str]
"""A strategy, and the two source lines that a state puts to the test."""


class Budget(NamedTuple):
    """When to stop: after so many judged states, or so many seconds. None: not."""

    states: int | None = None
    seconds: float | None = None


class Failure(NamedTuple):
    """A cause, what the check said, and how many states fail by it."""

    cause: Cause
    verdict: Verdict
    profile: str
    states: int


class Counts:
    """How far it is: states that strategies gave, those that differ, those that a judge has seen, those that fail."""

    def __init__(self) -> None:
        self.looked_at = self.unique = self.judged = self.failing = 0
        self.by_strategy: dict[str, int] = {}
        self.strategy = ""
        self.complete = True


class _OutOfTime(Exception):
    """A strategy is still at work when the budget is spent."""


class _Pending(NamedTuple):
    candidate: Candidate
    rules: Rules
    key: bytes
    promised: int


class Explorer:
    """One campaign. `tell` is called from time to time: for a progress bar."""

    def __init__(
        self, recording: Recording, judges: Judges, verdicts: Verdicts, *, profiles: tuple[str, ...], sector: int,
        budget: Budget, tell: Callable[[Counts], None],
    ) -> None:  # fmt: skip
        self._recording = recording
        self._judges = judges
        self._verdicts = verdicts
        self._rules = [Rules(PROFILES[name], recording.model, sector) for name in PROFILES if name in profiles]
        self._budget = budget
        self._tell = tell
        self._places = [recording.ops[change.entry].place for change in recording.model.changes]
        self._seen = set[bytes]()
        self._began = time.monotonic()
        self.counts = Counts()
        self.failures = list[Failure]()
        self._failing = list[_Pending]()
        self.passed = list[State]()
        self.is_no_worse: Callable[[Verdict], bool] = lambda _: False
        """Whether a failing verdict is what the check says of the state before the run already."""
        self._in_first_round = True
        self._prefixes: dict[int, int] = {}  # crashes that fail with nothing lost, and the number of the failure

    def verdict(self, plan: State, promised: int, *, is_certain: bool = False) -> Verdict:
        """Returns the verdict on a state, which is judged if it was not yet. `is_certain`: not another one in its place."""
        key = self._verdicts.key(plan, promised)
        known = self._verdicts.find(key, plan, promised)
        if known is None or (is_certain and not self._verdicts.is_certain(key)):
            return self._note(key, plan, promised, self._judges.answer(Case(plan, promised)))
        return known

    def _fails(self, verdict: Verdict) -> bool:
        return verdict.failed and verdict.what != UNSTABLE and not self.is_no_worse(verdict)

    def run(self) -> list[Failure]:
        """Explores, strategy by strategy, and returns the failures, in the order in which they were found.

        First one state of each kind, which is a strategy and the two source lines that it puts to the test; then all the others.
        """
        self._go_through()
        if self.unstable:
            self._explain_again()
        return self.failures

    def _go_through(self) -> None:
        for kinds in (set[Kind](), None):
            self._in_first_round = kinds is not None
            for name in STRATEGIES:
                self.counts.strategy = name
                for rules in self._rules:
                    for strategy in STRATEGIES[name] if name == "A" or rules.profile is not KILL else ():
                        self._look(self._unseen(self._firsts(strategy(rules), kinds), rules))
                        if not self.counts.complete:
                            return

    def _firsts(self, candidates: Iterator[Candidate], kinds: set[Kind] | None) -> Iterator[Candidate]:
        known = 0
        for candidate in candidates:
            self.counts.looked_at += kinds is None
            if kinds is not None:
                kind = candidate.strategy, self._place(candidate.lost), self._place(candidate.kept)
                known = known + 1 if kind in kinds else 0
                if known > MOST_KNOWN:
                    return
                if kind in kinds:
                    continue
                kinds.add(kind)
            yield candidate

    def _place(self, index: int) -> str:
        return self._places[index] if 0 <= index < len(self._places) else ""

    def _look(self, pending: Iterator[_Pending]) -> None:
        failing = list[_Pending]()
        cases = ((one, Case(one.candidate.state, one.promised)) for one in self._unjudged(pending, failing))
        for one, answer in self._judges.all(cases):
            verdict = self._note(one.key, one.candidate.state, one.promised, answer)
            self._sort_in(one, verdict, failing)
        for one in sorted(failing, key=lambda one: (one.candidate.state.crash, one.promised)):
            if self.failures and self._is_late():
                self.counts.complete = False
                return
            self._failing.append(one)
            self._explain(one)

    def _unjudged(self, pending: Iterator[_Pending], failing: list[_Pending]) -> Iterator[_Pending]:
        for one in pending:
            known = self._verdicts.find(one.key, one.candidate.state, one.promised)
            if known is None:
                yield one
            else:
                self._sort_in(one, known, failing)

    def _sort_in(self, one: _Pending, verdict: Verdict, failing: list[_Pending]) -> None:
        strategy = one.candidate.strategy
        self.counts.by_strategy[strategy] = self.counts.by_strategy.get(strategy, 0) + 1
        if self._fails(verdict):
            self.counts.failing += 1
            failing.append(one)
        elif self._in_first_round:
            self.passed.append(one.candidate.state)

    def _unseen(self, candidates: Iterator[Candidate], rules: Rules) -> Iterator[_Pending]:
        rules.tick = self._look_at_clock
        try:
            yield from self._new(candidates, rules)
        except _OutOfTime:
            self.counts.complete = False
        finally:
            rules.tick = None

    def _look_at_clock(self) -> None:
        if self._is_late():
            raise _OutOfTime

    def _new(self, candidates: Iterator[Candidate], rules: Rules) -> Iterator[_Pending]:
        for candidate in candidates:
            promised = rules.latest(candidate.state)
            key = self._verdicts.key(candidate.state, promised)
            if self._is_late() or (key not in self._seen and self.counts.unique == self._budget.states):
                self.counts.complete = False
                return
            if key in self._seen:
                continue
            self._seen.add(key)
            self.counts.unique += 1
            yield _Pending(candidate, rules, key, promised)

    def _is_late(self) -> bool:
        return self._budget.seconds is not None and time.monotonic() - self._began > self._budget.seconds

    def _note(self, key: bytes, plan: State, promised: int, answer: Answer) -> Verdict:
        verdict = self._verdicts.note(key, plan, promised, answer)
        self.counts.judged += 1
        self._tell(self.counts)
        return verdict

    def _explain(self, one: _Pending) -> None:
        """Finds the cause of a failing state, unless the state itself does not fail again."""
        plan, promised = one.candidate.state, one.promised
        for fails in (*[self._is_bad] * TWICE, lambda state, _: state == plan):
            if not self._fails(self.verdict(plan, promised)):
                break
            if self._is_explained(one, fails):
                return
            if not self._fails_again(plan, promised):
                break
        self.counts.failing -= 1

    def _is_bad(self, plan: State, promised: int) -> bool:
        """Whether a state fails; where one verdict means little, more than once."""
        fails = self._fails(self.verdict(plan, promised))
        return fails and (not self.unstable or self._fails_again(plan, promised, TWICE))

    def _explain_again(self) -> None:
        """What was found before it was known how little one verdict means may have been found by chance."""
        self.failures, self._prefixes = [], {}
        self.counts.failing = len(self._failing)
        for one in self._failing:
            self._explain(one)

    def _is_explained(self, one: _Pending, fails: Fails) -> bool:
        """Finds the cause of a failing state; false if what seems to be it does not fail again."""
        plan, model = one.candidate.state, self._recording.model
        minimiser = Minimiser(one.rules, fails)
        promised = minimiser.promised(plan, one.promised)
        before = self._before(plan) if not plan.losses and not promised else -1
        for number, known in enumerate(self.failures):
            if is_explained(known.cause, plan, promised, model) or self._prefixes.get(before) == number:
                return self._count(number, plan, promised)
        cause = minimiser.cause(plan, promised)
        for number, known in enumerate(self.failures):
            same = is_explained(known.cause, cause.plan, cause.promised, model)
            if same or self._lines(known.cause) == self._lines(cause):
                return self._count(number, plan, promised)
        if not self._fails_again(cause.plan, cause.promised):
            return False
        self.failures.append(Failure(cause, self.verdict(cause.plan, cause.promised, is_certain=True), one.rules.profile.name, 0))
        if not cause.plan.losses and not promised:
            self._prefixes |= dict.fromkeys(range(cause.plan.crash, plan.crash), len(self.failures) - 1)
        return self._count(len(self.failures) - 1, plan, promised)

    def _fails_again(self, plan: State, promised: int, times: int | None = None) -> bool:
        """Whether a state that fails does so each time, in the plain way, too: else nothing is known of it."""
        again = self._judges.judge(Case(plan, promised, times or (MANY if self.unstable else FEW)))
        if self._fails(again):
            return True
        verdict = again if again.failed else Verdict(UNSTABLE, self.verdict(plan, promised).text)
        self._note(self._verdicts.key(plan, promised), plan, promised, Answer(verdict))
        return False

    @property
    def unstable(self) -> list[Verdict]:
        """What was said of states that have passed and failed."""
        return self._verdicts.unstable

    def _count(self, number: int, plan: State, promised: int) -> bool:
        """Notes that a state fails by a known cause."""
        known = self.failures[number]
        self.failures[number] = known._replace(states=known.states + 1)
        if not plan.losses and not promised:
            self._prefixes[plan.crash] = number
        return True

    def _before(self, plan: State) -> int:
        """The crash before a prefix's last change of the tree."""
        crash = plan.crash - 1
        while crash > 0 and self._recording.model.owner(crash - 1) is None:
            crash -= 1
        return crash

    def _lines(self, cause: Cause) -> tuple[str, str, str]:
        """What makes two causes the same: the kind, and both source lines; of a rename only its own: one fsync is missing."""
        return cause.kind, "" if cause.kind == RENAMED else self._place(cause.lost), self._place(cause.kept)
