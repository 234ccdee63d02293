"""What a rule may ask for: refuses what cannot happen or can never match, and settles which operations a rule means.

A rule on a family takes those members for which all of it is possible, and is refused where the family's namesake (the
plain `write` of `write`) is not among them, as that is what its author thinks of. An exact name has to be possible.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from faultlib._core import lib
from faultlib.errors import RuleError
from faultlib.inject import effects, flags, ops, values
from faultlib.inject.directory import is_rooted
from faultlib.inject.frozen import Frozen
from faultlib.inject.ops import Operation
from faultlib.inject.possible import nearest_effect, objection
from faultlib.inject.rules import Rule
from faultlib.inject.values import Bad

MAX_GLOBS: int = lib.FL_GLOBS
MAX_LIVE: int = lib.FL_LIVE_RULES
MIN_RATE, MAX_RATE = "0.000001", 1_000_000
_SHORT = 255
"""No pattern of so many bytes can be too long for a name."""

_FILES = ("file",)
_WITH_PATHS = ("file", "dir")
_NO_DIRS = ("file", "pipe", "socket", "tty", "other")
# The kinds of descriptor that the kernel takes for these; the others always fail there, whatever we do.
_KINDS: dict[str, tuple[str, ...]] = {
    "lock": _WITH_PATHS,
    "fsync": (*_WITH_PATHS, "other"),
    "truncate": _FILES,
    "allocate": _FILES,
    "readdir": ("dir",),
    "read": _NO_DIRS,
    "write": _NO_DIRS,
    "seek": (*_WITH_PATHS, "other"),
    "mmap": ("file", "other"),
}


def path_glob(text: str) -> str:
    """Returns a path pattern that can match some name. Raises Bad."""
    if not text:
        raise Bad("a glob is missing")
    if text.startswith("!"):
        raise Bad("! negates the whole list, so it stands before the first glob")
    if text.startswith("~/"):
        raise Bad("~ is not expanded here", 0, os.path.expanduser(text))
    parts = text.split("/")
    start = 0
    if not is_rooted(text):
        while start < len(parts) and parts[start] in (".", ".."):
            start += 1
    elif text.startswith("/"):
        start = 1 if len(text) > 1 else 2
    for i in range(start, len(parts)):
        if parts[i] in ("", ".", ".."):
            at = sum(len(part) + 1 for part in parts[:i])
            if i == len(parts) - 1 and not parts[i]:
                raise Bad("names do not end in a slash", at - 1, text + "*")
            folded = os.path.normpath("/" + "/".join(parts[start:])).lstrip("/")
            nearest = "/".join([*parts[:start], folded])
            raise Bad(f"names are compared without {parts[i] or 'empty parts'}", at, nearest)
    if "[" in text or len(os.fsencode(text)) > _SHORT:
        from faultlib.inject import globs

        globs.check_path(text)
    return text


def signal_number(text: str) -> int:
    """Reads a signal, by name or number, that a process can receive and survive. Raises Bad."""
    names = [s.name for s in signal.Signals if s.name not in ("SIGKILL", "SIGSTOP", "SIGIOT", "SIGCLD", "SIGPOLL")]
    if text.isascii() and text.isdigit():
        number = values.integer(text, 1, 64, "a signal")
    elif text in signal.Signals.__members__:
        number = signal.Signals[text].value
    elif "SIG" + text in signal.Signals.__members__:
        raise Bad(f"{text} is not a signal", 0, "SIG" + text)
    else:
        raise Bad(f"{text} is not a signal", 0, values.nearest(text, names))
    if number == signal.SIGKILL:
        raise Bad("death by SIGKILL is an effect of its own", 0, "kill=before")
    if number == signal.SIGSTOP:
        raise Bad("SIGSTOP is an effect of its own", 0, "stop")
    if number in (32, 33):
        raise Bad(f"signal {number} is the C library's own", 0, "34")
    return number


class _Demand(Frozen):
    """What one key asks of an operation: `objects` says why it cannot be, or gives None."""

    key: str
    objects: Callable[[Operation], str | None]


class _Group(Frozen):
    """The operations of one name, and those of them that it cannot do without (any one)."""

    name: str
    members: tuple[Operation, ...]
    needed: tuple[Operation, ...]


def _lacks(has: Callable[[Operation], bool], what: str) -> Callable[[Operation], str | None]:
    return lambda op: None if has(op) else f"{op.name} {what}"


def _kind_objection(kinds: tuple[str, ...]) -> Callable[[Operation], str | None]:
    def objects(op: Operation) -> str | None:
        possible = _KINDS.get(op.family, kinds)
        if not op.has_fd:
            return f"{op.name} works on no descriptor"
        if kinds and not set(kinds) & set(possible):
            return f"{op.name} works on no {' or '.join(kinds)}, only on {' or '.join(possible)}"
        return None

    return objects


def _flag_objection(wanted: tuple[str, ...]) -> Callable[[Operation], str | None]:
    def objects(op: Operation) -> str | None:
        if not op.has_flags:
            return f"{op.name} has no flags"
        for flag in wanted:
            name = flag.removeprefix("!")
            if flags.number(name) is None and name not in flags.vocabulary(op):
                return f"{op.name} has no flag {name}"
            if flag.startswith("!") and flags.number(name) is None and flags.is_field(op, name):
                return f"{name} is one value of several and cannot be forbidden: name the one that is wanted"
        if flags.mask_and_value(op, wanted) is None:
            return "these flags exclude each other: no call matches"
        return None

    return objects


def _demands(rule: Rule) -> Iterator[_Demand]:
    if rule.path is not None:
        yield _Demand("path", _lacks(lambda op: op.has_path, "names no file"))
    if rule.from_ is not None:
        yield _Demand("from", _lacks(lambda op: op.has_two_paths, "has no path that it comes from: give path="))
    if rule.to is not None:
        yield _Demand("to", _lacks(lambda op: op.has_target_path, "has no path that it goes to: give path="))
    if rule.fd is not None:
        yield _Demand("fd", _lacks(lambda op: op.has_fd, "works on no descriptor"))
    if rule.fdkind is not None:
        yield _Demand("fdkind", _kind_objection(rule.fdkind))
    if rule.flags:
        yield _Demand("flags", _flag_objection(rule.flags))
    if rule.size is not None:
        yield _Demand("size", _lacks(lambda op: op.has_size, "has no size"))
    if rule.offset is not None:
        yield _Demand("offset", _lacks(lambda op: op.has_offset, "has no offset"))
    if rule.scope == "path":
        yield _Demand("scope", _lacks(lambda op: op.has_path, "names no file whose calls could be counted"))
    for effect in (rule.effect, rule.delay):
        if effect is not None:
            yield _Demand(effect.key, lambda op, effect=effect: objection(effect, op))  # type: ignore[misc]


def _groups(rule: Rule) -> Iterator[_Group]:
    if not rule.call:
        for name in rule.names:
            members = ops.named(name)
            namesakes = tuple(op for op in members if op.name == name)
            yield _Group(name, members, namesakes or members)
        return
    reach = [op for name in rule.names for op in ops.named(name)]
    for call in rule.call:
        members = tuple(op for op in reach if op.name == call)
        if not members:
            near = values.nearest(call, dict.fromkeys(op.name for op in reach))
            raise _refusal(rule, "call=", f"{call or 'nothing'} is not one of {','.join(rule.names)}", near)
        yield _Group(call, members, members)
    for name in rule.names:
        if not any(op.name in rule.call for op in ops.named(name)):
            raise _refusal(rule, "call=", f"call= leaves nothing of {name}", None)


def _refusal(rule: Rule, key: str, reason: str, suggestion: str | None = None) -> RuleError:
    return RuleError(rule.source, rule.column(key), reason, suggestion)


@lru_cache(maxsize=256)
def operations(rule: Rule) -> tuple[Operation, ...]:
    """Returns the operations that a rule is about, in the table's order. Raises RuleError where that is none."""
    found: set[int] = set()
    for group in _groups(rule):
        members = group.members
        for demand in _demands(rule):
            left = tuple(op for op in members if demand.objects(op) is None)
            if not set(group.needed) & set(left):
                raise _impossible(rule, group, demand, left)
            members = left
        found.update(op.number for op in members)
    return tuple(ops.ALL_OPERATIONS[number] for number in sorted(found))


# Keys that are refused for their value rather than as such, and those whose refusal no other operation would heal.
_ABOUT_VALUES = ("error", "return", "flags", "fdkind", "scope")
_MADE_UP = ("return", "skip", "short", "torn", "corrupt", "space")


def left_out(rule: Rule) -> list[tuple[Operation, str]]:
    """Returns the members of the rule's names that it is not about, each with the reason."""
    taken, found = set(operations(rule)), {}
    for group in _groups(rule):
        for op in group.members:
            reasons = (demand.objects(op) for demand in _demands(rule))
            if op not in taken and (reason := next(filter(None, reasons), None)) is not None:
                found[op] = reason
    return list(found.items())


def _impossible(rule: Rule, group: _Group, demand: _Demand, left: tuple[Operation, ...]) -> RuleError:
    """The refusal of `demand`: the first reason, who else of the family can, and the nearest spelling."""
    first = [op for op in group.needed if op.name == group.needed[0].name]  # a copy's target is behind its source
    reason = demand.objects(first[-1]) or f"{demand.key} cannot be"
    key = demand.key + "=" if demand.key in _ABOUT_VALUES else demand.key
    others = list(dict.fromkeys(op.name for op in left))
    if others and demand.key not in _MADE_UP:
        return _refusal(rule, key, f"{reason}; of the family, {', '.join(others)} can", others[0])
    if demand.key == "flags" and any(op.has_flags for op in group.needed):
        words = sorted({word for op in group.members for word in flags.vocabulary(op)})
        unknown = [f for flag in rule.flags if flags.number(f := flag.strip("!")) is None and f not in words]
        if words and unknown:
            return _refusal(rule, key, f"{reason}: {' '.join(words)}", values.nearest(unknown[0], words))
    if demand.key == "delay_after":
        return _refusal(rule, key, reason, "delay")
    effect = rule.effect if rule.effect is not None and rule.effect.key == demand.key else None
    return _refusal(rule, key, reason, nearest_effect(effect, group.needed) if effect is not None else None)


def check_rule(rule: Rule) -> None:
    """Raises RuleError if the rule cannot happen or can never match."""
    if rule.effect is None and rule.delay is None:
        column = len(rule.source)
        raise RuleError(rule.source, column, "this rule has no effect: give error= short= delay= kill= or another")
    _check_delay(rule)
    if isinstance(rule.effect, effects.ClockChange):
        _check_clock(rule, rule.effect)
    if rule.scope is not None and rule.when is None and rule.times is None:
        raise _refusal(rule, "scope", "scope= says what when= and times= count, and this rule has neither")
    if rule.after is not None and rule.after == rule.name:
        raise _refusal(rule, "after=", "a rule that waits for itself never acts")
    members = operations(rule)
    _check_sizes(rule)
    below_zero = rule.offset is not None and rule.offset.high is not None and rule.offset.high < 0
    if below_zero and not any(op.family == "seek" for op in members):
        raise _refusal(rule, "offset=", "only lseek has negative offsets: no call matches")


def _check_delay(rule: Rule) -> None:
    effect, delay = rule.effect, rule.delay
    if effect is None or delay is None:
        return
    if isinstance(effect, effects.ClockChange | effects.Hang):
        raise _refusal(rule, delay.key, f"a delay does not go with {effect.key}")
    if delay.after:
        raise _refusal(rule, delay.key, f"with {effect.key} goes only a delay before the call", "delay")


def _check_clock(rule: Rule, change: effects.ClockChange) -> None:
    if rule.names != ("clock",) or rule.call:
        raise _refusal(rule, change.verb, f"{change.verb} changes the clock as a whole: only `clock` has it", "clock")
    if change.verb == "jump" and change.ns == 0:
        raise _refusal(rule, "jump=", "a jump by 0 does nothing")
    # With proc= it takes some processes out of what others change. An offset of 0 prepares for changes to come.
    if change.verb == "rate" and change.rate == 1 and rule.proc is None:
        raise _refusal(rule, "rate=", "at rate 1 a clock goes as it does", "offset=0s")
    if change.verb == "jump" and rule.for_ns is not None:
        raise _refusal(rule, "for", "a jump is a moment; an offset lasts", "offset")
    counted = ("when", "scope", "p", "times", "after", "thread")
    for key in counted:
        if change.verb != "jump" and getattr(rule, key) is not None:
            reason = f"{change.verb} holds for a stretch of time (at= for=); only jump happens at a counted call"
            raise _refusal(rule, key, reason, "at" if key == "when" else None)


def _check_sizes(rule: Rule) -> None:
    """Refuses a `size=` that no call which the effect needs can have."""
    most = rule.size.high if rule.size is not None else None
    if most is None:
        return
    effect, least = rule.effect, 0
    if isinstance(effect, effects.Short | effects.Torn):
        least = 2 if effect.part.percent is not None else (effect.part.size_bytes or 0) + 1
    elif isinstance(effect, effects.Return):
        least = effect.value
    elif isinstance(effect, effects.Corrupt | effects.Space):
        least = 1
    if effect is not None and most < least:
        reason = f"{effect} matches calls of {values.format_size(least)} and more: no call matches"
        raise _refusal(rule, "size=", reason, f"{values.format_size(least)}+")


def check_rules(rules: Sequence[Rule], known: Sequence[str] = (), live: int = 0) -> None:
    """Checks rules against each other: names, `after=`, how many. Raises RuleError.

    `known` names rules of the session so far, of which `live` are still live.
    """
    named: dict[str, Rule] = {}
    for number, rule in enumerate(rules):
        if number + live >= MAX_LIVE:
            raise RuleError(rule.source, 0, f"more than {MAX_LIVE} live rules")
        if rule.name is not None:
            if rule.name in named or rule.name in known:
                raise _refusal(rule, "name=", f"another rule is named {rule.name}")
            named[rule.name] = rule
    for rule in rules:
        if rule.after is not None and rule.after not in named and rule.after not in known:
            names = [*named, *known]
            raise _refusal(rule, "after=", f"no rule is named {rule.after}", values.nearest(rule.after, names))
    for rule in named.values():
        waited, seen = rule.after, {rule.name}
        while waited in named and waited not in seen:
            seen.add(waited)
            waited = named[waited].after
        if waited == rule.name:
            raise _refusal(rule, "after=", "these rules wait for each other: none ever acts")
