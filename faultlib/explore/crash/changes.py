"""What deeds amount to: the smallest changes of a tree that a crash can keep or lose, and what makes them durable."""

from __future__ import annotations

from typing import NamedTuple

from faultlib.explore.crash.content import Source


class Data(NamedTuple):
    """`length` bytes of `source`, from `at` on, have come to `position` of a file."""

    deed: int
    node: int
    position: int
    source: Source
    at: int
    length: int


class Size(NamedTuple):
    """A file has been cut off or made longer by zeros."""

    deed: int
    node: int
    size: int


class Zeros(NamedTuple):
    """A stretch of a file has become zeros; its size stays."""

    deed: int
    node: int
    position: int
    length: int


class Name(NamedTuple):
    """One entry of a directory: which node it led to, and leads to. None: there is no such entry."""

    directory: int
    name: bytes
    before: int | None
    after: int | None


class Names(NamedTuple):
    """Entries that change at once. `made` is the node that came into being with it."""

    deed: int
    entries: tuple[Name, ...]
    made: int | None = None


class Sync(NamedTuple):
    """What had been done to a node (None: to all) before deed `began` is durable. `data_only`: fdatasync."""

    deed: int
    node: int | None
    began: int
    data_only: bool
    failed: bool


class Told(NamedTuple):
    """Somebody outside has learnt something: data written elsewhere, or that the program ended with a status."""

    deed: int
    fd: int | None
    status: int | None


Change = Data | Size | Zeros | Names | Sync | Told
