"""Judges states: builds each in a cell, in the place of the roots, and lets recovery and check have a look."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, Protocol, TypeVar

from faultlib.errors import FaultlibError
from faultlib.explore import cell
from faultlib.explore.cell import FULL, NoRoom
from faultlib.explore.crash import around, layers
from faultlib.explore.crash.around import Around
from faultlib.explore.crash.changes import Ack
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.elsewhere import Trespass
from faultlib.explore.crash.image import Image
from faultlib.explore.crash.layers import Copies, Layers
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.recording import Recording
from faultlib.explore.oracle import Promise, Verdict

T = TypeVar("T")
NO_ROOM = "there was no room for a state, or for what a check writes"
AHEAD = 3
"""States that wait at each judge, so that it never does."""


class Case(NamedTuple):
    """A state to be judged, and up to which change the program's promises count.

    It has failed already, if it is to be judged `again`: so many times, in the plain way.
    """

    state: State
    promised: int
    again: int = 0


Look = Callable[[Path, Case, Promise], Verdict]
"""Judges the directory of the command, in which a state is."""


class Answer(NamedTuple):
    """A verdict, and what was read for it: the bits of a read set (readset.py); None: it may be anything."""

    verdict: Verdict
    read: int | None = None


class Distrust(FaultlibError):
    """A fast way to a verdict is not the same as the plain one, and some verdicts were found by it."""

    slug = "distrust"


class Oracle(Protocol):
    """What judges states, in a cell of its own. `notes` are what is to be said about how, `pids` processes that it keeps."""

    notes: list[str]
    pids: set[int]

    def prepare(self, bench: Bench) -> None:
        """Called once, before the first state."""

    def judge(self, bench: Bench, case: Case, promise: Promise) -> Answer:
        """Judges a state, which it has put in its place. Raises Distrust."""

    def close(self) -> None:
        """Ends what it keeps."""


def promise(recording: Recording, until: int) -> Promise:
    """Returns what the program had told the world when `until` changes were done."""
    output = list[bytes]()
    changes = recording.model.changes[:until]
    for change in changes:
        if isinstance(change, Ack):
            output += [recording.log.read(at, length) for at, length in change.data]
    return Promise(b"".join(output), changes[-1].entry + 1 if changes else 0)


class Judge:
    """One cell that judges. The process that makes it has everything that is needed in memory already."""

    def __init__(self, recording: Recording, disk: Disk, folder: Path, oracle: Oracle, *, isolated: bool = True) -> None:
        asks, self._questions = os.pipe()
        self.answers, says = os.pipe()
        self._buffer = b""
        ours = (self._questions, self.answers)

        def live() -> None:
            for fd in ours:
                os.close(fd)
            Bench(recording, disk, folder, oracle, isolated).serve(os.fdopen(asks), os.fdopen(says, "w"))

        self.notes: list[str] = []
        self.pid = cell.start(live, isolated=isolated)
        os.close(asks)
        os.close(says)
        self.waiting = 0

    def ask(self, number: int, case: Case, until: float | None = None) -> None:
        """Hands over a state, which is not judged if it is not begun `until` then (time.monotonic)."""
        self.waiting += 1
        text = json.dumps([number, case.state.to_json(), case.promised, case.again, until]) + "\n"
        try:
            os.write(self._questions, text.encode())
        except BrokenPipeError:
            raise FaultlibError("a judge has ended: see its message above") from None

    def read(self) -> Iterator[tuple[int, Answer | None]]:
        """Yields the answers that have come; None for what was not judged in time."""
        data = os.read(self.answers, 1 << 16)
        if not data:
            raise FaultlibError("a judge has ended: see its message above")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self.waiting -= 1
            number, answer, self.notes = json.loads(line)
            if isinstance(answer, str):
                raise Distrust(answer)
            if isinstance(answer, dict) and "refused" in answer:
                raise Trespass(answer["refused"])
            if isinstance(answer, dict):
                raise NoRoom(answer["full"])
            if answer is not None:
                (what, text, about), read = answer
                answer = Answer(Verdict(what, text, tuple(about)), read)
            yield number, answer

    def close(self) -> None:
        """Lets it end. It has to be told: later judges have this end of the pipe open too."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._questions, b"\n")
        os.close(self._questions)
        os.close(self.answers)
        os.waitpid(self.pid, 0)


class Bench:
    """A cell's own side: where the states are put."""

    def __init__(self, recording: Recording, disk: Disk, folder: Path, oracle: Oracle, isolated: bool) -> None:
        self.recording = recording
        self.cwd = Path(recording.cwd)
        self._oracle = oracle
        self._is_prepared = self._was_full = False
        held, roots = cell.held(folder), tuple(map(Path, recording.roots.paths))
        undone = around.places(roots) if isolated else []
        if isolated:
            cell.own_shm((self.cwd, *roots, folder.resolve()))
            (held / "scratch").mkdir(exist_ok=True)
            cell.mount("faultlib", held / "scratch", "tmpfs", options=layers.ROOM)
            self.scratch = cell.held(held / "scratch")
            self._around = Around(undone, self.scratch)
            self._put: Layers | Copies = Layers(Image(disk), recording.roots.copies(held), self.scratch)
        else:
            assert all(root.is_relative_to(folder.resolve()) for root in roots), "states would be written over the real files"
            cell.adopt()
            self._around = Around((), held)
            self.scratch = held
            self._put = Copies(Image(disk), roots)

    def serve(self, questions: IO[str], answers: IO[str]) -> None:
        """Answers until nobody asks any more."""
        gc.freeze()  # what is there already is not gone through again, nor copied in the forks that a check may be
        try:
            for line in questions:
                if line == "\n":
                    return
                number, plan, promised, again, until = json.loads(line)
                is_late = until is not None and time.monotonic() > until
                answer = None if is_late else self._answer(Case(State.from_json(plan), promised, again))
                answers.write(json.dumps([number, answer, self._oracle.notes]) + "\n")
                answers.flush()
        except BrokenPipeError:  # nobody wants to know any more
            return
        finally:
            self._oracle.close()

    def _answer(self, case: Case) -> Answer | str | dict[str, str]:
        """An answer, or why none of this campaign can be trusted, or what is full."""
        self._was_full = False
        try:
            answer = self.judge(case)
        except Distrust as error:
            return str(error)
        except Trespass as error:
            return {"refused": str(error)}
        except OSError as error:
            if error.errno not in FULL:
                raise
            return {"full": f"{NO_ROOM}: {error.strerror}"}
        return {"full": NO_ROOM} if answer.verdict.failed and self._was_full else answer

    def judge(self, case: Case) -> Answer:
        """Has a state judged."""
        if not self._is_prepared:
            self._oracle.prepare(self)
            self._is_prepared = True
        return self._oracle.judge(self, case, promise(self.recording, case.promised))

    @contextlib.contextmanager
    def mounted(self, state: State) -> Iterator[list[Path]]:
        """Puts a state in the place of the roots; yields the folders in which changes of it lie. Nobody outlives it."""
        with self._put.mounted(state) as uppers:
            os.chdir(self.cwd)
            try:
                yield uppers
            finally:
                cell.end_strangers(self._oracle.pids)
                self._was_full |= self._put.is_full
        self._around.undo()


class Judges:
    """Several of them, at work side by side."""

    def __init__(self, make: Callable[[], Judge], jobs: int) -> None:
        self._make, self._most = make, jobs
        self._judges = [make()]
        self._asked = 0

    def __enter__(self) -> Judges:
        return self

    def __exit__(self, *_: object) -> None:
        for judge in self._judges:
            judge.close()

    @property
    def notes(self) -> list[str]:
        """What the judges have to say about how they judge."""
        return list(dict.fromkeys(note for judge in self._judges for note in judge.notes))

    def judge(self, case: Case) -> Verdict:
        """Returns the verdict on one."""
        return self.answer(case).verdict

    def answer(self, case: Case) -> Answer:
        """Judges one."""
        ((_, answer),) = self.all([(None, case)])
        return answer

    def _idle(self) -> Judge:
        """The one with the least to do: a new one, as long as each has something. So there are no more than states."""
        idle = min(self._judges, key=lambda judge: judge.waiting)
        if idle.waiting and len(self._judges) < self._most:
            self._judges.append(idle := self._make())
        return idle

    def all(self, cases: Iterable[tuple[T, Case]], until: float | None = None) -> Iterator[tuple[T, Answer]]:
        """Judges many; yields (what came with it, answer) in the order in which they are ready, without what is late."""
        waiting: dict[int, T] = {}
        source = iter(cases)
        more = True
        while more or waiting:
            while more and (idle := self._idle()).waiting < AHEAD:
                one = next(source, None)
                if one is None:
                    more = False
                    break
                self._asked += 1
                waiting[self._asked] = one[0]
                idle.ask(self._asked, one[1], until)
            if not waiting:
                return
            ready = select.select([judge.answers for judge in self._judges if judge.waiting], [], [])[0]
            for judge in self._judges:
                if judge.answers in ready:
                    for number, answer in judge.read():
                        what = waiting.pop(number)
                        if answer:
                            yield what, answer


