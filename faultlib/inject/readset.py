"""What runs look at among some files: rules without an effect that count, one for each group of names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from faultlib._core import lib
from faultlib.inject import forkpoint
from faultlib.inject.directory import WorkingDirectory
from faultlib.inject.forkpoint import ForkPoint
from faultlib.inject.rules import Rule
from faultlib.inject.session import Session

MOST_GROUPS, MOST_GLOBS = lib.FL_LIVE_RULES - 4, lib.FL_GLOBS
_LISTINGS = ("open", "rmdir", "rename")
_STARTS = ("execve", "execveat", "fexecve", "posix_spawn", "system", "popen")


class Group(NamedTuple):
    """Names (globs, at most MOST_GLOBS) of which it is only told whether one was looked at. `is_listing`: those of directories
    of which only the entries matter.
    """

    globs: tuple[str, ...]
    is_listing: bool = False


class Watch:
    """The runs of one fork point, watched from now on."""

    def __init__(self, session: Session, point: ForkPoint, groups: Sequence[Group]) -> None:
        assert len(groups) <= MOST_GROUPS
        self._session = session
        self._point = point
        self._tallies: Any = session.block.area("struct fl_tally", "tallies_off")
        rules = [forkpoint.by_path(group.globs, _LISTINGS if group.is_listing else forkpoint.ALL_FAMILIES) for group in groups]
        rules.append(Rule(("fork", "exec"), call=_STARTS, scope="session"))
        *self._slots, self._starts = session.block.live.add(rules, WorkingDirectory("/", "/"))
        point.watch()
        self._before = self._counts()
        self._started = self._count(self._starts)
        self._unclear = self._doubts()

    def _count(self, slot: int) -> int:
        return int(self._tallies[slot].session.matched)

    def _counts(self) -> list[int]:
        return [self._count(slot) for slot in self._slots]

    def _doubts(self) -> int:
        ctl = self._session.block.ctl
        return int(ctl.deep_names + ctl.paths_full + ctl.counters_full) + self._point.strayed

    def touched(self) -> int | None:
        """Returns the groups that were looked at since the last time, as bits; None if that may not be all."""
        before, self._before = self._before, self._counts()
        unclear, self._unclear = self._unclear, self._doubts()
        started, self._started = self._started, self._count(self._starts)
        if unclear != self._unclear or (started != self._started and self._session.uncovered()):
            return None
        return sum(1 << bit for bit, (old, new) in enumerate(zip(before, self._before, strict=True)) if new != old)
