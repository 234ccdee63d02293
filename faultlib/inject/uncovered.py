"""Why the shim is not in a program that a target went on to, as far as that can be told afterwards."""

from __future__ import annotations

import stat
from functools import lru_cache
from pathlib import Path

from faultlib.inject import target
from faultlib.inject.control import ProcessView

NOT_AWAKE = "the shim did not wake up in it, or did not get at the session's memory"
"""It may also have been killed on the way there."""


def why(process: ProcessView) -> str:
    """Returns the reason, for a process in state exec-pending."""
    if process.other_session:
        return "it belongs to a session of its own"
    if process.out_of_reach:
        return "the session's folder cannot be reached from its root directory, its mounts or as its user"
    return _of_image(process.exe) or NOT_AWAKE


@lru_cache(maxsize=256)
def _of_image(exe: str) -> str | None:
    if not exe.startswith("/"):
        return None
    try:
        image = target.inspect(exe)
        mode = Path(image.path).stat().st_mode
    except OSError:  # it is gone, or not for us to read
        return None
    if image.why_not is None and mode & (stat.S_ISUID | stat.S_ISGID):  # of ours, run by another user
        return "it is setuid or setgid: the loader ignores LD_PRELOAD there"
    return image.why_not
