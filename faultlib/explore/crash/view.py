"""What is found under a name in a state: as it was built, or after a recovery."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from faultlib.explore.crash.content import Content
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.namespaces import Names
from faultlib.explore.crash.tree import OTHER, FileSource


class Found(NamedTuple):
    """What is under a name in a state. `node` is that of the recording, or 0."""

    kind: str
    node: int
    content: Content
    target: bytes = b""


class View:
    """A state as it was built."""

    def __init__(self, disk: Disk, state: State) -> None:
        self.disk = disk
        self.state = state
        self.names: Names = disk.names(state)

    def look(self, name: bytes) -> Found | None:
        """Returns what is there."""
        number = self.names.paths.get(name)
        if number is None:
            return None
        node = self.disk.model.nodes[number]
        content = self.disk.content(self.state, number) if node.kind == "file" else Content()
        return Found(node.kind, number, content, node.target)


class Recovered(View):
    """A state in which a recovery has been at work: what it has not touched is as it was built."""

    def look(self, name: bytes) -> Found | None:
        """Returns what is there now."""
        path = Path(os.fsdecode(name))
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISLNK(status.st_mode):
            return Found("symlink", 0, Content(), os.fsencode(os.readlink(path)))  # noqa: PTH115 - a Path would tidy it up
        if not stat.S_ISREG(status.st_mode):
            return Found("dir" if stat.S_ISDIR(status.st_mode) else OTHER, 0, Content())
        content, built = Content.of(FileSource(path), status.st_size), super().look(name)
        is_same = built is not None and built.kind == "file" and built.content.digest() == content.digest()
        return built if is_same else Found("file", 0, content)
