"""Small programs and what they leave, without any process: to be compared with tables written by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from faultlib.explore.crash.changes import Ack, Change, DirChange, DirEntry, Resize, Sync, Write, ZeroRange
from faultlib.explore.crash.content import PAGE, Bytes, Content, Garbage
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.losses import GARBAGE, NOTHING, ZEROS, Lost, State
from faultlib.explore.crash.model import NAMES, Initial, Model
from faultlib.explore.crash.profiles import Rules
from faultlib.explore.crash.tree import Node, Tree

Step = tuple[Any, ...]
ROOT = 1


class Program:
    """Steps on a tree below /r. A file's data are letters, each for `unit` bytes; a dot is zeros, # garbage."""

    def __init__(self, steps: Sequence[Step], first: dict[str, str] | None = None, unit: int = PAGE) -> None:
        self.unit = unit
        self.tree = Tree()
        self.tree.nodes[ROOT] = Node("dir")
        self.tree.roots[b"/r"] = ROOT
        self._next = ROOT + 1
        for path, data in (first or {}).items():
            directory, name = self._place(path)
            number = self._node("dir" if path.endswith("/") else "file")
            self.tree.nodes[directory].children[name] = number
            self.tree.nodes[number].content = Content.of(Bytes(self._bytes(data)), len(data) * unit)
        self.initial = Initial.of(self.tree)
        self.changes: list[Change] = []
        self._last: dict[str, int] = {}
        for entry, step in enumerate(steps):
            for change in getattr(self, f"_{step[0]}")(entry, *step[1:]):
                self.tree.apply(change)
                self.changes.append(change)
        self.model = Model(self.tree, self.initial, self.changes)
        self.disk = Disk(self.model)

    def _bytes(self, data: str) -> bytes:
        return b"".join((b"\0" if letter == "." else letter.encode()) * self.unit for letter in data)

    def _node(self, kind: str) -> int:
        number, self._next = self._next, self._next + 1
        self.tree.nodes[number] = Node(kind)
        return number

    def _place(self, path: str) -> tuple[int, bytes]:
        *parents, name = path.rstrip("/").split("/")
        here = ROOT
        for part in parents:
            here = self.tree.nodes[here].children[part.encode()]
        return here, name.encode()

    def _at(self, path: str) -> int:
        """The node; of a name that is gone, the last one there: it is still open."""
        if path == ".":
            return ROOT
        directory, name = self._place(path)
        found = self.tree.nodes[directory].children.get(name)
        self._last[path] = found if found is not None else self._last[path]
        return self._last[path]

    def _make(self, entry: int, path: str, kind: str) -> Iterator[Change]:
        directory, name = self._place(path)
        made = self._node(kind)
        yield DirChange(entry, (DirEntry(directory, name, None, made),), made)

    def _create(self, entry: int, path: str) -> Iterator[Change]:
        yield from self._make(entry, path, "file")

    def _mkdir(self, entry: int, path: str) -> Iterator[Change]:
        yield from self._make(entry, path, "dir")

    def _append(self, entry: int, path: str, data: str) -> Iterator[Change]:
        number = self._at(path)
        yield from self._pwrite(entry, path, self.tree.nodes[number].content.size / self.unit, data)

    def _pwrite(self, entry: int, path: str, at: float, data: str) -> Iterator[Change]:
        yield Write(entry, self._at(path), int(at * self.unit), Bytes(b"junk" + self._bytes(data)), 4, len(data) * self.unit)

    def _store(self, entry: int, path: str, at: float, data: str, since: int) -> Iterator[Change]:
        """To mapped pages, found now, and not there when entry `since` began. Behind the end of the file stores go nowhere."""
        number = self._at(path)
        begin, size = int(at * self.unit), self.tree.nodes[number].content.size
        end = min(begin + len(data) * self.unit, size)
        while begin < end:
            stop = min(end, begin // PAGE * PAGE + PAGE)
            source = Bytes(self._bytes(data)[begin - int(at * self.unit) :])
            yield Write(entry, number, begin, source, 0, stop - begin, since)
            begin = stop

    def _dsync_write(self, entry: int, path: str, at: float, data: str) -> Iterator[Change]:
        yield from self._pwrite(entry, path, at, data)
        yield Sync(entry, self._at(path), entry + 1, True, False)

    def _truncate(self, entry: int, path: str, size: float) -> Iterator[Change]:
        yield Resize(entry, self._at(path), int(size * self.unit))

    def _zero(self, entry: int, path: str, at: float, length: float) -> Iterator[Change]:
        yield ZeroRange(entry, self._at(path), int(at * self.unit), int(length * self.unit))

    def _rename(self, entry: int, path: str, to: str) -> Iterator[Change]:
        (one, name), (two, name2) = self._place(path), self._place(to)
        number, over = self.tree.nodes[one].children[name], self.tree.nodes[two].children.get(name2)
        yield DirChange(entry, (DirEntry(one, name, number, None), DirEntry(two, name2, over, number)))

    def _link(self, entry: int, path: str, to: str) -> Iterator[Change]:
        directory, name = self._place(to)
        yield DirChange(entry, (DirEntry(directory, name, None, self._at(path)),))

    def _unlink(self, entry: int, path: str) -> Iterator[Change]:
        directory, name = self._place(path)
        yield DirChange(entry, (DirEntry(directory, name, self._at(path), None),))

    def _fsync(self, entry: int, path: str) -> Iterator[Change]:
        yield Sync(entry, self._at(path), entry, False, False)

    def _fdatasync(self, entry: int, path: str) -> Iterator[Change]:
        yield Sync(entry, self._at(path), entry, True, False)

    def _msync(self, entry: int, path: str, at: float, length: float) -> Iterator[Sync]:
        yield Sync(entry, self._at(path), entry, True, False, int(at * self.unit), int((at + length) * self.unit))

    def _failing_msync(self, entry: int, path: str, at: float, length: float) -> Iterator[Change]:
        yield from (sync._replace(failed=True) for sync in self._msync(entry, path, at, length))

    def _failing_fsync(self, entry: int, path: str) -> Iterator[Change]:
        yield Sync(entry, self._at(path), entry, False, True)

    def _sync(self, entry: int) -> Iterator[Change]:
        yield Sync(entry, None, entry, False, False)

    def _sync_file_range(self, entry: int, path: str) -> Iterator[Change]:
        self._at(path)
        yield from ()  # no entry of the log becomes a change

    def _say(self, entry: int) -> Iterator[Change]:
        yield Ack(entry, 1, None)

    # states

    def look(self, plan: State) -> str:
        """What a program finds after a crash: each path with its data; directories end in a slash."""
        found = []
        for path, number in self.disk.names(plan).paths.items():
            name = path[3:].decode()
            if name:
                is_dir = self.tree.nodes[number].kind == "dir"
                found.append(f"{name}/" if is_dir else f"{name}:{self._letters(self.disk.content(plan, number).read())}")
        return " ".join(sorted(found))

    def _letters(self, data: bytes) -> str:
        units = [(i, data[i : i + self.unit]) for i in range(0, len(data), self.unit)]
        return "".join("#" if unit == Garbage().read(at, self.unit) else self._letter(unit) for at, unit in units)

    def _letter(self, unit: bytes) -> str:
        if len(unit) == self.unit and unit == unit[:1] * self.unit:
            return unit[:1].decode().replace("\0", ".")
        return f"<{unit[:1].decode()}{len(unit)}{unit[-1:].decode()}>".replace("\0", ".")

    def pieces(self, index: int, sector: int) -> list[tuple[int, int]]:
        """The parts of a write that could be lost by themselves: from edge to edge of sectors and pages."""
        change = self.changes[index]
        if not isinstance(change, Write):
            return [(0, -1)]
        edges = {0, self.model.old[index], self.model.over[index], change.length}
        edges |= {at - change.position for at in range(0, change.position + change.length, sector) if at > change.position}
        return list(zip(sorted(edges), sorted(edges)[1:], strict=False))

    def states(self, rules: Rules, crashes: Sequence[int] | None = None) -> Iterator[State]:
        """Every state that the rules allow, found by trying all."""
        for crash in range(len(self.changes) + 1) if crashes is None else crashes:
            parts = [
                (i, lo, hi) for i in range(crash) if self.model.owner(i) is not None for lo, hi in self.pieces(i, rules.sector)
            ]
            of_a_write = (None, NOTHING, ZEROS, GARBAGE) if rules.profile.garbage else (None, NOTHING, ZEROS)
            kinds = [of_a_write if isinstance(self.changes[i], Write) else (None, NOTHING) for i, _, _ in parts]
            for fates in product(*kinds):
                items = [
                    (self.model.owner(i) or NAMES, Lost(i, i + 1, lo, hi, left))
                    for (i, lo, hi), left in zip(parts, fates, strict=True)
                    if left is not None
                ]
                plan = rules.canonical(State(crash, tuple((node, (lost,)) for node, lost in items)))
                if rules.allows(plan):
                    yield plan

    def outcomes(self, rules: Rules, *, finished: bool = False) -> set[str]:
        """All that can be found after a crash, or after one at the end."""
        return {self.look(plan) for plan in self.states(rules, [len(self.changes)] if finished else None)}
