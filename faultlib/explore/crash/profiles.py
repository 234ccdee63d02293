"""Which changes a crash can lose, and which others go with them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator

from faultlib.explore.crash.changes import Write
from faultlib.explore.crash.content import PAGE
from faultlib.explore.crash.guarantees import NEVER, Profile, durable
from faultlib.explore.crash.losses import ALL, Lost, State, runs, state
from faultlib.explore.crash.model import NAMES, Model
from faultlib.explore.crash.tearing import Tear

KILL = Profile("kill", atomic=True)
EXT4 = Profile("ext4", zeros="tail")
XFS = Profile("xfs", zeros="inner")
BTRFS = Profile("btrfs", extents=True, own_names=True, whole_files=True)
POSIX = Profile("posix", ordered=False, prefixes=False, zeros="any", garbage=True)
PROFILES = {profile.name: profile for profile in (KILL, EXT4, XFS, BTRFS, POSIX)}
"""The strongest first."""
Item = tuple[int, Lost]


class Rules:
    """One profile on one model. `sector` is in bytes. `tick` is called whenever something is computed, and may raise.

    `is_wanted` says, before a state is worked out, whether one of this strategy for these changes (lost, kept) is, and may raise.
    """

    def __init__(self, profile: Profile, model: Model, sector: int) -> None:
        self.profile = profile
        self.model = model
        self.sector = PAGE if profile.extents else sector  # copied on write, block by block
        self.durable = durable(profile, model)
        self._soonest = _running_minimum(self.durable)
        self._settled_at: dict[int, tuple[int, int]] = {}
        self.tick: Callable[[], None] | None = None
        self.is_wanted: Callable[[str, int, int], bool] | None = None

    def can_lose(self, index: int, crash: int) -> bool:
        """Whether a crash can lose a change, or of the last one a part; or has come before it."""
        return index == crash - 1 if self.profile.atomic else crash <= self.durable[index]

    def until(self, plan: State) -> int:
        """Returns when the crash can have come at the earliest: kept behind that are only pages that were found late."""
        early, crash, bound = self.model.early, plan.crash, -1
        if crash - 1 not in early or self.profile.atomic:
            return crash
        lost = {node: [(one.first, one.last) for one in several if one.whole] for node, several in plan.losses}
        if _is_within(crash - 1, lost.get(self.model.owner(crash - 1) or NAMES, [])):
            return crash
        while crash > max(bound, 0):
            index = crash - 1
            node = self.model.owner(index)
            if index in early:
                if not _is_within(index, lost.get(node or NAMES, [])):
                    bound = max(bound, early[index])
            elif node is not None and not _is_within(index, lost.get(node, [])):
                break
            crash -= 1
        return crash

    def loose(self, node: int, crash: int) -> list[int]:
        """Returns the changes of a file, or of NAMES, that a crash can lose as a whole."""
        if self.profile.atomic:
            return []
        indexes = self.model.of_node[node]
        first, end = bisect_left(indexes, self._settled(node, crash)), bisect_left(indexes, crash)
        return [i for i in indexes[first:end] if self.durable[i] >= crash]

    def _settled(self, node: int, crash: int) -> int:
        """Up to which index all changes of a file are durable; crashes come in ascending order, mostly."""
        before, index = self._settled_at.get(node, (0, 0))
        if before > crash:
            index = 0
        indexes = self.model.of_node[node]
        place = bisect_left(indexes, index)
        while place < len(indexes) and indexes[place] < crash and self.durable[indexes[place]] < crash:
            place += 1
        index = indexes[place] if place < len(indexes) else crash
        self._settled_at[node] = crash, index
        return index

    def latest(self, plan: State) -> int:
        """Returns the latest moment at which a crash can leave the same: until then more may have been promised."""
        if self.profile.atomic:
            return plan.crash if plan.losses else self._quiet_until(plan.crash)
        bound = min((self.durable[i] for i in self._lost(plan)), default=NEVER)
        return min(bound, self._soonest[plan.crash], len(self.durable))

    def _quiet_until(self, crash: int) -> int:
        while crash < len(self.durable) and self.model.owner(crash) is None:
            crash += 1
        return crash

    def _lost(self, plan: State) -> Iterator[int]:
        for node, one in plan.items():
            indexes = self.model.of_node[node]
            yield from indexes[bisect_left(indexes, one.first) : bisect_left(indexes, min(one.last, plan.crash))]

    def close(self, plan: State) -> State | None:
        """Returns the least that is lost with these; None if some of it cannot be lost then."""
        if self.profile.atomic:
            return None if self.model.is_between_stores(plan.crash) else self._interrupted(plan)
        if self.tick:
            self.tick()
        plan = state(plan.crash, plan.items())
        until = self.until(plan)
        closed = self._closed(plan, until)
        return closed if closed is None or self.until(closed) == until else self.close(closed)

    def _closed(self, plan: State, until: int) -> State | None:
        order = self._first_of_journal(plan)
        names = self._names(plan, order, until)
        if names is None:
            return None
        losses = [(NAMES, tuple(runs(names, self.model.of_node[NAMES])))] if names else []
        for node in self._torn(plan, order):
            lost = Tear(self, node, plan.crash, order, until).close(plan.lost(node))
            if lost is None:
                return None
            if lost:
                losses.append((node, tuple(sorted(lost))))
        return State(plan.crash, tuple(losses))

    def allows(self, plan: State) -> bool:
        """Whether a crash can leave exactly this."""
        return self.close(plan) == self.canonical(plan)

    def canonical(self, plan: State) -> State:
        """Returns the same losses as `close` would spell them."""
        model, crash, items = self.model, plan.crash, list[Item]()
        for node, one in plan.items():
            write = model.changes[one.first]
            if isinstance(write, Write) and one.hi == write.length and one.last == one.first + 1:
                one = one._replace(hi=ALL)
            items.append((node, one))
        plan, items = state(crash, items), []
        for node, several in plan.losses:
            items += [(node, one) for one in several if not one.whole]
            items += [(node, one) for one in runs(self._whole(node, several, crash), model.of_node[node])]
        return state(crash, items)

    def _whole(self, node: int, several: tuple[Lost, ...], crash: int) -> Iterator[int]:
        indexes = self.model.of_node[node]
        for one in several:
            if one.whole:
                yield from indexes[bisect_left(indexes, one.first) : bisect_left(indexes, min(one.last, crash))]

    def _interrupted(self, plan: State) -> State | None:
        """The rest of the last write is lost: the kernel copies page by page."""
        items = [*plan.items()]
        if not items:
            return State(plan.crash)
        (node, one), *more = items
        write = self.model.changes[plan.crash - 1]
        if more or not isinstance(write, Write) or write.node != node or (one.first, one.last) != (plan.crash - 1, plan.crash):
            return None
        if write.since is not None:
            return None
        is_edge = 0 < one.lo < write.length and (write.position + one.lo) % PAGE == 0
        if not is_edge or one.left or one.hi not in (ALL, write.length):
            return None
        return State(plan.crash, ((node, (one._replace(hi=ALL),)),))

    def _first_of_journal(self, plan: State) -> int:
        """The first change of metadata that is lost: none that is ordered can be there that comes after it."""
        if not self.profile.ordered:
            return NEVER
        first, metas = NEVER, self.model.metas
        for node, one in plan.items():
            if not one.whole:
                continue
            for i in metas[bisect_left(metas, one.first) : bisect_left(metas, min(one.last, plan.crash, first))]:
                if self.model.owner(i) == node:
                    first = i
                    break
        return first

    def _names(self, plan: State, order: int, until: int) -> list[int] | None:
        """The changes of directories that are lost."""
        indexes, crash = self.model.of_node[NAMES], plan.crash
        lost = plan.lost(NAMES)
        if not lost and order == NEVER:
            return []
        wanted = [*self._whole(NAMES, lost, crash)]
        if not all(one.whole for one in lost) or not all(self.can_lose(i, until) for i in wanted):
            return None
        if order == NEVER:
            return wanted
        behind = indexes[bisect_left(indexes, order) : bisect_left(indexes, crash)]
        kept = [i for i in behind if not self.can_lose(i, until)]
        if kept and not self.profile.own_names:
            return None
        gone = set(kept)
        return sorted({*wanted, *(i for i in behind if i not in gone)})

    def _torn(self, plan: State, order: int) -> list[int]:
        """The files that something is lost of."""
        nodes = {node for node, _ in plan.losses}
        if order < plan.crash:
            owners = map(self.model.owner, range(order + 1, plan.crash))
            nodes |= {node for node in owners if node is not None}
        return sorted(nodes - {NAMES})


def _is_within(index: int, several: list[tuple[int, int]]) -> bool:
    place = bisect_left(several, (index + 1,)) - 1
    return place >= 0 and index < several[place][1]


def _running_minimum(numbers: list[int]) -> list[int]:
    """The least of each number and all behind it; NEVER behind the last."""
    found, least = [NEVER] * (len(numbers) + 1), NEVER
    for index in range(len(numbers) - 1, -1, -1):
        least = found[index] = min(least, numbers[index])
    return found
