"""What kinds of file systems promise, and which changes their syncs make durable.

Sources: jbd2 and ext4 (fs/jbd2/commit.c, fs/ext4/inode.c and fsync.c: one running transaction, data=ordered, delayed
allocation), XFS (fs/xfs/xfs_file.c, xfs_aops.c: the size is logged when the data have been written), btrfs
(fs/btrfs/tree-log.c, ordered-data.c), fsync(2), rename(2), sync_file_range(2), msync (mm/msync.c: vfs_fsync_range of the part,
as fdatasync; btrfs_sync_file always takes the whole file); Pillai et al., "All File Systems Are Not Created
Equal" (OSDI 2014), Bornholt et al., "Specifying and Checking File System Crash-Consistency Models" (ASPLOS 2016);
Rebello et al., "Can Applications Recover from fsync Failures?" (ATC 2020).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Literal, NamedTuple

from faultlib.explore.crash.changes import Change, Sync, Write
from faultlib.explore.crash.content import PAGE
from faultlib.explore.crash.model import NAMES, Model

NEVER = 1 << 62


class Profile(NamedTuple):
    """The guarantees of one kind of file system.

    `atomic`: nothing is lost but the rest of the call under way. `ordered`: changes of metadata reach the disk in the order in
    which they were made, and the blocks and size of an append not before them. `prefixes`: what is left of appends is a prefix,
    in pages. `extents`: an overwrite is all there or not at all. `own_names`: an fsync makes the names of its file durable,
    before those of others. `whole_files`: a sync of a part of a file is one of all of it. `zeros`: which of the pages that were
    appended may be zeros when the size is there already: those at the end, only those before data, or any. `garbage`: or what was
    on their blocks before.
    """

    name: str
    atomic: bool = False
    ordered: bool = True
    prefixes: bool = True
    extents: bool = False
    own_names: bool = False
    whole_files: bool = False
    zeros: Literal["none", "tail", "inner", "any"] = "none"
    garbage: bool = False

    def __repr__(self) -> str:
        return f"<profile {self.name}>"


def durable(profile: Profile, model: Model) -> list[int]:
    """Returns for each change the index of the sync that made it durable; NEVER if none did. It can be lost up to there."""
    syncs = _Syncs(profile, model)
    for index, before in model.syncs:
        sync = model.changes[index]
        assert isinstance(sync, Sync)
        syncs.do(index, sync, before)
    return syncs.durable


class _Syncs:
    """Every sync goes on where the one before has come to: a history of many is no slower than one of few."""

    def __init__(self, profile: Profile, model: Model) -> None:
        self.durable = [NEVER] * len(model.changes)
        self._profile = profile
        self._model = model
        self._done: dict[tuple[str, int], int] = {}
        self._left: dict[int, list[int]] = {}
        self._spoilt: dict[int, list[int]] = {}

    def do(self, index: int, sync: Sync, before: int) -> None:
        """One sync, of the changes before an index."""
        model, profile, node = self._model, self._profile, sync.node
        if sync.failed:
            if node is not None:
                self._spoil(node, sync, before)
        elif node is None:
            self._cover(index, (i for i in self._news("all", 0, range(before), before) if model.owner(i) is not None))
            for number in [*self._spoilt]:
                self._heal(index, number, before)
        elif model.nodes[node].kind == "dir":
            self._cover_directory(index, node, before)
        else:
            self._cover(index, self._own(node, sync, before))
            self._heal(index, node, before)
            if profile.own_names:
                self._cover_with_parents(index, self._news("names", node, model.names_of.get(node, []), before))
            elif profile.ordered:
                self._cover_journal(index, self._last_of(node, sync, before))

    def _last_of(self, node: int, sync: Sync, before: int) -> int:
        """The last change that the journal has to have: for fdatasync, of what is needed to read the data."""
        model = self._model
        grown = max(self._last_grown(node, sync, before), _last([model.made.get(node, -1)], before))
        if sync.data_only:
            return grown
        return max(grown, _last(model.of_node.get(node, []), before), _last(model.names_of.get(node, []), before))

    def _last_grown(self, node: int, sync: Sync, before: int) -> int:
        """Blocks that are not allocated yet, as their pages are not written, need no journal."""
        several = self._model.grown.get(node, [])
        place = bisect_left(several, before)
        while place and not self._is_about(sync, self._model.changes[several[place - 1]]):
            place -= 1
        return several[place - 1] if place else -1

    def _is_about(self, sync: Sync, change: Change) -> bool:
        """Whether a change is among what a sync of its file makes durable; of a write that reaches beyond the part all of it."""
        if sync.last is None or self._profile.whole_files or not isinstance(change, Write):
            return True
        return change.position < sync.last and change.position + change.length > sync.first

    def _own(self, node: int, sync: Sync, before: int) -> list[int]:
        """The changes of a file that no sync has seen, as far as this one is about them."""
        news = [*self._left.pop(node, []), *self._news("own", node, self._model.of_node.get(node, []), before)]
        wanted = [i for i in news if self._is_about(sync, self._model.changes[i])]
        if len(wanted) < len(news):
            seen = set(wanted)
            self._left[node] = [i for i in news if i not in seen]
        return wanted

    def _cover_directory(self, index: int, node: int, before: int) -> None:
        model = self._model
        here = self._news("entries", node, model.entries_of.get(node, []), before)
        if self._profile.own_names:
            made = model.made.get(node, NEVER)
            self._cover_with_parents(index, [*here, made] if made < before else here)
            return
        self._cover(index, here)
        if self._profile.ordered:
            self._cover_journal(index, _last(model.names_of.get(node, []), before))

    def _cover_journal(self, index: int, last: int) -> None:
        self._cover(index, self._news("journal", NAMES, self._model.metas, last + 1))

    def _cover_with_parents(self, index: int, names: Iterable[int]) -> None:
        """What gives a node its names, and the directories that are new theirs."""
        waiting = list(names)
        while waiting:
            i = waiting.pop()
            if self.durable[i] != NEVER:
                continue
            self.durable[i] = index
            for entry in self._model.changes[i].entries:  # type: ignore[union-attr]
                made = self._model.made.get(entry.directory, NEVER)
                if made < i:
                    waiting.append(made)

    def _news(self, kind: str, number: int, indexes: list[int] | range, before: int) -> list[int] | range:
        """Those of some indexes before one that no sync of this kind has seen."""
        begin, end = self._done.get((kind, number), 0), bisect_left(indexes, before)
        self._done[kind, number] = max(begin, end)
        return indexes[begin:end]

    def _cover(self, index: int, several: Iterable[int]) -> None:
        for i in several:
            if self.durable[i] == NEVER:
                self.durable[i] = index

    # syncs that failed

    def _spoil(self, node: int, sync: Sync, before: int) -> None:
        """The pages count as clean from now on: no later sync writes them, unless they are written to again."""
        several = self._own(node, sync, before)
        lost = [i for i in several if self.durable[i] == NEVER and isinstance(self._model.changes[i], Write)]
        self._spoilt.setdefault(node, []).extend(lost)
        if len(lost) < len(several):
            self._spoilt[node] += [i for i in several if not isinstance(self._model.changes[i], Write)]

    def _heal(self, index: int, node: int, before: int) -> None:
        """What was written again has become durable with that, and sizes that were set."""
        spoilt = self._spoilt.get(node)
        if not spoilt:
            return
        left = list[int]()
        for i in spoilt:
            self.durable[i] = index if self._is_healed(i, node, index, before) else NEVER
            if self.durable[i] == NEVER:
                left.append(i)
        self._spoilt[node] = left

    def _is_healed(self, index: int, node: int, sync: int, before: int) -> bool:
        write = self._model.changes[index]
        if not isinstance(write, Write):
            return True
        again = self._model.of_node[node]
        first, end = write.position // PAGE, (write.position + write.length - 1) // PAGE
        later = (i for i in again[bisect_left(again, index + 1) : bisect_left(again, before)] if self.durable[i] == sync)
        writes = (change for change in map(self._model.changes.__getitem__, later) if isinstance(change, Write))
        return any(one.position // PAGE <= end and (one.position + one.length - 1) // PAGE >= first for one in writes)


def _last(indexes: list[int], before: int) -> int:
    place = bisect_left(indexes, before)
    return indexes[place - 1] if place else -1
