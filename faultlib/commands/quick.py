"""Reads the usual form of a command line. click, which takes longer to import than a small program to run, has the others.

Both readers are made from the same declarations, and where this one answers at all, click answers the same.
"""

from __future__ import annotations

from faultlib.commands.options import FLAG, SEED, TEXT, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

SEED_DIGITS = 19
"""So many always fit into 64 bits."""


def read(options: Sequence[Option], arguments: Sequence[str]) -> dict[str, Any] | None:
    """Returns the parameters of a command that takes `options` and, behind them, a command.

    None for whatever is not usual, and for everything that is wrong: each option by itself, a value that needs no checking
    and does not look like an option, a command.
    """
    known = {spelling: option for option in options for spelling in option.spellings}
    found: dict[str, Any] = {option.name: option.unset for option in options}
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        option = known.get(word)
        if option is None:
            return None
        value = True if option.takes == FLAG else _value(option, rest.pop(0)) if rest else None
        if value is None:
            return None
        found[option.name] = (*found[option.name], value) if option.many else value
    return {**found, "cmd": tuple(rest)} if rest else None


def _value(option: Option, text: str) -> str | int | None:
    if option.takes == TEXT and not text.startswith("-"):
        return text
    if option.takes == SEED and text.isascii() and text.isdigit() and len(text) <= SEED_DIGITS:
        return int(text)
    return None
