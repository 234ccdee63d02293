"""The changes of one recorded run, each with the file that it belongs to, on the tree that was there first."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from faultlib.explore.crash.changes import Change, DirChange, Resize, Sync, Write, ZeroRange
from faultlib.explore.crash.content import PAGE, Content
from faultlib.explore.crash.tree import Node, Tree

NAMES = 0
"""Stands for all directories among the nodes: the number of the list of directory changes."""


class Initial(NamedTuple):
    """The tree before the run: durable. Entries of each directory, and the content of each file."""

    entries: dict[int, dict[bytes, int]]
    contents: dict[int, Content]

    @classmethod
    def of(cls, tree: Tree) -> Initial:
        """Returns what a tree is now."""
        return cls(
            {number: dict(node.children) for number, node in tree.nodes.items() if node.kind == "dir"},
            {number: node.content for number, node in tree.nodes.items() if node.kind == "file"},
        )


class Touched:
    """When a mapped file was changed last: each page, and its size."""

    def __init__(self) -> None:
        self.pages: dict[int, int] = {}
        self.size = -1


class Model:
    """What happened, in order. Indexes are those of `changes`; a crash at `k` is one after the first k of them.

    `of_node` has the indexes of the changes of each file's content, and of all directories under NAMES. `over[i]` is how many of
    a write's bytes overwrite what was in the file then; the others append. `old[i]` is how many of them are not behind all data:
    a file that was made longer is zeros there, and has no blocks. `metas` are the indexes of the changes that go through a
    journal: entries of directories, and sizes that were set. `names_of` has the changes of directories by each file and
    directory that they are about, `entries_of` those of each directory's entries, `grown` those by which a file got blocks or
    another size, `made` the one that a node came into being with. `early` has the pages that were stored to through a mapping and
    may have been on disk before a sync that comes before them: from which index on.
    """

    def __init__(self, tree: Tree, initial: Initial, changes: Sequence[Change]) -> None:
        self.changes = changes
        self.initial = initial
        self.roots = tree.roots
        self.nodes: dict[int, Node] = tree.nodes
        self.of_node: dict[int, list[int]] = {NAMES: []}
        self.over = [0] * len(changes)
        self.old = [0] * len(changes)
        self.metas: list[int] = []
        self.names_of: dict[int, list[int]] = {}
        self.entries_of: dict[int, list[int]] = {}
        self.grown: dict[int, list[int]] = {}
        self.made: dict[int, int] = {}
        self.syncs: list[tuple[int, int]] = []
        self.early: dict[int, int] = {}
        self._mapped: dict[int, Touched] = {c.node: Touched() for c in changes if isinstance(c, Write) and c.since is not None}
        self._entries = [change.entry for change in changes]
        sizes = {number: content.size for number, content in initial.contents.items()}
        data = dict(sizes)
        for index, change in enumerate(changes):
            self._sort_in(index, change, sizes, data)

    def _sort_in(self, index: int, change: Change, sizes: dict[int, int], data: dict[int, int]) -> None:
        """`sizes` are those of the files now, `data` the ends of what was ever written to them."""
        match change:
            case DirChange():
                self.of_node[NAMES].append(index)
                self.metas.append(index)
                self._index_names(index, change)
            case Write(_, node, position, _, _, length, since):
                size, end = sizes.get(node, 0), data.get(node, 0)
                self.of_node.setdefault(node, []).append(index)
                self.over[index] = min(max(0, size - position), length)
                self.old[index] = min(max(0, end - position), length)
                sizes[node], data[node] = max(size, position + length), max(end, position + length)
                if self.old[index] < length:
                    self.grown.setdefault(node, []).append(index)
                if node in self._mapped:
                    self._touch(index, change, since)
            case Resize(_, node, size):
                self.of_node.setdefault(node, []).append(index)
                self.metas.append(index)
                self.grown.setdefault(node, []).append(index)
                sizes[node], data[node] = size, min(data.get(node, 0), size)
            case ZeroRange(_, node):
                self.of_node.setdefault(node, []).append(index)
                self.metas.append(index)
                self.grown.setdefault(node, []).append(index)
            case Sync(_, _, began):
                self.syncs.append((index, self.index_of(began)))

        if isinstance(change, Resize | ZeroRange) and change.node in self._mapped:
            self._mapped[change.node].size = index

    def _touch(self, index: int, write: Write, since: int | None) -> None:
        """Notes that pages of a mapped file have changed, and since when what was stored to one may have been on disk."""
        touched = self._mapped[write.node]
        pages = range(write.position // PAGE, (write.position + write.length - 1) // PAGE + 1)
        if since is not None:
            first = max(self.index_of(since), touched.size + 1, touched.pages.get(pages[0], -1) + 1)
            if self.syncs and self.syncs[-1][0] >= first:
                self.early[index] = first
        touched.pages.update(dict.fromkeys(pages, index))
        if self.over[index] < write.length:
            touched.size = index

    def is_between_stores(self, crash: int) -> bool:
        """Whether it is amid what was stored through mappings from one look at them to the next: in no known order."""
        if not 0 < crash < len(self.changes):
            return False
        one, other = self.changes[crash - 1], self.changes[crash]
        return isinstance(one, Write) and isinstance(other, Write) and one.since is not None and one.since == other.since

    def _index_names(self, index: int, change: DirChange) -> None:
        for entry in change.entries:
            inside = self.entries_of.setdefault(entry.directory, [])
            if not inside or inside[-1] != index:
                inside.append(index)
            for node in {entry.directory, entry.before, entry.after} - {None}:
                several = self.names_of.setdefault(node or NAMES, [])
                if not several or several[-1] != index:
                    several.append(index)
        if change.made is not None:
            self.made[change.made] = index

    def index_of(self, entry: int) -> int:
        """Returns the index of the first change of that entry of the log, or of one behind it."""
        return bisect_left(self._entries, entry)

    def owner(self, index: int) -> int | None:
        """Returns the file that a change belongs to, NAMES for directories, None for what is no change of the tree."""
        change = self.changes[index]
        if isinstance(change, DirChange):
            return NAMES
        return change.node if isinstance(change, Write | Resize | ZeroRange) else None

    @cached_property
    def first_names(self) -> dict[int, list[bytes]]:
        """The paths of each file and directory of the tree before the run."""
        found: dict[int, list[bytes]] = {}
        waiting = list(self.roots.items())
        while waiting:
            path, number = waiting.pop()
            found.setdefault(number, []).append(path)
            waiting += [(path + b"/" + name, child) for name, child in self.initial.entries.get(number, {}).items()]
        return found

    def touched(self) -> list[int]:
        """Returns the files that were changed, in the order of their numbers."""
        return sorted(number for number in self.of_node if number != NAMES)
