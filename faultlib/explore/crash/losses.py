"""What a crash has lost: the plan of a state, from which it is built, judged, minimised and replayed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

ALL = -1


class Lost(NamedTuple):
    """Changes from index `first` up to `last` of one file, or of all directories.

    If it is a single write, only its bytes from `lo` to `hi` (ALL: to its end); with `zero` the file has become so long, but its
    data are zeros there.
    """

    first: int
    last: int
    lo: int = 0
    hi: int = ALL
    zero: bool = False


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
    """Returns the state of a crash that has lost these (file or NAMES, loss); neighbours are joined."""
    by_node: dict[int, list[Lost]] = {}
    for node, lost in sorted(items, key=lambda item: (item[0], item[1][:3])):
        several = by_node.setdefault(node, [])
        if several and (several[-1] == lost or (_is_whole(several[-1]) and lost.last <= several[-1].last)):
            continue
        if several and _is_whole(several[-1]) and _is_whole(lost) and lost.first <= several[-1].last:
            several[-1] = Lost(several[-1].first, max(several[-1].last, lost.last))
        elif several and several[-1].zero == lost.zero and _continues(several[-1], lost):
            several[-1] = several[-1]._replace(hi=_further(several[-1].hi, lost.hi))
        else:
            several.append(lost)
    return State(crash, tuple((node, tuple(several)) for node, several in by_node.items()))


def _is_whole(lost: Lost) -> bool:
    return lost.lo == 0 and lost.hi == ALL and not lost.zero


def _continues(before: Lost, lost: Lost) -> bool:
    same = before.first == lost.first and before.last == lost.last == lost.first + 1
    return same and (before.hi == ALL or lost.lo <= before.hi)


def _further(one: int, other: int) -> int:
    return ALL if ALL in (one, other) else max(one, other)
