"""What files and directories are in a state: versions that share what they have in common."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from faultlib.explore.crash.changes import Change, DirChange, Resize, Write, ZeroRange
from faultlib.explore.crash.content import DIGEST_BYTES, Content
from faultlib.explore.crash.losses import ALL, Lost, State
from faultlib.explore.crash.model import NAMES, Model

STRIDE = 32
"""Every so many changes of a file a version is kept, to begin from."""
MOST_KEPT = 4096


class Versions:
    """The versions of one file. Not more than some thousands are kept."""

    def __init__(self, first: Content, indexes: list[int], changes: list[Change]) -> None:
        self._indexes = indexes
        self._changes = changes
        self._marks = [first]
        self._kept: OrderedDict[tuple[int, tuple[Lost, ...]], Content] = OrderedDict()

    def at(self, crash: int, lost: tuple[Lost, ...]) -> Content:
        """Returns the content after a crash that has lost some of its changes."""
        end = bisect_left(self._indexes, crash)
        content = self._kept.get((end, lost))
        if content is None:
            content = self._kept[end, lost] = self._make(end, lost)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return content

    def _make(self, end: int, lost: tuple[Lost, ...]) -> Content:
        place = min(bisect_left(self._indexes, lost[0].first), end) if lost else end
        content = self._prefix(place)
        for number, one in enumerate(lost):
            first, last = bisect_left(self._indexes, one.first), min(bisect_left(self._indexes, one.last), end)
            if first < place or first >= end:  # another part of the write before
                continue
            content = self._done(content, range(place, first))
            if one.lo or one.hi != ALL or one.zero:
                parts = [part for part in lost[number:] if part.first == one.first]
                content = partly(content, self._changes[first], parts)
            place = max(last, first + 1)
        return self._done(content, range(place, end))

    def _prefix(self, end: int) -> Content:
        mark = end // STRIDE
        while len(self._marks) <= mark:
            begin = (len(self._marks) - 1) * STRIDE
            self._marks.append(self._done(self._marks[-1], range(begin, begin + STRIDE)))
        return self._done(self._marks[mark], range(mark * STRIDE, end))

    def _done(self, content: Content, places: Iterable[int]) -> Content:
        for place in places:
            content = done(content, self._changes[place])
        return content


def done(content: Content, change: Change) -> Content:
    """Returns the content after a change."""
    match change:
        case Write(_, _, position, source, at, length):
            return content.write(position, source, at, length)
        case Resize(_, _, size):
            return content.resize(size)
        case ZeroRange(_, _, position, length):
            return content.zero(position, length)
    raise TypeError(change)


def partly(content: Content, change: Change, lost: Iterable[Lost]) -> Content:
    """Returns the content after a write of which parts are lost."""
    assert isinstance(change, Write)
    at = 0
    for part in sorted(lost, key=lambda one: one.lo):
        hi = change.length if part.hi == ALL else part.hi
        if part.lo > at:
            content = content.write(change.position + at, change.source, change.at + at, part.lo - at)
        if part.zero:
            content = content.resize(max(content.size, change.position + hi))
        at = max(at, hi)
    if at < change.length:
        content = content.write(change.position + at, change.source, change.at + at, change.length - at)
    return content


_EMPTY = Content()


class Names(NamedTuple):
    """The directories in a state: paths with their nodes, parents first; those of changed files; and a digest of all the rest."""

    paths: dict[bytes, int]
    changed: tuple[int, ...]
    digest: bytes


class Namespaces:
    """The versions of all directories."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._indexes = model.of_node[NAMES]
        self._marks = [model.initial.entries]
        self._kept: OrderedDict[tuple[int, tuple[Lost, ...]], Names] = OrderedDict()

    def at(self, crash: int, lost: tuple[Lost, ...]) -> Names:
        """Returns the directories after a crash that has lost some of their changes."""
        end = bisect_left(self._indexes, crash)
        names = self._kept.get((end, lost))
        if names is None:
            names = self._kept[end, lost] = self._walk(self._entries(end, lost))
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return names

    def _entries(self, end: int, lost: tuple[Lost, ...]) -> dict[int, dict[bytes, int]]:
        gone = [i for one in lost for i in range(bisect_left(self._indexes, one.first), bisect_left(self._indexes, one.last))]
        first = min([*gone, end])
        mark = first // STRIDE
        while len(self._marks) <= mark:
            begin = (len(self._marks) - 1) * STRIDE
            self._marks.append(self._done(self._marks[-1], range(begin, begin + STRIDE)))
        missing = set(gone)
        return self._done(self._marks[mark], (i for i in range(mark * STRIDE, end) if i not in missing))

    def _done(self, entries: dict[int, dict[bytes, int]], places: Iterable[int]) -> dict[int, dict[bytes, int]]:
        now, own = dict(entries), set[int]()
        for place in places:
            change = self._model.changes[self._indexes[place]]
            assert isinstance(change, DirChange)
            for entry in change.entries:
                if entry.directory not in own:
                    now[entry.directory] = dict(now.get(entry.directory, {}))
                    own.add(entry.directory)
                if entry.after is None:
                    now[entry.directory].pop(entry.name, None)
                else:
                    now[entry.directory][entry.name] = entry.after
        return now

    def _walk(self, entries: dict[int, dict[bytes, int]]) -> Names:
        nodes, of_node = self._model.nodes, self._model.of_node
        paths: dict[bytes, int] = {}
        changed: list[int] = []
        whole = hashlib.blake2b(digest_size=DIGEST_BYTES)
        waiting = sorted(self._model.roots.items(), reverse=True)
        while waiting:
            path, number = waiting.pop()
            node = nodes[number]
            paths[path] = number
            is_changed = number in of_node
            if is_changed:
                changed.append(number)
            own = number if node.kind == "file" and not is_changed and number in self._model.initial.contents else 0
            whole.update(b"%s %d %s\0%s\0" % (node.kind.encode(), own, path, node.target))
            if node.kind == "dir":
                here = entries.get(number, {})
                waiting += [(path + b"/" + name, here[name]) for name in sorted(here, reverse=True)]
        return Names(paths, tuple(changed), whole.digest())


class Disk:
    """What is on the disk in any state of a model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._names = Namespaces(model)
        self._files = {
            number: Versions(model.initial.contents.get(number, Content()), indexes, [model.changes[i] for i in indexes])
            for number, indexes in model.of_node.items()
            if number != NAMES
        }

    def names(self, state: State) -> Names:
        """Returns the directories in a state."""
        return self._names.at(state.crash, state.lost(NAMES))

    def content(self, state: State, number: int) -> Content:
        """Returns what is in a file in a state."""
        versions = self._files.get(number)
        return versions.at(state.crash, state.lost(number)) if versions else self.model.initial.contents.get(number, _EMPTY)

    def digest(self, state: State) -> bytes:
        """Returns a digest: equal if and only if what a program can see of two states is."""
        names, losses, files = self.names(state), dict(state.losses), self._files
        crash = state.crash
        parts = [files[number].at(crash, losses.get(number, ())).digest() for number in names.changed]
        return hashlib.blake2b(names.digest + b"".join(parts), digest_size=DIGEST_BYTES).digest()
