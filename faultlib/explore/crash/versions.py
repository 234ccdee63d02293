"""What files and directories are in a state: versions that share what they have in common."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from faultlib.explore.crash.changes import Change, DirChange, Resize, Write, ZeroRange
from faultlib.explore.crash.content import DIGEST_BYTES, Content, Garbage
from faultlib.explore.crash.losses import ALL, GARBAGE, Lost, State
from faultlib.explore.crash.model import NAMES, Model

STRIDE = 32
"""Every so many changes of a file a version is kept, to begin from."""
MOST_KEPT = 4096
NEVER = 1 << 62


class Versions:
    """The versions of one file. Not more than some thousands are kept."""

    def __init__(self, first: Content, indexes: list[int], changes: list[Change]) -> None:
        self._indexes = indexes
        self._changes = changes
        self._marks = [first]
        self._kept: OrderedDict[tuple[int, tuple[Lost, ...]], Content] = OrderedDict()
        self.window = (0, -1, b"")
        """Behind which crash, up to which, and the digest that the content has if nothing is lost."""

    def at(self, crash: int, lost: tuple[Lost, ...]) -> Content:
        """Returns the content after a crash that has lost some of its changes."""
        end = bisect_left(self._indexes, crash)
        content = self._kept.get((end, lost))
        if content is None:
            content = self._kept[end, lost] = self._make(end, lost)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return content

    def plain(self, crash: int) -> bytes:
        """Returns the digest of the content after a crash that has lost none of its changes."""
        low, high, digest = self.window
        if not low < crash <= high:
            end = bisect_left(self._indexes, crash)
            low = self._indexes[end - 1] if end else -1
            high = self._indexes[end] if end < len(self._indexes) else NEVER
            digest = self.at(crash, ()).digest()
            self.window = low, high, digest
        return digest

    def _make(self, end: int, lost: tuple[Lost, ...]) -> Content:
        before = self._kept.get((end - 1, lost))
        if before is not None and not (lost and lost[-1].last > self._indexes[end - 1]):
            return done(before, self._changes[end - 1])
        place = min(bisect_left(self._indexes, lost[0].first), end) if lost else end
        content = self._prefix(place)
        for number, one in enumerate(lost):
            first, last = bisect_left(self._indexes, one.first), min(bisect_left(self._indexes, one.last), end)
            if first < place or first >= end:  # another part of the write before
                continue
            content = self._done(content, range(place, first))
            if one.lo or one.hi != ALL or one.left:
                parts = [part for part in lost[number:] if part.first == one.first]
                content = partly(content, self._changes[first], parts)
            place = max(last, first + 1)
        return self._done(content, range(place, end))

    def _prefix(self, end: int) -> Content:
        content = self._kept.get((end, ()))
        if content is not None:
            return content
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
        case Write(_, _, position, source, at, length, _):
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
        if part.left and part.lo < hi:
            content = _longer(content, change.position + part.lo, change.position + hi, part.left)
        at = max(at, hi)
    if at < change.length:
        content = content.write(change.position + at, change.source, change.at + at, change.length - at)
    return content


def _longer(content: Content, begin: int, end: int, left: int) -> Content:
    """Returns the content with a size, but not the data that came with it."""
    begin = max(begin, content.size)
    if left == GARBAGE and begin < end:
        return content.write(begin, _GARBAGE, begin, end - begin)
    return content.resize(max(content.size, end))


_EMPTY = Content()
_GARBAGE = Garbage()


class Names(NamedTuple):
    """The directories in a state: paths with their nodes, parents first; those of changed files; and a digest of all the rest."""

    paths: dict[bytes, int]
    changed: tuple[int, ...]
    digest: bytes


class Listing:
    """One version of the entries of a directory. `files` are those of which the content is not the same in all states.

    `contents` are the digests of what is in these after any crash behind `low` and up to `high` that has lost none of it.
    """

    __slots__ = ("contents", "digest", "entries", "files", "folders", "high", "low", "numbers")

    def __init__(self, entries: dict[bytes, int]) -> None:
        self.entries = entries
        self.digest = b""
        self.files: tuple[int, ...] = ()
        self.numbers: frozenset[int] = frozenset()
        self.folders: tuple[tuple[bytes, int], ...] = ()
        self.low, self.high, self.contents = 0, -1, b""


_NOTHING = Listing({})
_NOTHING.digest = b"nothing"
Entries = dict[int, Listing]


class Namespaces:
    """The versions of all directories. Those that are alike share their listings."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._indexes = model.of_node[NAMES]
        self._varying = _moved(model) | model.of_node.keys()
        self._tokens: dict[int, bytes] = {}
        self._marks: list[Entries] = [{number: Listing(entries) for number, entries in model.initial.entries.items()}]
        self._kept: OrderedDict[tuple[int, tuple[Lost, ...]], tuple[Entries, bytes, tuple[Listing, ...]]] = OrderedDict()

    def at(self, crash: int, lost: tuple[Lost, ...]) -> Names:
        """Returns the directories after a crash that has lost some of their changes."""
        entries, digest, listings = self._at(crash, lost)
        changed = (number for listing in listings for number in listing.files if number in self._model.of_node)
        return Names(self._paths(entries), tuple(dict.fromkeys(changed)), digest)

    def entries(self, crash: int, lost: tuple[Lost, ...]) -> Entries:
        """Returns the entries of the directories after a crash that has lost some of their changes."""
        return self._at(crash, lost)[0]

    def listings(self, crash: int, lost: tuple[Lost, ...]) -> tuple[bytes, tuple[Listing, ...]]:
        """Returns a digest of them, and those that have files that are not the same in all states under each path."""
        return self._at(crash, lost)[1:]

    def _at(self, crash: int, lost: tuple[Lost, ...]) -> tuple[Entries, bytes, tuple[Listing, ...]]:
        end = bisect_left(self._indexes, crash)
        found = self._kept.get((end, lost))
        if found is None:
            entries = self._entries(end, lost)
            found = self._kept[end, lost] = entries, *self._summary(entries)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return found

    def _entries(self, end: int, lost: tuple[Lost, ...]) -> Entries:
        before = self._kept.get((end - 1, lost))
        if before and not (lost and lost[-1].last > self._indexes[end - 1]):
            return self._done(before[0], (end - 1,))
        gone = [i for one in lost for i in range(bisect_left(self._indexes, one.first), bisect_left(self._indexes, one.last))]
        mark = min([*gone[:1], end]) // STRIDE
        while len(self._marks) <= mark:
            begin = (len(self._marks) - 1) * STRIDE
            self._marks.append(self._done(self._marks[-1], range(begin, begin + STRIDE)))
        missing = set(gone)
        return self._done(self._marks[mark], (i for i in range(mark * STRIDE, end) if i not in missing))

    def _done(self, entries: Entries, places: Iterable[int]) -> Entries:
        now, own = dict(entries), dict[int, dict[bytes, int]]()
        for place in places:
            change = self._model.changes[self._indexes[place]]
            assert isinstance(change, DirChange)
            for directory, name, _, after in change.entries:
                here = own.get(directory)
                if here is None:
                    here = own[directory] = dict(now.get(directory, _NOTHING).entries)
                if after is None:
                    here.pop(name, None)
                else:
                    here[name] = after
        for directory, here in own.items():
            now[directory] = Listing(here)
        return now

    def _summary(self, entries: Entries) -> tuple[bytes, tuple[Listing, ...]]:
        """A digest of names, kinds and files that never change, and the listings with other files."""
        parts = list[bytes]()
        listings = list[Listing]()
        waiting = [(path, number) for path, number in sorted(self._model.roots.items(), reverse=True)]
        while waiting:
            _, number = waiting.pop()
            listing = entries.get(number, _NOTHING)
            if not listing.digest:
                self._read(listing)
            parts.append(listing.digest)
            if listing.files:
                listings.append(listing)
            waiting += listing.folders
        return hashlib.blake2b(b"".join(parts), digest_size=DIGEST_BYTES).digest(), tuple(listings)

    def _read(self, listing: Listing) -> None:
        nodes, tokens = self._model.nodes, self._tokens
        parts, files, folders = list[bytes](), list[int](), list[tuple[bytes, int]]()
        for name, number in sorted(listing.entries.items()):
            token = tokens.get(number)
            if token is None:
                token = tokens[number] = self._token(number)
            parts += (name, token)
            kind = nodes[number].kind
            if kind == "dir":
                folders.append((name, number))
            elif kind == "file" and number in self._varying:
                files.append(number)
        listing.digest = hashlib.blake2b(b"\0".join(parts), digest_size=DIGEST_BYTES).digest()
        listing.files, listing.numbers, listing.folders = tuple(files), frozenset(files), tuple(reversed(folders))

    def _token(self, number: int) -> bytes:
        """What is always the same about a node: not the content of files that change, nor the entries of directories."""
        node = self._model.nodes[number]
        own = b"%d" % number if node.kind == "file" and number not in self._varying else node.target.hex().encode()
        return b"%s %s" % (node.kind.encode(), own)

    def _paths(self, entries: Entries) -> dict[bytes, int]:
        paths: dict[bytes, int] = {}
        waiting = sorted(self._model.roots.items(), reverse=True)
        while waiting:
            path, number = waiting.pop()
            paths[path] = number
            if number in entries:
                here = entries[number].entries
                waiting += [(path + b"/" + name, here[name]) for name in sorted(here, reverse=True)]
        return paths


def _moved(model: Model) -> set[int]:
    """The files that are not always found under the same path: their numbers do not tell whether two states are alike."""
    found = set[int]()
    moved = {n for i in model.of_node[NAMES] for e in model.changes[i].entries for n in (e.before, e.after)}  # type: ignore[union-attr]
    waiting = [number for number in moved if number is not None]
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += model.initial.entries.get(number, {}).values()
    return found


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

    def entries(self, state: State) -> Entries:
        """Returns the entries of every directory that there is."""
        return self._names.entries(state.crash, state.lost(NAMES))

    def digest_of(self, state: State, number: int) -> bytes:
        """Returns a digest of what is in a file."""
        return self._digest(number, state.crash, state.lost(number))

    def digest_of_names(self, state: State) -> bytes:
        """Returns a digest of all names."""
        return self._names.listings(state.crash, state.lost(NAMES))[0]

    def digest(self, state: State) -> bytes:
        """Returns a digest: equal if and only if what a program can see of two states is."""
        crash, losses = state.crash, dict(state.losses)
        digest, listings = self._names.listings(crash, losses.get(NAMES, ()))
        parts, numbers = [digest], losses.keys()
        for listing in listings:
            if not numbers.isdisjoint(listing.numbers):
                parts += [self._digest(number, crash, losses.get(number, ())) for number in listing.files]
                continue
            if not listing.low < crash <= listing.high:
                self._look(listing, crash)
            parts.append(listing.contents)
        return hashlib.blake2b(b"".join(parts), digest_size=DIGEST_BYTES).digest()

    def _digest(self, number: int, crash: int, lost: tuple[Lost, ...]) -> bytes:
        file = self._files.get(number)
        if file is None:
            return self.model.initial.contents.get(number, _EMPTY).digest()
        return file.at(crash, lost).digest() if lost else file.plain(crash)

    def _look(self, listing: Listing, crash: int) -> None:
        """Reads what is in the files of a listing when nothing of it is lost."""
        listing.contents = b"".join([self._digest(number, crash, ()) for number in listing.files])
        windows = [self._files[number].window for number in listing.files if number in self._files]
        listing.low = max((low for low, _, _ in windows), default=-1)
        listing.high = min((high for _, high, _ in windows), default=NEVER)
