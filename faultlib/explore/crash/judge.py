"""Judges states: builds each in a cell, in the place of the roots, and lets recovery and check have a look."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

from faultlib.errors import FaultlibError
from faultlib.explore import cell
from faultlib.explore.crash.changes import Ack
from faultlib.explore.crash.image import OPAQUE, OPAQUE_OF_USERS, Image
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.versions import Disk
from faultlib.explore.oracle import Promise, Verdict

T = TypeVar("T")
AHEAD = 3
"""States that wait at each judge, so that it never does."""


class Case(NamedTuple):
    """A state to be judged, and up to which change the program's promises count."""

    state: State
    promised: int


Oracle = Callable[[Path, Case, Promise], Verdict]
"""Judges the directory of the command, in which a state is."""


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

        self.pid = cell.start(live, isolated=isolated)
        os.close(asks)
        os.close(says)
        self.waiting = 0

    def ask(self, number: int, case: Case) -> None:
        """Hands over a state."""
        self.waiting += 1
        text = json.dumps([number, case.state.to_json(), case.promised]) + "\n"
        try:
            os.write(self._questions, text.encode())
        except BrokenPipeError:
            raise FaultlibError("a judge has ended: see its message above") from None

    def read(self) -> Iterator[tuple[int, Verdict]]:
        """Yields the answers that have come."""
        data = os.read(self.answers, 1 << 16)
        if not data:
            raise FaultlibError("a judge has ended: see its message above")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self.waiting -= 1
            number, what, text = json.loads(line)
            yield number, Verdict(what, text)

    def close(self) -> None:
        """Lets it end. It has to be told: later judges have this end of the pipe open too."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._questions, b"\n")
        os.close(self._questions)
        os.close(self.answers)
        os.waitpid(self.pid, 0)


class Bench:
    """A cell's own side: where the states are built."""

    def __init__(self, recording: Recording, disk: Disk, folder: Path, oracle: Oracle, isolated: bool) -> None:
        self._recording = recording
        self._oracle = oracle
        self._folder = cell.held(folder)
        self._image = Image(disk)
        self._scratch = self._folder / "scratch"
        self._isolated = isolated
        if isolated:
            cell.own_shm((Path(recording.cwd), *map(Path, recording.roots.paths), folder.resolve()))
            cell.mount("faultlib", self._scratch, "tmpfs")
        self._roots = recording.roots.copies(self._folder)
        self._is_user = os.geteuid() != 0

    def serve(self, questions: IO[str], answers: IO[str]) -> None:
        """Answers until nobody asks any more."""
        for line in questions:
            if line == "\n":
                return
            number, plan, promised = json.loads(line)
            verdict = self.judge(Case(State.from_json(plan), promised))
            answers.write(json.dumps([number, *verdict]) + "\n")
            answers.flush()

    def judge(self, case: Case) -> Verdict:
        """Builds a state, judges it, and takes it away."""
        with self._in_place(case.state) if self._isolated else self._written(case.state):
            os.chdir(self._recording.cwd)
            return self._oracle(Path(self._recording.cwd), case, promise(self._recording, case.promised))

    @contextlib.contextmanager
    def _in_place(self, state: State) -> Iterator[None]:
        here = self._scratch / "state"
        folders = {os.fsencode(path): here / "layer" / str(number) for number, path in enumerate(self._roots)}
        self._image.layer(state, folders, OPAQUE_OF_USERS if self._is_user else OPAQUE)
        mounted = list[Path]()
        try:
            for number, (path, first) in enumerate(self._roots.items()):
                self._mount(here, number, path, first)
                mounted.append(path)
            yield
        finally:
            os.chdir("/")
            for path in mounted:
                cell.unmount(path)
            shutil.rmtree(here)

    @contextlib.contextmanager
    def _written(self, state: State) -> Iterator[None]:
        for path in self._roots:
            shutil.rmtree(path, ignore_errors=True)
        self._image.whole(state, {os.fsencode(path): path for path in self._roots})
        yield
        os.chdir("/")

    def _mount(self, here: Path, number: int, path: Path, first: Path) -> None:
        upper, work = here / "upper" / str(number), here / "work" / str(number)
        upper.mkdir(parents=True)
        work.mkdir(parents=True)
        shutil.copystat(first, upper)
        options = f"lowerdir={here / 'layer' / str(number)}:{first},upperdir={upper},workdir={work}"
        cell.mount("overlay", path, "overlay", options=options + (",userxattr" if self._is_user else ",xino=on"))


class Judges:
    """Several of them, at work side by side."""

    def __init__(self, make: Callable[[], Judge], jobs: int) -> None:
        self._judges = [make() for _ in range(jobs)]
        self._asked = 0

    def __enter__(self) -> Judges:
        return self

    def __exit__(self, *_: object) -> None:
        for judge in self._judges:
            judge.close()

    def judge(self, case: Case) -> Verdict:
        """Judges one."""
        ((_, verdict),) = self.all([(None, case)])
        return verdict

    def all(self, cases: Iterable[tuple[T, Case]]) -> Iterator[tuple[T, Verdict]]:
        """Judges many; yields (what came with it, verdict) in the order in which they are ready."""
        waiting: dict[int, T] = {}
        source = iter(cases)
        more = True
        while more or waiting:
            while more and (idle := min(self._judges, key=lambda judge: judge.waiting)).waiting < AHEAD:
                one = next(source, None)
                if one is None:
                    more = False
                    break
                self._asked += 1
                waiting[self._asked] = one[0]
                idle.ask(self._asked, one[1])
            if not waiting:
                return
            ready = select.select([judge.answers for judge in self._judges if judge.waiting], [], [])[0]
            for judge in self._judges:
                if judge.answers in ready:
                    for number, verdict in judge.read():
                        yield waiting.pop(number), verdict


