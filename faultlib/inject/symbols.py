"""Names for addresses in an executable: its function symbols, as far as it was not stripped of them."""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from functools import lru_cache
from pathlib import Path

_SYMTAB, _DYNSYM = 2, 11
_FUNC, _IFUNC = 2, 10
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")


def name(file: str, address: int) -> str:
    """Returns `function+0x1a` for the address of a call's return in the file; the bare address where no symbol covers it."""
    starts, functions = _functions(file)
    at = bisect_right(starts, address - 1) - 1
    if at >= 0:
        size, function = functions[at]
        if not size or address - 1 < starts[at] + size:
            return f"{function}+{address - starts[at]:#x}"
    return f"{address:#x}"


@lru_cache(maxsize=64)
def _functions(file: str) -> tuple[list[int], list[tuple[int, str]]]:
    """The functions of a file by address: where they start, and their size and name. None of a file that is gone or no ELF."""
    try:
        data = Path(file).read_bytes()
        found = _read(data) if data.startswith(b"\x7fELF\x02\x01") else {}
    except (OSError, struct.error):
        found = {}
    starts = sorted(found)
    return starts, [found[start] for start in starts]


def _read(data: bytes) -> dict[int, tuple[int, str]]:
    offset = struct.unpack_from("<Q", data, 40)[0]
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [_SECTION.unpack_from(data, offset + i * size) for i in range(count)]
    tables = [section for section in sections if section[1] in (_SYMTAB, _DYNSYM)]
    found: dict[int, tuple[int, str]] = {}
    for _, _, _, _, at, length, link, _, _, _ in tables:
        names = sections[link][4]
        for text, info, _, index, value, extent in _SYMBOL.iter_unpack(data[at : at + length - length % _SYMBOL.size]):
            if info & 15 in (_FUNC, _IFUNC) and index and value not in found:
                found[value] = (extent, os.fsdecode(data[names + text : data.index(b"\0", names + text)]))
    return found
