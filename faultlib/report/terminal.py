"""Terminals and pipes: colours, width, and what an encoding lacks."""

from __future__ import annotations

import os
import shutil
import textwrap
from typing import IO, Any

from faultlib.explore.finding import NOTE, SUSPICION, VIOLATION
from faultlib.report.streams import say

SEVERITY: dict[str, dict[str, Any]] = {
    VIOLATION: {"fg": "red", "bold": True}, SUSPICION: {"fg": "yellow", "bold": True}, NOTE: {"fg": "cyan", "bold": True},
}  # fmt: skip


def coloured(stream: IO[str]) -> bool:
    """Whether a stream is a terminal with colours, and its user wants them (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width(stream: IO[str]) -> int | None:
    """Returns the columns of a terminal; None for what is none, where nothing is wrapped."""
    return shutil.get_terminal_size((100, 24)).columns if stream.isatty() else None


def wrapped(text: str, columns: int | None, left: int) -> str:
    """Returns a text in lines that fit behind a margin of `left`; as it is if there is no width."""
    if not columns:
        return text
    lines = textwrap.wrap(text, max(40, columns - left), break_long_words=False, break_on_hyphens=False)
    return f"\n{'':{left}}".join(lines)


def put(text: str, stream: IO[str]) -> OSError | None:
    """Prints a text. What the stream's encoding lacks becomes an escape rather than an error; what it does not take is lost.

    Returns why it did not take all.
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return say(text.encode(encoding, "backslashreplace").decode(encoding), stream)
