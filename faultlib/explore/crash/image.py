"""A state on disk: a layer of all that is other than before the run, for overlayfs; or the whole tree."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from faultlib.explore.crash.content import Content
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.tree import Node
from faultlib.explore.crash.versions import Disk

OPAQUE = "trusted.overlay.opaque"
OPAQUE_OF_USERS = "user.overlay.opaque"


class Image:
    """Writes states of one model."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._first = disk.names(State(0)).paths
        self._contents = disk.model.initial.contents

    def layer(self, state: State, folders: dict[bytes, Path], opaque: str = OPAQUE) -> None:
        """Writes what differs from the first tree: for each root into its folder. What is gone is a whiteout (overlayfs)."""
        names = self._disk.names(state)
        changed = set(names.changed)
        written: dict[int, Path] = {}
        for root, folder in folders.items():
            folder.mkdir(parents=True, exist_ok=True)
            below = root + b"/"
            for path, number in names.paths.items():
                if not path.startswith(below):
                    continue
                before = self._first.get(path)
                if before == number and not (number in changed and self._differs(state, number)):
                    continue
                place = folder / os.fsdecode(path[len(below) :])
                self._make(state, number, place, written)
                if before is not None and self._disk.model.nodes[number].kind == "dir":
                    os.setxattr(place, opaque, b"y")
            for path in self._first.keys() - names.paths.keys():
                if path.startswith(below) and path.rpartition(b"/")[0] in names.paths:
                    self._white_out(folder / os.fsdecode(path[len(below) :]), names.paths[path.rpartition(b"/")[0]], path)

    def _differs(self, state: State, number: int) -> bool:
        return self._disk.content(state, number).digest() != self._contents[number].digest()

    def _white_out(self, place: Path, directory: int, path: bytes) -> None:
        if self._first[path.rpartition(b"/")[0]] != directory:
            return  # its directory is a new one: nothing shows through
        place.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(place, stat.S_IFCHR, 0)

    def whole(self, state: State, folders: dict[bytes, Path]) -> None:
        """Writes the whole tree: each root into its folder."""
        written: dict[int, Path] = {}
        names = self._disk.names(state)
        for root, folder in folders.items():
            folder.mkdir(parents=True, exist_ok=True)
            for path, number in names.paths.items():
                if path.startswith(root + b"/"):
                    self._make(state, number, folder / os.fsdecode(path[len(root) + 1 :]), written)

    def _make(self, state: State, number: int, place: Path, written: dict[int, Path]) -> None:
        node = self._disk.model.nodes[number]
        place.parent.mkdir(parents=True, exist_ok=True)
        if node.kind == "dir":
            place.mkdir(exist_ok=True)
            place.chmod(node.mode)
        elif node.kind == "symlink":
            os.symlink(node.target, place)  # noqa: PTH211 - bytes
        elif number in written:
            os.link(written[number], place)
        elif node.kind == "file":
            written[number] = place
            self._write(place, node, self._disk.content(state, number))

    @staticmethod
    def _write(place: Path, node: Node, content: Content) -> None:
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for at, data in content.stretches():
                os.pwrite(fd, data, at)
            os.ftruncate(fd, content.size)
            os.fchmod(fd, node.mode)
        finally:
            os.close(fd)
