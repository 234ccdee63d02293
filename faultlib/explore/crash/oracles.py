"""Puts the judge of a campaign together: recovery, check or what the recording tells, acknowledgements, restart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from faultlib.errors import UsageError
from faultlib.explore import oracle
from faultlib.explore.crash import acknowledged
from faultlib.explore.crash.acknowledged import Acknowledged
from faultlib.explore.crash.judge import Case, Oracle
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.restart import Restart
from faultlib.explore.crash.unchecked import Files, Unchecked
from faultlib.explore.crash.versions import Disk
from faultlib.explore.oracle import RECOVERY, Function, Promise, Verdict


class Wanted(NamedTuple):
    """What the user wants to be judged by. `acks` say which output acknowledges: regular expressions, or module:function."""

    check: str | None
    recover: str | None
    acks: tuple[str, ...]
    cwd: Path
    timeout_s: float

    @property
    def needs_promises(self) -> bool:
        """Whether a verdict depends on what the program has promised."""
        return bool(self.acks) or (self.check is not None and Function.is_one(self.check))

    def prepare(self) -> Prepared:
        """Finds functions and reads expressions. Raises UsageError."""
        function = Function(self.check, self.cwd) if self.check is not None and Function.is_one(self.check) else None
        acks = tuple(Function(text, self.cwd) if Function.is_one(text) else _pattern(text) for text in self.acks)
        return Prepared(self, function, acks)


def _pattern(text: str) -> str:
    try:
        re.compile(text.encode())
    except re.error as error:
        raise UsageError(f"--ack {text}: this is no regular expression: {error}") from error
    return text


class Prepared(NamedTuple):
    """What can be judged by, before there is a recording."""

    wanted: Wanted
    check: Function | None
    acks: tuple[Function | str, ...]

    def oracle(self, recording: Recording, disk: Disk, *, restart: Restart | None = None) -> Oracle:
        """Returns the judge of a recording. Raises UsageError for an acknowledgement that the program never makes."""
        wanted, check = self.wanted, self.check
        files = Files(recording, disk)
        promised = [Acknowledged(files, self._moments(recording), recovered=wanted.recover is not None)] if self.acks else []
        if wanted.check is not None:
            command = wanted.check
            first = check or (lambda cwd, timeout_s, promise: oracle.run(command, cwd, timeout_s, promise))
            judges: list[Oracle] = [lambda cwd, case, promise: first(cwd, wanted.timeout_s, promise), *promised]
        else:
            also: list[Oracle] = [*promised, *([restart] if restart else [])]
            judges = [Unchecked(recording, disk, also=also, recovered=wanted.recover is not None)]
        return _Judged(judges, wanted.recover, wanted.timeout_s)

    def _moments(self, recording: Recording) -> list[int]:
        found = set[int]()
        for ack, text in zip(self.acks, self.wanted.acks, strict=True):
            if isinstance(ack, Function):
                moments = acknowledged.by_function(recording, ack.function)
            else:
                moments = acknowledged.by_pattern(recording, ack)
            if not moments:
                raise UsageError(f"--ack {text}: the command said nothing of that kind")
            found |= set(moments)
        return sorted(found)


class _Judged:
    """Recovery first; then all of these, up to the first that fails."""

    def __init__(self, judges: list[Oracle], recover: str | None, timeout_s: float) -> None:
        self._judges = judges
        self._recover = recover
        self._timeout_s = timeout_s

    def __call__(self, cwd: Path, case: Case, promise: Promise) -> Verdict:
        if self._recover is not None:
            verdict = oracle.run(self._recover, cwd, self._timeout_s)
            if verdict.failed:
                return Verdict(RECOVERY, verdict.text)
        for judge in self._judges:
            verdict = judge(cwd, case, promise)
            if verdict.failed:
                return verdict
        return verdict
