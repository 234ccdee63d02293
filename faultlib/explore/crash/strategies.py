"""Which states are looked at, in the order of their yield. Each strategy streams; what it yields, its profile allows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import NamedTuple

from faultlib.explore.crash.changes import Sync, Write
from faultlib.explore.crash.losses import ALL, Lost, State, runs, state
from faultlib.explore.crash.model import NAMES
from faultlib.explore.crash.content import PAGE
from faultlib.explore.crash.profiles import KILL, Rules

MOST_CUTS = 6
"""Places at which one write is torn, at the most."""


class Candidate(NamedTuple):
    """A state to look at. `lost` and `kept` are the changes whose order it puts to the test; -1: none in particular."""

    state: State
    strategy: str
    lost: int = -1
    kept: int = -1


def prefixes(rules: Rules) -> Iterator[Candidate]:
    """A: everything up to a moment. Under `kill`, also with the call under way half done."""
    model = rules.model
    yield Candidate(State(0), "A")
    for index in range(len(model.changes)):
        if model.owner(index) is None:
            continue
        if rules.profile is KILL:
            for cut in _page_cuts(rules, index):
                yield Candidate(state(index + 1, [(_node(rules, index), Lost(index, index + 1, cut))]), "A", index, index)
        yield Candidate(State(index + 1), "A", index + 1, index)


def nothing_unsynced(rules: Rules) -> Iterator[Candidate]:
    """B: all is lost that no sync has made durable."""
    for crash in _before_syncs(rules):
        yield Candidate(state(crash, _loose(rules, crash)), "B", kept=crash - 1)


def names_without_data(rules: Rules) -> Iterator[Candidate]:
    """C: directories and sizes up to a moment, without the data that no sync has made durable."""
    for crash in _moments(rules):
        items = [(node, lost) for node, lost in _loose(rules, crash, metas=False)]
        if items:
            yield Candidate(state(crash, items), "C", items[-1][1].first, crash - 1)


def data_without_names(rules: Rules) -> Iterator[Candidate]:
    """C, the other way round: data, but not the names that no sync has made durable."""
    for crash in _moments(rules):
        items = [(NAMES, lost) for lost in _loose_of(rules, NAMES, crash)]
        plan = rules.close(state(crash, items)) if items else None
        if plan:
            yield Candidate(plan, "C", items[-1][1].first, crash - 1)


def some_data(rules: Rules) -> Iterator[Candidate]:
    """C2: directories and sizes up to a moment, with the data of some files: of one, of all but one, the first half of one."""
    for crash in _moments(rules):
        loose = {node: _data_of(rules, node, crash) for node in _loose_files(rules, crash)}
        loose = {node: lost for node, lost in loose.items() if lost}
        for node, lost in loose.items():
            if len(loose) > 1:
                yield Candidate(state(crash, [(node, one) for one in lost]), "C2", lost[0].first, crash - 1)
                others = [(other, one) for other, several in loose.items() if other != node for one in several]
                yield Candidate(state(crash, others), "C2", others[0][1].first, crash - 1)
            indexes = [i for one in lost for i in _between(rules, node, one)]
            if len(indexes) > 1:
                half = [(node, Lost(i, i + 1)) for i in indexes[len(indexes) // 2 :]]
                plan = rules.close(state(crash, half))
                if plan:
                    yield Candidate(plan, "C2", half[0][1].first, crash - 1)


def torn(rules: Rules) -> Iterator[Candidate]:
    """E: the last write of a file in part: some of its sectors or pages, or a tail of zeros."""
    for index in range(len(rules.model.changes)):
        change = rules.model.changes[index]
        if not isinstance(change, Write):
            continue
        for lost in _tears(rules, index, change):
            plan = rules.close(state(index + 1, [(change.node, lost)]))
            if plan and rules.allows(plan):
                yield Candidate(plan, "E", index, index)


def all_but_one(rules: Rules) -> Iterator[Candidate]:
    """D: one change is lost, and what cannot be kept without it, while others behind it are kept."""
    model = rules.model
    for index in range(len(model.changes)):
        node = model.owner(index)
        if node is None:
            continue
        last = min(rules.durable[index], len(model.changes))
        for crash in range(last, index + 1, -1):
            if model.owner(crash - 1) is None:
                continue
            plan = rules.close(state(crash, [(node, Lost(index, index + 1))]))
            if plan and crash - 1 not in {i for _, one in plan.items() for i in range(one.first, one.last)}:
                yield Candidate(plan, "D", index, crash - 1)


Strategy = Callable[[Rules], Iterator[Candidate]]
STRATEGIES: dict[str, tuple[Strategy, ...]] = {
    "A": (prefixes,),
    "B": (nothing_unsynced,),
    "C": (names_without_data, data_without_names),
    "C2": (some_data,),
    "E": (torn,),
    "D": (all_but_one,),
}
"""In the order in which they are tried."""


def _node(rules: Rules, index: int) -> int:
    return rules.model.owner(index) or NAMES


def _moments(rules: Rules) -> Iterator[int]:
    """Every crash after which something is different."""
    for index in range(len(rules.model.changes)):
        if rules.model.owner(index) is not None:
            yield index + 1


def _before_syncs(rules: Rules) -> Iterator[int]:
    for index, change in enumerate(rules.model.changes):
        if isinstance(change, Sync):
            yield index
    yield len(rules.model.changes)


def _between(rules: Rules, node: int, lost: Lost) -> list[int]:
    indexes = rules.model.of_node[node]
    return indexes[bisect_left(indexes, lost.first) : bisect_left(indexes, lost.last)]


def _loose_files(rules: Rules, crash: int) -> list[int]:
    return [node for node in rules.model.of_node if node != NAMES and rules.loose(node, crash)]


def _loose(rules: Rules, crash: int, *, metas: bool = True) -> Iterator[tuple[int, Lost]]:
    for node in rules.model.of_node:
        if node == NAMES and not metas:
            continue
        for lost in _loose_of(rules, node, crash) if metas else _data_of(rules, node, crash):
            yield node, lost


def _loose_of(rules: Rules, node: int, crash: int) -> list[Lost]:
    return runs(rules.loose(node, crash), rules.model.of_node[node])


def _data_of(rules: Rules, node: int, crash: int) -> list[Lost]:
    """The writes among what can be lost of a file."""
    loose = [i for i in rules.loose(node, crash) if isinstance(rules.model.changes[i], Write)]
    return runs(loose, rules.model.of_node[node])


def _spread(places: list[int]) -> list[int]:
    """Some of many, the ends among them."""
    if len(places) <= MOST_CUTS:
        return places
    return sorted({places[round(n * (len(places) - 1) / (MOST_CUTS - 1))] for n in range(MOST_CUTS)})


def _page_cuts(rules: Rules, index: int) -> list[int]:
    """Where a write can stop that is interrupted: the kernel copies page by page."""
    change = rules.model.changes[index]
    if not isinstance(change, Write):
        return []
    return _spread(list(range(-change.position % PAGE or PAGE, change.length, PAGE)))


def _tears(rules: Rules, index: int, change: Write) -> Iterator[Lost]:
    over, sector, length = rules.model.over[index], rules.sector, change.length
    if over and not rules.profile.extents:
        for cut in _spread(list(range(-change.position % sector or sector, over, sector))):
            yield Lost(index, index + 1, cut, over if over < length else ALL)
            yield Lost(index, index + 1, 0, cut)
    for cut in _spread(list(range(over + (-(change.position + over) % PAGE or PAGE), length, PAGE))):
        yield Lost(index, index + 1, cut)
    if over < length and rules.profile.zeros != "none":
        yield Lost(index, index + 1, over, zero=True)
        last_page = length - ((change.position + length) % PAGE or PAGE)
        if last_page > over:
            yield Lost(index, index + 1, last_page, zero=True)
