"""Our own output, on streams that may be full or broken: the command that was run, and its status, matter more."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO


def say(text: str, stream: IO[str]) -> OSError | None:
    """Writes a text. What the stream does not take is lost, and so is all that follows; returns the reason."""
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        mute(stream)
        return error
    return None


def mute(stream: IO[str]) -> None:
    """Lets what the stream still holds, and what comes after, go nowhere: Python would fail over it once more at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
    stream.flush()
