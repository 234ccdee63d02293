"""Goes through the states that crashes can leave, has each judged once, and finds out why those fail that do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from faultlib.explore.crash.explain import Explanations, Failing, Failure
from faultlib.explore.crash.judge import Case, Judges
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.profiles import KILL, PROFILES, Rules
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.strategies import STRATEGIES, Candidate
from faultlib.explore.crash.tester import IsNoWorse, Tester
from faultlib.explore.crash.verdicts import Verdicts
from faultlib.explore.oracle import Verdict

MOST_KNOWN = 2000
"""So many states of known kinds in a row: the first round leaves what comes behind them to the second."""
Kind = tuple[str, str, str]
"""A strategy, and the two source lines that a state puts to the test."""


class Budget(NamedTuple):
    """When to stop: after so many judged states, or so many seconds. None: not."""

    states: int | None = None
    seconds: float | None = None

    def left_after(self, seconds: float) -> Budget:
        """Returns what is left for a second beginning: at least half of the time."""
        return self if self.seconds is None else self._replace(seconds=max(self.seconds - seconds, self.seconds / 2))


class Counts:
    """How far it is: states that strategies gave, those that differ, those that a judge has seen, those that fail."""

    def __init__(self) -> None:
        self.looked_at = self.unique = self.judged = self.failing = 0
        self.by_strategy: dict[str, int] = {}
        self.strategy = ""
        self.complete = True


class _OutOfTime(Exception):
    """A strategy is still at work when the budget is spent."""


class _Enough(Exception):
    """A strategy has nothing but known kinds."""


class _Pending(NamedTuple):
    candidate: Candidate
    promised: int


class Explorer:
    """One campaign. `tell` is called from time to time: for a progress bar."""

    def __init__(
        self, recording: Recording, judges: Judges, verdicts: Verdicts, *, profiles: tuple[str, ...], sector: int,
        budget: Budget, is_no_worse: IsNoWorse, tell: Callable[[Counts], None],
    ) -> None:  # fmt: skip
        self._rules = [Rules(PROFILES[name], recording.model, sector) for name in PROFILES if name in profiles]
        self._budget = budget
        self._places = [recording.ops[change.entry].place for change in recording.model.changes]
        self._seen = set[bytes]()
        self._until = None if budget.seconds is None else time.monotonic() + budget.seconds
        self.counts = Counts()

        def count(judged: int) -> None:
            self.counts.judged = judged
            tell(self.counts)

        self.tester = Tester(judges, verdicts, is_no_worse, count)
        self.explanations = Explanations(recording, self._rules, self.tester)
        self.passed = list[State]()
        self._in_first_round = True

    def run(self) -> list[Failure]:
        """Explores, strategy by strategy, and returns the failures, in the order in which they were found.

        First one state of each kind, which is a strategy and the two source lines that it puts to the test; then all the others.
        """
        self._go_through()
        if self.tester.unstable:
            self.counts.failing = self.explanations.again()
        return self.explanations.failures

    def _go_through(self) -> None:
        for kinds in (set[Kind](), None):
            self._in_first_round = kinds is not None
            self.counts.looked_at = 0
            for name in STRATEGIES:
                self.counts.strategy = name
                for rules in self._rules:
                    for strategy in STRATEGIES[name] if name == "A" or rules.profile is not KILL else ():
                        self._look(self._unseen(self._firsts(strategy(rules), rules, kinds), rules))
                        if not self.counts.complete:
                            return

    def _firsts(self, candidates: Iterator[Candidate], rules: Rules, kinds: set[Kind] | None) -> Iterator[Candidate]:
        """Those of kinds that are not known yet; all of them if `kinds` is None."""
        known = 0

        def is_wanted(strategy: str, lost: int, kept: int) -> bool:
            nonlocal known
            if kinds is None or (strategy, self._place(lost), self._place(kept)) not in kinds:
                return True
            known += 1
            if known > MOST_KNOWN:
                raise _Enough
            return False

        rules.is_wanted = is_wanted
        try:
            for candidate in candidates:
                self.counts.looked_at += 1
                if is_wanted(*candidate[1:]):
                    known = 0
                    if kinds is not None:
                        kinds.add((candidate.strategy, self._place(candidate.lost), self._place(candidate.kept)))
                    yield candidate
        except _Enough:
            return
        finally:
            rules.is_wanted = None

    def _place(self, index: int) -> str:
        return self._places[index] if 0 <= index < len(self._places) else ""

    def _look(self, pending: Iterator[_Pending]) -> None:
        failing, asked = list[Failing](), dict[Case, _Pending]()
        for case, verdict in self.tester.all(self._unjudged(pending, asked, failing), self._until):
            self._sort_in(asked.pop(case), verdict, failing)
        if asked:  # they have waited until it was late
            self.counts.unique -= len(asked)
            self.counts.complete = False
        for one in sorted(failing, key=lambda one: (one.plan.crash, one.promised)):
            if self.explanations.failures and self._is_late():
                self.counts.complete = False
                return
            self.counts.failing -= not self.explanations.add(one)

    def _unjudged(self, pending: Iterator[_Pending], asked: dict[Case, _Pending], failing: list[Failing]) -> Iterator[Case]:
        for one in pending:
            known = self.tester.known(one.candidate.state, one.promised)
            if known is None:
                case = Case(one.candidate.state, one.promised)
                asked[case] = one
                yield case
            else:
                self._sort_in(one, known, failing)

    def _sort_in(self, one: _Pending, verdict: Verdict, failing: list[Failing]) -> None:
        plan, strategy = one.candidate.state, one.candidate.strategy
        self.counts.by_strategy[strategy] = self.counts.by_strategy.get(strategy, 0) + 1
        if self.tester.is_failure(plan, one.promised, verdict):
            self.counts.failing += 1
            failing.append(Failing(plan, one.promised))
        elif self._in_first_round:
            self.passed.append(plan)

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
            promised = rules.latest(candidate.state) if self.tester.needs_promises else 0
            key = self.tester.key(candidate.state, promised)
            if self._is_late() or (key not in self._seen and self.counts.unique == self._budget.states):
                self.counts.complete = False
                return
            if key in self._seen:
                continue
            self._seen.add(key)
            self.counts.unique += 1
            yield _Pending(candidate, promised or rules.latest(candidate.state))

    def _is_late(self) -> bool:
        return self._until is not None and time.monotonic() > self._until
