"""The folder of a campaign: whose it is, that only one campaign is at work in it, and what is said when its disk is full."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from faultlib.errors import FaultlibError, UsageError
from faultlib.explore.cell import FULL, NoRoom
from faultlib.explore.crash import store
from faultlib.explore.crash.record import KEEP_OUT

LOCK = "lock"


class Busy(UsageError):
    """Another campaign is at work in the folder."""

    slug = "busy"


@contextmanager
def taken(folder: Path, roots: Sequence[Path]) -> Iterator[None]:
    """Makes a folder if there is none, and has it to itself. Raises UsageError for one that is something else; NoRoom."""
    try:
        _check(folder, roots)
        _make(folder)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in FULL:
            raise NoRoom.of(error) from error
        raise UsageError(f"--campaign {folder}: {error.strerror}: there has to be a folder that can be written to") from error
    try:
        _take(folder, lock)
        yield
    except NoRoom as error:
        raise NoRoom(_told(str(error), folder)) from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise NoRoom(_told(str(NoRoom.of(error)), folder)) from error
    except sqlite3.Error as error:
        raise _about(error, folder) from error
    finally:
        os.close(lock)


def _take(folder: Path, lock: int) -> None:
    """The lock is that of this process alone, not of what it starts: it is gone when this process is."""
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        raise Busy(f"--campaign {folder}: another faultlib is at work there") from error


def _check(folder: Path, roots: Sequence[Path]) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--campaign {folder}: this is no directory")
    real = folder.resolve()
    if any(root == real or real in root.parents for root in roots):
        raise UsageError(f"--campaign {folder}: a root is in it; name another folder")
    if any(root in real.parents for root in roots) and KEEP_OUT not in real.parts:
        raise UsageError(f"--campaign {folder}: it lies in a root, and would be part of it; name one in {KEEP_OUT}, or elsewhere")
    if folder.is_dir() and not (folder / store.FILE).exists() and {entry.name for entry in os.scandir(folder)} - {LOCK}:
        raise UsageError(f"--campaign {folder}: there is something else in it already, and no campaign; name another folder")


def _make(folder: Path) -> None:
    """What was written is in the log, whoever may read the files: the folder is its owner's alone. Version control leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_uid == os.geteuid():
        folder.chmod(0o700)
    ignored = folder.parent / ".gitignore"
    if folder.parent.name == KEEP_OUT and not ignored.exists():
        ignored.write_text("*\n")


def _told(error: str, folder: Path) -> str:
    """What a call has said alone is not where: it is the campaign's folder that is written to."""
    where = f"{folder}: " if error in map(os.strerror, FULL) else ""
    return f"{where}{error}\n  {_goes_on(folder)}"


def _goes_on(folder: Path) -> str:
    return f"when there is room, --campaign {folder} goes on where it was"


def _about(error: sqlite3.Error, folder: Path) -> FaultlibError:
    if getattr(error, "sqlite_errorname", "") in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"):
        return NoRoom(f"{folder / store.FILE}: {error}\n  {_goes_on(folder)}")
    return UsageError(f"{folder / store.FILE}: this is not what faultlib has kept there, or of another version: {error}")
