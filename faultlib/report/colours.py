"""Whether and how a report is coloured."""

from __future__ import annotations

import os
from typing import IO, Any

from faultlib.explore.finding import NOTE, SUSPICION, VIOLATION
from faultlib.report.streams import say

SEVERITY: dict[str, dict[str, Any]] = {
    VIOLATION: {"fg": "red", "bold": True}, SUSPICION: {"fg": "yellow", "bold": True}, NOTE: {"fg": "cyan", "bold": True},
}  # fmt: skip


def coloured(stream: IO[str]) -> bool:
    """Whether a stream is a terminal with colours, and its user wants them (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def put(text: str, stream: IO[str]) -> None:
    """Prints a text. What the stream's encoding lacks becomes an escape rather than an error; what it does not take is lost."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    say(text.encode(encoding, "backslashreplace").decode(encoding), stream)
