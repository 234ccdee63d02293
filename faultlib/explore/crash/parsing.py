"""Whether bytes are still what a file held: documents, tables, databases, archives. Nothing that is read is ever executed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sqlite3
import tempfile
import time
import tomllib
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import yaml

MOST_BYTES = 64 << 20
MOST_YAML = 1 << 20
MOST_S = 5.0
"""For one database."""
SQLITE = b"SQLite format 3\0"
COMPANIONS = (b"-journal", b"-wal")
"""What belongs to a SQLite database, and is needed to open it after a crash. (-shm is made anew.)"""
Shape = Callable[[bytes], str | None]
"""Returns what the bytes are on their uppermost level; None if they are not of the format."""


def _json(data: bytes) -> str | None:
    return _level(json.loads(data.decode("utf-8-sig")))


def _json_lines(data: bytes) -> str | None:
    if not data.endswith(b"\n"):
        return None
    shapes = {_level(json.loads(line)) for line in data.decode().splitlines() if line.strip()}
    return "lines" if shapes and None not in shapes else None


def _toml(data: bytes) -> str | None:
    return _level(tomllib.loads(data.decode()))


def _yaml(data: bytes) -> str | None:
    if len(data) > MOST_YAML:
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    levels = {_level(document) for document in yaml.load_all(data, loader)}
    return " and ".join(sorted(map(str, levels))) if levels and None not in levels else None


def _level(value: object) -> str | None:
    """What has no structure, a bare number or word, shows nothing by being readable."""
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else None


def _gzip(data: bytes) -> str | None:
    if not data.startswith(b"\x1f\x8b"):
        return None
    while data.rstrip(b"\0"):
        member = zlib.decompressobj(wbits=31)
        while data and not member.eof:
            member.decompress(data, 1 << 20)
            data = member.unconsumed_tail
        member.flush()
        if not member.eof:
            return None
        data = member.unused_data
    return "archive"


FORMATS: dict[str, Shape] = {"gzip": _gzip, "JSON": _json, "TOML": _toml, "YAML": _yaml, "JSON lines": _json_lines}
_NAMED = {"YAML": (b".yaml", b".yml")}
_ERRORS = (ValueError, RecursionError, yaml.YAMLError, zlib.error)


class Format(NamedTuple):
    """What several versions of a file have in common."""

    name: str
    shapes: frozenset[str]

    def fits(self, data: bytes) -> bool:
        """Whether other bytes are of the same kind. Nothing is never one."""
        return _shape(self.name, data) in self.shapes


def _shape(format_name: str, data: bytes) -> str | None:
    if not data or len(data) > MOST_BYTES:
        return None
    try:
        return FORMATS[format_name](data)
    except _ERRORS:
        return None


def common(name: bytes, versions: Iterable[bytes]) -> Format | None:
    """Returns the format of which all versions of a file are that hold anything; None if there is none."""
    several = [version for version in versions if version]
    for format_name in FORMATS:
        if not name.endswith(_NAMED.get(format_name, b"")) or not several:
            continue
        shapes = set[str]()
        for version in several:
            shape = _shape(format_name, version)
            if shape is None:
                break
            shapes.add(shape)
        else:
            return Format(format_name, frozenset(shapes))
    return None


class Database(NamedTuple):
    """A SQLite database as whoever opens it next finds it. `wrong`: what is, None if nothing; `digest`: of what it holds."""

    wrong: str | None
    digest: bytes


def open_database(files: dict[bytes, bytes], place: Path, *, everything: bool = False) -> Database:
    """Opens a copy of a database, so that it recovers, in a temporary directory below `place`.

    `files` are its bytes and those of its companions, by what their names end in (the database itself: nothing). `everything`:
    reads all of it for the digest.
    """
    folder = Path(tempfile.mkdtemp(prefix=".faultlib-", dir=place))
    try:
        for suffix, data in files.items():
            (folder / f"copy{suffix.decode()}").write_bytes(data)
        return _examine(folder / "copy", everything)
    finally:
        shutil.rmtree(folder)


def _examine(path: Path, everything: bool) -> Database:
    digest = hashlib.blake2b(digest_size=16)
    deadline = time.monotonic() + MOST_S
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
        database.text_factory = bytes
        try:
            database.execute("PRAGMA trusted_schema=OFF")
            said = [row[0] for row in database.execute("PRAGMA integrity_check(3)")]
            wrong = None if said == [b"ok"] else b"; ".join(said).decode("utf-8", "replace")
            if everything:
                _read_all(database, digest.update)
        except sqlite3.Error as error:
            wrong = str(error)
            if wrong.startswith("no such"):  # a module or collation that only the program has
                wrong = None
    return Database(wrong, digest.digest())


def _read_all(database: sqlite3.Connection, take: Callable[[bytes], None]) -> None:
    schema = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
    tables = list[bytes]()
    for kind, name, sql in database.execute(schema).fetchall():
        take(repr((kind, name, sql)).encode())
        if kind == b"table" and not name.startswith(b"sqlite_stat"):
            tables.append(name)
    for name in tables:
        quoted = name.decode().replace('"', '""')
        for row in database.execute(f'SELECT * FROM "{quoted}"'):
            take(repr(row).encode())
