"""From a failing state to its cause: the least that has to be lost, the two operations to blame, what is missing between them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from faultlib.explore.crash.changes import Ack, Change, DirChange, DirEntry, Resize, Write, ZeroRange
from faultlib.explore.crash.losses import ALL, GARBAGE, NOTHING, ZEROS, Lost, State, state
from faultlib.explore.crash.model import NAMES, Model
from faultlib.explore.crash.profiles import Rules

Fails = Callable[[State, int], bool]
"""Whether a state does, with the promises that were made when so many changes had been done."""
MOST_TRIES, MOST_AHEAD = 400, 50


class Cause(NamedTuple):
    """Why states fail: `plan` is the smallest that does. `lost` and `kept` are indexes of changes, -1 if there is none.

    `promised` is up to which change the program's promises count. `kind` is the name of such a cause.
    """

    kind: str
    plan: State
    lost: int
    kept: int
    promised: int


TRUNCATED, TORN, RENAMED, UNNAMED, ORDER, UNSYNCED, UNFINISHED = (
    "truncate-then-write", "torn write", "rename before data", "name not durable", "order of two files", "lost acknowledged data",
    "unfinished sequence",
)  # fmt: skip
KINDS = (TRUNCATED, TORN, RENAMED, UNNAMED, ORDER, UNSYNCED, UNFINISHED)


class Minimiser:
    """Makes failing states smaller."""

    def __init__(self, rules: Rules, fails: Fails) -> None:
        self._rules = rules
        self._model = rules.model
        self._fails = fails
        self._left = MOST_TRIES

    def cause(self, plan: State, promised: int) -> Cause:
        """Returns the cause of a state that fails with those promises."""
        self._left = MOST_TRIES
        if plan.losses and self._try(State(plan.crash), promised):
            plan = State(plan.crash)  # what is lost does not matter
        plan = self._without_garbage(plan, promised)
        smaller = self._with_fewer_losses(plan, promised)
        smaller = self._earlier(smaller, promised)
        promised = self.promised(smaller, promised)
        if not smaller.losses and not promised:
            smaller = self._begin(smaller, promised)
        kept = promised - 1 if promised else self._last_kept(smaller)
        lost = self._lost(smaller, kept, promised)
        if promised:
            lost = self._giving(lost, smaller, promised)
        elif not smaller.losses:
            kept = self._emptying(lost, smaller.crash, kept)
        return Cause(kind_of(self._model, smaller, lost, kept), smaller, lost, kept, promised)

    def _try(self, plan: State | None, promised: int) -> bool:
        self._left -= 1
        return plan is not None and self._left > 0 and self._fails(plan, min(promised, self._rules.latest(plan)))

    def _without_garbage(self, plan: State, promised: int) -> State:
        """Zeros, or nothing, in the place of garbage if it fails all the same: that happens on more file systems."""
        if not has_garbage(plan):
            return plan
        for left in (ZEROS, NOTHING):
            items = [(node, one._replace(left=left) if one.left == GARBAGE else one) for node, one in plan.items()]
            other = self._rules.close(state(plan.crash, items))
            if self._try(other, promised):
                assert other is not None
                return other
        return plan

    def _with_fewer_losses(self, plan: State, promised: int) -> State:
        """Delta debugging, on what is lost (Zeller and Hildebrandt, 2002)."""
        items, parts = list(_singly(self._model, plan)), 2
        while len(items) > 1:
            for some in _without(items, parts):
                smaller = self._rules.close(state(plan.crash, some))
                if smaller and len(some) < len(items) and self._try(smaller, promised):
                    items, parts = some, max(parts - 1, 2)
                    plan = smaller
                    break
            else:
                if parts >= len(items):
                    break
                parts = min(2 * parts, len(items))
        return plan

    def _earlier(self, plan: State, promised: int) -> State:
        """The first crash at which it is so, and is so by what is lost."""
        if not plan.losses:
            return plan
        first = min(lost.first for _, lost in plan.items())
        for crash in range(first, plan.crash):
            if crash and self._model.owner(crash - 1) is None and crash != first:
                continue
            smaller = state(crash, ((node, cut) for node, lost in plan.items() if (cut := _cut(lost, crash))))
            if self._rules.close(smaller) != smaller or not self._try(smaller, promised):
                continue
            if not (smaller.losses or promised) or not self._try(State(crash), promised):
                return smaller
        return plan

    def _begin(self, plan: State, promised: int) -> State:
        """The beginning of the time in which it is so, and no other file was in the middle of its changes."""
        last, end = plan.crash, self._end(plan, promised)
        for crash in range(plan.crash - 1, -1, -1):
            if is_done(self._model, crash, last, end):
                break
            if not self._rules.allows(State(crash)):
                continue
            if not self._try(State(crash), promised):
                break
            plan = State(crash)
        return plan

    def _end(self, plan: State, promised: int) -> int:
        """The crash at which it is no longer so; if that is far, the end."""
        end = len(self._model.changes)
        crashes = [crash for crash in range(plan.crash + 1, end) if self._model.owner(crash - 1) is not None][:MOST_AHEAD]
        return next((crash for crash in crashes if not self._try(State(crash), promised)), end)

    def promised(self, plan: State, promised: int) -> int:
        """Returns up to which change promises count for it to fail: behind the first that is broken, 0 if it fails anyway."""
        last = min(promised, self._rules.latest(plan))
        untils = [0, *(i + 1 for i in range(last) if self._is_promise(i))]
        return untils[bisect_left(untils[:-1], True, key=lambda until: self._fails(plan, until))]

    def _last_kept(self, plan: State) -> int:
        kept = (i for i in range(plan.crash - 1, -1, -1) if self._model.owner(i) is not None and not self._is_gone(i, plan))
        return next(kept, -1)

    def _is_gone(self, index: int, plan: State) -> bool:
        lost = plan.lost(self._model.owner(index) or NAMES)
        return any(one.whole and one.first <= index < one.last for one in lost)

    def _is_promise(self, index: int) -> bool:
        return index >= 0 and isinstance(self._model.changes[index], Ack)

    def _lost(self, plan: State, kept: int, promised: int) -> int:
        """What should have been on disk, too."""
        if plan.losses:
            return min(lost.first for _, lost in plan.items())
        changes = [i for i in range(plan.crash, len(self._model.changes)) if self._model.owner(i) is not None]
        same = [i for i in changes if kept >= 0 and is_related(self._model, i, kept)]
        for crash in changes:
            if not self._try(State(crash + 1), promised):
                return same[0] if same and same[0] <= crash else crash
        return changes[0] if changes else -1


    def _emptying(self, lost: int, crash: int, kept: int) -> int:
        """What has emptied the file that is to be written next, if that was the last that happened to it."""
        node = self._model.owner(lost) if lost >= 0 else None
        before = self._model.of_node[node][: bisect_left(self._model.of_node[node], crash)] if node else []
        last = self._model.changes[before[-1]] if before else None
        return before[-1] if isinstance(last, Resize) and not last.size else kept

    def _giving(self, lost: int, plan: State, promised: int) -> int:
        """Where a name was to be gone and is not: the change before it that gave one, and is lost with it, matters more."""
        if not self._only_removes(lost):
            return lost
        first = min([plan.crash, *(one.first for node, one in plan.items() if node == NAMES)])
        before = (i for i in range(lost - 1, first - 1, -1) if self._gives(i, promised))
        return next(before, lost)

    def _only_removes(self, index: int) -> bool:
        change = self._model.changes[index] if index >= 0 else None
        return isinstance(change, DirChange) and all(entry.after is None for entry in change.entries)

    def _gives(self, index: int, until: int) -> bool:
        """Whether it gives a name to a file that has it still at a later moment."""
        change = self._model.changes[index]
        if not isinstance(change, DirChange):
            return False
        later = [self._model.changes[i] for i in self._model.of_node[NAMES] if index < i < until]
        gone = {(entry.directory, entry.name) for one in later if isinstance(one, DirChange) for entry in one.entries}
        given = [entry for entry in change.entries if entry.after is not None and self._model.nodes[entry.after].kind == "file"]
        return any((entry.directory, entry.name) not in gone for entry in given)


def _singly(model: Model, plan: State) -> Iterator[tuple[int, Lost]]:
    """Every change that is lost by itself."""
    for node, lost in plan.items():
        indexes = [i for i in model.of_node[node] if lost.first <= i < lost.last]
        if len(indexes) == 1:
            yield node, Lost(indexes[0], indexes[0] + 1, *lost[2:])
        else:
            yield from ((node, Lost(i, i + 1)) for i in indexes)


def _without(items: list[tuple[int, Lost]], parts: int) -> Iterator[list[tuple[int, Lost]]]:
    size = -(-len(items) // parts)
    chunks = [items[at : at + size] for at in range(0, len(items), size)]
    if len(chunks) > 2:
        yield from chunks
    for gone in range(len(chunks)):
        yield [item for number, chunk in enumerate(chunks) if number != gone for item in chunk]


def _cut(lost: Lost, crash: int) -> Lost | None:
    if lost.first >= crash:
        return None
    return lost._replace(last=min(lost.last, crash))


def kind_of(model: Model, plan: State, lost: int, kept: int) -> str:
    """Returns the name of a cause."""
    w, x = _at(model, lost), _at(model, kept)
    if isinstance(x, Ack):
        return UNNAMED if isinstance(w, DirChange) else UNSYNCED
    if isinstance(w, Write) and isinstance(x, Resize) and w.node == x.node and x.size < w.position + w.length:
        return TRUNCATED
    if isinstance(w, Write) and isinstance(x, DirChange) and _is_about(x, w.node):
        return RENAMED if x.made is None else TRUNCATED if not plan.losses else ORDER
    if isinstance(w, Write | ZeroRange | Resize) and isinstance(x, Write | ZeroRange | Resize) and w.node == x.node:
        return TORN
    return ORDER if plan.losses else UNFINISHED


def _at(model: Model, index: int) -> Change | None:
    return model.changes[index] if index >= 0 else None


def _is_about(change: DirChange, node: int) -> bool:
    return any(node in (entry.before, entry.after) for entry in change.entries)


def is_explained(cause: Cause, plan: State, promised: int, model: Model) -> bool:
    """Whether a failing state has what a known cause needs: the one operation lost, the other kept. `promised` as there."""
    if (promised if isinstance(_at(model, cause.kept), Ack) else plan.crash) <= cause.kept:
        return False
    if has_garbage(cause.plan) and not has_garbage(plan):
        return False
    if cause.kind == RENAMED:
        file = model.owner(cause.lost) or NAMES
        return any(lost.first < cause.kept for lost in plan.lost(file)) and not _loses(model, plan, cause.kept)
    if not cause.plan.losses:
        return plan.crash <= cause.lost or _loses(model, plan, cause.lost)
    return _loses(model, plan, cause.lost) and not _loses(model, plan, cause.kept)


def without(rules: Rules, cause: Cause, plan: State) -> State | None:
    """Returns a state that lacks less: what a known cause needs to be lost is there. None if no crash leaves that."""
    model, items = rules.model, list(_singly(rules.model, plan))
    file = model.owner(cause.lost) if cause.kind == RENAMED else None
    left = [(node, one) for node, one in items if node != file and not one.first <= cause.lost < one.last]
    rest = rules.close(state(plan.crash, left)) if len(left) < len(items) else None
    return rest if rest is not None and not _loses(model, rest, cause.lost) and rest != rules.canonical(plan) else None


def is_done(model: Model, index: int, crash: int, end: int | None = None) -> bool:
    """Whether a change before a crash is of a file that the program changes no more, or not before `end`."""
    node = model.owner(index) if index >= 0 else None
    indexes = model.of_node[node] if node else []
    place = bisect_left(indexes, crash)
    return bool(node) and (place == len(indexes) or (end is not None and indexes[place] >= end))


def is_related(model: Model, index: int, other: int) -> bool:
    """Whether two changes are of one file, or of one name."""
    w, x = model.changes[index], model.changes[other]
    if isinstance(w, DirChange) and isinstance(x, DirChange):
        names = {(entry.directory, entry.name) for entry in w.entries}
        return any((entry.directory, entry.name) in names for entry in x.entries)
    return model.owner(index) == model.owner(other)


def has_garbage(plan: State) -> bool:
    """Whether there is garbage in a file."""
    return any(one.left == GARBAGE for _, one in plan.items())


def _loses(model: Model, plan: State, index: int) -> bool:
    owner = model.owner(index) if index >= 0 else None
    return owner is not None and any(lost.first <= index < lost.last for lost in plan.lost(owner))


def names_of(model: Model, node: int, crash: int) -> Iterator[bytes]:
    """Yields the paths that a node has at a crash, has had, or gets afterwards. First comes one that it keeps to the end."""
    several, first = model.names_of.get(node, []), model.first_names.get(node, [])
    place = bisect_left(several, crash)
    now = _followed(model, node, several[:place], dict.fromkeys(first))
    end = _followed(model, node, several[place:], now) if len(now) > 1 else now
    yield from sorted(now, key=lambda path: path not in end)
    for index in reversed(several[:place]):
        yield from _paths_in(model, index, lambda entry: entry.after == node)
    yield from first
    for index in several[place:]:
        yield from _paths_in(model, index, lambda entry: node in (entry.before, entry.after))


def _followed(model: Model, node: int, indexes: Sequence[int], paths: dict[bytes, None]) -> dict[bytes, None]:
    """The paths of a node after changes, the oldest first."""
    now = dict(paths)
    for index in indexes:
        for path in _paths_in(model, index, lambda entry: entry.before == node):
            now.pop(path, None)
        now |= dict.fromkeys(_paths_in(model, index, lambda entry: entry.after == node))
    return now


def _paths_in(model: Model, index: int, is_wanted: Callable[[DirEntry], bool]) -> Iterator[bytes]:
    change = model.changes[index]
    assert isinstance(change, DirChange)
    yield from (path_of(model, entry.directory) + b"/" + entry.name for entry in change.entries if is_wanted(entry))


def path_of(model: Model, directory: int) -> bytes:
    for path, number in model.roots.items():
        if number == directory:
            return path
    return next(names_of(model, directory, len(model.changes)), b"?") if directory != NAMES else b"?"


def lost_bytes(model: Model, plan: State) -> Sequence[tuple[int, int]]:
    """Returns (change, bytes) of every write that is lost, whole or in part."""
    found = []
    for _, lost in _singly(model, plan):
        change = model.changes[lost.first]
        if isinstance(change, Write):
            found.append((lost.first, (change.length if lost.hi == ALL else lost.hi) - lost.lo))
    return found
