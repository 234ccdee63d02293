"""Judges states when the user has given no check: by what the recording says of each file, and by what files are.

Judged are names that exist before the run or at its end. Each must hold a version that somebody was done with (settled.py), or
parse as what it was (parsing.py); a log may end early; of a file that is new, a part is suspicious only.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from faultlib.explore.crash import parsing
from faultlib.explore.crash.changes import DirChange, Write
from faultlib.explore.crash.content import PAGE, Content, Garbage
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.expected import Expected
from faultlib.explore.crash.judge import Case, Look
from faultlib.explore.crash.losses import ALL, State
from faultlib.explore.crash.parsing import COMPANIONS
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.view import Found, Recovered, View
from faultlib.explore.oracle import FAIL, PASS, SUSPECT, Promise, Verdict

MOST_COMPLAINTS = 8
_RANK = {PASS: 0, SUSPECT: 1}


class Complaint(NamedTuple):
    """What is wrong with one name: FAIL or SUSPECT, and a sentence."""

    what: str
    text: str
    name: bytes = b""


class Unchecked:
    """The oracle. `also` are others that have their say on each state, after the files; the worst verdict counts.

    `recovered`: a recovery has been run on each state before it comes here.
    """

    def __init__(self, recording: Recording, disk: Disk, *, also: Iterable[Look] = (), recovered: bool = False) -> None:
        self.files = Files(recording, disk)
        self._also = tuple(also)
        self._view: Callable[[Disk, State], View] = Recovered if recovered else View

    def __call__(self, cwd: Path, case: Case, promise: Promise) -> Verdict:
        """Judges a state in the place of the roots."""
        worst = self.files.judge(self._view(self.files.disk, case.state), cwd)
        for oracle in self._also:
            if worst.what in _RANK:
                verdict = oracle(cwd, case, promise)
                worst = max(worst, verdict, key=lambda one: _RANK.get(one.what, 2))
        return worst


class Files(Expected):
    """Compares what is in a state with what is expected."""

    def __init__(self, recording: Recording, disk: Disk) -> None:
        super().__init__(recording, disk)
        self._databases: dict[tuple[bytes, ...], parsing.Database] = {}

    @cached_property
    def removals(self) -> list[tuple[bytes, int, int]]:
        """(name, index, node) of each name of the first tree that the program has removed in the end."""
        found = list[tuple[bytes, int, int]]()
        for name, life in self.lives.items():
            if life[0].at == 0 and life[-1].node is None and len(life) > 1 and life[-2].node is not None:
                change = self.model.changes[life[-1].at - 1]
                if isinstance(change, DirChange) and all(entry.after is None for entry in change.entries):
                    found.append((name, life[-1].at - 1, life[-2].node))
        return found

    @cached_property
    def _replaced(self) -> set[int | None]:
        """The files from before the run under whose name there is something in the end."""
        return {life[0].node for life in self.lives.values() if life[0].at == 0 and life[-1].node is not None}

    def judge(self, view: View, place: Path) -> Verdict:
        """Judges all files of a state. `place` is a directory in which copies can lie for a moment."""
        complaints = [found._replace(name=name) for name in self.judged if (found := self._judge(name, view, place))]
        complaints.sort(key=lambda complaint: complaint.what != FAIL)
        if not complaints:
            return Verdict(PASS)
        more = [f"and {len(complaints) - MOST_COMPLAINTS} more"] if len(complaints) > MOST_COMPLAINTS else []
        worst = complaints[0].what
        about = self.kinds(complaint.name for complaint in complaints if complaint.what == worst)
        return Verdict(worst, "\n".join([c.text for c in complaints[:MOST_COMPLAINTS]] + more), about)

    # one name

    def _judge(self, name: bytes, view: View, place: Path) -> Complaint | None:
        found = view.look(name)
        if found is None:
            return None if self.may_be_absent(name) or self._is_moved(name, view) else self._missing(name)
        if found.kind != "file":
            return self._other_kind(name, found)
        if any(view.look(name + suffix) for suffix in COMPANIONS) and self.is_database(name):
            return self._database(name, found, view, place)
        held = self.held(name)
        if found.content.digest() in held or (found.node and self._is_log_cut(found, view)):
            return None
        if self.is_database(name):
            return self._database(name, found, view, place)
        kind = self.format(name)
        if kind and kind.fits(found.content.read()):
            return None
        if found.node == 0 and kind is None:
            return None  # what recovery has written, and nobody else can read
        return self._wrong(name, found, view)

    def _is_moved(self, name: bytes, view: View) -> bool:
        """Whether nothing is missed under a name that leads to nothing: of what becomes a backup, the name of its own is used on,
        and it is there still; or it was a log, and is there under another name.
        """
        life, there = self.lives[name], view.names.paths.values()
        for before, gone, after in zip(life, life[1:], life[2:], strict=False):
            if gone.node is not None or after.node is None:
                continue
            is_backup = after.placed and after.node in self._replaced and after.node in there
            if is_backup or (self.is_log(after.node) and not after.placed and before.node in there):
                return True
        return False

    def _missing(self, name: bytes) -> Complaint:
        gone = next((step.at for step in self.lives[name] if step.node is None), 0)
        why = f"it was removed at {self.place(gone - 1)}, and is there again only later" if gone else "it was there all the time"
        return self._complaint(name, f"{self.shown(name)} is missing: {why}")

    def _complaint(self, name: bytes, text: str) -> Complaint:
        if self.is_scratch(name):
            return Complaint(SUSPECT, f"{text}. By its name it is a temporary file, or a lock")
        return Complaint(FAIL, text)

    def _other_kind(self, name: bytes, found: Found) -> Complaint | None:
        nodes = [self.model.nodes[step.node] for step in self.lives[name] if step.node is not None]
        if any(node.kind == found.kind and node.target == found.target for node in nodes):
            return None
        what = f"a symbolic link to {os.fsdecode(found.target)}" if found.kind == "symlink" else f"a {found.kind}"
        return Complaint(FAIL, f"{self.shown(name)} is {what}, which it never was")

    def _is_log_cut(self, found: Found, view: View) -> bool:
        """Whether it is a log that ends too early, or has zeros or garbage where nothing was durable."""
        if not self.is_log(found.node):
            return False
        lost = view.state.lost(found.node)
        if not lost:
            return True
        whole = self.disk.content(State(len(self.model.changes)), found.node)
        indexes = self.model.of_node[found.node]
        first = self.model.changes[indexes[bisect_left(indexes, lost[0].first)]]
        sound = min(first.position + lost[0].lo, found.content.size) if isinstance(first, Write) else 0
        there, expected = found.content.read(sound), whole.read(sound, found.content.size - sound)
        return len(there) == len(expected) and _is_same_or_nothing(there, expected, sound)

    def _database(self, name: bytes, found: Found, view: View, place: Path) -> Complaint | None:
        database = self.opened(name, view, place)
        if database.wrong is None and (found.content.size or self._was_empty(name)):
            return None
        wrong = f"; opened by SQLite, after its recovery: {database.wrong}" if database.wrong else ""
        complaint = self._wrong(name, found, view)
        return complaint._replace(text=complaint.text + wrong)

    def _was_empty(self, name: bytes) -> bool:
        return self.lives[name][0].at != 0 or any(not held.content.size for held in self.held(name).values())

    def opened(self, name: bytes, view: View, place: Path, *, everything: bool = False) -> parsing.Database:
        """Returns what SQLite says of a database in a state."""
        parts = {suffix: view.look(name + suffix) for suffix in (b"", *COMPANIONS)}
        contents = {suffix: part.content for suffix, part in parts.items() if part and part.kind == "file"}
        key = (*(suffix + content.digest() for suffix, content in contents.items()), b"all" if everything else b"")
        if key not in self._databases:
            data = {suffix: content.read() for suffix, content in contents.items()}
            self._databases[key] = parsing.open_database(data, place, everything=everything)
        return self._databases[key]

    def _wrong(self, name: bytes, found: Found, view: View) -> Complaint:
        holds, reason = self.describe(name, found.content), self.expected(name)
        sentence = f"{self.shown(name)} {holds}; {reason}"
        if self._is_first_version(name, found, view.state):
            gone = self._removed_for(found.node, view)
            if gone is None:
                return Complaint(SUSPECT, f"{sentence}. It is new: its first version was not finished, or not durable")
            return Complaint(FAIL, f"{sentence}; and {gone}")
        if self.is_patched(found.node) and self.is_opaque(name):
            return Complaint(SUSPECT, f"{sentence}. Parts of it are written in place: only its program can tell (--check)")
        return self._complaint(name, sentence)

    def _is_first_version(self, name: bytes, found: Found, state: State) -> bool:
        """Whether a file that came into being under this name has not yet had anything done to its first version."""
        life = self.lives[name]
        if not found.node or life[0].at == 0 or life[0].node != found.node or life[0].placed:
            return False
        moments = self.settled.moments[found.node]
        if not self.disk.content(State(moments[0].at), found.node).size and len(moments) > 1:
            moments = moments[1:]  # made empty first
        first = moments[0].at
        indexes = self.model.of_node.get(found.node, [])
        later = indexes[bisect_left(indexes, first) : bisect_left(indexes, state.crash)]
        whole = [lost for lost in state.lost(found.node) if not lost.lo and lost.hi == ALL and not lost.left]
        return all(any(lost.first <= i < lost.last for lost in whole) for i in later)

    def _removed_for(self, node: int, view: View) -> str | None:
        """Says which old file the process that had finished this one has removed afterwards, if it is gone: nobody has both."""
        done = min(self.settled.moments[node][0].at, self.model.of_node.get(node, [0])[-1] + 1)
        made = self.model.made.get(node)
        if made is None:
            return None
        process = self._process(made)
        for name, index, old in self.removals:
            is_gone = old not in view.names.paths.values() and self.model.initial.contents.get(old, Content()).size
            if index >= done and is_gone and self._process(index) == process:
                return f"{self.shown(name)}, which was removed at {self.place(index)} after this one was done, is gone as well"
        return None

    def _process(self, index: int) -> str:
        return self.recording.ops[self.model.changes[index].entry].process


def _is_same_or_nothing(data: bytes, expected: bytes, position: int) -> bool:
    for at in range(0, len(data), PAGE):
        here, wanted = data[at : at + PAGE], expected[at : at + PAGE]
        if here == wanted or not any(here):
            continue
        junk = Garbage().read(position + at, len(here))
        if any(a not in (0, b, c) for a, b, c in zip(here, wanted, junk, strict=True)):
            return False
    return True
