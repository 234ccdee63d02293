"""What lies around the roots, in a cell that judges: temporary directories and the home. What is written there is undone."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from faultlib.explore import cell
from faultlib.explore.cell import CellError
from faultlib.inject import folder

_OCTAL = re.compile(r"\\([0-7]{3})")


def places(roots: Iterable[Path]) -> list[Path]:
    """Returns the directories in which writes are undone: $TMPDIR, /tmp, /var/tmp and $HOME, as far as that can be.

    That they hold roots is no matter, but they do not lie in one. Where something else is mounted, it could not be seen any more.
    """
    found = list[Path]()
    sessions, mounts = Path(folder.base()).resolve(), list(_mounts())
    for text in (tempfile.gettempdir(), "/tmp", "/var/tmp", os.environ.get("HOME", "")):
        place = Path(text).resolve()
        if not text.startswith("/") or place == Path("/") or not os.access(place, os.W_OK | os.X_OK) or not place.is_dir():
            continue
        inside = any(place.is_relative_to(other) for other in (*roots, *found))
        if not inside and not sessions.is_relative_to(place) and not any(place in mount.parents for mount in mounts):
            found.append(place)
    return [place for place in found if not any(other in place.parents for other in found)]


def _mounts() -> Iterator[Path]:
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        yield Path(_OCTAL.sub(lambda code: chr(int(code[1], 8)), line.split()[4]))


class Around:
    """Those directories, in a cell: an overlay over each, which is another one when something was written. `room` is a tmpfs."""

    def __init__(self, several: Iterable[Path], room: Path) -> None:
        self._uppers: dict[Path, Path] = {}
        self._lowers: dict[Path, Path] = {}
        self._options = ",userxattr" if os.geteuid() else ",xino=on"
        for number, place in enumerate(several):
            upper = room / "around" / str(number)
            lower = cell.held(place)
            try:
                self._mount(place, lower, upper)
            except CellError:  # a file system over which there can be no overlay: it stays as it is
                continue
            self._uppers[place], self._lowers[place] = upper, lower

    def _mount(self, place: Path, lower: Path, upper: Path) -> None:
        work, status = upper.with_suffix(".work"), place.stat()
        for made in (upper, work):
            made.mkdir(parents=True)
        if not os.geteuid():
            os.chown(upper, status.st_uid, status.st_gid)
        upper.chmod(status.st_mode & 0o7777)
        cell.mount("overlay", place, "overlay", options=f"lowerdir={lower},upperdir={upper},workdir={work}{self._options}")

    def undo(self) -> None:
        """Takes back what was written since the last time."""
        for place, upper in self._uppers.items():
            if next(iter(os.scandir(upper)), None):
                cell.unmount(place)
                for gone in (upper, upper.with_suffix(".work")):
                    shutil.rmtree(gone)
                self._mount(place, self._lowers[place], upper)
