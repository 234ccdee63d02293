"""What a glob can match, piece by piece as csrc/decide.c reads it (`fl_glob`): for refusing those that never match.

A piece is the set of bytes that it takes, as bits of a number; None is `*`. Names hold any byte but NUL.
"""

from __future__ import annotations

import os

from faultlib.inject.values import Bad

ANY = (1 << 256) - 2
NAME_BYTES = 255
PROCESS_NAMES: dict[str | None, tuple[int, str]] = {
    "label": (31, "a label"), "comm": (15, "a command name"), None: (95, "what a process is called")
}  # fmt: skip
"""How long the things can be that `proc=` looks at; the longest is the lineage."""
PATH_BYTES = 4095
Piece = int | None

# Languages as machines: state -> the bytes that lead on, and where to. State 0 is the beginning, those below END are no end.
_END = 10
Machine = dict[int, tuple[tuple[str, int], ...]]
_THREAD: Machine = {0: (("1", 10),), 10: ((".", 1),), 1: (("123456789", 11),), 11: (("0123456789", 11), (".", 1))}
"""1 is the main thread; 1.2 the second one that it made."""
_LINEAGE: Machine = {
    0: (("123456789", 10), ("~", 3)), 10: (("0123456789", 10), ("?", 1), (".", 1)), 1: (("123456789", 11),),
    11: (("0123456789", 11), (".", 1)), 3: (("0123456789", 12),), 12: (("0123456789", 12), (".", 1)),
}  # fmt: skip
"""1 is the first command; 1.2 its second child; 1?3 a stranger in its tree; ~N what grew too long."""


def pieces(pattern: str) -> list[Piece]:
    """Returns the pieces of a pattern. Raises Bad for a set that no byte is in."""
    text, at = os.fsencode(pattern), 0
    found: list[Piece] = []
    while at < len(text):
        byte, start = text[at : at + 1], at
        at += 1
        if byte == b"*":
            found.append(None)
        elif byte == b"?":
            found.append(ANY)
        elif byte == b"[" and (end := _set_end(text, at)) is not None:
            bits = _set(text[at:end])
            at = end + 1
            if not bits:
                inner = os.fsdecode(text[start:at])
                raise Bad(f"{inner} is an empty set: no name matches", len(os.fsdecode(text[:start])), _turned(pattern, inner))
            found.append(bits)
        else:
            if byte == b"\\" and at < len(text):
                byte = text[at : at + 1]
                at += 1
            found.append(1 << byte[0])
    return found


def _set_end(text: bytes, at: int) -> int | None:
    """Where the set that begins at `at` is closed; None if it is not: then its bracket is a plain character."""
    at += text[at : at + 1] in (b"!", b"^")
    first = True
    while at < len(text) and (first or text[at] != ord("]")):
        at = _member(text, at)[2]
        first = False
    return at if at < len(text) else None


def _member(text: bytes, at: int) -> tuple[int, int, int]:
    """The first and the last byte of the range at `at`, and where the next one begins."""
    low, at = _literal(text, at)
    if text[at : at + 1] != b"-" or text[at + 1 : at + 2] in (b"", b"]"):
        return low, low, at
    high, at = _literal(text, at + 1)
    return low, high, at


def _literal(text: bytes, at: int) -> tuple[int, int]:
    at += text[at] == ord("\\") and at + 1 < len(text)
    return text[at], at + 1


def _set(inner: bytes) -> int:
    negate = inner[:1] in (b"!", b"^")
    bits, at = 0, int(negate)
    while at < len(inner):
        low, high, at = _member(inner, at)
        if low <= high:
            bits |= (1 << high + 1) - (1 << low)
    return (ANY & ~bits if negate else bits) & ANY


def _turned(pattern: str, inner: str) -> str | None:
    """The pattern with the two ends of `[z-a]` exchanged."""
    if len(inner) == 5 and inner[2] == "-":
        return pattern.replace(inner, f"[{inner[3]}-{inner[1]}]", 1)
    return None


def check_path(pattern: str) -> None:
    """Raises Bad if no path can match: a set that is empty, a name or a path that is too long."""
    found = pieces(pattern)
    if sum(piece is not None for piece in found) > PATH_BYTES:
        raise Bad(f"a path has at most {PATH_BYTES} bytes: no call matches")
    run = 0
    for piece in found:
        run = 0 if piece is None or piece >> ord("/") & 1 else run + 1
        if run > NAME_BYTES:
            raise Bad(f"a name in a path has at most {NAME_BYTES} bytes: no call matches")


def check_length(pattern: str, most: int, what: str) -> None:
    """Raises Bad if nothing of at most `most` bytes matches."""
    if sum(piece is not None for piece in pieces(pattern)) > most:
        raise Bad(f"{what} has at most {most} bytes: no process matches")


def check_thread(pattern: str) -> None:
    """Raises Bad if no thread's path matches."""
    if not _meets(pieces(pattern), _THREAD):
        raise Bad(f"{pattern} is not a thread: 1 is a process' first one, 1.2 the second that it made", 0, "1")


def check_lineage(pattern: str) -> None:
    """Raises Bad if no lineage matches."""
    if not _meets(pieces(pattern), _LINEAGE):
        raise Bad(f"{pattern} is not a lineage: 1 is the command, 1.2 its second child")


def _meets(found: list[Piece], machine: Machine) -> bool:
    """Whether some word of the language matches. One that is cut for its length may end anywhere, so behind a `*` all do."""
    states = {0}
    for piece in found:
        if piece is None:
            states = _reach(states, machine)
        else:
            states = {to for state in states for bytes_, to in machine[state] if any(piece >> ord(c) & 1 for c in bytes_)}
    return bool(states) and (None in found or any(state >= _END for state in states))


def _reach(states: set[int], machine: Machine) -> set[int]:
    while more := {to for state in states for _, to in machine[state]} - states:
        states = states | more
    return states
