"""Judges states when the user has given no check: by what the recording says of each file, and by what files are.

Judged are names that exist before the run or at its end. Each must hold a version that somebody was done with (settled.py), or
parse as what it was (parsing.py); a log may end early; of a file that is new, a part is suspicious only.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_left
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from faultlib.explore.crash import parsing
from faultlib.explore.crash.changes import Change, DirChange, Resize, Write, ZeroRange
from faultlib.explore.crash.content import Content
from faultlib.explore.crash.judge import Case, Oracle
from faultlib.explore.crash.losses import ALL, State
from faultlib.explore.crash.parsing import COMPANIONS, SQLITE, Format
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.settled import Moment, Settled
from faultlib.explore.crash.tree import FileSource
from faultlib.explore.crash.versions import Disk, Names
from faultlib.explore.oracle import FAIL, PASS, SUSPECT, Promise, Verdict

MOST_VERSIONS = 100
"""Of each file so many are parsed, to learn what it is."""
MOST_COMPARED = 16
MOST_COMPLAINTS = 8
SHOWN = 24
"""First bytes that are shown of a file."""
_RANK = {PASS: 0, SUSPECT: 1}


class Held(NamedTuple):
    """A version that a file may be in."""

    content: Content
    moment: Moment
    node: int


class Found(NamedTuple):
    """What is under a name in a state. `node` is that of the recording, or 0."""

    kind: str
    node: int
    content: Content
    target: bytes = b""


class Complaint(NamedTuple):
    """What is wrong with one name: FAIL or SUSPECT, and a sentence."""

    what: str
    text: str


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
            return Found("dir" if stat.S_ISDIR(status.st_mode) else "other", 0, Content())
        content, built = Content.of(FileSource(path), status.st_size), super().look(name)
        is_same = built is not None and built.kind == "file" and built.content.digest() == content.digest()
        return built if is_same else Found("file", 0, content)


class Unchecked:
    """The oracle. `also` are others that have their say on each state, after the files; the worst verdict counts.

    `recovered`: a recovery has been run on each state before it comes here.
    """

    def __init__(self, recording: Recording, disk: Disk, *, also: Iterable[Oracle] = (), recovered: bool = False) -> None:
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


class Files:
    """What the recording says of each file, and what a state may hold of it."""

    def __init__(self, recording: Recording, disk: Disk) -> None:
        self.recording = recording
        self.disk = disk
        self.model = recording.model
        self.settled = Settled(recording)
        self.lives = self.settled.names.lives
        self._databases: dict[tuple[bytes, ...], parsing.Database] = {}
        self._held: dict[bytes, dict[bytes, Held]] = {}
        self._formats: dict[bytes, Format | None] = {}
        self._logs: dict[int, bool] = {}
        self._parts: dict[int, bool] = {}
        self.judged = [name for name in self.lives if self._is_judged(name)]

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

    def judge(self, view: View, place: Path) -> Verdict:
        """Judges all files of a state. `place` is a directory in which copies can lie for a moment."""
        complaints = [complaint for name in self.judged if (complaint := self._judge(name, view, place))]
        complaints.sort(key=lambda complaint: complaint.what != FAIL)
        if not complaints:
            return Verdict(PASS)
        more = [f"and {len(complaints) - MOST_COMPLAINTS} more"] if len(complaints) > MOST_COMPLAINTS else []
        return Verdict(complaints[0].what, "\n".join([c.text for c in complaints[:MOST_COMPLAINTS]] + more))

    # which names

    def _is_judged(self, name: bytes) -> bool:
        """Whether the name is there before or after the run, and a crash can do something to it."""
        life = self.lives[name]
        if life[0].at != 0 and life[-1].node is None:
            return False
        if any(name.endswith(suffix) and name.removesuffix(suffix) in self.lives for suffix in (*COMPANIONS, b"-shm")):
            return False  # judged with its database
        return len(life) > 1 or life[0].at != 0 or life[0].node in self.model.of_node

    def may_be_absent(self, name: bytes) -> bool:
        """Whether nobody would be surprised if there was nothing of that name."""
        life = self.lives[name]
        ends = [step.at for step in life[1:]] + [len(self.model.changes) + 1]
        absent = [(step.at, end) for step, end in zip(life, ends, strict=True) if step.node is None]
        if life[0].at != 0 or life[-1].node is None:
            return True
        return any(self.settled.is_quiet_between(at, end) for at, end in absent)

    # what a name may hold

    def held(self, name: bytes) -> dict[bytes, Held]:
        """Returns the settled versions of a name, by their digests."""
        found = self._held.get(name)
        if found is None:
            found = self._held[name] = {}
            for held in self.versions(name):
                found[held.content.digest()] = held
        return found

    def versions(self, name: bytes) -> Iterable[Held]:
        """Yields the settled versions of a name, those of each file in order."""
        seen = set[int]()
        for step in self.lives[name]:
            node = step.node
            if node is None or node in seen or self.model.nodes[node].kind != "file":
                continue
            seen.add(node)
            first = self.settled.last_before(node, step.at) if step.placed else None
            moments = [moment for moment in self.settled.moments.get(node, []) if moment.at > step.at]
            for moment in [first, *moments] if first else moments:
                yield Held(self.disk.content(State(moment.at), node), moment, node)

    def format(self, name: bytes) -> Format | None:
        """Returns what a file always was."""
        if name not in self._formats:
            held = list(self.held(name).values())
            some = held if len(held) <= MOST_VERSIONS else held[:: len(held) // MOST_VERSIONS + 1] + held[-1:]
            several = [one.content.read() for one in some if one.content.size <= parsing.MOST_BYTES]
            self._formats[name] = parsing.common(name, several)
        return self._formats[name]

    def is_database(self, name: bytes) -> bool:
        """Whether a name always led to a SQLite database, or to nothing."""
        versions = [held.content for held in self.held(name).values() if held.content.size]
        return bool(versions) and all(content.read(0, len(SQLITE)) == SQLITE for content in versions)

    def is_log(self, node: int) -> bool:
        """Whether a file was only ever appended to, by somebody who meant to."""
        if node not in self._logs:
            self._logs[node] = self._is_log(node)
        return self._logs[node]

    def _is_log(self, node: int) -> bool:
        size = self.model.initial.contents[node].size if node in self.model.initial.contents else None
        end = size or 0
        for index in self.model.of_node.get(node, []):
            change = self.model.changes[index]
            if not isinstance(change, Write) or change.position != end:
                return False
            if size is None and not self.recording.ops[change.entry].status & os.O_APPEND:
                return False
            end += change.length
        return end > 0

    def is_patched(self, node: int) -> bool:
        """Whether parts of a file were overwritten while others stayed: a structure that only its program understands."""
        if node not in self._parts:
            self._parts[node] = self._is_patched(node)
        return self._parts[node]

    def _is_patched(self, node: int) -> bool:
        indexes = self.model.of_node.get(node, [])
        starts = [moment.at for moment in self.settled.moments.get(node, [])]
        for begin, end in zip(starts, [*starts[1:], len(self.model.changes)], strict=True):
            here = [self.model.changes[i] for i in indexes[bisect_left(indexes, begin) : bisect_left(indexes, end)]]
            size = self.disk.content(State(begin), node).size
            if size and any(isinstance(change, Write) for change in here) and _leaves_some(here, size):
                return True
        return False

    def is_opaque(self, name: bytes) -> bool:
        """Whether a file holds something other than text."""
        return any(not _is_text(held.content.read(0, 1 << 16)) for held in self.held(name).values())

    # one name

    def _judge(self, name: bytes, view: View, place: Path) -> Complaint | None:
        found = view.look(name)
        if found is None:
            return None if self.may_be_absent(name) else self._missing(name)
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

    def _missing(self, name: bytes) -> Complaint:
        gone = next(step for step in self.lives[name] if step.node is None)
        text = f"{self.shown(name)} is missing: it was removed at {self._place(gone.at - 1)}, and is there again only later"
        return Complaint(FAIL, text)

    def _other_kind(self, name: bytes, found: Found) -> Complaint | None:
        nodes = [self.model.nodes[step.node] for step in self.lives[name] if step.node is not None]
        if any(node.kind == found.kind and node.target == found.target for node in nodes):
            return None
        what = f"a symbolic link to {os.fsdecode(found.target)}" if found.kind == "symlink" else f"a {found.kind}"
        return Complaint(FAIL, f"{self.shown(name)} is {what}, which it never was")

    def _is_log_cut(self, found: Found, view: View) -> bool:
        """Whether it is a log that ends too early, or in zeros."""
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
        place = _first_difference(there, expected)
        return not any(there[place:])

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
        holds, reason = self._describe(name, found.content), self._expected(name)
        sentence = f"{self.shown(name)} {holds}; {reason}"
        if self._is_first_version(name, found, view.state):
            gone = self._removed_for(found.node, view)
            if gone is None:
                return Complaint(SUSPECT, f"{sentence}. It is new: its first version was not finished, or not durable")
            return Complaint(FAIL, f"{sentence}; and {gone}")
        if self.is_patched(found.node) and self.is_opaque(name):
            return Complaint(SUSPECT, f"{sentence}. Parts of it are overwritten in place: only its program can tell (--check)")
        return Complaint(FAIL, sentence)

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
        whole = [lost for lost in state.lost(found.node) if not lost.lo and lost.hi == ALL and not lost.zero]
        return all(any(lost.first <= i < lost.last for lost in whole) for i in later)

    def _removed_for(self, node: int, view: View) -> str | None:
        """Says which old file the process that had finished this one has removed afterwards, if it is gone: nobody has both."""
        done = self.settled.moments[node][0].at
        made = self.model.made.get(node)
        if made is None:
            return None
        process = self._process(made)
        for name, index, old in self.removals:
            is_gone = old not in view.names.paths.values() and self.model.initial.contents.get(old, Content()).size
            if index >= done and is_gone and self._process(index) == process:
                return f"{self.shown(name)}, which was removed at {self._place(index)} after this one was done, is gone as well"
        return None

    # words

    def shown(self, name: bytes) -> str:
        """Returns a name as a person would write it: from the working directory on."""
        text, here = os.fsdecode(name), self.recording.cwd.rstrip("/") + "/"
        return text.removeprefix(here)

    def _place(self, index: int) -> str:
        return self.op_place(self.model.changes[index].entry)

    def op_place(self, entry: int) -> str:
        """Returns where in the source a call was made."""
        return self.recording.ops[entry].place.removeprefix(self.recording.cwd.rstrip("/") + "/")

    def _process(self, index: int) -> str:
        return self.recording.ops[self.model.changes[index].entry].process

    def version(self, held: Held) -> str:
        """Names a version: by the line that has written the last of it."""
        indexes = self.model.of_node.get(held.node, [])
        place = bisect_left(indexes, held.moment.at)
        return f"the version written at {self._place(indexes[place - 1])}" if place else "the version from before the run"

    def _expected(self, name: bytes) -> str:
        several = list(self.held(name).values())
        kind = "SQLite database" if self.is_database(name) else getattr(self.format(name), "name", "")
        other = f", or something else that is still {kind}" if kind else ""
        if not several:
            return "nothing is known of what it should hold"
        what = f"{self.version(several[-1])} ({several[-1].content.size} bytes)"
        return f"expected {what if len(several) == 1 else f'one of {len(several)} versions, the last of them {what}'}{other}"

    def _describe(self, name: bytes, content: Content) -> str:
        size = content.size
        if not size:
            return "is empty"
        data = content.read(0, parsing.MOST_BYTES)
        zeros = len(data.rstrip(b"\0"))
        if not zeros:
            return f"holds {size} bytes, all of them zeros"
        held, same = self._nearest(name, data)
        of = f"the {held.content.size} bytes of {self.version(held)}" if held else ""
        if held and same == size:
            return f"holds the first {size} of {of}"
        if held and same >= zeros:
            return f"holds {size} bytes: the first {same} of {of}, then zeros from byte {zeros} on"
        tail = f", zeros from byte {zeros} on" if zeros < size else ""
        begin = f"holds {size} bytes that begin with {data[:SHOWN]!r}{tail}"
        return f"{begin}: unlike {self.version(held)} from byte {same} on" if held and same else begin

    def _nearest(self, name: bytes, data: bytes) -> tuple[Held | None, int]:
        best: tuple[Held | None, int] = None, 0
        for held in list(self.held(name).values())[-MOST_COMPARED:]:
            same = _first_difference(data, held.content.read(0, len(data)))
            if same >= best[1] and held.content.size:
                best = held, same
        return best


def _leaves_some(changes: list[Change], size: int) -> bool:
    """Whether changes of a file of this size, made in one go, overwrite some of it and leave some as it is."""
    spans = list[tuple[int, int]]()
    for change in changes:
        if isinstance(change, Resize) and not change.size:
            return False
        if isinstance(change, Resize):
            spans.append((change.size, size))
        elif isinstance(change, Write | ZeroRange):
            spans.append((change.position, change.position + change.length))
    end = 0
    for first, last in sorted(spans):
        if first > end:
            break
        end = max(end, last)
    return end < size and any(first < size for first, _ in spans)


def _first_difference(one: bytes, other: bytes) -> int:
    """Returns how many bytes two have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _is_text(data: bytes) -> bool:
    try:
        return b"\0" not in data and bool(data.decode() or True)
    except UnicodeDecodeError as error:
        return error.start >= len(data) - 3  # cut within a character

