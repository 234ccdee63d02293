"""Verdicts by what the judging has read: of two states that are the same in all of that, only one has to be judged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from faultlib.explore.crash import volatile
from faultlib.explore.crash.changes import DirChange
from faultlib.explore.crash.content import DIGEST_BYTES
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.model import NAMES, Model
from faultlib.explore.crash.namespaces import Entries
from faultlib.explore.oracle import Verdict
from faultlib.inject import readset
from faultlib.inject.forkpoint import quoted

MOST_SETS = 64
"""Read sets that are told apart: each is tried for each state."""


class Places(NamedTuple):
    """Paths of which a judging reads some, or none. `is_listing`: of directories, and only their entries differ."""

    paths: tuple[bytes, ...]
    is_listing: bool = False

    @property
    def watched(self) -> readset.Group:
        """Returns what to watch for: with a directory, also all below it."""
        names = [quoted(os.fsdecode(path)) for path in self.paths]
        return readset.Group(tuple(names if self.is_listing else names + [name + "/*" for name in names]), self.is_listing)


def places(model: Model) -> list[Places] | None:
    """Returns where states differ, in as many groups as can be watched; None where that cannot be done."""
    found = volatile.differing(model)
    try:
        if found is None or _has_ways_round(model, {*found.exact, *found.below, *found.listings}):
            return None
    except volatile.TooMany:
        return None
    groups = [
        *_in_groups(sorted(found.exact | found.below), False, readset.MOST_GLOBS // 2),
        *_in_groups(sorted(found.listings), True, readset.MOST_GLOBS),
    ]
    singles = [Places((path,), group.is_listing) for group in groups for path in group.paths]
    return next((some for some in (singles, groups) if len(some) <= readset.MOST_GROUPS), None)


def _in_groups(paths: list[bytes], is_listing: bool, most: int) -> Iterator[Places]:
    for begin in range(0, len(paths), most):
        yield Places(tuple(paths[begin : begin + most]), is_listing)


def _has_ways_round(model: Model, paths: set[bytes]) -> bool:
    """Whether a link leads to what differs: then it goes by names that are not watched."""
    names = volatile.Places(model)
    for number, node in model.nodes.items():
        for path in names.of(number) if node.kind == "symlink" else ():
            to = os.path.normpath(os.path.join(os.path.dirname(path), node.target))  # noqa: PTH118, PTH120 - bytes
            if any(one == to or one.startswith(to + b"/") or to.startswith(one + b"/") for one in paths):
                return True
    return False


def linked(model: Model) -> frozenset[int]:
    """Returns the files that have several names at some time: writing to one of these changes the others."""
    counts: dict[int, int] = {}
    found = set[int]()

    def add(nodes: Iterable[int | None], step: int) -> None:
        for node in nodes:
            if node is not None and model.nodes[node].kind != "dir":
                counts[node] = counts.get(node, 0) + step
                if counts[node] > 1:
                    found.add(node)

    for entries in model.initial.entries.values():
        add(entries.values(), 1)
    for index in model.of_node[NAMES]:
        change = model.changes[index]
        assert isinstance(change, DirChange)
        add((entry.before for entry in change.entries), -1)
        add((entry.after for entry in change.entries), 1)
    return frozenset(found)


class ReadSets:
    """What was read when states were judged, and the verdicts. A read set is a number: a bit for each of some places."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._places = places(disk.model) or []
        self._linked = linked(disk.model)
        self._verdicts: dict[int, dict[bytes, Verdict]] = {}

    def add(self, read: int, key: bytes, verdict: Verdict) -> bool:
        """Keeps the verdict on what `key` says was read. Returns whether it is not one read set too many."""
        if read not in self._verdicts and len(self._verdicts) == MOST_SETS:
            return False
        self._verdicts.setdefault(read, {})[key] = verdict
        return True

    def find(self, plan: State, promised: int | None) -> Verdict | None:
        """Returns the verdict on a state that is the same in all that was read when another one was judged, if there is one."""
        for read, verdicts in self._verdicts.items():
            if verdict := verdicts.get(self.key(read, plan, promised)):
                return verdict
        return None

    def key(self, read: int, plan: State, promised: int | None) -> bytes:
        """Returns a digest of what a read set has to say of a state. `promised`, if verdicts depend on it."""
        whole = hashlib.blake2b(repr(promised).encode(), digest_size=DIGEST_BYTES)
        entries = self._disk.entries(plan)
        for bit, group in enumerate(self._places):
            if read >> bit & 1:
                for path in group.paths:
                    self._look(whole, entries, plan, path, group.is_listing)
        return whole.digest()

    def _look(self, whole: hashlib.blake2b, entries: Entries, plan: State, path: bytes, is_listing: bool) -> None:
        number = self._find(entries, path)
        if number is None:
            whole.update(b"-")
        elif is_listing:
            here = entries[number].entries if number in entries else {}
            whole.update(repr([(name, self._kind(one)) for name, one in sorted(here.items())]).encode())
        else:
            self._all(whole, entries, plan, number)

    def _find(self, entries: Entries, path: bytes) -> int | None:
        """The node that has this path."""
        roots = self._disk.model.roots
        root = path
        while root not in roots:
            root = root.rpartition(b"/")[0]
        number = roots[root]
        for name in path[len(root) + 1 :].split(b"/") if path != root else ():
            listing = entries.get(number)
            if listing is None or name not in listing.entries:
                return None
            number = listing.entries[name]
        return number

    def _kind(self, number: int) -> str:
        return self._disk.model.nodes[number].kind

    def _all(self, whole: hashlib.blake2b, entries: Entries, plan: State, number: int) -> None:
        """A node, with all that is in it."""
        kind = self._kind(number)
        whole.update(kind.encode())
        if kind == "file":
            whole.update(self._disk.digest_of(plan, number))
            if number in self._linked:
                whole.update(b"%d" % number + self._disk.digest_of_names(plan))
        elif kind == "dir":
            for name, one in sorted(entries[number].entries.items()) if number in entries else ():
                whole.update(b"%d/" % len(name) + name)
                self._all(whole, entries, plan, one)
            whole.update(b"/")
        else:
            whole.update(self._disk.model.nodes[number].target)
