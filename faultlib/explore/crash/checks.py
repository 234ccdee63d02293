"""The check and the recovery of a campaign: each in the fastest way that was seen to come to the same as the plain one."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from faultlib.explore import oracle
from faultlib.explore.crash import readset, volatile
from faultlib.explore.crash.commands import NO_PROMISE, Check, Command, Function, Restarted
from faultlib.explore.crash.judge import Answer, Bench, Case, Distrust, Look
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.restart import Restart
from faultlib.explore.oracle import Promise, Verdict
from faultlib.inject.forkpoint import Points
from faultlib.inject.readset import Group

PASSED = Verdict(oracle.PASS)
RANKS = {oracle.PASS: 0, oracle.SUSPECT: 1}
NOT_COMPARED = "__pycache__"
TRIES = 3
"""So many runs in either way tell a check that says now this and now that from one that does something else as a fork."""
MOST_HANGS = 10
"""So many verdicts is a hang worth, where a state is judged again."""
STARTED_ANEW = "the {} is started anew for each state, which takes longer: {}"
HANGS_AS_FORK = "as a fork of one process it hangs"
DOES_OTHERWISE = "as a fork of one process it does something else"
MOST_REASON = 256
Way = Callable[[Path, Promise], Verdict]


class _Reasons:
    """Why checks are not to be forked, by their place: judges are forks of one process, and know what another has found out."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def __getitem__(self, place: int) -> str:
        return self._memory[place * MOST_REASON :][:MOST_REASON].rstrip(b"\0").decode(errors="ignore")

    def __setitem__(self, place: int, why: str) -> None:
        self._memory[place * MOST_REASON : (place + 1) * MOST_REASON] = why.encode()[:MOST_REASON].ljust(MOST_REASON, b"\0")


class Checks:
    """Judges states by a check, after a recovery if there is one, and by whatever else looks at them, up to the first failure.

    With `forks` false, every command is started anew.
    """

    def __init__(
        self, check: str | None, recover: str | None, cwd: Path, timeout_s: float, forks: bool = True,
        also: Sequence[Look] = (), restart: Restart | None = None,
    ) -> None:  # fmt: skip
        self.notes: list[str] = []
        self.pids = set[int]()
        self._check: Check | None = None
        if check is not None:
            is_function = oracle.Function.is_one(check)
            self._check = Function(check, cwd, timeout_s) if is_function else Command("check", check, cwd, timeout_s)
        self._also = also
        self._restart = Restarted(restart, timeout_s) if restart else None
        self._recover = Command("recovery", recover, cwd, timeout_s) if recover is not None else None
        self._forks = forks
        self._is_confirmed = self._gave_up = False
        self._judged = 0
        self._why_not = _Reasons()

    def _all(self) -> list[Check]:
        return [one for one in (self._recover, self._check, self._restart) if one]

    def prepare(self, bench: Bench) -> None:
        """Starts servers of forks and tries them on the first and the last state."""
        if not self._forks:
            return
        points, groups = volatile.points(bench.recording.model), self._groups(bench)
        for place, one in enumerate(self._all()):
            one.groups = groups
            why = self._why_not[place] or self._start(bench, one, points)
            if why:
                self._give_up(place, one, why)

    def _start(self, bench: Bench, one: Check, points: Points) -> str | None:
        with bench.mounted(State(len(bench.recording.model.changes))):
            why = one.start(bench.cwd, points, bench.scratch)
            self.pids |= one.server.pids if one.server else set()
        return self._try(bench, one) if one.server else why

    def _groups(self, bench: Bench) -> list[Group] | None:
        """What to watch for; nothing where somebody looks at all of a state anyway."""
        places = None if self._also or self._restart else readset.places(bench.recording.model)
        return None if places is None else [one.watched for one in places]

    def _try(self, bench: Bench, one: Check) -> str | None:
        """Runs a command both ways. Returns why it cannot be forked."""
        for is_quick in (True, False):
            assert one.server is not None
            one.server.quick = is_quick
            ends = (State(len(bench.recording.model.changes)), State(0))
            if all(self._is_same(bench, one, state) for state in ends):
                return None
            if one.hangs_as_fork:
                break
        return HANGS_AS_FORK if one.hangs_as_fork else DOES_OTHERWISE

    def _is_same(self, bench: Bench, one: Check, state: State) -> bool:
        def run(way: Way) -> tuple[Verdict, bytes]:
            with bench.mounted(state) as uppers:
                verdict = way(bench.cwd, NO_PROMISE)
                return verdict, _digest(uppers) if one is self._recover else b""

        for _ in range(2):  # what says now this and now that is no reason
            plain, plain_tree = run(one.plainly)
            if plain.what == oracle.HANG:  # a fork that does so is run anew anyway
                return True
            forked, tree = run(one.quickly)
            if one.waited_s:
                run(one.plainly)
            elif tree == plain_tree and _agrees(forked, plain, lambda: run(one.plainly)[0]):
                return True
            if one.hangs_as_fork:
                return False
        return False

    def judge(self, bench: Bench, case: Case, promise: Promise) -> Answer:
        """Judges a state. The first that fails in the fast way is judged again in the plain one, and of the others some."""
        if case.again:
            return Answer(self._repeated(bench, case, promise))
        self._give_up_what_hangs()
        verdict, is_fast = self._judged_in(bench, case, promise, self._has_forks)
        answer = Answer(verdict, self._read() if is_fast else None)
        self._judged += 1
        self._note_losses()
        is_sample = self._judged & (self._judged - 1) == 0
        if not is_fast or not (is_sample or (verdict.failed and not self._is_confirmed)):
            return answer
        self._is_confirmed |= verdict.failed
        again = self._once(bench, case, promise, False)
        if not _agrees(verdict, again, lambda: self._once(bench, case, promise, False)):
            return Answer(self._doubted(bench, case, promise, verdict, again))
        return answer._replace(verdict=again)

    @property
    def _has_forks(self) -> bool:
        return any(one.server for one in self._all())

    def _judged_in(self, bench: Bench, case: Case, promise: Promise, is_fast: bool) -> tuple[Verdict, bool]:
        """Judges a state. Also returns whether in the fast way: where that does not end, it is done in the plain one."""
        verdict = self._once(bench, case, promise, is_fast)
        if not any(one.waited_s for one in self._all()):
            return verdict, is_fast
        verdict = self._once(bench, case, promise, False)
        for one in self._all():
            one.waited_s = 0.0
        self._give_up_what_hangs()
        return verdict, False

    def _give_up_what_hangs(self) -> None:
        for place, one in enumerate(self._all()):
            if one.server and (one.hangs_as_fork or self._why_not[place] == HANGS_AS_FORK):
                self._give_up(place, one, HANGS_AS_FORK)
                self._gave_up = True

    def _give_up(self, place: int, one: Check, why: str) -> None:
        one.close()
        self._why_not[place] = why
        if one.is_told:
            self.notes.append(STARTED_ANEW.format(one.title, why))

    def _read(self) -> int | None:
        """All that was read for the last verdict; None where somebody looks at more than can be watched."""
        if self._also or self._restart:
            return None
        whole = 0
        for one in self._all():
            if one.read is None:
                return None
            whole |= one.read
        return whole

    def _repeated(self, bench: Bench, case: Case, promise: Promise) -> Verdict:
        """Judges a state again that has failed, in the plain way first: UNSTABLE, if it passes now. Raises Distrust."""
        verdict, left = PASSED, case.again
        while left > 0:
            verdict, _ = self._judged_in(bench, case, promise, left < case.again)
            if not verdict.failed:
                return self._doubted(bench, case, promise, None, verdict)
            left -= MOST_HANGS if verdict.what == oracle.HANG else 1
        return verdict

    def _doubted(self, bench: Bench, case: Case, promise: Promise, seen: Verdict | None, plain: Verdict) -> Verdict:
        """Two verdicts on a state are not the same: is it the check, or the fork in which one was `seen`? Raises Distrust."""

        def several(is_fast: bool) -> set[Verdict]:
            found = set[Verdict]()
            for _ in range(TRIES):
                verdict, was_fast = self._judged_in(bench, case, promise, is_fast)
                if was_fast == is_fast:
                    found.add(verdict)
                if verdict.what == oracle.HANG:
                    break
            return found

        fast = ({seen} if seen else set()) | (several(True) if self._has_forks else set())
        slow = {plain} | several(False)
        if self._gave_up and not fast and len(_fails(slow)) == 1:
            raise Distrust(f"in a fork of one process, which hangs now, a state was not judged {_told(plain)}, as in a new one")
        are_stable = len(_fails(fast)) == len(_fails(slow)) == 1
        if are_stable and (_fails(fast) != _fails(slow) or (seen and len(fast) == len(slow) == 1)):
            raise Distrust(f"in a fork of one process a state is judged {_told(fast.pop())}, in a new one {_told(plain)}")
        if are_stable and seen:  # the same, in other words
            return plain
        return Verdict(oracle.UNSTABLE, next((verdict.text for verdict in fast | slow if verdict.failed), ""))

    def _note_losses(self) -> None:
        for one in self._all():
            if one.is_lost:
                self.notes.append(STARTED_ANEW.format(one.title, "the process that was forked has ended"))
                one.is_lost = False

    def _once(self, bench: Bench, case: Case, promise: Promise, is_fast: bool) -> Verdict:
        for one in self._all():
            one.read = 0
        with bench.mounted(case.state):
            if self._recover:
                verdict = (self._recover.quickly if is_fast else self._recover.plainly)(bench.cwd, promise)
                if verdict.failed:
                    return Verdict(oracle.RECOVERY, verdict.text)
            verdict = PASSED
            if self._check:
                verdict = (self._check.quickly if is_fast else self._check.plainly)(bench.cwd, promise)
            for look in self._also:
                verdict = _worse(verdict, look, bench.cwd, case, promise)
            if self._restart and verdict.what in RANKS:  # last, as the state is another one afterwards
                again = (self._restart.quickly if is_fast else self._restart.plainly)(bench.cwd, promise)
                verdict = again if again.failed else verdict
            return verdict

    def close(self) -> None:
        """Ends the servers."""
        for one in self._all():
            one.close()


def _worse(verdict: Verdict, look: Look, cwd: Path, case: Case, promise: Promise) -> Verdict:
    """The worse of a verdict and what another one says, who is asked unless it is bad enough."""
    if verdict.what not in RANKS:
        return verdict
    return max(verdict, look(cwd, case, promise), key=lambda one: RANKS.get(one.what, 2))


def _agrees(fast: Verdict, plain: Verdict, again: Callable[[], Verdict]) -> bool:
    """Whether two verdicts are the same. Where only what was said differs, that may be what it does from run to run."""
    return fast == plain or (fast.what == plain.what and again() != plain)


def _fails(verdicts: set[Verdict]) -> set[bool]:
    return {verdict.failed for verdict in verdicts}


def _told(verdict: Verdict) -> str:
    return f"{verdict.what} ({verdict.text.splitlines()[0]})" if verdict.text else verdict.what


def _digest(folders: list[Path]) -> bytes:
    """A digest of what is in folders: names, kinds, modes and contents."""
    whole = hashlib.blake2b(digest_size=16)
    for folder in folders:
        for here, directories, names in os.walk(folder):
            directories[:] = sorted(name for name in directories if name != NOT_COMPARED)
            for name in sorted(names + directories):
                path = os.path.join(here, name)  # noqa: PTH118 - many
                mode = os.lstat(path).st_mode
                whole.update(f"{path[len(str(folder)) :]}\0{mode}\0".encode(errors="surrogateescape"))
                if os.path.isfile(path) and not os.path.islink(path):  # noqa: PTH113, PTH114
                    whole.update(Path(path).read_bytes())
    return whole.digest()
