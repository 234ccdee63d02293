"""Puts failing states down to causes: a known one, or one of their own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from faultlib.explore.crash.causes import (
    ORDER,
    RENAMED,
    TORN,
    UNFINISHED,
    UNNAMED,
    UNSYNCED,
    Cause,
    Fails,
    Minimiser,
    is_done,
    is_explained,
    names_of,
    without,
)
from faultlib.explore.crash.changes import DirChange
from faultlib.explore.crash.expected import NUMBERED
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.model import NAMES
from faultlib.explore.crash.profiles import Rules
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.tester import TWICE, Tester
from faultlib.explore.oracle import SUSPECT, Verdict

MOST_RESTS = 400
"""So often it is looked what else is wrong with a state whose cause is known."""
MOST_FILES = 200
"""So often the cause of what a verdict says of one file is looked for."""
ANY = ""
"""Stands for whatever a verdict is about."""


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
        self._prefixes = dict[int, set[int]]()  # crashes that fail with nothing lost, and the numbers of the failures
        self._files = list[set[str]]()  # of each failure, those which it makes wrong
        self._rests = set[tuple[str, ...]]()
        self._left = MOST_FILES

    def add(self, one: Failing) -> bool:
        """Finds the causes of a failing state. Returns false if the state does not fail again."""
        self._all.append(one)
        return self._explain(one)

    def again(self) -> int:
        """Begins anew: before it was known how little one verdict means much is found by chance. Returns how many fail."""
        self.failures, self._files, self._prefixes, self._left = [], [], {}, MOST_FILES
        self._rests.clear()
        return sum(self._explain(one) for one in self._all)

    def _explain(self, one: Failing) -> bool:
        """Each file of which the verdict speaks may have a cause of its own."""
        files = self._tester.verdict(one.plan, one.promised).about or (ANY,)
        found = {self._number(one, file) for file in files} - {None}
        for number in sorted(number for number in found if number is not None):
            self._count(number, one)
            self._look_further(self.failures[number].cause, one)
        return bool(found)

    def _number(self, one: Failing, file: str) -> int | None:
        """Returns the number of the failure that makes a file wrong in a state; None if that is not so again."""
        for fails in (*[self._tester.is_bad] * TWICE, lambda state, _: state == one.plan):
            if not self._tester.fails(one.plan, one.promised):
                break
            number = self._find(one, file, self._for(file, fails))
            if number is not None:
                return number
            if not self._tester.fails_again(one.plan, one.promised):
                break
        return None

    def _for(self, file: str, fails: Fails) -> Fails:
        """Whether a state fails, and that file is wrong in it."""
        if file == ANY:
            return fails
        return lambda plan, promised: fails(plan, promised) and file in self._tester.verdict(plan, promised).about

    def _profiles(self, plan: State, promised: int) -> tuple[str, ...]:
        """The profiles on which that happens."""
        return tuple(one.profile.name for one in self._rules if one.allows(plan) and one.latest(plan) >= promised)

    def _rank(self, profiles: Sequence[str]) -> int:
        """How strong the strongest profile is: 0 is the strongest."""
        return next((rank for rank, rules in enumerate(self._rules) if rules.profile.name in profiles), len(self._rules) - 1)

    def _find(self, one: Failing, file: str, fails: Fails) -> int | None:
        """Returns the number of a known failure, or of a new one; None if what seems to be its cause does not fail again."""
        plan = one.plan
        is_hard, rank = self._tester.is_hard(plan, one.promised), self._rank(self._profiles(plan, one.promised))
        minimiser = Minimiser(self._rules[rank], self._harder(fails) if is_hard else fails)
        promised = minimiser.promised(plan, one.promised)
        known = self._known(plan, promised, file, is_hard, rank)
        if known is not None:
            return known
        self._left -= file != ANY
        cause = minimiser.cause(plan, promised)
        rank = self._rank(self._profiles(cause.plan, cause.promised))
        known = self._alike(cause, file, is_hard, rank)
        if known is None and not self._tester.fails_again(cause.plan, cause.promised):
            return None
        if known is None:
            known = len(self.failures)
            self.failures.append(self._failure(cause, 0))
            self._files.append(set())
            if not cause.plan.losses and not promised:
                for crash in range(cause.plan.crash, plan.crash):
                    self._prefixes.setdefault(crash, set()).add(known)
        self._files[known].add(file)
        return known

    def _known(self, plan: State, promised: int, file: str, is_hard: bool, rank: int) -> int | None:
        """Returns the number of the failure that a state comes from, by what is lost in it and what is kept."""
        before = self._prefixes.get(self._before(plan), set()) if not plan.losses and not promised else set()
        for number, known in enumerate(self.failures):
            if self._is_weaker(known, is_hard, rank) or not self._is_of(number, file):
                continue
            goes_on = number in before and not is_done(self._model, known.cause.kept, plan.crash)
            if goes_on or is_explained(known.cause, plan, promised, self._model):
                return number
        return None

    def _is_of(self, number: int, file: str) -> bool:
        """Whether a failure is known to make a file wrong; where too many are wrong, it is taken to."""
        return file in self._files[number] or (file != ANY and self._left < 0)

    def _alike(self, cause: Cause, file: str, is_hard: bool, rank: int) -> int | None:
        """Returns the number of the failure that has as good as the same cause. The better one of the two is kept."""
        for number, known in enumerate(self.failures):
            is_same = self._lines(known.cause) == self._lines(cause)
            is_mended = is_same or self._is_mended_with(known.cause, cause)
            is_of = file in self._files[number] and is_explained(known.cause, cause.plan, cause.promised, self._model)
            if not (is_mended or is_of):
                continue
            is_weaker = self._is_weaker(known, is_hard, rank)
            is_less = rank > self._rank(known.profiles) or (not is_hard and known.verdict.what != SUSPECT)
            is_earlier = is_mended and not is_same and cause.kept < known.cause.kept and not is_less
            if not is_weaker and not is_earlier:
                return number
            if is_mended and self._tester.fails_again(cause.plan, cause.promised):
                self.failures[number] = self._failure(cause, known.states)._replace(profiles=known.profiles)
                return number
        return None

    def _is_mended_with(self, known: Cause, cause: Cause) -> bool:
        """Whether what is missing for the one would mend the other, too: a sync right after what is lost; or another way of
        writing, where a kill is enough to leave a file half done.
        """
        if known.kind == cause.kind == TORN and not known.plan.losses and self._synced(known.lost) == self._synced(cause.lost):
            return not {*self._lines(known)[1:]}.isdisjoint(self._lines(cause)[1:])
        if not {known.kind, cause.kind} <= {ORDER, UNSYNCED, UNNAMED} or min(known.lost, cause.lost) < 0:
            return False
        return self._way(known.lost) == self._way(cause.lost) and self._synced(known.lost) == self._synced(cause.lost)

    def _synced(self, index: int) -> str:
        """What would have to be synced for a change: the directory, or the file, by its kind of name."""
        change = self._model.changes[index]
        if isinstance(change, DirChange):
            return str(change.entries[-1].directory)
        return NUMBERED.sub("#", os.fsdecode(next(names_of(self._model, self._model.owner(index) or NAMES, index), b"")))

    def _harder(self, fails: Fails) -> Fails:
        return lambda plan, promised: fails(plan, promised) and self._tester.is_hard(plan, promised)

    def _failure(self, cause: Cause, states: int) -> Failure:
        verdict = self._tester.verdict(cause.plan, cause.promised, is_certain=True)
        return Failure(cause, verdict, self._profiles(cause.plan, cause.promised), states)

    def _is_weaker(self, known: Failure, is_hard: bool, rank: int) -> bool:
        """Whether a known failure is less than a state that is suspected or hard, and happens with a profile of this rank."""
        return (is_hard and known.verdict.what == SUSPECT) or self._rank(known.profiles) > rank

    def _look_further(self, cause: Cause, one: Failing) -> None:
        """There may be something else wrong with a state, too: without what its cause needs to be lost, it may fail still."""
        rules = self._rules[self._rank(self._profiles(one.plan, one.promised))]
        rest = without(rules, cause, one.plan)
        if rest is None or len(self._rests) > MOST_RESTS:
            return
        lost = sorted({self._way(part.first) for _, part in rest.items()})
        kind = (*self._lines(cause), *lost, self._way(rest.crash - 1))
        if kind not in self._rests:
            self._rests.add(kind)
            until = min(one.promised, rules.latest(rest))
            if self._tester.fails(rest, until):
                self._explain(Failing(rest, until, 0))

    def _count(self, number: int, one: Failing) -> None:
        """Notes that a state fails by a known cause."""
        known = self.failures[number]
        happens = {*known.profiles, *self._profiles(one.plan, one.promised)}
        profiles = tuple(rules.profile.name for rules in self._rules if rules.profile.name in happens)
        self.failures[number] = known._replace(states=known.states + one.states, profiles=profiles)
        if not one.plan.losses and not one.promised:
            self._prefixes.setdefault(one.plan.crash, set()).add(number)

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

    def _lines(self, cause: Cause) -> tuple[str, ...]:
        """What makes two causes the same: the kind and both source lines; or what tells that one fsync would mend them."""
        lost, kept = self._way(cause.lost), self._way(cause.kept)
        if cause.kind in (ORDER, UNFINISHED) and lost == kept:  # of a function that does it for others
            lost, kept = self._caller(cause.lost) + lost, self._caller(cause.kept) + kept
        if cause.kind == RENAMED:
            return cause.kind, "", kept
        if cause.kind in (ORDER, UNSYNCED, UNNAMED) and cause.lost >= 0:
            return cause.kind, self._synced(cause.lost), kept
        if cause.kind == TORN:  # in either order: one that is half done is torn both ways
            return cause.kind, *sorted((lost, kept))
        return cause.kind, lost, kept

    def _caller(self, index: int) -> str:
        return self._ops[self._model.changes[index].entry].caller
