"""A rule: operations + predicates + window + effect. Frozen values, whose `text` is their canonical spelling.

Rules are made by `grammar.parse_rule` from text, or by the constructors at the end of this file, which write that text
from typed values, so that there is one parser and one set of refusals. All of them raise RuleError.
"""

from __future__ import annotations

import os

from faultlib.inject import values
from faultlib.inject.directory import is_rooted
from faultlib.inject.effects import ClockChange
from faultlib.inject.frozen import Frozen
from faultlib.inject.lexer import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta
    from decimal import Decimal

    from faultlib.inject.effects import Delay, Effect
    from faultlib.inject.values import Range, Window

    Value = str | os.PathLike[str] | int | float | Decimal | timedelta | bool | Sequence[str | os.PathLike[str]] | None

FD_KINDS = ("file", "dir", "pipe", "socket", "tty", "other")
DEFAULT_KINDS = ("file", "dir")
SCOPES = ("process", "session", "thread", "path")
PROC_BY = ("label", "comm", "lineage")


class Globs(Frozen):
    """Patterns of which any matches; with `negate`, none may."""

    patterns: tuple[str, ...]
    negate: bool = False

    def __str__(self) -> str:
        return ("!" if self.negate else "") + ",".join(quote(pattern) for pattern in self.patterns)


class Proc(Frozen):
    """Which processes: a glob over the label, the command name, the lineage, or (`by` is None) any of them."""

    pattern: str
    by: str | None = None
    negate: bool = False

    def __str__(self) -> str:
        prefix = ("!" if self.negate else "") + (f"{self.by}:" if self.by else "")
        if not self.by and self.pattern in PROC_BY:
            return f"{prefix}'{self.pattern}'"
        return prefix + quote(self.pattern)


class Rule(Frozen):
    """One rule. Times in nanoseconds; None is absent. `source` is its text as given, `columns` where its keys are."""

    names: tuple[str, ...]
    effect: Effect | None = None
    delay: Delay | None = None
    call: tuple[str, ...] = ()
    path: Globs | None = None
    from_: Globs | None = None
    to: Globs | None = None
    fd: int | None = None
    fdkind: tuple[str, ...] | None = None
    flags: tuple[str, ...] = ()
    size: Range | None = None
    offset: Range | None = None
    proc: Proc | None = None
    thread: str | None = None
    after: str | None = None
    when: Window | None = None
    scope: str | None = None
    p: Decimal | None = None
    times: int | None = None
    at_ns: int | None = None
    for_ns: int | None = None
    name: str | None = None
    source: str = ""
    columns: tuple[tuple[str, int], ...] = ()
    aside = ("source", "columns")

    def column(self, key: str) -> int:
        """Returns the column of `key` in `source`, 0 if it is not there."""
        return dict(self.columns).get(key, 0)

    @property
    def text(self) -> str:
        """The canonical spelling; parsing it gives an equal rule."""
        return ":".join(self._fields())

    @property
    def is_relative(self) -> bool:
        """Whether a path pattern of it is below the working directory."""
        globs = (self.path, self.from_, self.to)
        return any(not is_rooted(pattern) for one in globs if one is not None for pattern in one.patterns)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"rule({self.text!r})"

    def _fields(self) -> Iterator[str]:
        yield ",".join(self.names)
        if self.call:
            yield f"call={','.join(self.call)}"
        if self.effect is not None:
            yield str(self.effect)
        if self.delay is not None:
            yield str(self.delay)
        for key, globs in (("path", self.path), ("from", self.from_), ("to", self.to), ("proc", self.proc)):
            if globs is not None:
                yield f"{key}={globs}"
        if self.fdkind is not None:
            yield f"fdkind={','.join(self.fdkind) or 'any'}"
        if self.flags:
            yield f"flags={'|'.join(self.flags)}"
        for key, span in (("size", self.size), ("offset", self.offset)):
            if span is not None:
                yield f"{key}={values.format_range(span)}"
        if self.when is not None:
            yield f"when={values.format_window(self.when)}"
        if self.p is not None:
            yield f"p={values.format_decimal(self.p)}"
        for key, ns in (("at", self.at_ns), ("for", self.for_ns)):
            if ns is not None:
                yield f"{key}={values.format_duration(ns)}"
        for key, plain in (
            ("fd", self.fd), ("scope", self.scope), ("times", self.times), ("after", self.after), ("name", self.name)
        ):  # fmt: skip
            if plain is not None:
                yield f"{key}={plain}"
        if self.thread is not None:
            yield f"thread={quote(self.thread)}"


def text_of(rule: object) -> str:
    """Returns the text of a rule, which may be text already. Raises TypeError for anything else."""
    if isinstance(rule, Rule):
        return rule.source or rule.text
    if not isinstance(rule, str):
        raise TypeError(f"a rule is text or a Rule, not {rule!r}")
    return rule


def default_scope(rule: Rule) -> str:
    """What `when=` and `times=` count without `scope=`. The clock is everybody's: so are its readings."""
    return "session" if isinstance(rule.effect, ClockChange) else "process"


# The typed constructors.

_LITERAL = ("path", "from", "to", "thread")  # globs: whatever they hold is the pattern's


def _value_text(key: str, value: Value) -> str:
    from datetime import timedelta
    from decimal import Decimal

    if isinstance(value, timedelta):
        micro = value // timedelta(microseconds=1)
        return f"{'-' if micro < 0 else ''}{abs(micro)}us"
    if isinstance(value, float):
        return values.format_decimal(Decimal(repr(value)))
    if isinstance(value, os.PathLike):
        value = value.__fspath__()
    if isinstance(value, str | int | Decimal):
        text = str(value)
        if key in _LITERAL:
            return text[: text.startswith("!")] + quote(text.removeprefix("!"))
        if key == "proc":
            by, colon, pattern = text.partition(":")
            return f"{by}:{quote(pattern)}" if colon and by.removeprefix("!") in PROC_BY else quote(text)
        return quote(text) if any(c in ":'\"" for c in text) else text
    if not isinstance(value, list | tuple) or any(isinstance(item, list | tuple) for item in value):
        kinds = "text, a path, a number, a timedelta, or a list of them"
        raise TypeError(f"{key}={value!r}: what a rule's key is given is {kinds}, not {type(value).__name__}")
    return ("|" if key == "flags" else ",").join(_value_text(key, item) for item in value)


def spell(operations: str | Sequence[str], **keys: Value) -> str:
    """Writes a rule from typed values: `spell("write", error="EIO", path="a:b")`.

    `from_`, `for_` and `return_` stand for the keys that Python reserves; None leaves a key out, True gives a bare one.
    Durations are text or timedelta, lists are comma lists, and the text of a glob needs no quoting; a Path is a glob as well.
    The text is not yet checked. Raises TypeError for values of other types.
    """
    names = operations if isinstance(operations, str) else ",".join(_names(operations))
    given = {key.removesuffix("_"): value for key, value in keys.items() if value is not None and value is not False}
    return ":".join([names, *(spell_field(key, value) for key, value in given.items())])


def _names(operations: Sequence[object]) -> list[str]:
    names = []
    for name in operations if hasattr(operations, "__iter__") else [operations]:
        if not isinstance(name, str):
            raise TypeError(f"the name of an operation is text, not {name!r}")
        names.append(name)
    return names


def spell_field(key: str, value: Value) -> str:
    """Writes one field of a rule; True gives the bare key."""
    return key if value is True else f"{key}={_value_text(key, value)}"


def build(operations: str | Sequence[str], **keys: Value) -> Rule:
    """Makes a rule from typed values, see `spell`. Raises RuleError."""
    from faultlib.inject.grammar import parse_rule  # the grammar builds on this module

    return parse_rule(spell(operations, **keys))


def error(operations: str | Sequence[str], number: int | str, *, force: bool = False, **keys: Value) -> Rule:
    """The call fails with an errno; `force` overrides the errno table."""
    return build(operations, **{"error!" if force else "error": number}, **keys)


def short(operations: str | Sequence[str], part: int | str, **keys: Value) -> Rule:
    """Only a part of the data is moved: bytes, or per cent as text."""
    return build(operations, short=part, **keys)


def torn(operations: str | Sequence[str], part: int | str, **keys: Value) -> Rule:
    """A part of the data is written (bytes, or per cent as text), then the process dies."""
    return build(operations, torn=part, **keys)


def delay(
    operations: str | Sequence[str], by: str | timedelta, jitter: str | timedelta | None = None, *, after: bool = False,
    **keys: Value,
) -> Rule:  # fmt: skip
    """The call is late by `by`, give or take up to `jitter`."""
    text = _value_text("delay", by) + (f"+-{_value_text('delay', jitter)}" if jitter is not None else "")
    return build(operations, **{"delay_after" if after else "delay": text}, **keys)


def kill(operations: str | Sequence[str], when_: str = "before", **keys: Value) -> Rule:
    """The process dies `before` the call or `after` it."""
    return build(operations, kill=when_, **keys)


def signal(operations: str | Sequence[str], number: int | str, **keys: Value) -> Rule:
    """A signal arrives before the call."""
    return build(operations, signal=number, **keys)


def stop(operations: str | Sequence[str], **keys: Value) -> Rule:
    """The process stops before the call."""
    return build(operations, stop=True, **keys)


def hang(operations: str | Sequence[str], **keys: Value) -> Rule:
    """The call does not come back."""
    return build(operations, hang=True, **keys)


def returns(operations: str | Sequence[str], value: int, **keys: Value) -> Rule:
    """The call is not made and returns `value`."""
    return build(operations, return_=value, **keys)


def skip(operations: str | Sequence[str], **keys: Value) -> Rule:
    """The call is not made and pretends full success."""
    return build(operations, skip=True, **keys)


def corrupt(operations: str | Sequence[str], size_bytes: int, **keys: Value) -> Rule:
    """So many bytes of the data get one bit flipped."""
    return build(operations, corrupt=size_bytes, **keys)


def space(operations: str | Sequence[str], size: int | str, **keys: Value) -> Rule:
    """The disk is full after `size` of growth."""
    return build(operations, space=size, **keys)


def clock(verb: str, value: Value = True, **keys: Value) -> Rule:
    """The clock is changed: `clock("offset", "+1h")`, `clock("freeze", at="5s", for_="2s")`."""
    if not isinstance(verb, str):
        raise TypeError(f"what a clock does is text, as in clock('offset', '+1h'), not {verb!r}")
    return build("clock", **{verb: value}, **keys)
