"""What entries amount to: the smallest changes of a tree that a crash can keep or lose, and what makes them durable."""

from __future__ import annotations

from typing import NamedTuple

from faultlib.explore.crash.content import Source


class Write(NamedTuple):
    """`length` bytes of `source`, from `at` on, have come to `position` of a file.

    `since`: they were stored through a shared mapping, somewhen after that entry had begun, and are in one page.
    """

    entry: int
    node: int
    position: int
    source: Source
    at: int
    length: int
    since: int | None = None


class Resize(NamedTuple):
    """A file has been cut off or made longer by zeros."""

    entry: int
    node: int
    size: int


class ZeroRange(NamedTuple):
    """A stretch of a file has become zeros; its size stays."""

    entry: int
    node: int
    position: int
    length: int


class DirEntry(NamedTuple):
    """One entry of a directory: which node it led to, and leads to. None: there is no such entry."""

    directory: int
    name: bytes
    before: int | None
    after: int | None


class DirChange(NamedTuple):
    """Entries that change at once. `made` is the node that came into being with it."""

    entry: int
    entries: tuple[DirEntry, ...]
    made: int | None = None


class Sync(NamedTuple):
    """What had been done to a node (None: to all) before entry `began` is durable. `data_only`: fdatasync.

    Of a file's data those from `first` up to `last` (None: to its end): msync of a part of a mapping.
    """

    entry: int
    node: int | None
    began: int
    data_only: bool
    failed: bool
    first: int = 0
    last: int | None = None


class Ack(NamedTuple):
    """Somebody outside has learnt something: data written elsewhere, or that the program ended with a status.

    `data` are the places and lengths of what was written, in the log.
    """

    entry: int
    fd: int | None
    status: int | None
    data: tuple[tuple[int, int], ...] = ()


class Close(NamedTuple):
    """A file that was open for writing has been closed: its owner is done with this version."""

    entry: int
    node: int


Change = Write | Resize | ZeroRange | DirChange | Sync | Ack | Close
