"""Source lines for addresses, from debug information (DWARF), which pyelftools reads."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from faultlib.inject import symbols

Place = tuple[str, int, str]
"""A source file, the line in it, and the function."""
_FUNCTION, _INLINED = "DW_TAG_subprogram", "DW_TAG_inlined_subroutine"
_SCOPES = frozenset({"DW_TAG_namespace", "DW_TAG_class_type", "DW_TAG_structure_type", "DW_TAG_module"})


def places(file: str, address: int) -> tuple[Place, ...]:
    """Returns where a call that returns to the address stands, functions that were inlined first; empty where it is not known."""
    try:
        found = _source(file)
        return tuple(found.places(address - 1)) if found else ()
    except Exception:  # pyelftools raises what it likes about damaged information: no line is said then
        return ()


@lru_cache(maxsize=4)
def _source(file: str) -> _Source | None:
    image = symbols.debug_image(file)
    return _Source(image.data) if image.has_lines else None


class _Source:
    """The debug information of one file, read unit by unit as it is asked for."""

    def __init__(self, data: bytes) -> None:
        from elftools.elf.elffile import ELFFile  # here, because most programs have no debug information

        self._info = ELFFile(io.BytesIO(data)).get_dwarf_info()
        self._units: dict[int, _Unit] = {}
        found = [(begin, end, unit) for unit in self._info.iter_CUs() for begin, end in self._ranges(unit.get_top_DIE())]
        self._spans = _Spans(found)

    def places(self, address: int) -> list[Place]:
        cu = self._spans.at(address)
        if cu is None:
            return []
        unit = self._units.get(cu.cu_offset)
        if unit is None:
            unit = self._units[cu.cu_offset] = _Unit(self._info.line_program_for_CU(cu), cu, self._ranges)
        return unit.places(address)

    def _ranges(self, die: Any) -> list[tuple[int, int]]:
        """Where its code lies."""
        low, high, ranges = (die.attributes.get(f"DW_AT_{name}") for name in ("low_pc", "high_pc", "ranges"))
        if low and high:
            return [(low.value, high.value if high.form == "DW_FORM_addr" else low.value + high.value)]
        if not ranges:
            return []
        base = die.cu.get_top_DIE().attributes.get("DW_AT_low_pc")
        return list(self._range_list(ranges.value, die.cu, base.value if base else 0))

    def _range_list(self, offset: int, cu: Any, base: int) -> Iterator[tuple[int, int]]:
        lists: Any = self._info.range_lists()
        for entry in lists.get_range_list_at_offset(offset, cu):
            if hasattr(entry, "base_address"):
                base = entry.base_address
            else:
                add = 0 if entry.is_absolute else base
                yield entry.begin_offset + add, entry.end_offset + add


class _Spans:
    """What lies where: of several at an address the smallest. What begins at 0 was thrown away by the linker."""

    def __init__(self, spans: list[tuple[int, int, Any]]) -> None:
        self._spans = sorted((span for span in spans if span[0]), key=lambda span: (span[0], -span[1]))
        self._begins = [begin for begin, _, _ in self._spans]

    def at(self, address: int) -> Any:
        for i in range(bisect_right(self._begins, address) - 1, -1, -1):
            begin, end, what = self._spans[i]
            if begin <= address < end:
                return what
            if begin + MOST_BYTES < address:
                return None
        return None


MOST_BYTES = 1 << 24
"""No function or unit is larger."""


class _Unit:
    """One unit of compilation: its lines and its functions."""

    def __init__(self, program: Any, cu: Any, ranges: Any) -> None:
        self._header, self._ranges = program.header, ranges
        top = cu.get_top_DIE()
        self._folder = os.fsdecode(top.attributes["DW_AT_comp_dir"].value) if "DW_AT_comp_dir" in top.attributes else ""
        self._rows = sorted(_rows(program), key=lambda row: row[:2])
        self._addresses = [row[0] for row in self._rows]
        self._functions = _Spans([(begin, end, die) for die in _functions(top) for begin, end in ranges(die)])

    def places(self, address: int) -> list[Place]:
        at = bisect_right(self._addresses, address) - 1
        _, is_code, file, line = self._rows[at] if at >= 0 else (0, 0, 0, 0)
        if not is_code or not line:
            return []
        found = []
        for die in self._chain(address):
            found.append((self._file(file), line, _name(die)))
            file, line = (die.attributes[f"DW_AT_call_{x}"].value if die.tag == _INLINED else 0 for x in ("file", "line"))
        return found or [(self._file(file), line, "")]

    def _chain(self, address: int) -> list[Any]:
        """The function at the address and those inlined in it there, innermost first."""
        die = self._functions.at(address)
        chain = [die] if die is not None else []
        while die is not None and (die := self._inlined(die, address)) is not None:
            chain.insert(0, die)
        return chain

    def _inlined(self, die: Any, address: int) -> Any:
        for child in die.iter_children():
            covers = any(begin <= address < end for begin, end in self._ranges(child))
            if child.tag == _INLINED and covers:
                return child
            if child.tag == "DW_TAG_lexical_block" and covers and (found := self._inlined(child, address)) is not None:
                return found
        return None

    def _file(self, number: int) -> str:
        """Before DWARF 5, files and directories are counted from 1, and directory 0 is that of the compilation."""
        old = self._header["version"] < 5
        entry = self._header["file_entry"][number - old]
        folders = [b"", *self._header["include_directory"]] if old else self._header["include_directory"]
        return os.path.normpath(Path(self._folder, os.fsdecode(folders[entry.dir_index]), os.fsdecode(entry.name)))


def _rows(program: Any) -> Iterator[tuple[int, int, int, int]]:
    """The rows of the line table: address, whether code begins there, file, line. A sequence that begins at 0 is no code."""
    sequence: list[tuple[int, int, int, int]] = []
    for state in (entry.state for entry in program.get_entries() if entry.state):
        sequence.append((state.address, int(not state.end_sequence), state.file, state.line))
        if state.end_sequence:
            yield from sequence if sequence[0][0] else ()
            sequence = []


def _functions(die: Any) -> Iterator[Any]:
    for child in die.iter_children():
        if child.tag == _FUNCTION:
            yield child
        elif child.tag in _SCOPES:
            yield from _functions(child)


def _name(die: Any) -> str:
    """What it is called, there or where it was declared."""
    for _ in range(4):
        if "DW_AT_name" in die.attributes:
            return os.fsdecode(die.attributes["DW_AT_name"].value)
        link = next((x for x in ("DW_AT_abstract_origin", "DW_AT_specification") if x in die.attributes), None)
        if link is None:
            return ""
        die = die.get_DIE_from_attribute(link)
    return ""
