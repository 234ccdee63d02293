"""What is in a file in a state: versions that share what they have in common."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable

from faultlib.explore.crash.changes import Change, Resize, Write, ZeroRange
from faultlib.explore.crash.content import Content, Garbage
from faultlib.explore.crash.losses import ALL, GARBAGE, Lost

STRIDE = 32
"""Every so many changes of a file a version is kept, to begin from."""
MOST_KEPT = 4096
NEVER = 1 << 62


class Versions:
    """The versions of one file. Not more than some thousands are kept."""

    def __init__(self, first: Content, indexes: list[int], changes: list[Change]) -> None:
        self._indexes = indexes
        self._changes = changes
        self._marks = [first]
        self._kept: OrderedDict[tuple[int, tuple[Lost, ...]], Content] = OrderedDict()
        self.window = (0, -1, b"")
        """Behind which crash, up to which, and the digest that the content has if nothing is lost."""

    def at(self, crash: int, lost: tuple[Lost, ...]) -> Content:
        """Returns the content after a crash that has lost some of its changes."""
        end = bisect_left(self._indexes, crash)
        content = self._kept.get((end, lost))
        if content is None:
            content = self._kept[end, lost] = self._make(end, lost)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return content

    def plain(self, crash: int) -> bytes:
        """Returns the digest of the content after a crash that has lost none of its changes."""
        low, high, digest = self.window
        if not low < crash <= high:
            end = bisect_left(self._indexes, crash)
            low = self._indexes[end - 1] if end else -1
            high = self._indexes[end] if end < len(self._indexes) else NEVER
            digest = self.at(crash, ()).digest()
            self.window = low, high, digest
        return digest

    def _make(self, end: int, lost: tuple[Lost, ...]) -> Content:
        before = self._kept.get((end - 1, lost))
        if before is not None and not (lost and lost[-1].last > self._indexes[end - 1]):
            return done(before, self._changes[end - 1])
        place = min(bisect_left(self._indexes, lost[0].first), end) if lost else end
        content = self._prefix(place)
        for number, one in enumerate(lost):
            first, last = bisect_left(self._indexes, one.first), min(bisect_left(self._indexes, one.last), end)
            if first < place or first >= end:  # another part of the write before
                continue
            content = self._done(content, range(place, first))
            if one.lo or one.hi != ALL or one.left:
                parts = [part for part in lost[number:] if part.first == one.first]
                content = partly(content, self._changes[first], parts)
            place = max(last, first + 1)
        return self._done(content, range(place, end))

    def _prefix(self, end: int) -> Content:
        content = self._kept.get((end, ()))
        if content is not None:
            return content
        mark = end // STRIDE
        while len(self._marks) <= mark:
            begin = (len(self._marks) - 1) * STRIDE
            self._marks.append(self._done(self._marks[-1], range(begin, begin + STRIDE)))
        return self._done(self._marks[mark], range(mark * STRIDE, end))

    def _done(self, content: Content, places: Iterable[int]) -> Content:
        for place in places:
            content = done(content, self._changes[place])
        return content


def done(content: Content, change: Change) -> Content:
    """Returns the content after a change."""
    match change:
        case Write(_, _, position, source, at, length, _):
            return content.write(position, source, at, length)
        case Resize(_, _, size):
            return content.resize(size)
        case ZeroRange(_, _, position, length):
            return content.zero(position, length)
    raise TypeError(change)


def partly(content: Content, change: Change, lost: Iterable[Lost]) -> Content:
    """Returns the content after a write of which parts are lost."""
    assert isinstance(change, Write)
    at = 0
    for part in sorted(lost, key=lambda one: one.lo):
        hi = change.length if part.hi == ALL else part.hi
        if part.lo > at:
            content = content.write(change.position + at, change.source, change.at + at, part.lo - at)
        if part.left and part.lo < hi:
            content = _longer(content, change.position + part.lo, change.position + hi, part.left)
        at = max(at, hi)
    if at < change.length:
        content = content.write(change.position + at, change.source, change.at + at, change.length - at)
    return content


def _longer(content: Content, begin: int, end: int, left: int) -> Content:
    """Returns the content with a size, but not the data that came with it."""
    begin = max(begin, content.size)
    if left == GARBAGE and begin < end:
        return content.write(begin, _GARBAGE, begin, end - begin)
    return content.resize(max(content.size, end))


_GARBAGE = Garbage()
