"""The text of a rule to a Rule. The one parser: rule files and the typed constructors come through here as well.

    rule = names { ":" field }        names = name { "," name }        field = key [ ( "=" | "!=" ) value ]

docs/rules.md has the whole grammar. Each key is one row of `_KEYS`: which field of the Rule it sets, and its reader.
"""

from __future__ import annotations

import itertools
import os

from faultlib.errors import RuleError
from faultlib.inject import check, effects, errnos, lexer, ops, rules, values
from faultlib.inject import flags as flag_words
from faultlib.inject.directory import is_rooted
from faultlib.inject.frozen import Frozen
from faultlib.inject.lexer import Word
from faultlib.inject.rules import Globs, Proc, Rule
from faultlib.inject.values import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Reader = Callable[[Word], Any]


def _text(read: Callable[..., Any], *arguments: Any) -> Reader:
    """A reader of the whole value as text."""
    return lambda word: read(word.text, *arguments)


def _list(word: Word, choices: Sequence[str], what: str) -> tuple[str, ...]:
    """Reads a comma list of different words, all of which are choices."""
    found: list[str] = []
    for piece in word.split(","):
        at = piece.column() - word.column()
        try:
            item = values.one_of(piece.text, choices, what)
        except Bad as bad:
            raise Bad(bad.reason, at, bad.nearest) from None
        if item in found:
            raise Bad(f"{item} is there twice", at)
        found.append(item)
    return tuple(found)


def read_globs(word: Word) -> Globs:
    """Reads the value of `path=`. Raises Bad."""
    negate = word.text.startswith("!")
    patterns = []
    for piece in word[1 if negate else 0 :].split(",") if negate else word.split(","):
        at = piece.column() - word.column()
        try:
            patterns.append(check.path_glob(piece.text))
        except Bad as bad:
            raise Bad(bad.reason, at + bad.at, bad.nearest and lexer.quote(bad.nearest)) from None
    if sum(1 if is_rooted(pattern) else 2 for pattern in patterns) > check.MAX_GLOBS:
        most = f"at most {check.MAX_GLOBS} globs, where one below the working directory counts twice"
        raise Bad(most, 0)
    _leave_something(negate, *patterns)
    return Globs(tuple(patterns), negate)


def _leave_something(negate: bool, *patterns: str) -> None:
    everything = next((pattern for pattern in patterns if not pattern.strip("*")), None)
    if negate and everything:
        raise Bad(f"!{everything} leaves nothing: no call matches")


def _proc(word: Word) -> Proc:
    from faultlib.inject import globs

    negate = word.text.startswith("!")
    word = word[1 if negate else 0 : len(word.text)]
    colon = word.find(":")
    by = word.text[:colon] if colon >= 0 else None
    pattern = word.text[colon + 1 :]
    if not pattern:
        raise Bad(f"a glob is missing: proc=GLOB, or one of {', '.join(f'{by}:GLOB' for by in rules.PROC_BY)}")
    _leave_something(negate, pattern)
    at = negate + colon + 1
    try:
        if by == "lineage":
            globs.check_lineage(pattern)
        else:
            globs.check_length(pattern, *globs.PROCESS_NAMES[by])
    except Bad as bad:
        raise Bad(bad.reason, at + bad.at, bad.nearest) from None
    return Proc(pattern, by, negate)


def _thread(word: Word) -> str:
    from faultlib.inject import globs

    if word.text.startswith("!"):
        raise Bad("thread= cannot be negated")
    globs.check_thread(word.text)
    return word.text


def _fdkind(word: Word) -> tuple[str, ...]:
    if word.text == "any":
        return ()
    kinds = _list(word, (*rules.FD_KINDS, "any"), "a kind of descriptor")
    if "any" in kinds:
        raise Bad("any stands alone: it is all kinds", 0, "any")
    return kinds


def _offset(word: Word) -> values.Range:
    try:
        values.signed_duration(word.text, "")
    except Bad:
        return values.size_range(word.text, "a position", values.signed_size)
    raise Bad("here offset= is a range of positions in a file; only a rule on clock takes a time", 0, None)


def _flags(word: Word) -> tuple[str, ...]:
    flags = tuple(word.text.split("|"))
    at = 0
    for number, flag in enumerate(flags):
        if not flag.removeprefix("!"):
            raise Bad("a flag is missing", at)
        if flag in flags[:number]:
            raise Bad(f"{flag} is there twice", at)
        if flag.removeprefix("!")[0].isdigit() and flag_words.number(flag.removeprefix("!")) is None:
            raise Bad("flags as a number are from 0 to 0xffffffff: an argument has 32 bits", at)
        at += len(flag) + 1
    return flags


def _identifier(word: Word) -> str:
    allowed = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "_" for c in word.text)
    if allowed != word.text:
        raise Bad("a name has letters, digits, _ . and -", 0, allowed)
    return word.text


def _error(word: Word) -> effects.Error:
    number = errnos.number_of(word.text)
    if number is None:
        raise Bad(f"{word.text} is not an errno", 0, values.nearest(word.text, errnos.all_errnos()))
    return effects.Error(number)


def _signal(word: Word) -> effects.Signal:
    return effects.Signal(check.signal_number(word.text))


def _delay(word: Word, after: bool) -> effects.Delay:
    text = word.text.replace("±", "+-")
    base, mark, jitter = text.partition("+-")
    delay_ns = values.duration(base, "a delay")
    if delay_ns == 0:
        raise Bad("a delay of 0 does nothing")
    jitter_ns = 0
    if mark:
        offset = len(base) + (1 if "±" in word.text else 2)
        try:
            jitter_ns = values.duration(jitter, "the jitter")
        except Bad as bad:
            raise Bad(bad.reason, offset + bad.at, bad.nearest and f"{base}+-{bad.nearest}") from None
        if jitter_ns > delay_ns:
            raise Bad(f"the jitter is more than the delay, {base}", offset, f"{base}+-{base}")
    return effects.Delay(delay_ns, jitter_ns, after)


def _kill(word: Word) -> effects.Kill:
    return effects.Kill(values.one_of(word.text, ("before", "after"), "a moment to die") == "after")


def _part(kind: type[effects.Short] | type[effects.Torn]) -> Reader:
    return lambda word: kind(values.part(word.text, "the part that is moved"))


def _bytes(kind: type[effects.Corrupt] | type[effects.Space], what: str) -> Reader:
    def read(word: Word) -> effects.Effect:
        size = values.size(word.text, what)
        if size == 0 and kind is effects.Corrupt:
            raise Bad("to corrupt 0 bytes does nothing", 0, "1")
        return kind(size)

    return read


def _return(word: Word) -> effects.Return:
    return effects.Return(values.integer(word.text, -values.I64 - 1, values.I64, "a return value"))


def _clock_ns(verb: str) -> Reader:
    return lambda word: effects.ClockChange(verb, ns=values.signed_duration(word.text, f"the {verb}"))


def _rate(word: Word) -> effects.ClockChange:
    rate, least = values.decimal(word.text, "a rate"), values.decimal(check.MIN_RATE, "a rate")
    if rate == 0:
        raise Bad("a clock at rate 0 stands still, which is freeze", 0, "freeze")
    if rate < least or rate > check.MAX_RATE:
        raise Bad(f"a rate is from {check.MIN_RATE} to {check.MAX_RATE}")
    return effects.ClockChange("rate", rate=rate.normalize())


def _nonzero_duration(word: Word) -> int:
    ns = values.duration(word.text)
    if ns == 0:
        raise Bad("for 0 the window never opens")
    return ns


class _Key(Frozen):
    """How one key is read: the Rule's field that it sets, and its reader; None takes no value."""

    field: str
    read: Reader | None


_EFFECT, _DELAY = "effect", "delay"
_KEYS: dict[str, _Key] = {
    "call": _Key("call", lambda word: tuple(piece.text for piece in word.split(","))),
    "error": _Key(_EFFECT, _error),
    "short": _Key(_EFFECT, _part(effects.Short)),
    "torn": _Key(_EFFECT, _part(effects.Torn)),
    "kill": _Key(_EFFECT, _kill),
    "signal": _Key(_EFFECT, _signal),
    "stop": _Key(_EFFECT, None),
    "hang": _Key(_EFFECT, None),
    "return": _Key(_EFFECT, _return),
    "skip": _Key(_EFFECT, None),
    "corrupt": _Key(_EFFECT, _bytes(effects.Corrupt, "the damage")),
    "space": _Key(_EFFECT, _bytes(effects.Space, "the space")),
    "delay": _Key(_DELAY, lambda word: _delay(word, False)),
    "delay_after": _Key(_DELAY, lambda word: _delay(word, True)),
    "path": _Key("path", read_globs),
    "from": _Key("from_", read_globs),
    "to": _Key("to", read_globs),
    "fd": _Key("fd", _text(values.integer, 0, (1 << 31) - 1, "a descriptor")),
    "fdkind": _Key("fdkind", _fdkind),
    "flags": _Key("flags", _flags),
    "size": _Key("size", _text(values.size_range, "a size")),
    "offset": _Key("offset", _offset),
    "proc": _Key("proc", _proc),
    "thread": _Key("thread", _thread),
    "after": _Key("after", _identifier),
    "name": _Key("name", _identifier),
    "when": _Key("when", _text(values.window)),
    "scope": _Key("scope", _text(values.one_of, rules.SCOPES, "a scope")),
    "p": _Key("p", _text(values.probability)),
    "times": _Key("times", _text(values.integer, 1, values.U64, "a number of times")),
    "at": _Key("at_ns", _text(values.duration, "a time")),
    "for": _Key("for_ns", _nonzero_duration),
}
_CLOCK_KEYS: dict[str, _Key] = _KEYS | {
    "offset": _Key(_EFFECT, _clock_ns("offset")),
    "jump": _Key(_EFFECT, _clock_ns("jump")),
    "rate": _Key(_EFFECT, _rate),
    "freeze": _Key(_EFFECT, None),
    "clock": _Key("clock", lambda word: _list(word, tuple(effects.CLOCK_IDS), "a clock")),
}
_BARE: dict[str, effects.Effect] = {
    "stop": effects.Stop(),
    "hang": effects.Hang(),
    "skip": effects.Skip(),
    "freeze": effects.ClockChange("freeze"),
}
_NEGATABLE = ("path", "from", "to", "proc")
# What people write who come from strace, libfiu or a guess.
_MEANT = {
    "errno": "error", "fail": "error", "retval": "return", "ret": "return", "inject": "error", "syscall": "call",
    "delay_enter": "delay", "delay_exit": "delay_after", "delay_before": "delay", "probability": "p", "prob": "p",
    "file": "path", "glob": "path", "count": "times", "pid": "proc", "process": "proc", "comm": "proc",
    "sleep": "delay", "duration": "for", "source": "from", "target": "to", "die": "kill", "partial": "short",
    "bytes": "size", "id": "name",
}  # fmt: skip


def parse_rule(text: str) -> Rule:
    """Returns the rule that `text` spells. Raises RuleError, with the column, for whatever is not a rule.

    Raises TypeError for what is not text.
    """
    if not isinstance(text, str):
        raise TypeError(f"a rule is text, not {text!r}")
    if not text.strip():
        raise RuleError(text, 0, "an empty rule", "write:error=ENOSPC")
    _check_characters(text)
    pieces = _fields(lexer.read(text))
    _check_proc(text, pieces)
    names = _names(text, pieces[0])
    keys = _CLOCK_KEYS if "clock" in names else _KEYS
    found: dict[str, Any] = {}
    columns: dict[str, int] = {"": 0}
    for piece in pieces[1:]:
        _field(text, piece, keys, found, columns)
    clocks = found.pop("clock", None)
    effect = found.get(_EFFECT)
    if clocks is not None:
        if not isinstance(effect, effects.ClockChange):
            raise RuleError(text, columns["clock"], f"clock= goes with {', '.join(effects.CLOCK_VERBS)}")
        found[_EFFECT] = effects.ClockChange(effect.verb, effect.ns, effect.rate, clocks)
    rule = Rule(names=names, source=text, columns=tuple(columns.items()), **found)
    check.check_rule(rule)
    return rule


def path_globs(text: str) -> Globs:
    """Reads a value as `path=` has it. Raises RuleError for what cannot match."""
    _check_characters(text)
    word = lexer.read(text)
    try:
        return read_globs(word)
    except Bad as bad:
        raise RuleError(text, word.column(bad.at), bad.reason, bad.nearest) from None


def as_rule(rule: object) -> Rule:
    """Returns a rule that is text or one already. Raises RuleError, and TypeError for anything else."""
    if isinstance(rule, Rule):
        return rule if rule.source else parse_rule(rule.text)  # one that was put together by hand is checked now
    if not isinstance(rule, str):
        raise TypeError(f"a rule is text or a Rule, not {rule!r}")
    return parse_rule(rule)


def parse_rules(texts: Sequence[str], known: Sequence[str] = ()) -> list[Rule]:
    """Returns the rules of a list, checked together; `known` names rules that are already live. Raises RuleError."""
    found = [parse_rule(text) for text in texts]
    check.check_rules(found, known)
    return found


def _fields(word: Word) -> list[Word]:
    """Splits at the colons, except at the one of `proc=label:GLOB`."""
    found, start = [], 0
    while True:
        stop = word.find(":", start)
        if stop >= 0 and _is_proc_prefix(word[start:stop]):
            stop = word.find(":", stop + 1)
        if stop < 0:
            found.append(word[start : len(word.text)])
            return found
        found.append(word[start:stop])
        start = stop + 1


def _check_characters(text: str) -> None:
    """Refuses what no name of a file or process has: NUL, and what is no text."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise RuleError(text, error.start, "this is no character: it has no bytes") from None
    if "\0" in text:
        raise RuleError(text, text.index("\0"), "no name has a NUL character in it")


def _check_proc(text: str, pieces: list[Word]) -> None:
    """Refuses `proc=pid:3`, whose rest would be taken for a key."""
    for piece, rest in itertools.pairwise(pieces):
        prefix = piece.text.removeprefix("proc=").removeprefix("!")
        if piece.text.startswith("proc=") and rest.text not in _CLOCK_KEYS and rest.text and rest.find("=") < 0:
            by = ", ".join(f"{by}:" for by in rules.PROC_BY)
            near = values.nearest(prefix, rules.PROC_BY)
            reason = f"a process is named by {by} or a glob alone, not by {prefix}:"
            raise RuleError(text, piece.column(5), reason, near and f"{near}:{rest.text}")


def _is_proc_prefix(piece: Word) -> bool:
    prefix = piece.text.removeprefix("proc=").removeprefix("!")
    return piece.text.startswith("proc=") and not any(piece.quoted) and prefix in rules.PROC_BY


def _names(text: str, word: Word) -> tuple[str, ...]:
    found: list[str] = []
    for piece in word.split(","):
        name, column = piece.text, piece.column()
        if not name:
            raise RuleError(text, column, "the name of an operation is missing")
        if name in ops.RESERVED:
            raise RuleError(text, column, f"{name} is a family of the network, which is not intercepted yet")
        if not ops.named(name):
            symbol = ops.of_symbol(name)
            reason = f"{name} is no operation" if symbol is None else f"{name} is a symbol of the operation {symbol}"
            raise RuleError(text, column, reason, symbol or values.nearest(name, ops.all_names()))
        if name in found:
            raise RuleError(text, column, f"{name} is there twice")
        found.append(name)
    return tuple(found)


def _field(text: str, piece: Word, keys: dict[str, _Key], found: dict[str, Any], columns: dict[str, int]) -> None:
    """Reads one field into `found`, by the Rule's field names, and notes its columns."""
    equals = piece.find("=")
    key = piece.text[:equals] if equals >= 0 else piece.text
    value = piece[equals + 1 : len(piece.text)] if equals >= 0 else None
    column = piece.column()
    forced = key == "error!"
    key = "error" if forced else key
    _check_key(text, key, column, keys)
    row = keys[key]
    if key in columns:
        raise RuleError(text, column, f"{key} is there twice")
    if row.field in found:
        other = found[row.field].key
        raise RuleError(text, column, f"{other} and {key} exclude each other in one rule: give two")
    columns[key] = column
    columns[key + "="] = value.column() if value is not None else piece.end
    if row.read is None:
        if value is not None:
            raise RuleError(text, value.column(), f"{key} takes no value", key)
        found[row.field] = _BARE[key]
        return
    if not value:
        raise RuleError(text, piece.end, f"{key} needs a value", _example(key))
    try:
        found[row.field] = row.read(value)
    except Bad as bad:
        raise RuleError(text, value.column(bad.at), bad.reason, bad.nearest) from None
    if forced:
        found[row.field] = effects.Error(found[row.field].errno, forced=True)


def _check_key(text: str, key: str, column: int, keys: dict[str, _Key]) -> None:
    if key in keys:
        return
    if not key:
        raise RuleError(text, column, "a key is missing between the colons")
    if key in _CLOCK_KEYS:
        suggestion = f"clock:{key}" if key in effects.CLOCK_VERBS else None
        raise RuleError(text, column, f"{key} is about a clock: only rules on clock have it", suggestion)
    if key.endswith("!") and key[:-1] in keys:
        if key[:-1] in _NEGATABLE:
            raise RuleError(text, column, "a pattern is negated behind the =", f"{key[:-1]}=!")
        raise RuleError(text, column, "only error has a != of its own", f"{key[:-1]}=")
    reason = f"{key} is no key of a rule"
    if ops.named(key):
        raise RuleError(text, column, f"{reason}; operations are separated by commas")
    raise RuleError(text, column, reason, _MEANT.get(key) or values.nearest(key, keys))


def _example(key: str) -> str:
    examples = {
        "error": "EIO", "short": "50%", "torn": "512", "kill": "before", "signal": "SIGTERM", "return": "0",
        "corrupt": "1", "space": "64K", "delay": "200ms", "delay_after": "200ms", "path": "*.json", "from": "*.tmp",
        "to": "*.json", "fd": "1", "fdkind": "file", "flags": "O_CREAT", "size": "4K+", "offset": "0..4095",
        "when": "3", "scope": "session", "p": "0.05", "times": "1", "at": "5s", "for": "2s", "jump": "-30s",
        "rate": "1.01", "clock": "monotonic", "thread": "*", "proc": "label:worker", "call": "pwrite", "after": "NAME",
        "name": "NAME",
    }  # fmt: skip
    return f"{key}={examples[key]}"
