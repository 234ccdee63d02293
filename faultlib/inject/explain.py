"""What a rule does, in words: one sentence on the effect and when, then whom it concerns. Pure text."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from faultlib.inject import effects, values
from faultlib.inject.check import left_out, operations
from faultlib.inject.compile import happens_at_a_call, may_be_anonymous
from faultlib.inject.errnos import name_of
from faultlib.inject.ops import symbols_of
from faultlib.inject.rules import DEFAULT_KINDS, Globs, Rule, default_scope
from faultlib.inject.values import Part, Range

_KINDS = {"file": "files", "dir": "directories", "pipe": "pipes", "socket": "sockets", "tty": "terminals",
          "other": "other descriptors"}  # fmt: skip
_SCOPES = {
    "process": "of each process", "session": "of the whole session", "thread": "of each thread", "path": "on each path",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Explanation:
    """A rule in words. `left_out` has the members of a named family that the rule cannot be about, with the reasons."""

    rule: str
    effect: str
    conditions: tuple[str, ...]
    operations: tuple[str, ...]
    symbols: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """Returns plain data for JSON."""
        return {
            "rule": self.rule, "effect": self.effect, "conditions": list(self.conditions),
            "operations": list(self.operations), "symbols": list(self.symbols),
            "left_out": [{"operation": name, "reason": reason} for name, reason in self.left_out],
        }  # fmt: skip

    def as_text(self) -> str:
        """Returns lines for people."""
        lines = [self.rule, f"  {self.effect}."]
        lines += [f"  - {condition}" for condition in self.conditions]
        lines += _wrapped("operations: ", self.operations)
        lines += _wrapped("symbols:    ", self.symbols)
        lines += [f"  not {name}: {reason}" for name, reason in self.left_out]
        return "\n".join(lines)


def explain(rule: Rule) -> Explanation:
    """Returns what `rule` does. Raises RuleError for one that cannot be."""
    members = operations(rule)
    return Explanation(
        rule.text,
        f"{_occasion(rule)} {_effect(rule)}",
        tuple(_conditions(rule)),
        tuple(op.title for op in members),
        symbols_of(members),
        tuple((op.title, reason) for op, reason in left_out(rule)),
    )


def _wrapped(title: str, words: tuple[str, ...], width: int = 110) -> list[str]:
    lines, line = [], f"  {title}"
    for word in words:
        if len(line) + len(word) > width:
            lines.append(line.rstrip())
            line = "  " + " " * len(title)
        line += word + " "
    return [*lines, line.rstrip()]


def _ordinal(n: int) -> str:
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def _occasion(rule: Rule) -> str:
    """Which of the matching calls."""
    if not happens_at_a_call(rule):
        return "For the programs"
    whose = f" {_SCOPES[rule.scope or default_scope(rule)]}" if rule.when is not None else ""
    window = rule.when
    if window is None:
        which = "Every matching call"
    elif window.last == window.first:
        which = f"The {_ordinal(window.first)} matching call"
    else:
        until = f"to the {_ordinal(window.last)}" if window.last is not None else "on"
        every = "every" if window.step == 1 else f"every {_ordinal(window.step)}"
        which = f"From the {_ordinal(window.first)} {until}, {every} matching call"
    if isinstance(rule.effect, effects.ClockChange):
        which = which if which.startswith("From") else f"At {which[0].lower()}{which[1:]}"
    chance = f", with a probability of {values.format_decimal(rule.p)}," if rule.p is not None else ""
    return which + whose + chance


def _part(part: Part) -> str:
    return f"{part.percent} % of the data" if part.percent is not None else _bytes(part.size_bytes or 0)


def _bytes(size: int) -> str:
    return "1 byte" if size == 1 else f"{values.format_size(size)} bytes"


def _effect(rule: Rule) -> str:
    done = _main_effect(rule) if rule.effect is not None else ""
    if rule.delay is None:
        return done
    jitter = f", give or take up to {values.format_duration(rule.delay.jitter_ns)}," if rule.delay.jitter_ns else ""
    moment = "after it was made" if rule.delay.after else "before it is made"
    late = f"is held for {values.format_duration(rule.delay.delay_ns)}{jitter} {moment}"
    if isinstance(rule.effect, effects.Space):
        return f"{done}; each that does not fit {late}"
    return f"{late}, then {done}" if done else late


def _main_effect(rule: Rule) -> str:
    match rule.effect:
        case effects.Error(errno, forced):
            force = ", whatever the manual says" if forced else ""
            return f"fails with {name_of(errno)} ({os.strerror(errno)}) and is not made{force}"
        case effects.Short(part):
            return f"moves only {_part(part)} and says so"
        case effects.Torn(part):
            return f"writes only {_part(part)}, then the process dies by SIGKILL"
        case effects.Kill(after):
            return f"kills its process by SIGKILL {'right after' if after else 'before'} it is made"
        case effects.Signal(number):
            name = signal.strsignal(number) or "real-time signal"
            return f"gets its thread the signal {effects.signal_name(number)} ({name}) first, then proceeds"
        case effects.Stop():
            return "stops its process (SIGSTOP) before it is made"
        case effects.Hang():
            return "does not come back; a signal ends it with EINTR where it would end the real call"
        case effects.Return(value):
            return f"is not made and returns {value}"
        case effects.Skip():
            return "is not made and returns what full success would"
        case effects.Corrupt(size):
            return f"has one bit flipped in {_bytes(size)} of its data"
        case effects.Space(size):
            return f"fails with ENOSPC once the files have grown by {_bytes(size)}, after the part that still fits"
        case effects.ClockChange():
            return _clock(rule.effect)
    return ""


def _clock(change: effects.ClockChange) -> str:
    clocks = " and ".join(name.upper() for name in change.clocks)
    match change.verb:
        case "rate":
            return f"the clock {clocks} runs {values.format_decimal(change.rate)} times as fast"
        case "freeze":
            return f"the clock {clocks} stands still"
    if not change.ns:
        return f"the clock {clocks} is right, and waits on it are ready for changes to come"
    direction = "back" if change.ns < 0 else "ahead"
    by = values.format_duration(abs(change.ns))
    return f"the clock {clocks} {'jumps' if change.verb == 'jump' else 'is'} {by} {direction}"


def _globs(value: Globs) -> str:
    return ("none of " if value.negate else "") + " or ".join(value.patterns)


def _range(value: Range, unit: str) -> str:
    if value.low == value.high:
        return f"{value.low}{unit}"
    if value.high is None:
        return f"{value.low}{unit} and more"
    return f"up to {value.high}{unit}" if value.low is None else f"{value.low} to {value.high}{unit}"


def _conditions(rule: Rule) -> Iterator[str]:
    for what, globs in (
        ("path", rule.path),
        ("path that it comes from", rule.from_),
        ("path that it goes to", rule.to),
    ):
        if globs is not None:
            yield f"the {what} matches {_globs(globs)}"
    members = operations(rule)
    if rule.fd is not None:
        yield f"the descriptor is {rule.fd}"
    kinds = rule.fdkind if rule.fdkind is not None else (DEFAULT_KINDS if rule.fd is None else ())
    if kinds and any(op.has_fd for op in members):
        said = "" if rule.fdkind is not None else " (fdkind=any for all kinds)"
        yield f"descriptors are those of {' and '.join(_KINDS[kind] for kind in kinds)}{said}"
    if may_be_anonymous(rule):
        yield "anonymous maps, which are of no descriptor, are meant too (flags=!MAP_ANONYMOUS leaves them out)"
    if rule.flags:
        yield "flags: " + ", ".join(f"not {flag[1:]}" if flag[0] == "!" else flag for flag in rule.flags)
    if rule.size is not None:
        yield f"the size is {_range(rule.size, ' bytes')}"
    if rule.offset is not None:
        yield f"it begins at position {_range(rule.offset, '')}"
    if isinstance(rule.effect, effects.Short | effects.Torn):
        yield "only calls that are larger than the part match"
    if isinstance(rule.effect, effects.Space):
        yield "it takes part in every such call that is made, also where another rule acts, and fires where it refuses or cuts"
        yield "a hole takes nothing until it is filled; truncating, unlinking and renaming over a file give its bytes back"
    if rule.proc is not None:
        by = f"whose {rule.proc.by}" if rule.proc.by else "whose label, command or lineage"
        yield f"in processes {by} {'does not match' if rule.proc.negate else 'matches'} {rule.proc.pattern}"
    if rule.thread is not None:
        yield f"in threads whose path matches {rule.thread}"
    if rule.after is not None:
        yield f"once the rule {rule.after} has fired"
    if rule.times is not None:
        yield f"at most {rule.times} times in the life {_SCOPES[rule.scope or default_scope(rule)]}"
    if rule.at_ns is not None:
        yield f"from {values.format_duration(rule.at_ns)} after the session began"
    if rule.for_ns is not None:
        yield f"for {values.format_duration(rule.for_ns)}" + (
            "" if rule.at_ns is not None else " from when the rule is set"
        )
