"""A state on disk: a layer of all that is other than before the run, for overlayfs; or the whole tree."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import NamedTuple

from faultlib.explore.crash.content import Content
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.tree import Node

OPAQUE = "trusted.overlay.opaque"
OPAQUE_OF_USERS = "user.overlay.opaque"


_PLAIN, _OPAQUE, _WHITEOUT = "plain", "opaque", "whiteout"


class _Entry(NamedTuple):
    """What a layer has under a name: a node, as it is in a state. `links` are all names of a file that has several."""

    number: int
    how: str
    digest: bytes | None = None
    links: tuple[bytes, ...] = ()


class Image:
    """Writes states of one model."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._first = disk.names(State(0)).paths
        self._contents = disk.model.initial.contents
        self._present: dict[bytes, _Entry] = {}

    def update(self, state: State, folders: dict[bytes, Path], opaque: str = OPAQUE) -> None:
        """Writes what differs from the first tree: for each root into its folder, over what the last call has written there.

        What is gone is a whiteout (overlayfs).
        """
        wanted = self._wanted(state, folders)
        stale = [path for path, entry in self._present.items() if wanted.get(path) != entry]
        for path in sorted(stale, key=len, reverse=True):
            self._remove(path, folders)
        written = {entry.number: self._place(path, folders) for path, entry in self._present.items() if entry.links}
        for path, entry in wanted.items():
            if path not in self._present:
                self._put(state, path, entry, folders, written, opaque)
        self._present = wanted

    def _wanted(self, state: State, folders: dict[bytes, Path]) -> dict[bytes, _Entry]:
        """All that a layer needs, parents first."""
        names, first, nodes = self._disk.names(state), self._first, self._disk.model.nodes
        changed = {number: self._disk.content(state, number).digest() for number in names.changed}
        found = dict[bytes, _Entry]()
        several = self._several(names.paths)
        for path, number in names.paths.items():
            before, digest = first.get(path), changed.get(number)
            links = several.get(number, ())
            is_same = before == number and all(first.get(other) == number for other in links)
            if path in folders or (is_same and (digest is None or digest == self._contents[number].digest())):
                continue
            for above in self._above(path, folders, found):
                found[above] = _Entry(names.paths[above], _PLAIN)
            is_other = before is not None and nodes[number].kind == "dir"
            found[path] = _Entry(number, _OPAQUE if is_other else _PLAIN, digest, links)
        for path in first.keys() - names.paths.keys():
            directory = path.rpartition(b"/")[0]
            if names.paths.get(directory) == first[directory]:  # else its directory is a new one: nothing shows through
                for above in self._above(path, folders, found):
                    found[above] = _Entry(names.paths[above], _PLAIN)
                found[path] = _Entry(0, _WHITEOUT)
        return found

    def _several(self, paths: dict[bytes, int]) -> dict[int, tuple[bytes, ...]]:
        """The files that have several names, with all of them."""
        if len(set(paths.values())) == len(paths):
            return {}
        found: dict[int, list[bytes]] = {}
        for path, number in paths.items():
            found.setdefault(number, []).append(path)
        return {number: tuple(links) for number, links in found.items() if len(links) > 1}

    @staticmethod
    def _above(path: bytes, folders: dict[bytes, Path], found: dict[bytes, _Entry]) -> list[bytes]:
        """The directories that are needed for it and not there yet, outermost first."""
        missing = list[bytes]()
        while (path := path.rpartition(b"/")[0]) not in folders and path not in found and path:
            missing.append(path)
        return missing[::-1]

    def _place(self, path: bytes, folders: dict[bytes, Path]) -> str:
        root = path
        while root not in folders:
            root = root.rpartition(b"/")[0]
        return f"{folders[root]}{os.fsdecode(path[len(root) :])}"

    def _remove(self, path: bytes, folders: dict[bytes, Path]) -> None:
        entry = self._present.pop(path)
        if entry.how != _WHITEOUT and self._disk.model.nodes[entry.number].kind == "dir":
            self._removed_below(path)
            shutil.rmtree(self._place(path, folders))
        else:
            os.unlink(self._place(path, folders))  # noqa: PTH108 - many

    def _removed_below(self, path: bytes) -> None:
        """What is in a directory goes with it, whether it is still wanted or not."""
        for other in [other for other in self._present if other.startswith(path + b"/")]:
            del self._present[other]

    def _put(
        self, state: State, path: bytes, entry: _Entry, folders: dict[bytes, Path], written: dict[int, str], opaque: str
    ) -> None:  # fmt: skip
        place = self._place(path, folders)
        if entry.how == _WHITEOUT:
            os.mknod(place, stat.S_IFCHR, 0)
            return
        self._make(state, entry.number, place, written)
        if entry.how == _OPAQUE:
            os.setxattr(place, opaque, b"y")

    def whole(self, state: State, folders: dict[bytes, Path]) -> None:
        """Writes the whole tree: each root into its folder."""
        written: dict[int, str] = {}
        names = self._disk.names(state)
        for root, folder in folders.items():
            folder.mkdir(parents=True, exist_ok=True)
            for path, number in names.paths.items():
                if path.startswith(root + b"/"):
                    self._make(state, number, f"{folder}{os.fsdecode(path[len(root) :])}", written)

    def _make(self, state: State, number: int, place: str, written: dict[int, str]) -> None:
        """Makes one file or directory; the one that it is in is there."""
        node = self._disk.model.nodes[number]
        if node.kind == "dir":
            os.mkdir(place)  # noqa: PTH102 - here and below: thousands of times
            os.chmod(place, node.mode)  # noqa: PTH101
        elif node.kind == "symlink":
            os.symlink(node.target, place)  # noqa: PTH211
        elif number in written:
            os.link(written[number], place)
        elif node.kind == "file":
            written[number] = place
            self._write(place, node, self._disk.content(state, number))

    @staticmethod
    def _write(place: str, node: Node, content: Content) -> None:
        fd, end = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), 0
        try:
            for at, data in content.stretches():
                os.pwrite(fd, data, at)
                end = at + len(data)
            if end < content.size:
                os.ftruncate(fd, content.size)
            os.fchmod(fd, node.mode)
        finally:
            os.close(fd)
