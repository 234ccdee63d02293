"""States put in the place of the roots, one after the other, in a cell: overlays over a layer that is brought up to date."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from faultlib.explore import cell
from faultlib.explore.crash.image import OPAQUE, OPAQUE_OF_USERS, Image
from faultlib.explore.crash.losses import State

ROOM = "size=50%"
"""What a judge may take of the memory."""
MOST_USED = 0.25
MOUNTS_PER_SCRATCH = 64
"""What checks leave goes all at once, with the file system that it is in: after so many, or when it takes so much of it."""


class _Root:
    """One root: where it is, the tree before the run, and its folders."""

    def __init__(self, path: Path, first: Path, layer: Path) -> None:
        self.path, self.first, self.layer = path, first, layer
        self.status = first.stat()
        layer.mkdir(parents=True)


class Layers:
    """The places of the roots. `folder` is where all that is in the way of nobody can be put: a mounted tmpfs."""

    def __init__(self, image: Image, roots: dict[Path, Path], folder: Path) -> None:
        self._image = image
        self._is_user = os.geteuid() != 0
        self._scratch = folder / "runs"
        self._scratch.mkdir()
        self._roots = [_Root(path, first, folder / "layer" / str(number)) for number, (path, first) in enumerate(roots.items())]
        self._folders = {os.fsencode(root.path): root.layer for root in self._roots}
        self._options = ",userxattr" if self._is_user else ",xino=on"
        self._mounts = 0

    @contextlib.contextmanager
    def mounted(self, state: State) -> Iterator[list[Path]]:
        """Puts a state there, and takes it away again; yields the folders in which changes of it will lie."""
        self._image.update(state, self._folders, OPAQUE_OF_USERS if self._is_user else OPAQUE)
        here = self._room()
        mounted, uppers = list[Path](), list[Path]()
        try:
            for number, root in enumerate(self._roots):
                uppers.append(self._mount(root, f"{here}.{number}"))
                mounted.append(root.path)
            yield uppers
        finally:
            os.chdir("/")
            for path in reversed(mounted):
                cell.unmount(path)

    @property
    def is_full(self) -> bool:
        """Whether there is no room left for what is written there, or around it."""
        return _is_full(self._scratch) or _is_full(self._scratch.parent)

    def _room(self) -> str:
        if self._mounts % MOUNTS_PER_SCRATCH == 0 or _used(self._scratch) > MOST_USED:
            if self._mounts:
                cell.unmount(self._scratch)
            cell.mount("faultlib", self._scratch, "tmpfs", options=ROOM)
        self._mounts += 1
        return f"{self._scratch}/{self._mounts}"

    def _mount(self, root: _Root, room: str) -> Path:
        upper, work, status = room + ".u", room + ".w", root.status
        os.mkdir(upper)  # noqa: PTH102 - here and below: once for each state
        os.mkdir(work)  # noqa: PTH102
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()) and not self._is_user:
            os.chown(upper, status.st_uid, status.st_gid)
        os.chmod(upper, stat.S_IMODE(status.st_mode))  # noqa: PTH101
        os.utime(upper, ns=(status.st_atime_ns, status.st_mtime_ns))
        options = f"lowerdir={root.layer}:{root.first},upperdir={upper},workdir={work}"
        cell.mount("overlay", root.path, "overlay", options=options + self._options)
        return Path(upper)


def _used(place: Path) -> float:
    status = os.statvfs(place)
    return 1 - status.f_bavail / status.f_blocks if status.f_blocks else 0.0


def _is_full(place: Path) -> bool:
    return _used(place) == 1.0


class Copies:
    """The roots where nothing can be mounted: whole trees, written again for each state."""

    def __init__(self, image: Image, roots: tuple[Path, ...]) -> None:
        self._image = image
        self._roots = roots

    @property
    def is_full(self) -> bool:
        """Whether there is no room left for what is written there."""
        return any(_is_full(root) for root in self._roots if root.exists())

    @contextlib.contextmanager
    def mounted(self, state: State) -> Iterator[list[Path]]:
        """Puts a state there; yields the roots themselves."""
        for path in self._roots:
            shutil.rmtree(path, ignore_errors=True)
        self._image.whole(state, {os.fsencode(path): path for path in self._roots})
        try:
            yield list(self._roots)
        finally:
            os.chdir("/")
