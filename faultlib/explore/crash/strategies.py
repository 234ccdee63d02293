"""Which states are looked at, in the order of their yield. Each strategy streams; what it yields, its profile allows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from faultlib.explore.crash.changes import DirChange, Sync, Write
from faultlib.explore.crash.content import PAGE
from faultlib.explore.crash.guarantees import NEVER
from faultlib.explore.crash.losses import ALL, GARBAGE, NOTHING, ZEROS, Lost, State, runs, state
from faultlib.explore.crash.model import NAMES
from faultlib.explore.crash.profiles import Rules

MOST_CUTS = 6
"""Places at which one write is torn, at the most."""


MOST_FILES = 4
"""Files of which the data are lost or kept alone, at one moment: those written to last."""


class Candidate(NamedTuple):
    """A state to look at. `lost` and `kept` are the changes whose order it puts to the test; -1: none in particular."""

    state: State
    strategy: str
    lost: int = -1
    kept: int = -1


def settled_by(rules: Rules) -> dict[int, list[int]]:
    """Returns what each sync has made durable."""
    found: dict[int, list[int]] = {}
    for index, sync in enumerate(rules.durable):
        if sync != NEVER:
            found.setdefault(sync, []).append(index)
    return found


class Window:
    """What a crash can lose, from one moment to the next: the writes of each file, and the changes of directories."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._runs: dict[int, list[Lost]] = {}
        self._indexes: dict[int, list[int]] = {}
        self._last: dict[int, int] = {}

    def moments(self) -> Iterator[int]:
        """Yields every crash after which something is different; what can be lost then is in the window."""
        rules, changes = self._rules, self._rules.model.changes
        if rules.profile.atomic:
            return
        settled = settled_by(rules)
        for index, change in enumerate(changes):
            if isinstance(change, Sync):
                self._settle(settled.get(index, ()))
                continue
            node = rules.model.owner(index)
            if node is None:
                continue
            if isinstance(change, Write | DirChange):
                self._add(node, index)
            self._last[node] = index
            yield index + 1

    def _add(self, node: int, index: int) -> None:
        several, before = self._runs.setdefault(node, []), self._last.get(node, -1)
        if several and several[-1].last == before + 1:
            several[-1] = Lost(several[-1].first, index + 1)
        else:
            several.append(Lost(index, index + 1))
        self._indexes.setdefault(node, []).append(index)

    def _settle(self, indexes: Iterable[int]) -> None:
        model, gone = self._rules.model, set(indexes)
        for node in {model.owner(index) for index in gone} & self._runs.keys():
            assert node is not None
            left = [i for i in self._indexes.pop(node) if i not in gone]
            del self._runs[node]
            if left:
                self._indexes[node], self._runs[node] = left, runs(left, model.of_node[node])

    def files(self) -> list[int]:
        """Returns the files of which writes can be lost."""
        return sorted(node for node in self._runs if node != NAMES)

    def lost(self, node: int) -> tuple[Lost, ...]:
        """Returns all of them, of a file or of NAMES, as losses."""
        return tuple(self._runs.get(node, ()))

    def indexes(self, node: int) -> list[int]:
        """Returns their indexes."""
        return self._indexes.get(node, [])


def prefixes(rules: Rules) -> Iterator[Candidate]:
    """A: everything up to a moment. Under `kill`, also with the call under way half done."""
    model = rules.model
    yield Candidate(State(0), "A")
    for index in range(len(model.changes)):
        node = model.owner(index)
        if node is None:
            continue
        if rules.profile.atomic:
            if model.is_between_stores(index + 1):
                continue
            for cut in _page_cuts(rules, index):
                yield Candidate(state(index + 1, [(node, Lost(index, index + 1, cut))]), "A", index, index)
        yield Candidate(State(index + 1), "A", index + 1, index)


def nothing_unsynced(rules: Rules) -> Iterator[Candidate]:
    """B: all is lost that no sync has made durable, in the moment before each sync and at the end."""
    for crash in _before_syncs(rules):
        of_node = rules.model.of_node
        losses = [(node, tuple(runs(rules.loose(node, crash), of_node[node]))) for node in sorted(of_node)]
        plan = State(crash, tuple((node, lost) for node, lost in losses if lost))
        if plan.losses:
            yield Candidate(plan, "B", plan.losses[-1][1][-1].first, crash - 1)


def names_without_data(rules: Rules) -> Iterator[Candidate]:
    """C: directories and sizes up to a moment, without the data that no sync has made durable."""
    window = Window(rules)
    for crash in window.moments():
        if isinstance(rules.model.changes[crash - 1], Write):
            continue  # it is lost as well: the same as before it
        plan = _all_of(window, crash, window.files())
        if plan.losses:
            yield Candidate(plan, "C", _nearest(plan, crash), crash - 1)


def data_without_names(rules: Rules) -> Iterator[Candidate]:
    """C, the other way round: data, but not the names that no sync has made durable; or of these only the last."""
    window = Window(rules)
    for crash in window.moments():
        several = window.indexes(NAMES)
        if several:
            yield from _closed(rules, crash, [(NAMES, lost) for lost in window.lost(NAMES)], "C", several[-1], crash - 1)
        if len(several) > 1 and several[-1] == crash - 1 and not rules.profile.ordered:
            items = [(NAMES, lost) for lost in runs(several[:-1], rules.model.of_node[NAMES])]
            yield Candidate(state(crash, items), "C", several[-2], crash - 1)
            items += [(node, lost) for node in window.files() for lost in window.lost(node)]
            yield Candidate(state(crash, items), "C", several[-2], crash - 1)


def some_data(rules: Rules) -> Iterator[Candidate]:
    """C2: directories and sizes up to a moment, with the data of some files: of one, of all but one, the first half of one."""
    window = Window(rules)
    for crash in window.moments():
        if not _is_turn(rules, crash):
            continue
        files = window.files()
        for node in sorted(files, key=lambda node: -window.indexes(node)[-1])[:MOST_FILES]:
            indexes = window.indexes(node)
            if len(files) > 1:
                yield Candidate(_all_of(window, crash, [node]), "C2", indexes[-1], crash - 1)
                others = [other for other in files if other != node]
                yield Candidate(_all_of(window, crash, others), "C2", window.indexes(others[-1])[-1], crash - 1)
            if len(indexes) > 1:
                half = indexes[len(indexes) // 2]
                items = [(node, lost) for lost in _from(window.lost(node), half)]
                yield from _closed(rules, crash, items, "C2", half, crash - 1)


def torn(rules: Rules) -> Iterator[Candidate]:
    """E: the last write of a file in part: some of its sectors or pages, or a tail of zeros."""
    for index in range(len(rules.model.changes)):
        yield from _torn_at(rules, index, index + 1)


def torn_before(rules: Rules) -> Iterator[Candidate]:
    """E: a write in part, and as much as can be of what came behind it."""
    for index in range(len(rules.model.changes)):
        crash = _latest(rules, index)
        if crash > index + 1:
            yield from _torn_at(rules, index, crash)


def torn_alone(rules: Rules) -> Iterator[Candidate]:
    """E: the last write in part, and nothing of what no sync has made durable: of other files, of all files, of directories."""
    window = Window(rules)
    for crash in window.moments():
        change = rules.model.changes[crash - 1]
        if not isinstance(change, Write) or not (tears := list(_halves(rules, crash - 1, change))):
            continue
        own = change.node
        names = [(NAMES, lost) for lost in window.lost(NAMES)]
        others = [(node, lost) for node in window.files() if node != own for lost in window.lost(node)]
        before = [(own, Lost(lost.first, min(lost.last, crash - 1))) for lost in window.lost(own) if lost.first < crash - 1]
        for gone in (others, others + before, names + others, names):
            for part in tears if gone else ():
                yield from _closed(rules, crash, [*gone, (own, part)], "E", gone[-1][1].last - 1, crash - 1)


def zeros(rules: Rules) -> Iterator[Candidate]:
    """E: sizes, directories, but zeros for the data that were appended: of all files, of each."""
    if rules.profile.zeros in ("tail", "any"):
        yield from _without_data(rules, ZEROS, "E")


def garbage(rules: Rules) -> Iterator[Candidate]:
    """D: the same with garbage, also for parts of a write. Last of all: what fails by it may fail by less."""
    if not rules.profile.garbage:
        return
    yield from _without_data(rules, GARBAGE, "D")
    for index, change in enumerate(rules.model.changes):
        if isinstance(change, Write) and rules.model.over[index] < change.length:
            cuts = [rules.model.over[index], *_append_cuts(rules, index, change)]
            for lo, hi in [*((cut, ALL) for cut in cuts), *pairwise(cuts)]:
                for crash in sorted({index + 1, _latest(rules, index)}):
                    lost = Lost(index, index + 1, lo, hi, GARBAGE)
                    yield from _closed(rules, crash, [(change.node, lost)], "D", index, crash - 1)


def _without_data(rules: Rules, left: int, strategy: str) -> Iterator[Candidate]:
    window = Window(rules)
    for crash in window.moments():
        grown = [node for node in window.files() if any(_appends(rules, i) for i in window.indexes(node))]
        for several in ([grown] if len(grown) > 1 else []) + [[node] for node in grown if window.indexes(node)[-1] == crash - 1]:
            items = [(node, _filled(rules, i, left)) for node in several for i in window.indexes(node) if _appends(rules, i)]
            yield from _closed(rules, crash, items, strategy, items[-1][1].first, crash - 1)


def all_but_one(rules: Rules) -> Iterator[Candidate]:
    """D: one change is lost, and what cannot be kept without it; others are kept, up to the last, then up to ever later ones."""
    count = len(rules.model.changes)
    if rules.profile.atomic:
        return
    ends = [min(last, count) for last in rules.durable]
    alive = [index for index in range(count) if rules.model.owner(index) is not None and ends[index] > index + 1]
    for index in alive:
        yield from _without(rules, index, ends[index])
    distance = 2
    while alive:
        for index in alive:
            yield from _without(rules, index, index + distance)
        distance += 1
        alive = [index for index in alive if ends[index] > index + distance]


def early_pages(rules: Rules) -> Iterator[Candidate]:
    """D: what was stored to a mapped page is there in the moment before a sync, and what that has made durable is not."""
    model = rules.model
    settled = settled_by(rules) if model.early and not rules.profile.atomic else {}
    syncs = [index for index, _ in model.syncs if index in settled]
    for index, since in model.early.items():
        for sync in _spread(syncs[bisect_left(syncs, since) : bisect_left(syncs, index)]):
            gone = [i for i in (*settled[sync], *range(sync, index)) if model.owner(i) is not None]
            by_node: dict[int, list[int]] = {}
            for i in gone:
                by_node.setdefault(model.owner(i) or NAMES, []).append(i)
            items = [(node, lost) for node, several in by_node.items() for lost in runs(several, model.of_node[node])]
            yield from _closed(rules, index + 1, items, "D", settled[sync][-1], index)


Strategy = Callable[[Rules], Iterator[Candidate]]
STRATEGIES: dict[str, tuple[Strategy, ...]] = {
    "A": (prefixes,),
    "B": (nothing_unsynced,),
    "C": (names_without_data, data_without_names),
    "C2": (some_data,),
    "E": (torn, torn_before, torn_alone, zeros),
    "D": (all_but_one, early_pages, garbage),
}
"""In the order in which they are tried."""


def _before_syncs(rules: Rules) -> Iterator[int]:
    for index, change in enumerate(rules.model.changes):
        if isinstance(change, Sync):
            yield index
    yield len(rules.model.changes)


def _is_turn(rules: Rules, crash: int) -> bool:
    """Whether directories or sizes have changed last, or something else than data comes next."""
    changes = rules.model.changes
    return not isinstance(changes[crash - 1], Write) or crash == len(changes) or not isinstance(changes[crash], Write)


def _all_of(window: Window, crash: int, files: list[int]) -> State:
    return State(crash, tuple((node, window.lost(node)) for node in files))


def _nearest(plan: State, crash: int) -> int:
    """The last change that is lost, but for the one at the end."""
    ends = [lost.last - 1 for _, lost in plan.items()]
    return max((end for end in ends if end < crash - 1), default=plan.losses[-1][1][-1].first)


def _from(several: tuple[Lost, ...], index: int) -> Iterator[Lost]:
    for lost in several:
        if lost.last > index:
            yield Lost(max(lost.first, index), lost.last)


def _closed(rules: Rules, crash: int, items: list[tuple[int, Lost]], strategy: str, lost: int, kept: int) -> Iterator[Candidate]:
    if rules.is_wanted is None or rules.is_wanted(strategy, lost, kept):
        plan = rules.close(state(crash, items))
        if plan:
            yield Candidate(plan, strategy, lost, kept)


def _without(rules: Rules, index: int, crash: int) -> Iterator[Candidate]:
    """One change is lost, and the last one before the crash is kept."""
    node = rules.model.owner(index)
    if node is None or rules.model.owner(crash - 1) is None:
        return
    if rules.is_wanted is not None and not rules.is_wanted("D", index, crash - 1):
        return
    ways = [Lost(index, index + 1)] if _is_free(rules, node, index, crash - 1) else []
    if rules.profile.zeros in ("inner", "any") and _appends(rules, index):
        ways.append(_filled(rules, index, ZEROS))
    for lost in ways:
        plan = rules.close(state(crash, [(node, lost)]))
        if plan and plan.losses and not _loses(rules, plan, crash - 1):
            yield Candidate(plan, "D", index, crash - 1)


def _is_free(rules: Rules, node: int, lost: int, kept: int) -> bool:
    """Whether a change, the last one, can be kept without another, as far as that is seen at once."""
    model, profile = rules.model, rules.profile
    if profile.ordered and not isinstance(model.changes[lost], Write):
        last = model.changes[kept]
        return isinstance(last, Write) and model.old[kept] == last.length
    return not (profile.prefixes and node == rules.model.owner(kept) and _appends(rules, lost) and _appends(rules, kept))


def _loses(rules: Rules, plan: State, index: int) -> bool:
    several = plan.lost(rules.model.owner(index) or NAMES)
    return any(one.first <= index < one.last for one in several)


def _appends(rules: Rules, index: int) -> bool:
    change = rules.model.changes[index]
    return isinstance(change, Write) and rules.model.over[index] < change.length


def _filled(rules: Rules, index: int, left: int) -> Lost:
    return Lost(index, index + 1, rules.model.over[index], ALL, left)


def _spread(places: list[int]) -> list[int]:
    """Some of many, the ends among them."""
    if len(places) <= MOST_CUTS:
        return places
    return sorted({places[round(n * (len(places) - 1) / (MOST_CUTS - 1))] for n in range(MOST_CUTS)})


def _page_cuts(rules: Rules, index: int) -> list[int]:
    """Where a write can stop that is interrupted: the kernel copies page by page."""
    change = rules.model.changes[index]
    if not isinstance(change, Write) or change.since is not None:
        return []
    return _spread(list(range(-change.position % PAGE or PAGE, change.length, PAGE)))


def _append_cuts(rules: Rules, index: int, change: Write) -> list[int]:
    """Where pages begin in what a write has appended."""
    over = rules.model.over[index]
    return _spread(list(range(over + (-(change.position + over) % PAGE or PAGE), change.length, PAGE)))


def _latest(rules: Rules, index: int) -> int:
    """The last crash that can lose a change."""
    crash = min(rules.durable[index], len(rules.model.changes))
    while crash > index + 1 and rules.model.owner(crash - 1) is None:
        crash -= 1
    return crash


def _torn_at(rules: Rules, index: int, crash: int) -> Iterator[Candidate]:
    change = rules.model.changes[index]
    if isinstance(change, Write) and not rules.profile.atomic:
        for parts in _tears(rules, index, change):
            for candidate in _closed(rules, crash, [(change.node, part) for part in parts], "E", index, crash - 1):
                if candidate.state.losses:
                    yield candidate


def _halves(rules: Rules, index: int, change: Write) -> Iterator[Lost]:
    """The halves of what a write has changed, and the end of what it has appended."""
    over = rules.model.over[index]
    sectors = list(range(-change.position % rules.sector or rules.sector, over, rules.sector))
    if sectors and not rules.profile.extents:
        cut = sectors[len(sectors) // 2]
        yield Lost(index, index + 1, cut, ALL)
        yield Lost(index, index + 1, 0, cut)
    elif pages := _append_cuts(rules, index, change):
        yield Lost(index, index + 1, pages[len(pages) // 2], ALL)


def _tears(rules: Rules, index: int, change: Write) -> Iterator[list[Lost]]:
    """What of a write can be lost: its first sectors, its last, those between; pages at the end, and zeros there or between."""
    over, length, position = rules.model.over[index], change.length, change.position

    def part(lo: int, hi: int, left: int = NOTHING) -> Lost:
        return Lost(index, index + 1, lo, ALL if hi == length else hi, left)

    sectors = _spread(list(range(-position % rules.sector or rules.sector, over, rules.sector)))
    if not rules.profile.extents:
        for cut in sectors:
            yield [part(cut, over)]
            yield [part(0, cut)]
        for first, last in [(sectors[0], sectors[-1])] if len(sectors) > 1 else []:
            yield [part(first, last)]
            yield [part(0, first), part(last, over)]
    pages = _append_cuts(rules, index, change)
    for cut in pages:
        yield [part(cut, length)]
    if over < length and rules.profile.zeros in ("tail", "any"):
        for cut in [over, *pages]:
            yield [part(cut, length, ZEROS)]
        yield from ([part(over, cut, ZEROS), part(cut, length)] for cut in pages[:1])
    if rules.profile.zeros in ("inner", "any"):
        for low, high in zip([over, *pages], pages, strict=False):
            yield [part(low, high, ZEROS)]
