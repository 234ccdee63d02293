"""Names for addresses in an ELF file: its function symbols, also those in a separate file of debug information."""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

DEBUG = Path("/usr/lib/debug/.build-id")
_SYMTAB, _NOTE, _NOBITS, _DYNSYM = 2, 7, 8, 11
_FUNC, _IFUNC = 2, 10
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_BUILD_ID = struct.pack("<I", 3) + b"GNU\0"


class Section(NamedTuple):
    """One row of the section table."""

    name: bytes
    type: int
    offset: int
    size: int
    link: int


class Image:
    """What an ELF file of 64 bits says about its code; nothing, of a file that is gone or is none."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        try:
            self.sections = tuple(self._sections()) if data.startswith(b"\x7fELF\x02\x01") else ()
            self.build_id = self._build_id()
        except (struct.error, ValueError, IndexError):  # damaged
            self.sections, self.build_id = (), b""

    def _sections(self) -> Iterator[Section]:
        (offset,) = struct.unpack_from("<Q", self.data, 40)
        size, count, names = struct.unpack_from("<HHH", self.data, 58)
        rows = [_SECTION.unpack_from(self.data, offset + i * size) for i in range(count)]
        for name, kind, _, _, at, length, link, *_ in rows:
            yield Section(self._text(rows[names][4] + name), kind, at, length, link)

    def _text(self, at: int) -> bytes:
        return self.data[at : self.data.index(b"\0", at)]

    def _build_id(self) -> bytes:
        for section in self.sections:
            note = self.data[section.offset : section.offset + section.size]
            if section.type == _NOTE and note[8:16] == _BUILD_ID:
                return note[16 : 16 + int.from_bytes(note[4:8], "little")]
        return b""

    @property
    def has_lines(self) -> bool:
        """Whether there is debug information in the file."""
        return any(section.name == b".debug_info" and section.type != _NOBITS for section in self.sections)

    @cached_property
    def functions(self) -> dict[int, tuple[int, str]]:
        """Size and name of the functions by where they start."""
        found: dict[int, tuple[int, str]] = {}
        for section in self.sections:
            if section.type in (_SYMTAB, _DYNSYM):
                try:
                    self._read(section, found)
                except (struct.error, ValueError, IndexError):  # damaged
                    continue
        return found

    def _read(self, table: Section, found: dict[int, tuple[int, str]]) -> None:
        names = self.sections[table.link].offset
        rows = self.data[table.offset : table.offset + table.size - table.size % _SYMBOL.size]
        for text, info, _, index, value, size in _SYMBOL.iter_unpack(rows):
            if info & 15 in (_FUNC, _IFUNC) and index and size and value not in found:
                found[value] = (size, os.fsdecode(self._text(names + text)))


@lru_cache(maxsize=8)
def image(file: str) -> Image:
    """Reads a file."""
    try:
        return Image(Path(file).read_bytes())
    except OSError:
        return Image(b"")


@lru_cache(maxsize=8)
def debug_image(file: str) -> Image:
    """Returns where the debug information of a file is: itself, or what was split off it, by the number of its build."""
    own = image(file)
    if own.has_lines or len(own.build_id) < 2:
        return own
    split = image(str(DEBUG / own.build_id[:1].hex() / f"{own.build_id[1:].hex()}.debug"))
    return split if split.build_id == own.build_id else own


def name(file: str, address: int) -> str:
    """Returns `function+0x1a` for the address of a call's return in the file; the bare address where no symbol covers it."""
    starts, functions = _functions(file)
    at = bisect_right(starts, address - 1) - 1
    if at >= 0 and address - 1 < starts[at] + functions[at][0]:
        return f"{functions[at][1]}+{address - starts[at]:#x}"
    return f"{address:#x}"


@lru_cache(maxsize=64)
def _functions(file: str) -> tuple[list[int], list[tuple[int, str]]]:
    found = debug_image(file).functions | image(file).functions
    starts = sorted(found)
    return starts, [found[start] for start in starts]
