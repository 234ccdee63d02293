"""What differs between the states of a model: where a program that is to be forked for each of them has to stop at the latest."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from faultlib.explore.crash.changes import DirChange
from faultlib.explore.crash.model import NAMES, Model
from faultlib.inject.forkpoint import Points, quoted

MOST_PATHS, MOST_LISTINGS = 160, 40
MOST_OF_NODE = 32
"""A file that bore more names than that: all of its root is looked at."""
_CODE = (b".py", b".pyc", b".so", b".pyd", b".zip", b".egg")
_CACHE = b"__pycache__"
Link = tuple[int, bytes]
"""A directory and a name in it."""


class TooMany(Exception):
    """More names than are worth telling apart."""


class Places:
    """Where the files and directories of a model can be, in any state."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._links: dict[int, set[Link]] = {}
        self.changing = set[Link]()
        for directory, entries in model.initial.entries.items():
            for name, node in entries.items():
                self._links.setdefault(node, set()).add((directory, name))
        for change in model.changes:
            if isinstance(change, DirChange):
                for entry in change.entries:
                    self.changing.add((entry.directory, entry.name))
                    if entry.after is not None:
                        self._links.setdefault(entry.after, set()).add((entry.directory, entry.name))
        self._known: dict[int, frozenset[bytes]] = {}
        self._roots = {number: path for path, number in model.roots.items()}

    def of(self, node: int, inside: tuple[int, ...] = ()) -> frozenset[bytes]:
        """Returns every path that a node can have. Raises TooMany."""
        if node not in self._known:
            if node in inside or len(inside) > MOST_OF_NODE:
                raise TooMany
            found = {self._roots[node]} if node in self._roots else set[bytes]()
            for directory, name in self._links.get(node, ()):
                found.update(path + b"/" + name for path in self.of(directory, (*inside, node)))
                if len(found) > MOST_OF_NODE:
                    raise TooMany
            self._known[node] = frozenset(found)
        return self._known[node]

    def at(self, link: Link) -> set[bytes]:
        """Returns every path that is this name in this directory."""
        return {path + b"/" + link[1] for path in self.of(link[0])}

    def directories(self) -> Iterator[Link]:
        """Yields the changing names that can be a directory's."""
        for node, links in self._links.items():
            if self._model.nodes[node].kind == "dir":
                yield from links & self.changing

    def code(self) -> Iterator[Link]:
        """Yields every name by which some code could be found, with those of the directories that it is in."""
        links = (link for several in self._links.values() for link in several)
        waiting = [link for link in links if link[1].endswith(_CODE) and not self._is_cache(link[0])]
        seen = set(waiting)
        while waiting:
            link = waiting.pop()
            yield link
            above = self._links.get(link[0], set()) - seen
            seen |= above
            waiting += above

    def _is_cache(self, directory: int) -> bool:
        return any(name == _CACHE for _, name in self._links.get(directory, ()))


def points(model: Model) -> Points:
    """Returns where the states differ."""
    roots = tuple(os.fsdecode(path) for path in sorted(model.roots))
    found = differing(model)
    if found is None:
        return Points(tuple(glob for root in roots for glob in (quoted(root), quoted(root) + "/*")), (), roots)
    exact, below, listings = found
    if len(listings) > MOST_LISTINGS:
        exact, listings = exact | listings, set()
    paths = _bounded([*sorted(exact)], sorted(below))
    return Points(tuple(paths), tuple(quoted(os.fsdecode(path)) for path in sorted(listings)), roots)


class Differing(NamedTuple):
    """The paths that differ between states, those below which all does, and directories of which only the entries do."""

    exact: set[bytes]
    below: set[bytes]
    listings: set[bytes]


def differing(model: Model) -> Differing | None:
    """Returns where the states differ; None if these are more names than are worth telling apart."""
    try:
        return _differing(model)
    except TooMany:
        return None


def _differing(model: Model) -> Differing:
    places = Places(model)
    exact = {path for node in model.of_node if node != NAMES for path in places.of(node)}
    exact |= {path for link in places.changing for path in places.at(link)}
    below = {path for link in places.directories() for path in places.at(link)}
    listed = {path for directory, _ in places.changing for path in places.of(directory)}
    strict = {path for link in places.changing & set(places.code()) for path in places.of(link[0])}
    exact = {path for path in exact | strict if not _is_in(path, below)}
    whole = {path for path in below if not _is_in(path, below)}
    return Differing(exact, whole, {path for path in listed - exact - below if not _is_in(path, below)})


def _is_in(path: bytes, directories: set[bytes]) -> bool:
    while (path := path.rpartition(b"/")[0]) not in (b"", b"/"):
        if path in directories:
            return True
    return False


def _bounded(exact: Iterable[bytes], below: Iterable[bytes]) -> list[str]:
    """Globs for paths and for all that is below some; where they are too many, whole directories."""
    single, whole = {os.fsdecode(path) for path in exact}, {os.fsdecode(path) for path in below}
    while len(single) + 2 * len(whole) > MOST_PATHS:
        above = Counter(path.rpartition("/")[0] for path in (*single, *whole))
        directory, _ = max(above.items(), key=lambda item: (item[1], len(item[0])))
        whole.add(directory)
        single, whole = ({p for p in some if not p.startswith(directory + "/")} for some in (single, whole))
    return [*map(quoted, sorted(single | whole)), *(quoted(path) + "/*" for path in sorted(whole))]
