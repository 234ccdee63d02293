"""Judging where namespaces are forbidden: whatever check, recovery or command get at of the real files is seen, and ends it."""

from __future__ import annotations

import mmap
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from faultlib.errors import NotInstrumentable, UsageError
from faultlib.explore import cell
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.elsewhere import WHY, Elsewhere, Trespass
from faultlib.explore.crash.judge import Answer, Bench, Case, Judge, Judges, Oracle
from faultlib.explore.crash.recording import Recording
from faultlib.explore.forkserver import plain_words
from faultlib.explore.oracle import Function, Promise
from faultlib.inject import target, uncovered
from faultlib.inject.session import Session

AUDITED = frozenset(
    "open os.listdir os.scandir os.remove os.rename os.mkdir os.rmdir os.link os.symlink os.truncate os.utime os.chmod os.chown "
    "os.chdir sqlite3.connect".split()
)
"""Audit events of Python whose first arguments are names of files."""
_UNAUDITED = ("stat", "lstat", "access")
_READERS = ("<frozen importlib._bootstrap_external>", "linecache.py", "tokenize.py")
"""Who reads a program's text, which is no part of any state."""
_ROOM = 4096
PER_SESSION = 100
"""So many states are judged in one."""


class Fenced:
    """An oracle whose programs run in a session that keeps them from the real files, as does an audit hook for functions."""

    def __init__(self, inner: Oracle, elsewhere: Elsewhere) -> None:
        self._inner, self._elsewhere = inner, elsewhere
        self.notes, self.pids = inner.notes, inner.pids
        self._session: Session | None = None
        self._seen = self._judged = 0
        self._told = mmap.mmap(-1, _ROOM)  # which a function in a fork of the judge writes to

    def prepare(self, bench: Bench) -> None:
        """Called in the judge, before the first state: all that it starts from now on is fenced."""
        os.environ.update(self._elsewhere.environment(os.environ))
        sys.path[:] = map(self._elsewhere.place_of, sys.path)
        self._watch_functions()
        self._begin(bench.cwd)
        self._inner.prepare(bench)

    def _begin(self, cwd: Path) -> Session:
        """Begins a session: one has only room for so many names and processes."""
        if self._session:
            self._session.close()
        self._session, self._seen = Session(self._elsewhere.fence(), cwd=cwd, stacks=False), 0
        self.pids.add(int(self._session.block.ctl.guard_pid))
        os.environ.update(self._session.environment())
        return self._session

    def judge(self, bench: Bench, case: Case, promise: Promise) -> Answer:
        """Judges a state. Raises Trespass if something got at the real files."""
        session = self._session
        if session is None or self._judged % PER_SESSION == 0:
            session = self._begin(bench.cwd)
        self._judged += 1
        answer = self._inner.judge(bench, case, promise)
        events = session.events()
        path = self._elsewhere.trespass(events[self._seen :]) or self._told_by_function()
        self._seen = len(events)
        if path:
            raise Trespass(f"what states are judged by opens or looks at {path}: {WHY}")
        for process in session.uncovered():
            if (why := uncovered.why(process)) != uncovered.NOT_AWAKE:
                raise Trespass(f"{process.exe or process.comm} could not be instrumented ({why}), and may be what judges: {WHY}")
        if session.block.ctl.attach_refused or session.block.ctl.paths_full:
            raise Trespass(f"what states are judged by starts too many processes, or opens too many files, to be seen: {WHY}")
        return answer

    def close(self) -> None:
        """Ends what it keeps."""
        self._inner.close()
        if self._session:
            self._session.close()

    def _told_by_function(self) -> Path | None:
        told = self._told[:].rstrip(b"\0")
        return Path(os.fsdecode(told)) if told else None

    def _watch_functions(self) -> None:
        judge, roots = os.getpid(), set(map(str, self._elsewhere.copies))
        looking = set[int]()  # threads: to look at a name takes the calls that are watched

        def look(names: tuple[Any, ...], caller: str, is_passing: bool = False) -> None:
            """Raises PermissionError for the names of real files; but a way may pass through a root to what is not in it."""
            thread = threading.get_ident()
            if os.getpid() == judge or thread in looking or caller.endswith(_READERS):
                return
            looking.add(thread)
            try:
                paths = [os.fsdecode(name) for name in names if isinstance(name, str | bytes | os.PathLike)]
                path = next((path for path in map(os.path.realpath, paths) if self._elsewhere.holds(path)), None)
                path = None if is_passing and path in roots else path
            finally:
                looking.discard(thread)
            if path:
                told = os.fsencode(path)[:_ROOM]
                self._told[: len(told)] = told
                raise PermissionError(f"{path}: {WHY}")

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event in AUDITED:
                look(arguments[:2] if event in ("os.rename", "os.link", "os.symlink") else arguments[:1], _caller())

        def watched(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(path: Any, *arguments: Any, **options: Any) -> Any:
                look((path,), _caller(), True)
                return function(path, *arguments, **options)

            return call

        sys.addaudithook(hook)
        for name in _UNAUDITED:
            setattr(os, name, watched(getattr(os, name)))


def elsewhere(
    roots: Sequence[Path], folder: Path, cwd: Path, command: Sequence[str], check: str | None, recover: str | None
) -> Elsewhere | None:
    """Returns where states are put if namespaces are forbidden, None if they are not.

    Raises UsageError for what would find the real files there, or could not be seen to.
    """
    why_not = cell.why_not()
    if why_not is None:
        return None
    found = Elsewhere.of(roots, folder, why_not)
    for word in command:
        found.refuse("", word)
    for what, text in (("--check ", check), ("--recover ", recover)):
        found.refuse(what, text or "")
        words = None if text is None or Function.is_one(text) else plain_words(text, cwd)
        try:
            target.check(words[0] if words else "/bin/sh", os.environ.get("PATH"), str(cwd))
        except NotInstrumentable as error:
            raise UsageError(f"{what}{text!r}: {error}: {WHY}") from error
    found.refuse_links()
    return found


def judges(recorded: Recording, disk: Disk, folder: Path, oracle: Oracle, place: Elsewhere) -> Judges:
    """Returns the one judge that there can be where all states have the same place."""
    return Judges(lambda: Judge(recorded, disk, folder, Fenced(oracle, place), isolated=False), 1)


def _caller() -> str:
    """The file of whoever has made the call that is looked at."""
    return sys._getframe(2).f_code.co_filename
