"""A finding: a failing plan, made as small as it gets, in words, with the lines to blame and the way to see it again."""

from __future__ import annotations

from typing import Any, NamedTuple

VIOLATION, SUSPICION, NOTE = "violation", "suspicion", "note"


class Step(NamedTuple):
    """One operation of the timeline. `fate` is what became of it: `kept`, `lost`, `partly`, `durable`, or `never` (not reached).

    `mark` is `lost` for the operation whose loss does the harm, `kept` for the one that should not have been kept without it,
    else empty. `text` is the call as a person would write it, `place` its source line.
    """

    number: int
    text: str
    place: str
    process: str
    fate: str
    mark: str = ""


class Culprit(NamedTuple):
    """One of the two operations to blame: call, source line (`line` 0: not known), and the stack, innermost first."""

    text: str
    place: str
    file: str
    line: int
    function: str
    stack: tuple[str, ...]


class Finding(NamedTuple):
    """One root cause.

    `kind` is a fixed word (docs/crash.md has the list), `severity` VIOLATION, SUSPICION or NOTE. `profiles` are all on which it
    happens, the strongest first. `lost` and `kept` are the operations to blame. `symptom` is what the check said, `impact` what
    is wrong on disk then, `missing` which call is missing and where. `plan` is what replays it; `states` how many failing states
    come from it. `fingerprint` stays the same from run to run: for baselines.
    """

    number: int
    kind: str
    severity: str
    title: str
    profiles: tuple[str, ...]
    lost: Culprit | None
    kept: Culprit | None
    symptom: str
    impact: str
    missing: str
    files: tuple[str, ...]
    timeline: tuple[Step, ...]
    plan: dict[str, Any]
    states: int
    fingerprint: str
    replay: str = ""
    test_file: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns plain data."""
        plain = self._asdict()
        for key in ("lost", "kept"):
            culprit = getattr(self, key)
            plain[key] = culprit._asdict() if culprit else None
        plain["timeline"] = [step._asdict() for step in self.timeline]
        return plain

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Finding:
        """Reads what `to_json` gave."""
        plain = dict(data)
        for key in ("lost", "kept"):
            if plain[key] is not None:
                plain[key] = Culprit(**{**plain[key], "stack": tuple(plain[key]["stack"])})
        plain["timeline"] = tuple(Step(**step) for step in plain["timeline"])
        plain["profiles"], plain["files"] = tuple(plain["profiles"]), tuple(plain["files"])
        return cls(**plain)


class Campaign(NamedTuple):
    """What a campaign has done: for the head of a report.

    `states` are those looked at, `unique` how many of them differ, `judged` those a judge has seen, `failing` those that did not
    pass. `outside` are files beyond the roots that were changed, `outlived` are processes that the command left
    behind, and that were not waited for, `unfired` are rules that did nothing, `unstable` is how many states were judged good and
    then bad, `not_covered` are sentences on what was not looked at, `complete` says whether every state of every strategy was.
    `accepted` are findings that a baseline has: they are not among `findings`.
    """

    command: tuple[str, ...]
    check: str
    roots: tuple[str, ...]
    profiles: tuple[str, ...]
    strategies: dict[str, int]
    operations: int
    states: int
    unique: int
    judged: int
    failing: int
    seconds: float
    complete: bool
    not_covered: tuple[str, ...]
    findings: tuple[Finding, ...]
    accepted: tuple[Finding, ...] = ()
    outside: tuple[str, ...] = ()
    unstable: int = 0
    outlived: tuple[str, ...] = ()
    unfired: tuple[str, ...] = ()

    @property
    def is_inconclusive(self) -> bool:
        """Whether it is no good news that nothing was found."""
        return bool(self.outside or self.unstable or self.outlived or self.unfired)

    def to_json(self) -> dict[str, Any]:
        """Returns plain data."""
        lists = {key: [finding.to_json() for finding in getattr(self, key)] for key in ("findings", "accepted")}
        return {**self._asdict(), **lists}
