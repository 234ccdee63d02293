"""What is lost of a file with some of its writes: the rest of a sector, a page, an extent, and what was appended behind."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from faultlib.explore.crash.changes import Resize, Write
from faultlib.explore.crash.content import PAGE
from faultlib.explore.crash.guarantees import NEVER
from faultlib.explore.crash.losses import ALL, GARBAGE, NOTHING, Lost, runs

if TYPE_CHECKING:
    from faultlib.explore.crash.profiles import Rules

THERE, JUNK, ZERO, GONE = 0, 1, 2, 3
Piece = tuple[int, int, int]
"""Bytes of a write, from and to, and what has become of them: GONE less what is left of them."""


class Tear:
    """One file at one crash. Its changes are gone through once, in order: what is lost can only take later ones with it.

    `_stale` are the stretches of the file of which an earlier version is on the disk: nothing later can be there. `_end` is the
    size that is left of it when an append is lost, NEVER when none is. `_tail`: what is appended from now on can be zeros, or
    lost. `_last_data`: the last write with appended data that are there, and how far. `_until`: when it really came to the crash.
    """

    def __init__(self, rules: Rules, node: int, crash: int, order: int, until: int) -> None:
        self._rules = rules
        self._profile = rules.profile
        self._sector = rules.sector
        self._indexes = rules.model.of_node[node]
        self._over, self._old = rules.model.over, rules.model.old
        self._crash = crash
        self._until = until
        self._order = order
        self._stale: list[tuple[int, int]] = []
        self._end = NEVER
        self._tail = False
        self._last_data = (-1, 0)
        self._nothing = GONE if rules.profile.zeros == "none" else ZERO
        """What is left of an append whose sector is an earlier one: its size, if there is such a thing."""

    def close(self, lost: tuple[Lost, ...]) -> list[Lost] | None:
        """Returns what is lost with these, one for each change or part of it; None if it cannot be."""
        found: list[tuple[int, list[Piece]]] = []
        changes, first = self._rules.model.changes, min(self._order, lost[0].first) if lost else self._order
        at = 0
        for i in self._indexes[bisect_left(self._indexes, first) : bisect_left(self._indexes, self._crash)]:
            while at < len(lost) and lost[at].last <= i:
                at += 1
            wanted = self._wanted(i, lost, at) if at < len(lost) else []
            change = changes[i]
            if isinstance(change, Write):
                pieces = self._write(i, change, wanted)
            else:
                pieces = self._resize(i, change.size if isinstance(change, Resize) else NEVER, wanted)
            if pieces is None:
                return None
            if pieces:
                found.append((i, pieces))
        if self._profile.zeros == "inner":
            found = [(i, [self._without_data_behind(i, piece) for piece in pieces]) for i, pieces in found]
        whole = [i for i, pieces in found if all(what == GONE for _, _, what in pieces)]
        gone = set(whole)
        return runs(whole, self._indexes) + [one for i, pieces in found if i not in gone for one in _as_losses(i, pieces)]

    @staticmethod
    def _wanted(index: int, lost: tuple[Lost, ...], at: int) -> list[Lost]:
        wanted = list[Lost]()
        while at < len(lost) and lost[at].first <= index < lost[at].last:
            wanted.append(lost[at])
            at += 1
        return wanted

    def _resize(self, index: int, size: int, wanted: list[Lost]) -> list[Piece] | None:
        """A change of the size, or of a stretch to zeros: as a whole there or not."""
        behind = index > self._order
        if wanted or behind:
            if self._rules.can_lose(index, self._until) and all(one.whole for one in wanted):
                return [(0, 0, GONE)]
            if wanted or not self._profile.own_names:
                return None
        if size != NEVER:
            self._stale = [(low, min(high, size)) for low, high in self._stale if low < size]
            if self._end < size:
                self._stale.append((self._end, size))
            self._end, self._tail, self._last_data = NEVER, False, (index, 0)
        return []

    def _write(self, index: int, write: Write, wanted: list[Lost]) -> list[Piece] | None:
        """Returns the pieces of a write, none if all are there; None if they cannot be lost."""
        behind = index > self._order and self._old[index] < write.length
        high = write.position + write.length
        touched = high > self._end or self._tail or (self._stale and self._is_stale(write, 0, write.length))
        if not (wanted or behind or touched):
            if self._over[index] < write.length:
                self._last_data = (index, write.length)
            return []
        pieces = self._pieces(index, write, wanted)
        if any(what for _, _, what in pieces) and not self._rules.can_lose(index, self._until):
            if wanted or self._is_stale(write, 0, write.length) or (behind and not self._profile.own_names):
                return None
            self._end, self._tail = NEVER, False  # it is durable, and so is the size
            self._last_data = (index, write.length)
            return []
        self._note(index, write, pieces)
        return pieces if any(what for _, _, what in pieces) else []

    def _pieces(self, index: int, write: Write, wanted: list[Lost]) -> list[Piece]:
        profile, length = self._profile, write.length
        over = self._over[index]
        never = index > self._order and not self._old[index]
        if never or write.position >= self._end or (len(wanted) == 1 and wanted[0].whole):
            return [(lo, hi, GONE) for lo, hi in ((0, over), (over, length)) if lo < hi]
        old = self._old[index] if index > self._order else length
        end = self._end - write.position
        edges = self._edges(index, write)
        found = [[lo, hi, self._fate(write, lo, hi, wanted, lo >= over)] for lo, hi in pairwise(edges)]
        if profile.extents and any(what for lo, hi, what in found if hi <= min(over, end, old)):
            found = [[lo, hi, GONE if hi <= over else what] for lo, hi, what in found]
        for piece in found:
            if piece[0] >= min(old, end):
                piece[2] = GONE
        place = self._shared(found, over, write)
        if place and found[place - 1][2] == GONE and found[place][2] == THERE:
            found[place][2] = self._nothing
        self._keep_zeros(found, over)
        if place and found[place][2] in (JUNK, ZERO):
            found[place - 1][2] = GONE
        if profile.prefixes:
            gone = False
            for piece in found:
                gone = gone or (piece[0] >= over and piece[2] == GONE)
                piece[2] = GONE if gone else piece[2]
        return [(lo, hi, what) for lo, hi, what in found]

    def _edges(self, index: int, write: Write) -> list[int]:
        """Where a write can be torn: at sectors; an append at pages, where they are ordered."""
        over, length, position = self._over[index], write.length, write.position
        edges = {0, over, length}
        if not self._profile.extents:
            edges.update(range(-position % self._sector, over, self._sector))
        unit = PAGE if self._profile.prefixes else self._sector
        edges.update(range(over + -(position + over) % unit, length, unit))
        if index > self._order:
            edges.add(self._old[index])
        for edge in (self._end, *(edge for pair in self._stale for edge in pair)):
            if 0 < edge - position < over:
                edges.add(edge - position)
        return sorted(edges)

    def _fate(self, write: Write, lo: int, hi: int, wanted: list[Lost], is_append: bool) -> int:
        asked = THERE
        for one in wanted:
            if (one.hi == ALL or one.hi > lo) and one.lo < hi:
                asked = max(asked, self._instead(one.left) if is_append else GONE)
        if asked == THERE and self._is_stale(write, lo, hi):
            return self._nothing if is_append else GONE
        return asked

    def _instead(self, left: int) -> int:
        """What of that there can be."""
        if left == NOTHING:
            return GONE
        return JUNK if left == GARBAGE and self._profile.garbage else self._nothing

    def _is_stale(self, write: Write, lo: int, hi: int) -> bool:
        low, high = write.position + lo, write.position + hi
        for a, b in self._stale:  # noqa: SIM110 - any() takes twice as long, and this is asked all the time
            if a < high and b > low:
                return True
        return False

    def _keep_zeros(self, pieces: list[list[int]], over: int) -> None:
        """Zeros at the end: there are no data behind them."""
        if self._profile.zeros != "tail":
            return
        tail = self._tail
        for piece in pieces:
            if piece[0] >= over:
                tail = tail or piece[2] == ZERO
                if tail and piece[2] == THERE:
                    piece[2] = ZERO

    def _shared(self, pieces: list[list[int]], over: int, write: Write) -> int:
        """Which piece is the first that is appended, if it is in one sector with the last that is overwritten; else 0."""
        if not (0 < over < write.length and (write.position + over) % self._sector):
            return 0
        return next(place for place, piece in enumerate(pieces) if piece[0] == over)

    def _note(self, index: int, write: Write, pieces: list[Piece]) -> None:
        """What this means for later writes."""
        over, sector = self._over[index], self._sector
        for lo, hi, what in pieces:
            low, high = write.position + lo, write.position + hi
            if what == THERE:
                if lo >= over:
                    self._last_data = (index, hi)
            elif lo >= over and what == GONE:
                if self._profile.prefixes:
                    self._end = min(self._end, low)
                else:
                    self._add_stale(low, high + -high % sector)
            elif low < self._end:
                unit = PAGE if what == ZERO and self._profile.zeros == "inner" else sector
                self._add_stale(low - low % unit, high + -high % unit)
                self._tail = self._tail or (what == ZERO and self._profile.zeros == "tail")

    def _add_stale(self, low: int, high: int) -> None:
        apart = list[tuple[int, int]]()
        for pair in self._stale:
            if pair[0] <= high and pair[1] >= low:
                low, high = min(low, pair[0]), max(high, pair[1])
            else:
                apart.append(pair)
        apart.append((low, high))
        self._stale = apart

    def _without_data_behind(self, index: int, piece: Piece) -> Piece:
        lo, hi, what = piece
        return (lo, hi, GONE) if what == ZERO and (index, lo) >= self._last_data else piece


def _as_losses(index: int, pieces: list[Piece]) -> Iterator[Lost]:
    length = pieces[-1][1]
    last: Piece | None = None
    for lo, hi, what in pieces:
        if last and last[2] == what:
            last = last[0], hi, what
            continue
        if last and last[2]:
            yield Lost(index, index + 1, last[0], last[1], GONE - last[2])
        last = lo, hi, what
    if last and last[2]:
        yield Lost(index, index + 1, last[0], ALL if last[1] == length else last[1], GONE - last[2])
