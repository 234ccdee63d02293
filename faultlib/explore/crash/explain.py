"""Puts failing states down to causes: a known one, or one of their own."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from faultlib.explore.crash.causes import RENAMED, UNNAMED, Cause, Fails, Minimiser, is_done, is_explained, names_of, without
from faultlib.explore.crash.changes import DirChange
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.model import NAMES
from faultlib.explore.crash.profiles import Rules
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.tester import TWICE, Tester
from faultlib.explore.oracle import SUSPECT, Verdict

NUMBERED = re.compile(r"\w*\d\w*")
"""What may well be another one for each file of a kind."""
MOST_RESTS = 400
"""So often it is looked what else is wrong with a state whose cause is known."""


class Failing(NamedTuple):
    """A failing state, and up to which change the program's promises count."""

    plan: State
    promised: int
    states: int = 1
    """How many of those it is that were looked at: 0, if it was made up of one."""


class Failure(NamedTuple):
    """A cause, what the check said, the profiles on which that happens, the strongest first, and how many states fail by it."""

    cause: Cause
    verdict: Verdict
    profiles: tuple[str, ...]
    states: int


class Explanations:
    """The failures of a campaign. `rules` are those of its profiles, the strongest first."""

    def __init__(self, recording: Recording, rules: Sequence[Rules], tester: Tester) -> None:
        self._model = recording.model
        self._ops = recording.ops
        self._rules = rules
        self._tester = tester
        self._all = list[Failing]()
        self.failures = list[Failure]()
        self._prefixes: dict[int, int] = {}  # crashes that fail with nothing lost, and the number of the failure
        self._rests = set[tuple[str, ...]]()

    def add(self, one: Failing) -> bool:
        """Finds the cause of a failing state. Returns false if the state does not fail again."""
        self._all.append(one)
        return self._explain(one)

    def again(self) -> int:
        """Begins anew: before it was known how little one verdict means much is found by chance. Returns how many fail."""
        self.failures, self._prefixes = [], {}
        self._rests.clear()
        return sum(self._explain(one) for one in self._all)

    def _explain(self, one: Failing) -> bool:
        plan, promised, _ = one
        for fails in (*[self._tester.is_bad] * TWICE, lambda state, _: state == plan):
            if not self._tester.fails(plan, promised):
                break
            if self._is_explained(one, fails):
                return True
            if not self._tester.fails_again(plan, promised):
                break
        return False

    def _profiles(self, plan: State, promised: int) -> tuple[str, ...]:
        """The profiles on which that happens."""
        return tuple(one.profile.name for one in self._rules if one.allows(plan) and one.latest(plan) >= promised)

    def _rank(self, profiles: Sequence[str]) -> int:
        """How strong the strongest profile is: 0 is the strongest."""
        return next((rank for rank, rules in enumerate(self._rules) if rules.profile.name in profiles), len(self._rules) - 1)

    def _is_explained(self, one: Failing, fails: Fails) -> bool:
        """Finds the cause of a failing state; false if what seems to be it does not fail again."""
        plan, promised, states = one
        is_hard, rank = self._tester.is_hard(plan, promised), self._rank(self._profiles(plan, promised))
        minimiser = Minimiser(self._rules[rank], self._harder(fails) if is_hard else fails)
        promised = minimiser.promised(plan, promised)
        before = self._before(plan) if not plan.losses and not promised else -1
        for number, known in enumerate(self.failures):
            if self._is_weaker(known, is_hard, rank):
                continue
            goes_on = self._prefixes.get(before) == number and not is_done(self._model, known.cause.kept, plan.crash)
            if goes_on or is_explained(known.cause, plan, promised, self._model):
                self._count(number, plan, promised, states)
                return self._look_further(known.cause, plan, promised, rank)
        cause = minimiser.cause(plan, promised)
        rank = self._rank(self._profiles(cause.plan, cause.promised))
        for number, known in enumerate(self.failures):
            same = is_explained(known.cause, cause.plan, cause.promised, self._model)
            if same or self._lines(known.cause) == self._lines(cause):
                if not self._is_weaker(known, is_hard, rank):
                    return self._count(number, plan, promised, states)
                if self._lines(known.cause) == self._lines(cause) and self._tester.fails_again(cause.plan, cause.promised):
                    self.failures[number] = self._failure(cause, known.states)._replace(profiles=known.profiles)
                    return self._count(number, plan, promised, states)
        if not self._tester.fails_again(cause.plan, cause.promised):
            return False
        self.failures.append(self._failure(cause, 0))
        if not cause.plan.losses and not promised:
            self._prefixes |= dict.fromkeys(range(cause.plan.crash, plan.crash), len(self.failures) - 1)
        self._count(len(self.failures) - 1, plan, promised, states)
        return self._look_further(cause, plan, promised, rank)

    def _harder(self, fails: Fails) -> Fails:
        return lambda plan, promised: fails(plan, promised) and self._tester.is_hard(plan, promised)

    def _failure(self, cause: Cause, states: int) -> Failure:
        verdict = self._tester.verdict(cause.plan, cause.promised, is_certain=True)
        return Failure(cause, verdict, self._profiles(cause.plan, cause.promised), states)

    def _is_weaker(self, known: Failure, is_hard: bool, rank: int) -> bool:
        """Whether a known failure is less than a state that is suspected or hard, and happens with a profile of this rank."""
        return (is_hard and known.verdict.what == SUSPECT) or self._rank(known.profiles) > rank

    def _look_further(self, cause: Cause, plan: State, promised: int, rank: int) -> bool:
        """Whether there is something else wrong with a state, too: without what its cause needs to be lost, it may fail still."""
        rest = without(self._rules[rank], cause, plan)
        if rest is None or len(self._rests) > MOST_RESTS:
            return True
        lost = sorted({self._way(one.first) for _, one in rest.items()})
        kind = (*self._lines(cause), *lost, self._way(rest.crash - 1))
        if kind not in self._rests:
            self._rests.add(kind)
            until = min(promised, self._rules[rank].latest(rest))
            if self._tester.fails(rest, until):
                self._explain(Failing(rest, until, 0))
        return True

    def _count(self, number: int, plan: State, promised: int, states: int) -> bool:
        """Notes that a state fails by a known cause."""
        known = self.failures[number]
        happens = {*known.profiles, *self._profiles(plan, promised)}
        profiles = tuple(rules.profile.name for rules in self._rules if rules.profile.name in happens)
        self.failures[number] = known._replace(states=known.states + states, profiles=profiles)
        if not plan.losses and not promised:
            self._prefixes[plan.crash] = number
        return True

    def _before(self, plan: State) -> int:
        """The crash before a prefix's last change of the tree."""
        crash = plan.crash - 1
        while crash > 0 and self._model.owner(crash - 1) is None:
            crash -= 1
        return crash

    def _way(self, index: int) -> str:
        """The source line of a change; where there is none, the place in the program, and what kind of file it is about."""
        if not 0 <= index < len(self._model.changes):
            return ""
        op = self._ops[self._model.changes[index].entry]
        if op.where and op.where.line:
            return op.place
        name = op.paths[-1] if op.paths else next(names_of(self._model, self._model.owner(index) or NAMES, index), b"")
        return f"{op.place} {NUMBERED.sub('#', os.fsdecode(name))}"

    def _lines(self, cause: Cause) -> tuple[str, str, str]:
        """What makes two causes the same: the kind and both source lines; or what tells that one fsync would mend them."""
        if cause.kind == RENAMED:
            return cause.kind, "", self._way(cause.kept)
        change = self._model.changes[cause.lost] if cause.lost >= 0 else None
        if cause.kind == UNNAMED and isinstance(change, DirChange):
            return cause.kind, str(change.entries[-1].directory), self._way(cause.kept)
        return cause.kind, self._way(cause.lost), self._way(cause.kept)
