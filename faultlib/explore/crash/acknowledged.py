"""What the program has told somebody must be on the disk: each file in the version that it had then, or in a later one."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from faultlib.explore.crash.changes import Ack
from faultlib.explore.crash.judge import Case
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.parsing import COMPANIONS
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.settled import Step
from faultlib.explore.crash.unchecked import MOST_COMPLAINTS, Files
from faultlib.explore.crash.view import Found, Recovered, View
from faultlib.explore.oracle import FAIL, PASS, Promise, Verdict

MOST_TRIED = 200
"""So many later versions of a database are compared with the one in a state."""


def by_pattern(recording: Recording, pattern: str) -> list[int]:
    """Returns the changes by which the output came to contain what a regular expression describes."""
    ends, indexes, output = list[int](), list[int](), bytearray()
    for index, ack in _acks(recording):
        if ack.data:
            output += _said(recording, ack)
            ends.append(len(output))
            indexes.append(index)
    found = {bisect_left(ends, max(match.end(), 1)) for match in re.finditer(pattern.encode(), bytes(output), re.MULTILINE)}
    return [indexes[place] for place in sorted(found) if place < len(indexes)]


def by_descriptor(recording: Recording, fd: int) -> list[int]:
    """Returns the changes by which something was written to a descriptor."""
    return [index for index, ack in _acks(recording) if ack.fd == fd and ack.data]


def by_function(recording: Recording, says: Callable[[bytes], object]) -> list[int]:
    """Returns the changes of which a function says, given what was written, that they are an acknowledgement."""
    return [index for index, ack in _acks(recording) if ack.data and says(_said(recording, ack))]


def by_exit(recording: Recording) -> list[int]:
    """Returns the change by which the program said that all went well."""
    return [index for index, ack in _acks(recording) if ack.status == 0]


def _acks(recording: Recording) -> Iterator[tuple[int, Ack]]:
    for index, change in enumerate(recording.model.changes):
        if isinstance(change, Ack):
            yield index, change


def _said(recording: Recording, ack: Ack) -> bytes:
    return b"".join(recording.log.read(at, length) for at, length in ack.data)


class Acknowledged:
    """The oracle. `moments` are the indexes of the changes that acknowledge, in order."""

    def __init__(self, files: Files, moments: Sequence[int], *, recovered: bool = False) -> None:
        self.files = files
        self.moments = moments
        self._view = Recovered if recovered else View

    def __call__(self, cwd: Path, case: Case, promise: Promise) -> Verdict:
        """Judges a state in the place of the roots, by the last acknowledgement that was made before what it has promised."""
        place = bisect_left(self.moments, case.promised)
        if not place:
            return Verdict(PASS)
        moment, view = self.moments[place - 1], self._view(self.files.disk, case.state)
        names = [name for name in self.files.judged if not self.files.is_scratch(name)]
        said = {name: text for name in names if (text := self._judge(name, moment, view, cwd))}
        if not said:
            return Verdict(PASS)
        when = self._when(moment)
        text = "\n".join(f"{text}; {when}" for text in list(said.values())[:MOST_COMPLAINTS])
        return Verdict(FAIL, text, self.files.kinds(said))

    def _when(self, moment: int) -> str:
        ack = self.files.model.changes[moment]
        assert isinstance(ack, Ack)
        said = _said(self.files.recording, ack)
        how = f"by {said[:40]!r}" if said else f"by exit status {ack.status}"
        return f"acknowledged at {self.files.op_place(ack.entry)} {how}"

    def _judge(self, name: bytes, moment: int, view: View, place: Path) -> str | None:
        now, later = self._since(name, moment)
        found, shown = view.look(name), self.files.shown(name)
        if found is None:
            is_fine = now.node is None or any(step.node is None for step in later)
            return None if is_fine else f"{shown} is missing, which was there"
        if found.node and found.node != now.node and found.node in {step.node for step in later}:
            return None
        if now.node is None:
            return None if found.node == 0 else f"{shown} is there, which was gone"
        if found.kind != "file" or found.kind != self.files.model.nodes[now.node].kind:
            return self._other(shown, found, now.node)
        if self.files.is_database(name):
            return None if self._holds_all(name, moment, view, place) else f"{shown} holds less than it did"
        is_fine = self._is_late(name, moment, found, now.node, view.state)
        return None if is_fine else f"{shown} is in an older version, or incomplete"

    def _other(self, shown: str, found: Found, node: int) -> str | None:
        """What is wrong with something that is no file, or was none."""
        then = self.files.model.nodes[node]
        if found.node in (node, 0) or (found.kind, found.target) == (then.kind, then.target):
            return None
        what = f"leads to {os.fsdecode(found.target)}" if found.kind == "symlink" else f"is a {found.kind}"
        return f"{shown} {what}, as it did before"

    def _since(self, name: bytes, moment: int) -> tuple[Step, list[Step]]:
        """Returns what a name led to at a moment, and from then on."""
        life = self.files.lives[name]
        place = bisect_left(life, moment + 1, key=lambda step: step.at)
        return life[place - 1] if place else Step(0, None, False), life[place:]

    def _is_late(self, name: bytes, moment: int, found: Found, node: int, state: State) -> bool:
        """Whether a file is in the version of a moment or in a later one."""
        files = self.files
        then = files.disk.content(State(moment), node)
        if found.node == node and self._has_all(node, moment, state):
            return True
        digest = found.content.digest()
        is_newer = found.node and state.crash > moment
        if digest == then.digest() or (is_newer and digest == files.disk.content(State(state.crash), found.node).digest()):
            return found.node in (node, 0) or digest == then.digest()
        if any(held.moment.at > moment and held.content.digest() == digest for held in files.versions(name)):
            return True
        if files.is_log(node) and found.content.size >= then.size:
            return found.content.read(0, then.size) == then.read()
        return found.node == 0 and digest not in files.held(name)  # recovery has made something of it

    def _has_all(self, node: int, moment: int, state: State) -> bool:
        """Whether a state has everything that was done to a file before a moment."""
        indexes = self.files.model.of_node.get(node, [])
        missing = indexes[bisect_left(indexes, state.crash) : bisect_left(indexes, moment)]
        return not missing and all(lost.first >= moment for lost in state.lost(node))

    def _holds_all(self, name: bytes, moment: int, view: View, place: Path) -> bool:
        """Whether a database, opened after a crash, holds what it would have held at a moment, or at a later one."""
        there = self.files.opened(name, view, place, everything=True)
        if there.wrong is not None:
            return True  # that is another matter
        for crash in self._versions_from(name, moment):
            one = self.files.opened(name, View(self.files.disk, State(crash)), place, everything=True)
            if one.wrong is None and one.digest == there.digest:
                return True
        return False

    def _versions_from(self, name: bytes, moment: int) -> list[int]:
        """After how many changes there was another version of a database, beginning with that of a moment."""
        files = self.files
        steps = [step for suffix in (b"", *COMPANIONS) for step in files.lives.get(name + suffix, [])]
        nodes = {step.node for step in steps if step.node is not None}
        found = {i + 1 for node in nodes for i in files.model.of_node.get(node, []) if i > moment}
        found |= {step.at for step in steps if step.at > moment}
        return [moment, *sorted(found)[:MOST_TRIED]]
