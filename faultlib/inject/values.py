"""The values of a rule's keys: durations, sizes, ranges, windows, probabilities. Text to value and back, exactly.

Every reader raises `Bad`, which carries where in the value the trouble is and the nearest valid spelling; every writer
gives the canonical spelling, which its reader takes back unchanged.
"""

from __future__ import annotations

from faultlib.inject.frozen import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from decimal import Decimal

U64 = (1 << 64) - 1
I64 = (1 << 63) - 1
NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_DIGITS = 30
"""Longer numbers are out of every range."""
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Bad(ValueError):
    """A value that cannot be read: `at` is the offset of the trouble in its text."""

    def __init__(self, reason: str, at: int = 0, nearest: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at
        self.nearest = nearest


class Range(Frozen):
    """Both ends inclusive; None is open."""

    low: int | None
    high: int | None


class Window(Frozen):
    """Of the matching calls, counted from 1: every `step`-th from `first` to `last` (None: for ever)."""

    first: int
    last: int | None
    step: int = 1


class Part(Frozen):
    """How much of a call's data: so many bytes, or so many per cent. Exactly one of them is set."""

    size_bytes: int | None = None
    percent: int | None = None


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Returns the choice that is spelled most like `word`, if any is near enough."""
    choices = list(choices)
    lowered = {choice.lower(): choice for choice in choices}
    if word.lower() in lowered:
        return lowered[word.lower()]
    import difflib

    found = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)
    return lowered[found[0]] if found else None


def one_of(word: str, choices: Iterable[str], what: str) -> str:
    """Returns `word` if it is one of the choices. Raises Bad, which names them all."""
    choices = list(choices)
    if word not in choices:
        raise Bad(f"{word or 'nothing'} is not {what}: {', '.join(choices)}", 0, nearest(word, choices))
    return word


def integer(text: str, low: int, high: int, what: str) -> int:
    """Reads a decimal whole number from `low` to `high`."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise Bad(f"{what} is a whole number, not {text or 'nothing'}")
    value = int(text[:_DIGITS])
    if not low <= value <= high:
        raise Bad(f"{what} is from {low} to {high}", 0, str(min(max(value, low), high)))
    return value


def duration(text: str, what: str = "a duration") -> int:
    """Reads a duration such as `200ms`, `1.5s` or `1h30m`, in nanoseconds: 0 to about 292 years, no sign."""
    from decimal import Decimal

    total, i = 0, 0
    if not text:
        raise Bad(f"{what} is missing")
    while i < len(text):
        start = i
        while i < len(text) and text[i] in "0123456789.":
            i += 1
        number, unit_at = text[start:i], i
        while i < len(text) and text[i].isalpha():
            i += 1
        unit = text[unit_at:i].replace("µ", "u").replace("μ", "u")
        if not number or number.count(".") > 1 or number == "." or len(number) > _DIGITS:
            raise Bad(f"{what} is a number with a unit, as in 200ms", start)
        if not unit:
            raise Bad(f"{what} needs a unit: {' '.join(NS)}", unit_at, f"{text}s" if i == len(text) else None)
        if unit not in NS:
            near = {"min": "m", "sec": "s", "msec": "ms", "usec": "us"}.get(unit) or nearest(unit, NS)
            nearest_text = near and text[:unit_at] + near + text[i:]
            raise Bad(f"{unit} is not a unit of time: {' '.join(NS)}", unit_at, nearest_text)
        value = Decimal(number) * NS[unit]
        if value != int(value):
            raise Bad(f"{what} is in whole nanoseconds", start)
        total += int(value)
    if total > I64:
        raise Bad(f"{what} is at most {I64}ns, 292 years")
    return total


def format_duration(ns: int) -> str:
    """Writes nanoseconds in the largest unit that divides them."""
    unit = next(u for u in reversed(NS) if ns % NS[u] == 0) if ns else "s"
    return f"{ns // NS[unit]}{unit}"


def signed_duration(text: str, what: str) -> int:
    """Reads a duration with an optional sign, in nanoseconds."""
    sign = text[:1] if text[:1] in ("+", "-") else ""
    try:
        value = duration(text[len(sign) :], what)
    except Bad as bad:
        raise Bad(bad.reason, bad.at + len(sign), sign + bad.nearest if bad.nearest else None) from None
    return -value if sign == "-" else value


def format_signed_duration(ns: int) -> str:
    """Writes nanoseconds with their sign."""
    return ("-" if ns < 0 else "+") + format_duration(abs(ns))


def size(text: str, what: str = "a size") -> int:
    """Reads a number of bytes, with an optional K, M, G or T (or KiB …), powers of 1024. 0 to 2^63 - 1."""
    digits = text.rstrip("BKMGTIkmgtib")
    unit = text[len(digits) :]
    short = unit.upper().removesuffix("B").removesuffix("I")
    if not (digits.isascii() and digits.isdigit()):
        raise Bad(f"{what} is a number of bytes, as in 512 or 64K, not {text or 'nothing'}")
    if short not in _BYTES or (len(unit) > 1 and unit.upper() not in (short + "IB", short + "B")):
        nearest_text = digits + unit[0].upper() if unit[0].upper() in _BYTES else None
        raise Bad(f"{unit} is not a unit of bytes: K M G T", len(digits), nearest_text)
    value = int(digits[:_DIGITS]) * _BYTES[short]
    if value > I64:
        raise Bad(f"{what} is at most {I64} bytes")
    return value


def format_size(value: int) -> str:
    """Writes bytes in the largest unit that divides them."""
    unit = next(u for u in reversed(_BYTES) if value % _BYTES[u] == 0) if value else ""
    return f"{value // _BYTES[unit]}{unit}"


def signed_size(text: str, what: str) -> int:
    """Reads a number of bytes that may be negative (a position)."""
    if not text.startswith("-"):
        return size(text, what)
    try:
        return -size(text[1:], what)
    except Bad as bad:
        raise Bad(bad.reason, bad.at + 1, "-" + bad.nearest if bad.nearest else None) from None


def size_range(text: str, what: str, read: Callable[[str, str], int] = size) -> Range:
    """Reads `N`, `N..M`, `N+` or `..M`, of bytes, both ends inclusive."""
    if ".." in text:
        left, _, right = text.partition("..")
        low = read(left, what) if left else None
        try:
            high = read(right, what) if right else None
        except Bad as bad:
            raise Bad(bad.reason, len(left) + 2 + bad.at, bad.nearest and f"{left}..{bad.nearest}") from None
        if low is None and high is None:
            raise Bad("a range needs an end: N, N..M, N+ or ..M")
        if high is None:
            raise Bad("a range without end is written N+", len(left), f"{left}+")
        if low is not None and low > high:
            raise Bad(f"{left} is more than {right}", 0, f"{right}..{left}")
        return Range(low, high)
    if text.endswith("+"):
        return Range(read(text[:-1], what), None)
    value = read(text, what)
    return Range(value, value)


def format_range(value: Range) -> str:
    """Writes a range of bytes."""

    def end(n: int) -> str:
        return format_size(n) if n >= 0 else "-" + format_size(-n)

    if value.high is None:
        return f"{end(value.low or 0)}+"
    if value.low is None:
        return f"..{end(value.high)}"
    return end(value.low) if value.low == value.high else f"{end(value.low)}..{end(value.high)}"


def window(text: str) -> Window:
    """Reads `N`, `N..M`, `N+`, `N+S` or `N..M+S`, of matching calls counted from 1."""
    span, plus, step_text = text.partition("+")
    first_text, dots, last_text = span.partition("..")
    first = integer(first_text, 1, U64, "a call, counted from 1,")
    last: int | None = None if plus and not dots else first
    if dots:
        try:
            last = integer(last_text, 1, U64, "the last call")
        except Bad as bad:
            hint = f"{first_text}+" if not last_text else None
            raise Bad(bad.reason, len(first_text) + 2, hint) from None
        if last < first:
            raise Bad(f"{first} is more than {last}: no call is in this window", 0, f"{last}..{first}")
    step = 1
    if step_text:
        try:
            step = integer(step_text, 1, U64, "the step")
        except Bad as bad:
            raise Bad(bad.reason, len(span) + 1, bad.nearest and f"{span}+{bad.nearest}") from None
    elif plus and dots:
        raise Bad("a step is missing after +", len(span) + 1, span)
    return Window(first, last, step)


def format_window(value: Window) -> str:
    """Writes a window."""
    step = "" if value.step == 1 else str(value.step)
    if value.last is None:
        return f"{value.first}+{step}"
    if value.last == value.first and not step:
        return str(value.first)
    return f"{value.first}..{value.last}" + (f"+{step}" if step else "")


def decimal(text: str, what: str) -> Decimal:
    """Reads a plain decimal number, without sign or exponent, of at most 28 digits behind its leading zeros."""
    if not text.isascii() or not text.replace(".", "", 1).isdigit():
        raise Bad(f"{what} is a decimal number, not {text or 'nothing'}")
    if len(text.replace(".", "").lstrip("0")) > 28:
        raise Bad(f"{what} has at most 28 digits")
    from decimal import Decimal

    return Decimal(text)


def format_decimal(value: Decimal | int) -> str:
    """Writes a decimal number without exponent or trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def probability(text: str) -> Decimal:
    """Reads a probability: more than 0, at most 1, or per cent; 2^-32 is the least that can be drawn."""
    value = decimal(text.removesuffix("%"), "a probability")
    if text.endswith("%"):
        value /= 100
    if value > 1:
        per_cent = "100%" if text.endswith("%") else f"{format_decimal(value)}%" if 2 <= value <= 100 else "1"
        raise Bad("a probability is at most 1", 0, per_cent)
    if int(value * (1 << 32)) == 0:
        raise Bad("at this probability the rule never acts")
    return value.normalize()


def part(text: str, what: str) -> Part:
    """Reads a number of bytes, or 1 to 99 per cent."""
    if text.endswith("%"):
        return Part(percent=integer(text[:-1], 1, 99, f"{what} in per cent"))
    return Part(size_bytes=size(text, what))


def format_part(value: Part) -> str:
    """Writes a number of bytes or a percentage."""
    return f"{value.percent}%" if value.percent is not None else format_size(value.size_bytes or 0)
