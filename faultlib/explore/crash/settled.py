"""Which versions of a file somebody was done with: what a crash may leave of it without anybody being surprised."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from faultlib.explore.crash.changes import Change, Close, DirChange, DirEntry, Resize, Sync, Write, ZeroRange
from faultlib.explore.crash.model import Model
from faultlib.explore.crash.recording import Op, Recording

_SYNCS = ("fsync", "fdatasync", "msync")
"""By which a program says that it wants to have this version; not O_SYNC, which says it of each part of one."""


class Step(NamedTuple):
    """After the first `at` changes a name leads to `node` (None: to nothing). `placed`: it did not come into being there."""

    at: int
    node: int | None
    placed: bool


class Moment(NamedTuple):
    """The version of a file after the first `at` changes is one that its writer was done with. `why` says how we know."""

    at: int
    why: str


class Names:
    """The life of each name: what it led to in the course of the run. Names are absolute paths of all but directories."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.lives: dict[bytes, list[Step]] = {}
        self.now: dict[bytes, int] = {}
        self._entries = {number: dict(entries) for number, entries in model.initial.entries.items()}
        self._paths: dict[int, bytes] = {}
        for path, number in model.roots.items():
            for name, node in self._appear(path, number):
                self._step(name, Step(0, node, True))

    def follow(self, index: int, change: DirChange) -> None:
        """Takes a change of directories in."""
        gone, come = set[bytes](), dict[bytes, int]()
        for entry in change.entries:
            gone.update(self._vanish(entry))
        for entry in change.entries:
            if entry.after is None:
                self._entries.setdefault(entry.directory, {}).pop(entry.name, None)
            else:
                self._entries.setdefault(entry.directory, {})[entry.name] = entry.after
        for entry in change.entries:
            if entry.after is not None and entry.directory in self._paths:
                come.update(self._appear(self._paths[entry.directory] + b"/" + entry.name, entry.after))
        for name in gone - come.keys():
            self._step(name, Step(index + 1, None, False))
        for name, node in come.items():
            self._step(name, Step(index + 1, node, change.made != node))

    def _step(self, name: bytes, step: Step) -> None:
        self.lives.setdefault(name, []).append(step)
        if step.node is None:
            self.now.pop(name, None)
        else:
            self.now[name] = step.node

    def _vanish(self, entry: DirEntry) -> Iterator[bytes]:
        """Yields the names that are gone with an entry."""
        path = self._paths.get(entry.directory)
        if path is None or entry.before is None:
            return
        for name, number in list(self._below(path + b"/" + entry.name, entry.before)):
            if self.model.nodes[number].kind == "dir":
                self._paths.pop(number, None)
            else:
                yield name

    def _appear(self, path: bytes, number: int) -> Iterator[tuple[bytes, int]]:
        """Yields the names that come with an entry, with what they lead to."""
        for name, node in list(self._below(path, number)):
            if self.model.nodes[node].kind == "dir":
                self._paths[node] = name
            else:
                yield name, node

    def _below(self, path: bytes, number: int) -> Iterator[tuple[bytes, int]]:
        waiting = [(path, number)]
        while waiting:
            path, number = waiting.pop()
            yield path, number
            if self.model.nodes[number].kind == "dir":
                waiting += [(path + b"/" + name, child) for name, child in self._entries.get(number, {}).items()]


class Settled:
    """The settled moments of a recorded run.

    `moments` are those of each file, in order, the state before the run (if it was there) and the end of the run among them.
    `names` are the lives of all names. `quiet` are the moments at which the program told somebody something, made a directory
    durable, or one of its processes ended: what is gone then is meant to be.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._model = recording.model
        self.names = Names(self._model)
        self.moments: dict[int, list[Moment]] = {n: [Moment(0, "before the run")] for n in self._model.initial.contents}
        self.quiet: list[int] = []
        self._sees_closes = any(isinstance(change, Close) for change in self._model.changes)
        self._opener: dict[int, str] = {}
        self._writer: dict[int, str] = {}
        self._unsettled: set[int] = set()
        self._untouched: set[int] = set()
        self._pending: dict[int, list[Moment]] = {}
        index, changes = 0, self._model.changes
        for entry, op in enumerate(recording.ops):
            first = index
            while index < len(changes) and changes[index].entry <= entry:
                self._take(index, changes[index], op)
                index += 1
            if _opens(op):
                self._opened(op, first, changes[first:index])
            elif op.name.startswith(("exit", "_exit")):
                self._ended(op, index)
        self._end(len(changes))

    def last_before(self, node: int, at: int) -> Moment | None:
        """Returns the last settled moment of a file up to then."""
        several = self.moments.get(node, [])
        place = bisect_right(several, at, key=lambda moment: moment.at)
        return several[place - 1] if place else None

    def is_quiet_between(self, first: int, last: int) -> bool:
        """Whether there was a moment from `first` on, before `last`, at which somebody could have had a look."""
        place = bisect_left(self.quiet, first)
        return place < len(self.quiet) and self.quiet[place] < last

    def _take(self, index: int, change: Change, op: Op) -> None:
        match change:
            case DirChange():
                self._named(index, change, op)
            case Write() | Resize() | ZeroRange():
                self._changed(change, op)
            case Sync(_, node, _, _, failed):
                if node is not None and self._model.nodes[node].kind == "dir":
                    self.quiet.append(index + 1)
                elif node is not None and not failed and op.name in _SYNCS:
                    self._settle(node, Moment(index + 1, f"synced at {op.place}"))
            case Close(_, node):
                self._closed(index, node, op)
            case _:
                self.quiet.append(index + 1)

    def _named(self, index: int, change: DirChange, op: Op) -> None:
        self.names.follow(index, change)
        for entry in change.entries:
            node = entry.after
            if node is None or self._model.nodes[node].kind != "file":
                continue
            if node == change.made:
                self._unsettled.add(node)
            elif node in self._unsettled and self._sees_closes:
                # Still open? Then what is written next belongs to the version that was given its name too early.
                self._pending.setdefault(node, []).append(Moment(index + 1, f"given its name at {op.place}"))
            else:
                self._settle(node, Moment(index + 1, f"given its name at {op.place}"))

    def _changed(self, change: Write | Resize | ZeroRange, op: Op) -> None:
        self._pending.pop(change.node, None)
        self._unsettled.add(change.node)
        self._untouched.discard(change.node)
        self._writer[change.node] = op.process

    def _closed(self, index: int, node: int, op: Op) -> None:
        if self._opener.get(node, op.process) != op.process:
            return  # one that has inherited the descriptor: its owner may have more to write
        moment = Moment(index + 1, f"closed at {op.place}")
        if node in self._untouched:  # perhaps only a copy of the descriptor, as shells make them for `>`
            self._pending.setdefault(node, []).append(moment)
        else:
            self._settle(node, moment)
            self._opener.pop(node, None)

    def _opened(self, op: Op, index: int, changes: Sequence[Change]) -> None:
        """Somebody begins to write. If we see no file being closed, the version before must have been."""
        node = next((c.made if isinstance(c, DirChange) else c.node for c in changes if isinstance(c, DirChange | Resize)), None)
        if node is None:
            node = self.names.now.get(os.fsencode(op.paths[0])) if op.paths else None
        if node is None:
            return
        self._accept(node)
        if not self._sees_closes and node in self._writer and self._is_cut(changes):
            self._add(node, Moment(index, f"before it was opened again at {op.place}"))
        self._opener[node] = op.process
        self._untouched.add(node)

    @staticmethod
    def _is_cut(changes: Sequence[Change]) -> bool:
        return any(isinstance(change, Resize) for change in changes)

    def _ended(self, op: Op, index: int) -> None:
        """The kernel closes what a process has left open."""
        self.quiet.append(index)
        for node in sorted(self._unsettled):
            if self._opener.get(node, self._writer.get(node)) == op.process:
                self._settle(node, Moment(index, f"left by {op.place}, which ended"))

    def _end(self, index: int) -> None:
        for node, content in self._model.nodes.items():
            if content.kind == "file":
                self._accept(node)
                if node in self._unsettled:
                    self._add(node, Moment(index, "at the end"))

    def _settle(self, node: int, moment: Moment) -> None:
        self._accept(node)
        if node in self._unsettled:
            self._unsettled.discard(node)
            self._add(node, moment)

    def _accept(self, node: int) -> None:
        """Nothing more was written to what looked settled."""
        for moment in self._pending.pop(node, []):
            if node in self._unsettled:
                self._add(node, moment)
                self._unsettled.discard(node)

    def _add(self, node: int, moment: Moment) -> None:
        self.moments.setdefault(node, []).append(moment)


def _opens(op: Op) -> bool:
    return op.name.startswith(("open", "creat"))
