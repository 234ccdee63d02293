"""What directories are in a state: versions that share what they have in common."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from faultlib.explore.crash.changes import DirChange
from faultlib.explore.crash.content import DIGEST_BYTES
from faultlib.explore.crash.losses import Lost
from faultlib.explore.crash.model import NAMES, Model
from faultlib.explore.crash.versions import MOST_KEPT, STRIDE

_MASK = (1 << 8 * DIGEST_BYTES) - 1


class Names(NamedTuple):
    """The directories in a state: paths with their nodes, parents first; those of changed files; and a digest of all the rest."""

    paths: dict[bytes, int]
    changed: tuple[int, ...]
    digest: bytes


class Listing:
    """One version of the entries of a directory.

    `total` stands for all entries, but for what is in files that are not the same in all states; `keys` stand for the names of
    these, by their numbers. `contents` is the sum of the products of keys and of what is in the files when `crash` changes are
    done and none is lost; -1: nobody has looked yet. `pending` are (key, number) that have come since then; of what has gone,
    the key is negative.

    Sums (of hashes, or of hashes times hashes: a universal hash) can be changed without adding everything up again.
    """

    __slots__ = ("contents", "crash", "digest", "entries", "folders", "keys", "pending", "total")

    def __init__(self, entries: dict[bytes, int]) -> None:
        self.entries = entries
        self.total = 0
        self.digest = b""
        self.keys: dict[int, int] = {}
        self.folders: tuple[tuple[bytes, int], ...] = ()
        self.crash, self.contents = -1, 0
        self.pending: list[tuple[int, int]] = []


_NOTHING = Listing({})
_NOTHING.digest = b"nothing"
Entries = dict[int, Listing]


def summed(total: int) -> bytes:
    """Returns a sum as a digest."""
    return (total & _MASK).to_bytes(DIGEST_BYTES, "little")


def _hash(name: bytes, what: bytes = b"") -> int:
    return int.from_bytes(hashlib.blake2b(name + b"\0" + what, digest_size=DIGEST_BYTES).digest(), "little")


class Namespaces:
    """The versions of all directories. Those that are alike share their listings."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._indexes = model.of_node[NAMES]
        self._varying = _moved(model) | model.of_node.keys()
        self._tokens: dict[int, bytes] = {}
        self._marks: list[Entries] = [{number: self._listing(entries) for number, entries in model.initial.entries.items()}]
        self._kept: OrderedDict[tuple[int, tuple[Lost, ...]], tuple[Entries, bytes, tuple[Listing, ...]]] = OrderedDict()

    def at(self, crash: int, lost: tuple[Lost, ...]) -> Names:
        """Returns the directories after a crash that has lost some of their changes."""
        entries, digest, listings = self._at(crash, lost)
        changed = (number for listing in listings for number in listing.keys if number in self._model.of_node)
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
        now, own = dict(entries), dict[int, Listing]()
        for place in places:
            change = self._model.changes[self._indexes[place]]
            assert isinstance(change, DirChange)
            for directory, name, _, after in change.entries:
                here = own.get(directory)
                if here is None:
                    here = own[directory] = self._copy(now.get(directory))
                self._replace(here, name, after)
        for directory, here in own.items():
            here.digest = summed(here.total)
            now[directory] = here
        return now

    @staticmethod
    def _copy(listing: Listing | None) -> Listing:
        if listing is None:
            return Listing({})
        copy = Listing(dict(listing.entries))
        copy.total, copy.keys, copy.folders = listing.total, dict(listing.keys), listing.folders
        copy.crash, copy.contents, copy.pending = listing.crash, listing.contents, list(listing.pending)
        return copy

    def _replace(self, listing: Listing, name: bytes, after: int | None) -> None:
        before = listing.entries.pop(name, None)
        if before is not None:
            self._count(listing, name, before, -1)
        if after is not None:
            listing.entries[name] = after
            self._count(listing, name, after, 1)

    def _count(self, listing: Listing, name: bytes, number: int, sign: int) -> None:
        """An entry has come, or gone."""
        token = self._tokens.get(number)
        if token is None:
            token = self._tokens[number] = self._token(number)
        listing.total += sign * _hash(name, token)
        kind = self._model.nodes[number].kind
        if kind == "dir":
            rest = [pair for pair in listing.folders if pair[0] != name]
            listing.folders = tuple(sorted(rest + [(name, number)] * (sign > 0), reverse=True))
        elif kind == "file" and number in self._varying:
            key = sign * _hash(name)
            if listing.crash >= 0:
                listing.pending.append((key, number))
            keys = listing.keys.pop(number, 0) + key
            if keys:
                listing.keys[number] = keys

    def _listing(self, entries: dict[bytes, int]) -> Listing:
        listing = Listing({})
        for name, number in entries.items():
            self._replace(listing, name, number)
        listing.digest = summed(listing.total)
        return listing

    def _summary(self, entries: Entries) -> tuple[bytes, tuple[Listing, ...]]:
        """A digest of names, kinds and files that never change, and the listings with other files."""
        parts = list[bytes]()
        listings = list[Listing]()
        waiting = [(path, number) for path, number in sorted(self._model.roots.items(), reverse=True)]
        while waiting:
            _, number = waiting.pop()
            listing = entries.get(number, _NOTHING)
            parts.append(listing.digest)
            if listing.keys:
                listings.append(listing)
            waiting += listing.folders
        return hashlib.blake2b(b"".join(parts), digest_size=DIGEST_BYTES).digest(), tuple(listings)

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
