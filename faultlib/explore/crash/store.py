"""The verdicts of a campaign, in its folder: a campaign that was killed goes on where it was."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faultlib.errors import UsageError
from faultlib.explore.oracle import Verdict

FILE = "campaign.sqlite"
FORMAT = 2
"""Of the tables, and of what states are known by."""


class Store:
    """One SQLite file. A verdict that was given is kept from the next `flush` on, at the latest."""

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / FILE)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")  # a commit waits for no disk: kills are what happens to campaigns
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (known,) = self._connection.execute("PRAGMA user_version").fetchone()
        if tables and known != FORMAT:
            raise UsageError(f"{folder}: this campaign was begun by another version of faultlib; give it a folder of its own")
        self._connection.execute(f"PRAGMA user_version = {FORMAT}")
        said = "what TEXT, text TEXT, about TEXT"
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS verdict (key BLOB PRIMARY KEY, {said}) WITHOUT ROWID")
        readings = f"(read INTEGER, key BLOB, {said}, PRIMARY KEY (read, key))"
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS reading {readings} WITHOUT ROWID")
        self._connection.execute("CREATE TABLE IF NOT EXISTS setting (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
        self._connection.commit()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        self._connection.close()

    def verdicts(self) -> dict[bytes, Verdict]:
        """Returns every verdict by its state's digest."""
        rows = self._connection.execute("SELECT key, what, text, about FROM verdict")
        return {key: _verdict(*said) for key, *said in rows}

    def add(self, key: bytes, verdict: Verdict) -> None:
        """Keeps a verdict, which may name files in any encoding."""
        self._connection.execute("INSERT OR REPLACE INTO verdict VALUES (?, ?, ?, ?)", (key, *_row(verdict)))

    def add_reading(self, read: int, key: bytes, verdict: Verdict) -> None:
        """Keeps a verdict by what was read for it (readset.py)."""
        self._connection.execute("INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?, ?)", (read, key, *_row(verdict)))

    def readings(self) -> Iterator[tuple[int, bytes, Verdict]]:
        """Yields every (read set, key, verdict)."""
        for read, key, *said in self._connection.execute("SELECT read, key, what, text, about FROM reading"):
            yield read, key, _verdict(*said)

    def forget(self) -> None:
        """Takes back every verdict."""
        self._connection.execute("DELETE FROM verdict")
        self._connection.execute("DELETE FROM reading")
        self._connection.commit()

    def flush(self) -> None:
        """Makes sure of what was added."""
        self._connection.commit()

    def first(self, key: str, value: Any) -> Any:
        """Returns what was kept under a key when the campaign began: `value`, if that is now."""
        self._connection.execute("INSERT OR IGNORE INTO setting VALUES (?, ?)", (key, json.dumps(value)))
        (text,) = self._connection.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
        self._connection.commit()
        return json.loads(text)

    def settle(self, **settings: Any) -> None:
        """Keeps what the verdicts depend on. Raises UsageError if it was otherwise when the campaign began."""
        for key, value in settings.items():
            text = json.dumps(value)
            row = self._connection.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
            if row and row[0] != text:
                raise UsageError(f"this campaign was begun with another {key}: {json.loads(row[0])}; give it a folder of its own")
            self._connection.execute("INSERT OR IGNORE INTO setting VALUES (?, ?)", (key, text))
        self._connection.commit()


def _row(verdict: Verdict) -> tuple[str, str, str]:
    return verdict.what, verdict.text.encode(errors="backslashreplace").decode(), json.dumps(verdict.about)


def _verdict(what: str, text: str, about: str) -> Verdict:
    return Verdict(what, text, tuple(json.loads(about)))
