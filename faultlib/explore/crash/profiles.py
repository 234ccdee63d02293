"""What file systems promise: which changes a crash can lose, and which others go with them.

Sources: jbd2 and ext4 (fs/jbd2/commit.c, fs/ext4/inode.c and fsync.c: one running transaction, data=ordered, delayed allocation), XFS
(fs/xfs/xfs_file.c, xfs_aops.c: the size is logged when the data have been written), btrfs (fs/btrfs/tree-log.c, ordered-data.c),
fsync(2), rename(2), sync_file_range(2); Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014), Bornholt et al.,
"Specifying and Checking File System Crash-Consistency Models" (ASPLOS 2016).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain

from faultlib.explore.crash.changes import DirChange, Sync, Write
from faultlib.explore.crash.losses import ALL, Lost, State, state
from faultlib.explore.crash.model import NAMES, Model

NEVER = 1 << 62
PAGE = 4096
Item = tuple[int, Lost]


class Profile:
    """The guarantees of one kind of file system.

    `ordered`: changes of metadata reach the disk in the order in which they were made, and the size of an append not before them.
    `prefixes`: what is left of appends is a prefix. `extents`: an overwrite is all there or not at all. `own_names`: an fsync makes
    the names of its file durable, before those of others.
    """

    def __init__(
        self, name: str, *, ordered: bool = True, prefixes: bool = True, extents: bool = False, own_names: bool = False,
        zero_tails: bool = True,
    ) -> None:  # fmt: skip
        self.name = name
        self.ordered = ordered
        self.prefixes = prefixes
        self.extents = extents
        self.own_names = own_names
        self.zero_tails = zero_tails

    def __repr__(self) -> str:
        return f"<profile {self.name}>"

    def covered(self, model: Model, sync: Sync, before: int) -> Iterator[int]:
        """Yields the changes, of those before an index, that a sync makes durable."""
        if sync.failed:
            return
        node = sync.node
        if node is None:
            yield from range(before)
            return
        own = model.of_node.get(node, [])
        own = own[: bisect_left(own, before)]
        yield from own
        names = self._names_of(model, node, before)
        if model.nodes[node].kind == "dir":
            here = [i for i in names if self._is_in(model, i, node)]
            yield from here
            last = here[-1] if here else -1
        elif self.own_names:
            yield from self._with_parents(model, names, before)
            return
        else:
            last = -1 if sync.data_only and not self._has_new_size(model, own) else max([*own, *names], default=-1)
        if self.ordered and not self.own_names:
            yield from model.metas[: bisect_right(model.metas, last)]

    @staticmethod
    def _has_new_size(model: Model, own: list[int]) -> bool:
        return any(not isinstance(model.changes[i], Write) or i in model.appends_set for i in own)

    @staticmethod
    def _names_of(model: Model, node: int, before: int) -> list[int]:
        several = model.names_of.get(node, [])
        return several[: bisect_left(several, before)]

    @staticmethod
    def _is_in(model: Model, index: int, directory: int) -> bool:
        change = model.changes[index]
        return isinstance(change, DirChange) and any(entry.directory == directory for entry in change.entries)

    def _with_parents(self, model: Model, names: list[int], before: int) -> Iterator[int]:
        """What gives a file its names, and the directories that are new their own."""
        waiting, seen = list(names), set[int]()
        while waiting:
            index = waiting.pop()
            if index in seen:
                continue
            seen.add(index)
            yield index
            change = model.changes[index]
            assert isinstance(change, DirChange)
            for entry in change.entries:
                made = model.made.get(entry.directory)
                if made is not None and made < before:
                    waiting.append(made)

    def durable(self, model: Model) -> list[int]:
        """Returns for each change the index of the sync that made it durable; NEVER if none did. It can be lost up to there."""
        at = [NEVER] * len(model.changes)
        for index, before in model.syncs:
            sync = model.changes[index]
            assert isinstance(sync, Sync)
            for i in self.covered(model, sync, before):
                at[i] = min(at[i], index)
        return at


KILL = Profile("kill")
EXT4 = Profile("ext4")
XFS = Profile("xfs")
BTRFS = Profile("btrfs", extents=True, own_names=True, zero_tails=False)
POSIX = Profile("posix", ordered=False, prefixes=False)
PROFILES = {profile.name: profile for profile in (KILL, EXT4, XFS, BTRFS, POSIX)}
"""The strongest first."""


class Rules:
    """One profile on one model."""

    def __init__(self, profile: Profile, model: Model, sector: int) -> None:
        self.profile = profile
        self.model = model
        self.sector = sector
        self.durable = profile.durable(model)
        self._settled_at: dict[int, tuple[int, int]] = {}

    def can_lose(self, index: int, crash: int) -> bool:
        """Whether a crash can lose a change."""
        return index < crash <= self.durable[index]

    def loose(self, node: int, crash: int) -> list[int]:
        """Returns the changes of a file, or of NAMES, that a crash can lose."""
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
        bounds = [self.durable[i] for _, lost in plan.items() for i in range(lost.first, min(lost.last, plan.crash))]
        bound = min(bounds, default=NEVER)
        crash = plan.crash
        while crash < len(self.durable) and crash < bound:
            if self.model.owner(crash) is not None:
                if self.profile is KILL:
                    break
                bound = min(bound, self.durable[crash])
            crash += 1
        return crash

    def close(self, plan: State) -> State | None:
        """Returns the least that is lost with these; None if some of it cannot be lost then."""
        if self.profile is KILL:
            return plan if self._is_last(plan) else None
        lost = {i for _, one in plan.items() for i in range(one.first, one.last) if i < plan.crash}
        if not all(self.can_lose(i, plan.crash) for i in lost if self.model.owner(i) is not None):
            return None
        items = [*plan.items()]
        if self.profile.ordered:
            more = self._with_order(plan)
            if more is None:
                return None
            items += more
        items += self._with_appends(items, plan.crash) if self.profile.prefixes else ()
        items += self._with_sectors(items, plan.crash)
        whole = state(plan.crash, items)
        return whole if whole == plan else self.close(whole)

    def allows(self, plan: State) -> bool:
        """Whether a crash can leave exactly this."""
        return self.close(plan) == plan and all(self._is_cut_right(one) for _, one in plan.items())

    def _is_last(self, plan: State) -> bool:
        return all(one.first == plan.crash - 1 and one.hi == ALL and one.lo and not one.zero for _, one in plan.items())

    def _is_cut_right(self, one: Lost) -> bool:
        write = self.model.changes[one.first]
        if self.profile is KILL or not isinstance(write, Write) or (one.lo == 0 and one.hi == ALL and not one.zero):
            return True
        if one.zero and not self.profile.zero_tails:
            return False
        over, hi = self.model.over[one.first], write.length if one.hi == ALL else one.hi
        if self.profile.extents and one.lo < over and (one.lo, min(hi, over)) != (0, over):
            return False
        return all(self._is_edge(write.position + at, at < over, at in (0, over, write.length)) for at in (one.lo, hi))

    def _is_edge(self, position: int, is_over: bool, is_end: bool) -> bool:
        return is_end or position % (PAGE if not is_over and self.profile.prefixes else self.sector) == 0

    def _with_order(self, plan: State) -> list[Item] | None:
        """What comes after a lost change of metadata in the journal."""
        model, crash = self.model, plan.crash
        metas = [
            model.metas[place]
            for _, one in plan.items()
            for place in range(bisect_left(model.metas, one.first), bisect_left(model.metas, min(one.last, crash)))
            if self._is_of(model.metas[place], plan)
        ]
        if not metas:
            return []
        first, more = min(metas), list[Item]()
        for i in chain(_between(model.metas, first, crash), _between(model.appends, first, crash)):
            if self.can_lose(i, crash):
                more.append((self.model.owner(i) or NAMES, Lost(i, i + 1, self.model.over[i])))
            elif not self.profile.own_names:
                return None
        return more

    def _is_of(self, index: int, plan: State) -> bool:
        return any(one.first <= index < one.last for one in plan.lost(self.model.owner(index) or NAMES))

    def _with_appends(self, items: Iterable[Item], crash: int) -> list[Item]:
        """What was appended behind an append that is lost."""
        more = list[Item]()
        for node in {node for node, _ in items} - {NAMES}:
            first = min((i for n, one in items if n == node and not one.zero for i in self._lost_appends(one, node, crash)), default=NEVER)
            for i in self.model.of_node[node]:
                if first <= i < crash and self._appends(i) and self.can_lose(i, crash):
                    lo = self.model.over[i]
                    if i == first:
                        lo = max(lo, min(one.lo for n, one in items if n == node and one.first <= i < one.last))
                    more.append((node, Lost(i, i + 1, lo)))
        return more

    def _lost_appends(self, one: Lost, node: int, crash: int) -> Iterator[int]:
        for i in _between(self.model.of_node[node], one.first, min(one.last, crash)):
            if self._appends(i) and (one.hi == ALL or one.hi > self.model.over[i]):
                yield i

    def _appends(self, index: int) -> bool:
        change = self.model.changes[index]
        return isinstance(change, Write) and self.model.over[index] < change.length

    def _with_sectors(self, items: Iterable[Item], crash: int) -> list[Item]:
        """What was written later to a sector of which an earlier version is left."""
        more = list[Item]()
        for node, one in items:
            if node == NAMES:
                continue
            for i in _between(self.model.of_node[node], one.first, min(one.last, crash)):
                write = self.model.changes[i]
                if isinstance(write, Write):
                    hi = write.length if one.hi == ALL else one.hi
                    low, high = write.position + one.lo, write.position + hi
                    more += self._on(node, low - low % self.sector, high + -high % self.sector, i + 1, crash)
        return more

    def _on(self, node: int, low: int, high: int, first: int, crash: int) -> Iterator[Item]:
        for i in _between(self.model.of_node[node], first, crash):
            write = self.model.changes[i]
            if isinstance(write, Write) and write.position < high and write.position + write.length > low:
                lo = max(0, low - write.position)
                hi = high - write.position
                yield node, Lost(i, i + 1, lo, ALL if hi >= write.length else hi)


def _between(indexes: list[int], first: int, last: int) -> list[int]:
    return indexes[bisect_left(indexes, first) : bisect_left(indexes, last)]
