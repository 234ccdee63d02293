"""What may be under each name after a crash, by what the recording says of it; and how to say what is there instead."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from faultlib.explore.crash import parsing
from faultlib.explore.crash.changes import Change, Resize, Write, ZeroRange
from faultlib.explore.crash.content import Content
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.parsing import COMPANIONS, SQLITE, Format
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.settled import Moment, Settled

MOST_VERSIONS = 100
"""Of each file so many are parsed, to learn what it is."""
MOST_COMPARED = 16
SHOWN = 24
"""First bytes that are shown of a file."""
MOST_KINDS = 20
NUMBERED = re.compile(r"\w*\d\w*")
"""What may well be another one for each file of a kind."""
LEAST_HOLE = 16
"""Fewer zeros are not worth a word."""


MOST_IN_LOCK = 64
"""Who holds a lock is said in fewer bytes than this."""
_LOCK = re.compile(rb"(^|[._-])(lock|lck|pid)$|^\.?lock\.\w+$", re.IGNORECASE)
_TEMPORARY = re.compile(rb"(^|[._-])(tmp|temp|swp)$", re.IGNORECASE)
_LOG = re.compile(rb"(^|[/._-])log$", re.IGNORECASE)


class Held(NamedTuple):
    """A version that a file may be in."""

    content: Content
    moment: Moment
    node: int


class Expected:
    """What the recording says of each name. `lives` are what the names led to, `judged` those that are judged."""

    def __init__(self, recording: Recording, disk: Disk) -> None:
        self.recording = recording
        self.disk = disk
        self.model = recording.model
        self.settled = Settled(recording)
        self.lives = self.settled.names.lives
        self._held: dict[bytes, dict[bytes, Held]] = {}
        self._formats: dict[bytes, Format | None] = {}
        self._logs: dict[int, bool] = {}
        self._parts: dict[int, bool] = {}
        self._called_logs = {step.node for name, life in self.lives.items() if _LOG.search(name) for step in life}
        self.judged = sorted(name for name in self.lives if self._is_judged(name))

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
        """Whether a file was only ever appended to, and was there before, was opened for that, or is called a log."""
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
            if size is None and not self.recording.ops[change.entry].status & os.O_APPEND and node not in self._called_logs:
                return False
            end += change.length
        return end > 0

    def is_patched(self, node: int) -> bool:
        """Whether parts of a file were written while others stayed: a structure that only its program understands."""
        if node not in self._parts:
            self._parts[node] = self._is_patched(node)
        return self._parts[node]

    def _is_patched(self, node: int) -> bool:
        indexes = self.model.of_node.get(node, [])
        starts = [moment.at for moment in self.settled.moments.get(node, [])]
        for begin, end in zip(starts, [*starts[1:], len(self.model.changes)], strict=False):
            here = [self.model.changes[i] for i in indexes[bisect_left(indexes, begin) : bisect_left(indexes, end)]]
            size = self.disk.content(State(begin), node).size
            if size and any(isinstance(change, Write) for change in here) and _leaves_some(here, size):
                return True
        return False

    def is_scratch(self, name: bytes) -> bool:
        """Whether by its name a file is a temporary one, or a lock; not a long text, as those of package managers are."""
        own = name.rpartition(b"/")[2]
        if _LOCK.search(own):
            return self.is_opaque(name) or all(held.content.size <= MOST_IN_LOCK for held in self.held(name).values())
        return _TEMPORARY.search(own) is not None

    def is_opaque(self, name: bytes) -> bool:
        """Whether a file holds something other than text."""
        return any(not _is_text(held.content.read(0, 1 << 16)) for held in self.held(name).values())

    # words

    def kinds(self, names: Iterable[bytes]) -> tuple[str, ...]:
        """Returns the files of a verdict, not more than a few, and one for all whose names differ in a number only."""
        return tuple(dict.fromkeys(NUMBERED.sub("#", self.shown(name)) for name in names))[:MOST_KINDS]

    def shown(self, name: bytes) -> str:
        """Returns a name as a person would write it: from the working directory on."""
        text, here = os.fsdecode(name), self.recording.cwd.rstrip("/") + "/"
        return text.removeprefix(here)

    def place(self, index: int) -> str:
        """Returns where in the source a change was made."""
        return self.op_place(self.model.changes[index].entry)

    def op_place(self, entry: int) -> str:
        """Returns where in the source a call was made."""
        return self.recording.ops[entry].place.removeprefix(self.recording.cwd.rstrip("/") + "/")

    def version(self, held: Held) -> str:
        """Names a version: by the line that has written the last of it."""
        indexes = self.model.of_node.get(held.node, [])
        place = bisect_left(indexes, held.moment.at)
        return f"the version written at {self.place(indexes[place - 1])}" if place else "the version from before the run"

    def expected(self, name: bytes) -> str:
        """Says what a file should hold."""
        several = list(self.held(name).values())
        kind = "SQLite database" if self.is_database(name) else getattr(self.format(name), "name", "")
        other = f", or something else that is still {kind}" if kind else ""
        if not several:
            return "nothing is known of what it should hold"
        what = f"{self.version(several[-1])} ({several[-1].content.size} bytes)"
        return f"expected {what if len(several) == 1 else f'one of {len(several)} versions, the last of them {what}'}{other}"

    def describe(self, name: bytes, content: Content) -> str:
        """Says what a file holds, beside what it should."""
        size = content.size
        if not size:
            return "is empty"
        data = content.read(0, parsing.MOST_BYTES)
        if not data.strip(b"\0"):
            return f"holds {size} bytes, all of them zeros"
        held, same = self._nearest(name, data)
        begin = f"holds {size} bytes that begin with {data[:SHOWN]!r}"
        if held is None:
            return begin
        version = self.version(held)
        if same == size:
            return f"holds the first {size} of the {held.content.size} bytes of {version}"
        hole = len(data) - len(data[same:].lstrip(b"\0"))
        if hole == len(data):
            return f"holds {size} bytes: the first {same} of the {held.content.size} of {version}, then zeros from byte {same} on"
        if hole - same >= LEAST_HOLE:
            return f"holds {size} bytes, with zeros from byte {same} to {hole}, where {version} has something else"
        return f"{begin}: unlike {version} from byte {same} on" if same else begin

    def _nearest(self, name: bytes, data: bytes) -> tuple[Held | None, int]:
        best: tuple[Held | None, int] = None, 0
        for held in list(self.held(name).values())[-MOST_COMPARED:]:
            same = first_difference(data, held.content.read(0, len(data)))
            if same >= best[1] and held.content.size:
                best = held, same
        return best


def _leaves_some(changes: list[Change], size: int) -> bool:
    """Whether changes of a file of this size, made in one go, leave some of it: they overwrite other parts, or add some."""
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
    return end < size


def first_difference(one: bytes, other: bytes) -> int:
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

