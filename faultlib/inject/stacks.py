"""Source lines of calls: the text that the shim has kept, taken apart, and the line that is the program's own."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from faultlib.inject import native

_LINE = re.compile(r'  File (?:"(?P<file>.*)"|(?P<unknown>\?\?\?)), line (?P<line>\d+|\?\?\?) in (?P<function>.*)')
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")
# The standard library and installed packages, wherever Python was installed; and what is frozen into it. For other programs, the
# system's libraries and headers.
_LIBRARY = re.compile(rf"/lib(?:64)?/(?:python|pypy)\d[\d.]*t?(?:\.zip)?/(?!(?:site|dist)-packages/)|^<frozen |{native.SYSTEM}")
_NOT_OWN = re.compile(rf"/lib(?:64)?/(?:python|pypy)\d[\d.]*t?(?:\.zip)?/|/(?:site|dist)-packages/|^<frozen |{native.SYSTEM}")


class Frame(NamedTuple):
    """One line of source on the stack. `line` is 0 where it is not known, as in programs without debug information."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else f"{self.file}:{self.function}"


def parse(text: bytes) -> tuple[Frame, ...]:
    """Reads a stack in the words of Python's faulthandler, innermost frame first; what is no frame is left out.

    Of other programs it is the frames of the executable and its libraries, in the words of the shim.
    """
    if text.startswith(native.MARK):
        return tuple(Frame(*place) for place in native.places(text))
    return tuple(frame for frame in map(_frame, text.decode("utf-8", "replace").splitlines()) if frame)


@lru_cache(maxsize=8192)
def _frame(line: str) -> Frame | None:
    """Most stacks have most of their lines in common."""
    match = _LINE.fullmatch(line)
    if not match:
        return None
    number = match["line"]
    return Frame(_plain(_unescape(match["file"] or "???")), int(number) if number.isdigit() else 0, _unescape(match["function"]))


def _unescape(text: str) -> str:
    """faulthandler writes everything beyond ASCII as an escape."""
    return _ESCAPE.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), text)


def _plain(file: str) -> str:
    """A name without `..`, if it is still that of the file: behind a link it may not be."""
    if "/../" not in file:
        return file
    plain = os.path.normpath(file)
    try:
        return plain if os.path.realpath(plain) == os.path.realpath(file) else file
    except OSError:  # a relative one, and the current directory is gone
        return file


@lru_cache(maxsize=4096)
def is_own(file: str) -> bool:
    """Whether the file belongs to the program, and not to Python's library, an installed package or the system."""
    return not _NOT_OWN.search(file)


def own_frame(frames: Sequence[Frame]) -> Frame | None:
    """The innermost frame of the program's own code; the innermost of all if none is its own; None without frames."""
    return next((frame for frame in frames if is_own(frame.file)), frames[0] if frames else None)


def short(frame: Frame) -> str:
    """The frame for a person's eye: the file below this directory by its relative name, others by their last."""
    if frame.file.startswith("<"):
        return str(frame)
    file = Path(frame.file)
    try:
        here = Path.cwd()
    except FileNotFoundError:  # removed: nothing is below it
        return str(frame._replace(file=file.name))
    return str(frame._replace(file=str(file.relative_to(here)) if file.is_relative_to(here) else file.name))


def outside_library(frames: Sequence[Frame]) -> Frame | None:
    """Returns the innermost line that is not the standard library's; it may be an installed package's."""
    return next((frame for frame in frames if not _LIBRARY.search(frame.file)), frames[0] if frames else None)
