"""What a session is and did at one moment, as plain values: for reports, and as JSON over the control socket."""

from __future__ import annotations

from faultlib.inject.control import Count, ProcessView
from faultlib.inject.frozen import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from faultlib.inject.events import Event
    from faultlib.inject.rules import Rule


class RuleReport(Frozen):
    """What became of one rule: `first` is its first firing, None if it never fired or that is no longer known.

    `below` is the directory of its relative patterns, None if it has none.
    """

    slot: int
    rule: Rule
    live: bool
    count: Count
    first: Event | None
    below: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values; the rule is its text."""
        return {
            "number": self.slot, "name": self.rule.name, "rule": self.rule.text, "live": self.live,
            "matched": self.count.matched, "fired": self.count.fired, "first": self.first.as_dict() if self.first else None,
            "below": self.below,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RuleReport:
        """Reads what `to_json` wrote."""
        from faultlib.inject import grammar
        from faultlib.inject.events import Event

        first = Event.from_dict(data["first"]) if data["first"] else None
        count = Count(data["matched"], data["fired"])
        return cls(data["number"], grammar.parse_rule(data["rule"]), data["live"], count, first, data["below"])


def titles(rules: Sequence[tuple[str, str | None]]) -> list[str]:
    """The texts of rules for a table, of which texts and directories are given; those that only differ in that have it behind."""
    texts = [text for text, _ in rules]
    return [f"{text} (below {below})" if below is not None and texts.count(text) > 1 else text for text, below in rules]


def _process(data: dict[str, Any]) -> ProcessView:
    """JSON has lists for tuples."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    return ProcessView(**fields)


class Snapshot(Frozen):
    """A session at one moment.

    `time_ns` is its age in nanoseconds; `attached` counts the programs in which the shim woke up (of one launch, if one was
    asked for), `refused` the processes that found no free slot, `uncounted` the matching calls that found no counter,
    `forgotten` the processes that the shim did not reach and whose slots were needed again, `deep` the names that were too long
    to be looked at from their beginning, `unnamed` those that found no room in the table of names, `nameless` the
    descriptors of which /proc did not say what they are of;
    `members` are the pids of the `faultlib run --session` that share it.
    """

    name: str | None
    pid: int
    seed: int
    time_ns: int
    rules: tuple[RuleReport, ...]
    processes: tuple[ProcessView, ...]
    attached: int
    refused: int
    uncounted: int
    forgotten: int
    deep: int
    unnamed: int
    nameless: int
    members: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The snapshot as JSON values."""
        return {
            "name": self.name, "pid": self.pid, "seed": self.seed, "time_ns": self.time_ns, "attached": self.attached,
            "refused": self.refused, "uncounted": self.uncounted, "forgotten": self.forgotten, "deep": self.deep,
            "unnamed": self.unnamed, "nameless": self.nameless, "members": list(self.members),
            "rules": [rule.to_json() for rule in self.rules], "processes": [process.as_dict() for process in self.processes],
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Snapshot:
        """Reads what `to_json` wrote."""
        return cls(
            data["name"], data["pid"], data["seed"], data["time_ns"], tuple(map(RuleReport.from_json, data["rules"])),
            tuple(map(_process, data["processes"])), data["attached"], data["refused"],
            data["uncounted"], data["forgotten"], data["deep"], data["unnamed"], data["nameless"],
            tuple(data["members"]),
        )  # fmt: skip
