"""Stacks of programs that are not Python: return addresses, as the shim writes them, made into source lines and functions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from faultlib.inject import dwarf, symbols

MARK = b"native\0"
SYSTEM = "|".join([
    r"^/(?:usr/(?:local/)?)?lib(?:x?32|64)?/.*\.so(?:\.\d+)*$", r"^/usr/(?:lib/gcc|include)/",
    r"^/rustc/|/rustlib/src/|/\.cargo/registry/",
])  # fmt: skip
"""The libraries of the system, and what of such libraries is compiled into programs."""
_IS_SYSTEM = re.compile(SYSTEM)


def places(text: bytes) -> Iterator[dwarf.Place]:
    """Returns file, line and function of each frame, innermost first.

    Where the line is not known it is 0, the file is the executable or library, and the function has an offset behind it.
    """
    file = build = ""
    fields = os.fsdecode(text.removeprefix(MARK)).split("\0")
    for name, number, address in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
        file, build = (name, number) if name or number else (file, build)
        yield from _of(file, build, int(address, 16))


@lru_cache(maxsize=8192)
def _of(file: str, build: str, address: int) -> tuple[dwarf.Place, ...]:
    """One frame, and those of the functions that were inlined there. No names from another build than the one that ran."""
    found = symbols.image(file).build_id
    if build != "0" and not found.startswith(bytes.fromhex(build.zfill(16))):
        return ((file, 0, f"{address:#x}"),)
    function = symbols.name(file, address)
    lines = dwarf.places(file, address)
    if not lines:
        return ((file, 0, function),)
    if not _IS_SYSTEM.search(file):
        return tuple((source, line, name or function) for source, line, name in lines)
    return tuple((file, 0, f"{name or function} at {Path(source).name}:{line}") for source, line, name in lines)
