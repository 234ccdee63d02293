"""Whether a campaign that was begun can go on: its verdicts are about one program, one check and these files."""

from __future__ import annotations

import filecmp
import hashlib
import os
import shlex
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from faultlib.errors import UsageError
from faultlib.explore.crash.record import KEEP_OUT

OWN = "__pycache__"
"""What the import of a program leaves beside it."""
MOST_READ = 8 << 20
"""Of larger programs size and time tell."""


def programs(command: Sequence[str], texts: Iterable[str | None], cwd: Path) -> dict[str, str]:
    """Returns the files that a command and the texts of checks name, with what tells their versions."""
    found = dict[str, str]()
    start = shutil.which(command[0], path=os.environ.get("PATH"))
    for word in (start or "", *command, *(word for text in texts for word in _words(text or ""))):
        for name in (word, word.partition(":")[0], word.partition(":")[0].replace(".", "/") + ".py") if word else ():
            path = cwd / name
            if path.is_file():
                found[str(path)] = _version(path)
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # as only a shell reads it
        return text.split()


def _version(path: Path) -> str:
    try:
        status = path.stat()
        if status.st_size > MOST_READ:
            return f"{status.st_size} {status.st_mtime_ns}"
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:  # it can perhaps be run all the same
        return os.strerror(error.errno or 0)


def check(copies: Mapping[Path, Path], folder: Path, then: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raises UsageError if a root is not what its copy is, or a program not the one of `then`."""
    changed = (name for name, version in then.items() if now.get(name) != version)
    name = next(changed, None) or next((path for root, copy in copies.items() for path in _different(root, copy, folder)), None)
    if name is not None:
        raise UsageError(
            f"{name} is not what it was when this campaign began, and what {folder} knows is about that: "
            "a new campaign needs a folder of its own"
        )


def _different(root: Path, copy: Path, folder: Path) -> Iterator[str]:
    """Yields what is not the same in two directories."""
    if folder.resolve() == root:
        return
    theirs, ours = ({entry.name: entry for entry in os.scandir(place)} for place in (root, copy))
    for name in sorted(theirs.keys() ^ ours.keys()):
        if name not in (KEEP_OUT, OWN) and (root / name).resolve() != folder.resolve():
            yield str(root / name)
    for name in sorted((theirs.keys() & ours.keys()) - {KEEP_OUT, OWN}):
        if theirs[name].is_dir(follow_symlinks=False) and ours[name].is_dir(follow_symlinks=False):
            yield from _different(root / name, copy / name, folder)
        elif not _is_same(theirs[name], ours[name]):
            yield str(root / name)


def _is_same(one: os.DirEntry[str], other: os.DirEntry[str]) -> bool:
    a, b = one.stat(follow_symlinks=False), other.stat(follow_symlinks=False)
    if stat.S_IFMT(a.st_mode) != stat.S_IFMT(b.st_mode):
        return False
    if one.is_symlink():
        return Path(one.path).readlink() == Path(other.path).readlink()
    if not one.is_file() or (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns):
        return True
    return a.st_size == b.st_size and filecmp.cmp(one.path, other.path, shallow=False)
