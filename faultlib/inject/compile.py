"""A Rule to the binary row that the shim reads (`struct fl_rule`, csrc/abi.h), with its strings.

The rows are the session's; this module only fills them. It is on the way of every `-e`: nothing heavy is imported.
"""

from __future__ import annotations

from faultlib._core import ffi, lib
from faultlib.inject import effects, flags, rules
from faultlib.inject.check import operations
from faultlib.inject.directory import WorkingDirectory
from faultlib.inject.ops import FAMILY_NUMBERS, Operation
from faultlib.inject.rules import Globs, Rule
from faultlib.inject.values import I64, U64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from faultlib.inject.effects import Effect

    Intern = Callable[[str], int]
    """Puts a string into the session's strings and returns its offset, which is not 0."""

    class CRule(Protocol):
        """A `struct fl_rule *` of cffi."""

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...


_KIND_BITS: dict[str, int] = {name: getattr(lib, f"FL_KIND_{name.upper()}") for name in rules.FD_KINDS}
_SCOPES: dict[str, int] = {name: getattr(lib, f"FL_SCOPE_{name.upper()}") for name in rules.SCOPES}
_PROC_BY: dict[str | None, int] = {name: getattr(lib, f"FL_BY_{name.upper()}") for name in rules.PROC_BY}
_PROC_BY[None] = lib.FL_BY_ANY
_VERBS: dict[str, int] = {name: getattr(lib, f"FL_CLOCK_{name.upper()}") for name in effects.CLOCK_VERBS}
CHANGES_SPACE = ("write", "allocate", "truncate", "unlink", "rename", "open")
"""Families whose calls take space or give it back under a rule with `space=`, also where that does not name them."""


def fd_kinds(rule: Rule) -> int:
    """Returns the FL_KIND_* bits of a rule; 0 accepts every kind.

    Without `fdkind=`, files and directories, and maps that are of no descriptor; every kind where `fd=` already says which.
    """
    kinds, anonymous = rule.fdkind, 0
    if kinds is None:
        wants_files = rule.fd is None and any(op.has_fd for op in operations(rule))
        kinds = rules.DEFAULT_KINDS if wants_files else ()
        anonymous = lib.FL_KIND_ANONYMOUS if wants_files and may_be_anonymous(rule) else 0
    return anonymous | sum(_KIND_BITS[kind] for kind in kinds)


def may_be_anonymous(rule: Rule) -> bool:
    """Whether the rule takes maps that are of no descriptor: it may be about maps, and asks for no kind, number or path."""
    any_kind = not rule.fdkind and rule.fd is None and rule.path is None
    return any_kind and any(op.name == "mmap" for op in operations(rule))


def needs_tracking(rule: Rule) -> bool:
    """Whether the shim has to know what descriptors and the working directory are for this rule."""
    by_name = rule.path is not None or rule.from_ is not None or rule.to is not None or rule.scope == "path"
    return by_name or isinstance(rule.effect, effects.Space) or fd_kinds(rule) != 0


def gate_bits(rule: Rule) -> int:
    """Returns the families whose calls have to be looked at while this rule is live: a bit `1 << number` for each."""
    families = {op.family for op in operations(rule)}
    if isinstance(rule.effect, effects.Space):
        families.update(CHANGES_SPACE)
    if needs_tracking(rule):
        families.add("track")
    clock = 1 << lib.FL_GATE_CLOCK_BIT if isinstance(rule.effect, effects.ClockChange) else 0
    return clock | sum(1 << FAMILY_NUMBERS[family] for family in families if happens_at_a_call(rule))


def interest(rule: Rule) -> tuple[int, ...]:
    """Returns the numbers of the operations that the rule is about, ascending."""
    return tuple(op.number for op in operations(rule))


def happens_at_a_call(rule: Rule) -> bool:
    """Whether the shim carries the rule out at a matching call; otherwise (most clock rules) the controller does."""
    if not isinstance(rule.effect, effects.ClockChange):
        return True
    counted = (rule.when, rule.p, rule.times, rule.after, rule.thread)
    return rule.effect.verb == "jump" and any(value is not None for value in counted)


def compile_rule(
    rule: Rule, slot: int, c_rule: CRule, intern: Intern, cwd: WorkingDirectory, *,
    slots: Mapping[str, int] | None = None, now_ns: int = 0,
) -> None:  # fmt: skip
    """Fills `c_rule`, a `struct fl_rule *`, with `rule` in slot `slot` (0 to FL_MAX_RULES - 1).

    `slots` gives the slots of named rules, for `after=`. `now_ns` is the session time at which the rule goes live: a
    `for=` without `at=` counts from there. Random draws take the session's seed, no rule has one of its own.
    """
    ffi.buffer(c_rule)[:] = bytes(ffi.sizeof("struct fl_rule"))
    members = operations(rule)
    for op in members:
        c_rule.ops[op.number // 64] |= 1 << op.number % 64
    c_rule.id = slot
    c_rule.fdkinds = fd_kinds(rule)
    has = _predicates(rule, c_rule, intern, cwd, members)
    if rule.after is not None:
        has |= lib.FL_HAS_AFTER
        c_rule.after = (slots or {})[rule.after] + 1
    has |= _window(rule, c_rule, now_ns)
    c_rule.has = has
    if rule.delay is not None:
        c_rule.effect = lib.FL_EFFECT_DELAY
        c_rule.phase = lib.FL_AFTER if rule.delay.after else lib.FL_BEFORE
        c_rule.delay_ns, c_rule.jitter_ns = rule.delay.delay_ns, rule.delay.jitter_ns
    if rule.effect is not None:
        _effect(rule.effect, c_rule)
    c_rule.plain = lib.fl_is_plain(c_rule)


def _predicates(
    rule: Rule, c_rule: CRule, intern: Intern, cwd: WorkingDirectory, members: tuple[Operation, ...]
) -> int:
    has = 0
    globs: tuple[tuple[Globs | None, str], ...] = ((rule.path, "path"), (rule.from_, "from"), (rule.to, "to"))
    for value, field in globs:
        if value is not None:
            has |= getattr(lib, f"FL_HAS_{field.upper()}")
            patterns = dict.fromkeys(absolute for pattern in value.patterns for absolute in cwd.below(pattern))
            row = getattr(c_rule, field)
            for place, pattern in enumerate(patterns):
                row[place] = intern(pattern)
            c_rule.negate |= getattr(lib, f"FL_NOT_{field.upper()}") if value.negate else 0
    if rule.fd is not None:
        has |= lib.FL_HAS_FD
        c_rule.fd = rule.fd
    if rule.proc is not None:
        has |= lib.FL_HAS_PROC
        c_rule.proc, c_rule.proc_by = intern(rule.proc.pattern), _PROC_BY[rule.proc.by]
        c_rule.negate |= lib.FL_NOT_PROC if rule.proc.negate else 0
    if rule.thread is not None:
        has |= lib.FL_HAS_THREAD
        c_rule.thread = intern(rule.thread)
    if rule.flags:
        has |= lib.FL_HAS_FLAGS
        found = next(both for op in members if (both := flags.mask_and_value(op, rule.flags)) is not None)
        c_rule.flags_mask, c_rule.flags_value = found
    if rule.size is not None:
        has |= lib.FL_HAS_SIZE
        c_rule.size_min = rule.size.low or 0
        c_rule.size_max = U64 if rule.size.high is None else rule.size.high
    if rule.offset is not None:
        has |= lib.FL_HAS_OFFSET
        c_rule.offset_min = -I64 - 1 if rule.offset.low is None else rule.offset.low
        c_rule.offset_max = I64 if rule.offset.high is None else rule.offset.high
    return has


def _window(rule: Rule, c_rule: CRule, now_ns: int) -> int:
    has = 0
    c_rule.scope = _SCOPES[rule.scope or rules.default_scope(rule)]
    c_rule.first, c_rule.last, c_rule.step = 1, U64, 1
    if rule.when is not None:
        has |= lib.FL_HAS_WINDOW
        c_rule.first, c_rule.step = rule.when.first, rule.when.step
        c_rule.last = U64 if rule.when.last is None else rule.when.last
    if rule.p is not None:
        has |= lib.FL_HAS_P
        c_rule.p = int(rule.p * (1 << 32))
    if rule.times is not None:
        has |= lib.FL_HAS_TIMES
        c_rule.times = rule.times
    if rule.at_ns is not None or rule.for_ns is not None:
        has |= lib.FL_HAS_TIME
        c_rule.at_ns = now_ns if rule.at_ns is None else rule.at_ns
        c_rule.for_ns = rule.for_ns or 0
    return has


def _effect(effect: Effect, c_rule: CRule) -> None:
    match effect:
        case effects.Error():
            c_rule.effect, c_rule.error = lib.FL_EFFECT_ERROR, effect.errno
        case effects.Short() | effects.Torn():
            c_rule.effect = lib.FL_EFFECT_SHORT if isinstance(effect, effects.Short) else lib.FL_EFFECT_TORN
            c_rule.value, c_rule.percent = effect.part.size_bytes or 0, effect.part.percent or 0
        case effects.Kill():
            c_rule.effect, c_rule.phase = lib.FL_EFFECT_KILL, lib.FL_AFTER if effect.after else lib.FL_BEFORE
        case effects.Signal():
            c_rule.effect, c_rule.signal = lib.FL_EFFECT_SIGNAL, effect.number
        case effects.Stop():
            c_rule.effect = lib.FL_EFFECT_STOP
        case effects.Hang():
            c_rule.effect = lib.FL_EFFECT_HANG
        case effects.Return():
            c_rule.effect, c_rule.value = lib.FL_EFFECT_RETURN, effect.value
        case effects.Skip():
            c_rule.effect, c_rule.percent = lib.FL_EFFECT_RETURN, 100
        case effects.Corrupt():
            c_rule.effect, c_rule.value = lib.FL_EFFECT_CORRUPT, effect.size_bytes
        case effects.Space():
            c_rule.effect, c_rule.value = lib.FL_EFFECT_SPACE, effect.size_bytes
        case effects.ForkPoint():
            c_rule.effect, c_rule.value = lib.FL_EFFECT_FORK, effect.at
        case effects.ClockChange():
            c_rule.effect, c_rule.clock_verb = lib.FL_EFFECT_CLOCK, _VERBS[effect.verb]
            c_rule.clock, c_rule.value = effect.clock_bits, effect.ns
            c_rule.rate = int(effect.rate * (1 << 32))
