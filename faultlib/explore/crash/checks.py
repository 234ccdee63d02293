"""The check and the recovery of a campaign: each in the fastest way that was seen to come to the same as the plain one."""

from __future__ import annotations

import hashlib
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from faultlib.explore import oracle
from faultlib.explore.crash import readset, volatile
from faultlib.explore.crash.judge import Answer, Bench, Case, Distrust, Look
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.restart import Restart
from faultlib.explore.forkserver import Ended, ForkServer, plain_words
from faultlib.explore.oracle import Promise, Verdict
from faultlib.inject.forkpoint import STARTS_OTHERS, Points, quoted
from faultlib.inject.readset import Group

NO_PROMISE = Promise(b"", 0)
PASSED = Verdict(oracle.PASS)
RANKS = {oracle.PASS: 0, oracle.SUSPECT: 1}
NOT_COMPARED = "__pycache__"
TRIES = 3
"""So many runs in either way tell a check that says now this and now that from one that does something else as a fork."""
MOST_HANGS = 10
"""So many verdicts is a hang worth, where a state is judged again."""
STARTED_ANEW = "the {} is started anew for each state, which takes longer: {}"


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
    def plainly(self, cwd: Path, promise: Promise) -> Verdict:
        """Runs it anew."""

    @abstractmethod
    def forked(self, cwd: Path, promise: Promise) -> Verdict | None:
        """Runs it as a fork. None: it could not be done."""

    def quickly(self, cwd: Path, promise: Promise) -> Verdict:
        """Runs it in the fastest way there is."""
        verdict = self.forked(cwd, promise) if self.server else None
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

    def plainly(self, cwd: Path, promise: Promise) -> Verdict:
        """Runs it anew."""
        return oracle.run(self._words, cwd, self._timeout_s, promise)

    def forked(self, cwd: Path, promise: Promise) -> Verdict | None:
        """Runs it as a fork."""
        return self.server.run(self._timeout_s) if self.server else None


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

    def plainly(self, cwd: Path, promise: Promise) -> Verdict:
        """Calls it in a fork of this process."""
        return self._function(cwd, self._timeout_s, promise)

    def forked(self, cwd: Path, promise: Promise) -> Verdict | None:
        """Calls it in a fork of the small process."""
        assert self.server is not None
        self._keep(promise)
        ended = self.server.run_once(self._timeout_s)
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

    def plainly(self, cwd: Path, promise: Promise) -> Verdict:
        """Runs it anew."""
        return self._restart.verdict_on(oracle.run(self._restart.command, cwd, self._timeout_s))

    def forked(self, cwd: Path, promise: Promise) -> Verdict | None:
        """Runs it as a fork."""
        verdict = self.server.run(self._timeout_s) if self.server else None
        return self._restart.verdict_on(verdict) if verdict else None


Way = Callable[[Path, Promise], Verdict]


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
        self._is_confirmed = False
        self._judged = 0

    def _all(self) -> list[Check]:
        return [one for one in (self._recover, self._check, self._restart) if one]

    def prepare(self, bench: Bench) -> None:
        """Starts servers of forks and tries them on the first and the last state."""
        if not self._forks:
            return
        points, groups = volatile.points(bench.recording.model), self._groups(bench)
        for one in self._all():
            one.groups = groups
            with bench.mounted(State(len(bench.recording.model.changes))):
                why = one.start(bench.cwd, points, bench.scratch)
                self.pids |= one.server.pids if one.server else set()
            if one.server:
                why = self._try(bench, one)
            if why and one.is_told:
                self.notes.append(STARTED_ANEW.format(one.title, why))

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
        one.close()
        return "as a fork of one process it does something else"

    def _is_same(self, bench: Bench, one: Check, state: State) -> bool:
        def run(way: Way) -> tuple[Verdict, bytes]:
            with bench.mounted(state) as uppers:
                verdict = way(bench.cwd, NO_PROMISE)
                return verdict, _digest(uppers) if one is self._recover else b""

        for _ in range(2):  # what says now this and now that is no reason
            (forked, tree), (plain, plain_tree) = run(one.quickly), run(one.plainly)
            if tree == plain_tree and _agrees(forked, plain, lambda: run(one.plainly)[0]):
                return True
        return False

    def judge(self, bench: Bench, case: Case, promise: Promise) -> Answer:
        """Judges a state. The first that fails in the fast way is judged again in the plain one, and of the others some."""
        if case.again:
            return Answer(self._repeated(bench, case, promise))
        is_fast = any(one.server for one in self._all())
        verdict = self._once(bench, case, promise, is_fast)
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
            verdict = self._once(bench, case, promise, left < case.again)
            if not verdict.failed:
                return self._doubted(bench, case, promise, None, verdict)
            left -= MOST_HANGS if verdict.what == oracle.HANG else 1
        return verdict

    def _doubted(self, bench: Bench, case: Case, promise: Promise, seen: Verdict | None, plain: Verdict) -> Verdict:
        """Two verdicts on a state are not the same: is it the check, or the fork in which one was `seen`? Raises Distrust."""

        def several(is_fast: bool) -> set[Verdict]:
            return {self._once(bench, case, promise, is_fast) for _ in range(TRIES)}

        fast = ({seen} if seen else set()) | (several(True) if any(one.server for one in self._all()) else set())
        slow = {plain} | several(False)
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
