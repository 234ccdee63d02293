"""Goes through the states that crashes can leave, has each judged once, and finds out why those fail that do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from faultlib.explore.crash.causes import RENAMED, Cause, Minimiser, is_explained
from faultlib.explore.crash.judge import Case, Judges
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.profiles import KILL, PROFILES, Rules
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.store import Store
from faultlib.explore.crash.strategies import STRATEGIES, Candidate
from faultlib.explore.crash.versions import Disk
from faultlib.explore.oracle import Verdict

FLUSH_S = 1.0


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
    """How far it is. `looked_at` states came from the strategies, `unique` differ, `judged` a judge has seen, `failing` failed."""

    def __init__(self) -> None:
        self.looked_at = self.unique = self.judged = self.failing = 0
        self.by_strategy: dict[str, int] = {}
        self.strategy = ""
        self.complete = True


class _Pending(NamedTuple):
    candidate: Candidate
    rules: Rules
    key: bytes
    promised: int


class Explorer:
    """One campaign. `tell` is called from time to time: for a progress bar.

    `needs_promises` says whether a verdict depends on what the program had promised: then a state is judged once for each promise.
    """

    def __init__(
        self, recording: Recording, disk: Disk, judges: Judges, store: Store, *, profiles: tuple[str, ...], sector: int,
        budget: Budget, needs_promises: bool, tell: Callable[[Counts], None],
    ) -> None:  # fmt: skip
        self._recording = recording
        self._disk = disk
        self._judges = judges
        self._store = store
        self._rules = [Rules(PROFILES[name], recording.model, sector) for name in PROFILES if name in profiles]
        self._budget = budget
        self._needs_promises = needs_promises
        self._tell = tell
        self._verdicts = store.verdicts()
        self._seen = set[bytes]()
        self._began = self._flushed = time.monotonic()
        self.counts = Counts()
        self.failures = list[Failure]()
        self._prefixes: dict[int, int] = {}  # crashes that fail with nothing lost, and the number of the failure

    def key(self, plan: State, promised: int) -> bytes:
        """Returns what a verdict depends on: the state's digest, and the promises if they matter."""
        digest = self._disk.digest(plan)
        return digest + promised.to_bytes(8, "little") if self._needs_promises else digest

    def verdict(self, plan: State, promised: int) -> Verdict:
        """Returns the verdict on a state, which is judged if it was not yet."""
        key = self.key(plan, promised)
        if key not in self._verdicts:
            self._note(key, self._judges.judge(Case(plan, promised)))
        return self._verdicts[key]

    def run(self) -> list[Failure]:
        """Explores, strategy by strategy, and returns the failures, in the order in which they were found."""
        for name, several in STRATEGIES.items():
            self.counts.strategy = name
            for rules in self._rules:
                if rules.profile is KILL and name != "A":
                    continue
                for strategy in several:
                    self._look(self._unseen(strategy(rules), rules))
                    if not self.counts.complete:
                        return self.failures
        return self.failures

    def _look(self, pending: Iterator[_Pending]) -> None:
        failing = list[tuple[_Pending, Verdict]]()
        cases = ((one, Case(one.candidate.state, one.promised)) for one in self._unjudged(pending, failing))
        for one, verdict in self._judges.all(cases):
            self._note(one.key, verdict)
            self._sort_in(one, verdict, failing)
        for one, verdict in sorted(failing, key=lambda item: (item[0].candidate.state.crash, item[0].promised)):
            self._explain(one, verdict)

    def _unjudged(self, pending: Iterator[_Pending], failing: list[tuple[_Pending, Verdict]]) -> Iterator[_Pending]:
        for one in pending:
            known = self._verdicts.get(one.key)
            if known is None:
                yield one
            else:
                self._sort_in(one, known, failing)

    def _sort_in(self, one: _Pending, verdict: Verdict, failing: list[tuple[_Pending, Verdict]]) -> None:
        strategy = one.candidate.strategy
        self.counts.by_strategy[strategy] = self.counts.by_strategy.get(strategy, 0) + 1
        if verdict.failed:
            self.counts.failing += 1
            failing.append((one, verdict))

    def _unseen(self, candidates: Iterator[Candidate], rules: Rules) -> Iterator[_Pending]:
        for candidate in candidates:
            self.counts.looked_at += 1
            promised = rules.latest(candidate.state)
            key = self.key(candidate.state, promised)
            if key in self._seen:
                continue
            if self._is_over():
                self.counts.complete = False
                return
            self._seen.add(key)
            self.counts.unique += 1
            yield _Pending(candidate, rules, key, promised)

    def _is_over(self) -> bool:
        states, seconds = self._budget
        spent = time.monotonic() - self._began
        return (states is not None and self.counts.unique >= states) or (seconds is not None and spent > seconds)

    def _note(self, key: bytes, verdict: Verdict) -> None:
        self._verdicts[key] = verdict
        self._store.add(key, verdict)
        self.counts.judged += 1
        if time.monotonic() - self._flushed > FLUSH_S:
            self._store.flush()
            self._flushed = time.monotonic()
        self._tell(self.counts)

    def _explain(self, one: _Pending, verdict: Verdict) -> None:
        plan, model = one.candidate.state, self._recording.model
        minimiser = Minimiser(one.rules, lambda state, promised: self.verdict(state, promised).failed)
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
        self.failures.append(Failure(cause, self.verdict(cause.plan, cause.promised), one.rules.profile.name, 0))
        return self._count(len(self.failures) - 1, plan, promised)

    def _count(self, number: int, plan: State, promised: int) -> None:
        """Notes that a state fails by a known cause."""
        known = self.failures[number]
        self.failures[number] = known._replace(states=known.states + 1)
        if not plan.losses and not promised:
            self._prefixes[plan.crash] = number

    def _before(self, plan: State) -> int:
        """The crash before a prefix's last change of the tree."""
        crash = plan.crash - 1
        while crash > 0 and self._recording.model.owner(crash - 1) is None:
            crash -= 1
        return crash

    def _lines(self, cause: Cause) -> tuple[str, str, str]:
        """What makes two causes the same: the kind, and both source lines; or the file that lacks an fsync, and one line."""
        ops, changes = self._recording.ops, self._recording.model.changes
        lost, kept = (ops[changes[i].entry].place if i >= 0 else "" for i in (cause.lost, cause.kept))
        return cause.kind, str(self._recording.model.owner(cause.lost)) if cause.kind == RENAMED else lost, kept
