"""The fork point of a session: its first process stops there, and a run is a fork of it (csrc/forkpoint.c).

The rules behind it are internal: no rule that can be written has their effect.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from faultlib._core import ffi, lib
from faultlib.inject import effects, ops
from faultlib.inject.directory import WorkingDirectory
from faultlib.inject.rules import Globs, Rule
from faultlib.inject.session import Session

SLICE_S = 0.05
ALL_FAMILIES = tuple({op.family: None for op in ops.OPERATIONS})
_LISTINGS = ("open", "openat")
_CHANGES = ("open", "truncate", "rename", "unlink", "link", "mkdir", "rmdir", "attr")
_WHY: dict[int, str] = {
    lib.FL_FORK_THREADS: "it has threads by then",
    lib.FL_FORK_OPEN_FILES: "it has files of the roots open by then",
    lib.FL_FORK_MAPPED: "it has files of the roots mapped by then",
    lib.FL_FORK_CHILDREN: "it has children by then",
    lib.FL_FORK_NOT_FIRST: "another process of it looks at the files first",
    lib.FL_FORK_EXEC: "it starts a program of the roots",
    lib.FL_FORK_DESCRIPTORS: "it has too many files open by then",
    lib.FL_FORK_OTHER_NAME: "it opens a file by the name of a link",
    lib.FL_FORK_PIPE: "there is something in a pipe of it by then",
    lib.FL_FORK_NOWHERE: "its working directory is gone by then",
}
STARTS_OTHERS = frozenset(_WHY[why] for why in (lib.FL_FORK_CHILDREN, lib.FL_FORK_NOT_FIRST, lib.FL_FORK_EXEC))
"""Reasons not to be forked that do not count against a fork point where another process or program is about to start."""


class Points(NamedTuple):
    """Where to stop: at any call that names one of `paths` (globs), or opens one of the directories `listings` (globs) to list
    it, or changes something below `roots`; with `starts`, also where it is about to start another process or program.
    `aside` is the device of files that lie below `roots` by name only, under what is mounted there; 0: there is none.
    """

    paths: tuple[str, ...]
    listings: tuple[str, ...]
    roots: tuple[str, ...]
    starts: bool = False
    aside: int = 0


def quoted(path: str) -> str:
    """Returns the glob that matches exactly this path."""
    return "".join(f"\\{c}" if c in "*?[\\" else c for c in path)


def _rules(patterns: Sequence[str], at: int, names: tuple[str, ...]) -> Iterable[Rule]:
    for begin in range(0, len(patterns), lib.FL_GLOBS):
        yield by_path(patterns[begin : begin + lib.FL_GLOBS], names, effects.ForkPoint(at))


def by_path(patterns: Sequence[str], names: tuple[str, ...], effect: effects.ForkPoint | None = None) -> Rule:
    """Returns a rule about calls that name a file, of these families or names: at most FL_GLOBS globs."""
    members = [op for op in ops.OPERATIONS if op.arguments & {"path", "path2"} and (op.name in names or op.family in names)]
    families, calls = (tuple(dict.fromkeys(texts)) for texts in ([op.family for op in members], [op.name for op in members]))
    return Rule(families, effect, call=calls, path=Globs(tuple(patterns)), scope=None if effect else "session")


_START = Rule(("fork", "exec"), effects.ForkPoint(lib.FL_FORK_AT_START), call=("fork", "vfork", "execve"))


class ForkPoint:
    """The fork point of one session, armed before its only command is started."""

    def __init__(self, session: Session, points: Points) -> None:
        self._session = session
        self._fork: Any = session.block.ctl.fork
        below = [glob for root in points.roots for glob in (quoted(root), quoted(root) + "/*")]
        rules = [
            *([_START] if points.starts else []),
            *_rules(points.paths, lib.FL_FORK_AT_ANY, ALL_FAMILIES),
            *_rules(points.listings, lib.FL_FORK_AT_LISTING, _LISTINGS),
            *_rules(below, lib.FL_FORK_AT_CHANGE, _CHANGES),
            *_rules(("*",), lib.FL_FORK_AT_NONE, ("open",)),
        ]
        self._fork.roots = session.block.live.keep_list(points.roots)
        self._slots = session.block.live.add(rules, WorkingDirectory("/", "/"))
        self._fork.aside = points.aside
        self._fork.state = lib.FL_FORK_ARMED

    def wait(self, timeout_s: float, is_alive: Callable[[], bool]) -> str | None:
        """Waits until the command is there. Returns why it cannot be forked, if it cannot."""
        deadline = time.monotonic() + timeout_s
        while True:
            state = self._fork.state
            if state == lib.FL_FORK_READY:
                self._session.block.live.remove(self._slots[:-1])  # the last looks at names in the runs, too
                return None
            if state == lib.FL_FORK_REFUSED:
                return _WHY.get(self._fork.why, "it cannot be forked")
            if time.monotonic() > deadline:
                return "it did not look at the files in time"
            if not self._await("state", state, SLICE_S) and not is_alive() and self._fork.state == state:
                return "it does not look at the files"

    def begin(self, quick: bool = False) -> None:
        """Asks for a run; `quick`: a Python may leave out of its end what nobody sees."""
        self._fork.quick = quick
        self._fork.asked += 1
        lib.fl_wake(ffi.addressof(self._fork, "asked"))

    def end(self, timeout_s: float, is_alive: Callable[[], bool]) -> bool:
        """Waits for the end of the run that was asked for. Returns whether it has come; not if the server is gone, either."""
        deadline = time.monotonic() + timeout_s
        while self._fork.done != self._fork.asked:
            left = deadline - time.monotonic()
            if left <= 0 or not is_alive():
                return bool(self._fork.done == self._fork.asked)
            self._await("done", self._fork.asked - 1, min(left, SLICE_S * 10))
        return True

    def _await(self, word: str, seen: int, most_s: float) -> bool:
        return bool(lib.fl_await(ffi.addressof(self._fork, word), seen, int(most_s * 1e9)))

    @property
    def pid(self) -> int:
        """The process of the run that goes on; 0 if there is none."""
        return int(self._fork.pid)

    def watch(self) -> None:
        """Has runs belong to the session, whose rules then see what they do; without, they are forked a little faster."""
        self._fork.watched = 1

    @property
    def strayed(self) -> int:
        """How often runs have opened a file below the roots by another name than its own."""
        return int(self._fork.strayed)

    @property
    def status(self) -> int | None:
        """How the last run ended, as os.wait says it; None if it could not begin."""
        status = int(self._fork.status)
        return None if status == lib.FL_FORK_IMPOSSIBLE else status
