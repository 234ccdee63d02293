"""What a crash has lost: the plan of a state, from which it is built, judged, minimised and replayed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

ALL = -1
NOTHING, ZEROS, GARBAGE = 0, 1, 2
"""What is where appended data are lost: not even the size, zeros, or what was on those blocks before."""


class Lost(NamedTuple):
    """Changes from index `first` up to `last` of one file, or of all directories.

    If it is a single write, only its bytes from `lo` to `hi` (ALL: to its end). `left` says what is there instead: with ZEROS or
    GARBAGE the file has become so long, without its data.
    """

    first: int
    last: int
    lo: int = 0
    hi: int = ALL
    left: int = NOTHING

    @property
    def whole(self) -> bool:
        """Whether nothing is left of the changes."""
        return self.lo == 0 and self.hi == ALL and self.left == NOTHING


class State(NamedTuple):
    """A crash after the first `crash` changes, that has lost some: for each file (or NAMES) what, in order."""

    crash: int
    losses: tuple[tuple[int, tuple[Lost, ...]], ...] = ()

    def lost(self, node: int) -> tuple[Lost, ...]:
        """Returns what is lost of one file, or of NAMES."""
        for number, lost in self.losses:
            if number == node:
                return lost
        return ()

    def items(self) -> Iterator[tuple[int, Lost]]:
        """Yields (file or NAMES, loss)."""
        for node, several in self.losses:
            for lost in several:
                yield node, lost

    def to_json(self) -> dict[str, Any]:
        """Returns plain data."""
        return {"crash": self.crash, "losses": [[node, [list(lost) for lost in several]] for node, several in self.losses]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> State:
        """Reads what `to_json` gave."""
        losses = ((node, tuple(Lost(*lost) for lost in several)) for node, several in data["losses"])
        return cls(data["crash"], tuple(losses))


def state(crash: int, items: Iterable[tuple[int, Lost]]) -> State:
    """Returns the state of a crash that has lost these (file or NAMES, loss), in whichever order and parts they come."""
    by_node: dict[int, list[Lost]] = {}
    for node, lost in items:
        by_node.setdefault(node, []).append(lost)
    joined = ((node, _joined(by_node[node])) for node in sorted(by_node))
    return State(crash, tuple((node, several) for node, several in joined if several))


def runs(wanted: Iterable[int], among: Sequence[int]) -> list[Lost]:
    """Returns the stretches of neighbours of some ascending indexes among all of a file, each lost as a whole."""
    found = list[Lost]()
    first = last = place = -1
    for index in wanted:
        if first >= 0 and place < len(among) and among[place] == index:
            place += 1
        else:
            if first >= 0:
                found.append(Lost(first, last + 1))
            first, place = index, bisect_left(among, index) + 1
        last = index
    if first >= 0:
        found.append(Lost(first, last + 1))
    return found


def _joined(several: list[Lost]) -> tuple[Lost, ...]:
    """Neighbours as one, nothing twice, in order. What is lost anyway is not zero, and what is zero no garbage."""
    if len(several) == 1:
        first, last, lo, hi, _ = several[0]
        return tuple(several) if first < last and (lo < hi or hi == ALL) else ()
    parts: dict[int, list[Lost]] = {}
    wholes = list[Lost]()
    for lost in several:
        if lost.whole:
            wholes.append(lost)
        else:
            parts.setdefault(lost.first, []).append(lost)
    torn = [lost for first in parts for lost in _joined_parts(first, parts[first])]
    wholes = _joined_wholes([*wholes, *(lost for lost in torn if lost.whole)])
    starts = [lost.first for lost in wholes]
    left = [lost for lost in torn if not lost.whole and not _is_among(lost.first, wholes, starts)]
    return tuple(sorted([*wholes, *left]))


def _joined_wholes(several: list[Lost]) -> list[Lost]:
    found = list[Lost]()
    for lost in sorted(several):
        if found and lost.first <= found[-1].last:
            found[-1] = Lost(found[-1].first, max(found[-1].last, lost.last))
        elif lost.first < lost.last:
            found.append(lost)
    return found


def _is_among(index: int, wholes: list[Lost], starts: list[int]) -> bool:
    place = bisect_left(starts, index + 1) - 1
    return place >= 0 and index < wholes[place].last


def _joined_parts(first: int, parts: list[Lost]) -> Iterator[Lost]:
    """The parts of one write: from edge to edge, with neighbours that are alike as one."""
    end = max((part.hi for part in parts), default=0)
    end = max([end, *(part.lo for part in parts)]) + 1  # beyond all edges: stands for ALL
    spans = [(part.lo, end if part.hi == ALL else part.hi, part.left) for part in parts]
    edges = sorted({edge for lo, hi, _ in spans for edge in (lo, hi)})
    last: tuple[int, int, int] | None = None
    for lo, hi in pairwise(edges):
        kinds = {left for a, b, left in spans if a <= lo and hi <= b}
        if not kinds:
            continue
        left = min(kinds)
        if last and last[1] == lo and last[2] == left:
            last = last[0], hi, left
            continue
        if last:
            yield Lost(first, first + 1, last[0], last[1], last[2])
        last = lo, hi, left
    if last:
        yield Lost(first, first + 1, last[0], ALL if last[1] == end else last[1], last[2])
