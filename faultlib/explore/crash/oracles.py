"""Puts the judge of a campaign together: recovery, check or what the recording tells, acknowledgements, restart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from faultlib.errors import UsageError
from faultlib.explore.crash import acknowledged
from faultlib.explore.crash.acknowledged import Acknowledged
from faultlib.explore.crash.checks import Checks
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.judge import Look
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.restart import Restart
from faultlib.explore.crash.unchecked import Files, Unchecked
from faultlib.explore.oracle import Function


class Wanted(NamedTuple):
    """What the user wants to be judged by. `acks` say which output acknowledges: regular expressions, or module:function."""

    check: str | None
    recover: str | None
    acks: tuple[str, ...]
    cwd: Path
    timeout_s: float

    def prepare(self) -> Prepared:
        """Finds functions and reads expressions. Raises UsageError."""
        function = Function(self.check, self.cwd) if self.check is not None and Function.is_one(self.check) else None
        acks = tuple(_function(text, self.cwd) if Function.is_one(text) else _pattern(text) for text in self.acks)
        return Prepared(self, function, acks)


def _function(text: str, cwd: Path) -> Function:
    try:
        return Function(text, cwd)
    except UsageError as error:
        raise UsageError(str(error).replace("--check", "--ack", 1)) from error


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

    @property
    def needs_promises(self) -> bool:
        """Whether a verdict depends on what the program has promised."""
        return bool(self.acks) or (self.check is not None and self.check.needs_promises)

    def checks(self, recording: Recording, disk: Disk, *, restart: Restart | None = None, forks: bool = True) -> Checks:
        """Returns the judge of a recording. Raises UsageError for an acknowledgement that the program never makes."""
        wanted, recovered = self.wanted, self.wanted.recover is not None
        also: list[Look] = []
        if self.acks:
            also.append(Acknowledged(Files(recording, disk), self._moments(recording), recovered=recovered))
        if wanted.check is None:
            also.insert(0, Unchecked(recording, disk, recovered=recovered))
        return Checks(wanted.check, wanted.recover, wanted.cwd, wanted.timeout_s, forks, also, restart)

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
