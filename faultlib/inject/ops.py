"""The operations and families that can be intercepted, read from the extension, where `csrc/ops.def` declares them.

Pure data, made at import. A name in a rule is a family or one exact operation; where a family bears the name of a
member the name means the family. Several operations may share a name (`copy_file_range` reads its source and writes its
target): the exact name means all of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from faultlib._core import ffi, lib
from faultlib.inject.frozen import Frozen

ARGUMENTS = ("fd", "dirfd", "path", "dirfd2", "path2", "buf", "size", "iov", "iovcnt", "offset", "flags", "source")
RESULTS = ("count", "zero", "fd", "offset", "pointer", "object", "code", "none", "exec", "pid")
RESERVED = ("connect", "accept", "send", "recv")
"""Families of the network, whose names are kept free."""
HIDDEN = ("track",)
"""The shim's own bookkeeping, which no rule can name."""


class Operation(Frozen):
    """One intercepted call. `number` is its bit; `arguments` are the roles that it has an argument for."""

    number: int
    name: str
    family: str
    result: str
    arguments: frozenset[str]
    symbols: tuple[str, ...]

    @property
    def has_fd(self) -> bool:
        """Whether it works on a descriptor (not merely below one)."""
        return "fd" in self.arguments

    @property
    def has_path(self) -> bool:
        """Whether it names a file, by path or by descriptor."""
        return not self.arguments.isdisjoint(("fd", "path", "path2"))

    @property
    def has_two_paths(self) -> bool:
        return {"path", "path2"} <= self.arguments

    @property
    def has_target_path(self) -> bool:
        return "path2" in self.arguments

    @property
    def has_size(self) -> bool:
        return not self.arguments.isdisjoint(("size", "iov"))

    @property
    def has_offset(self) -> bool:
        """Whether it happens at a known place in the file: given, or the descriptor's position."""
        return "offset" in self.arguments or (self.has_data and self.has_fd)

    @property
    def has_flags(self) -> bool:
        """Whether it has flags; those of fcntl and lockf are the ones of the flock that they amount to."""
        return "flags" in self.arguments or self.family == "lock"

    @property
    def has_data(self) -> bool:
        """Whether its data goes through the process' memory."""
        return self.family in ("read", "write") and not self.arguments.isdisjoint(("buf", "iov"))

    @property
    def title(self) -> str:
        """Its name, made unambiguous."""
        if len(_BY_NAME[self.name]) == 1:
            return self.name
        sides = {"read": "source", "write": "target"}
        return f"{self.name} ({sides.get(self.family, self.family)})"


class Family(Frozen):
    """A group of operations under one name. `number` is its bit in the gate."""

    number: int
    name: str
    operations: tuple[Operation, ...]

    @property
    def namesake(self) -> str | None:
        """The name of the family where it is also that of a member."""
        return self.name if any(op.name == self.name for op in self.operations) else None


def _text(pointer: object) -> str:
    return str(ffi.string(pointer).decode())


def _read_symbols() -> dict[int, list[str]]:
    """The symbols of each operation. Those of a shared wrapper stand with the operation that is declared there."""
    found: dict[int, list[str]] = {}
    number, i = ffi.new("int *"), 0
    while (symbol := lib.fl_symbol(i, number)) != ffi.NULL:
        found.setdefault(number[0], []).append(_text(symbol))
        i += 1
    return found


def _read_operations() -> tuple[Operation, ...]:
    symbols, families, rows = _read_symbols(), _read_families(), []
    infos = [lib.fl_op_table[i] for i in range(lib.fl_op_count())]
    names = [_text(lib.fl_op_name(number)) for number in range(len(infos))]
    for number, info in enumerate(infos):
        owner = number
        if number not in symbols:  # a second operation behind the symbol of the first
            owner = next((n for n, name in enumerate(names) if name == names[number] and n in symbols), number)
        arguments = frozenset(role for role in ARGUMENTS if getattr(info, role))
        rows.append(
            Operation(number, names[number], families[info.family], RESULTS[info.result], arguments,
                      tuple(symbols.get(owner, ())))
        )  # fmt: skip
    return tuple(rows)


def _read_families() -> list[str]:
    names: list[str] = []
    while (name := lib.fl_family_name(len(names))) != ffi.NULL:
        names.append(_text(name))
    return names


ALL_OPERATIONS: tuple[Operation, ...] = _read_operations()
"""By number."""
OPERATIONS: tuple[Operation, ...] = tuple(op for op in ALL_OPERATIONS if op.family not in HIDDEN)
FAMILY_NUMBERS: dict[str, int] = {name: number for number, name in enumerate(_read_families())}
FAMILIES: dict[str, Family] = {
    name: Family(number, name, tuple(op for op in OPERATIONS if op.family == name))
    for name, number in FAMILY_NUMBERS.items()
    if name not in HIDDEN
}
_BY_NAME: dict[str, tuple[Operation, ...]] = {}
for _op in OPERATIONS:
    _BY_NAME[_op.name] = (*_BY_NAME.get(_op.name, ()), _op)
_BY_SYMBOL: dict[str, str] = {symbol: op.name for op in OPERATIONS for symbol in op.symbols}


def named(name: str) -> tuple[Operation, ...]:
    """Returns the operations that a name in a rule means, a family's or the exact ones; none for an unknown name."""
    if name in FAMILIES:
        return FAMILIES[name].operations
    return _BY_NAME.get(name, ())


def exactly(name: str) -> tuple[Operation, ...]:
    """Returns the operations of exactly that name, families aside. Empty if there are none."""
    return _BY_NAME.get(name, ())


def of_symbol(symbol: str) -> str | None:
    """Returns the name of the operation behind a libc symbol (`pwrite64` is `pwrite`), or None."""
    return _BY_SYMBOL.get(symbol)


def all_names() -> tuple[str, ...]:
    """Every name that a rule may begin with, families first."""
    return (*FAMILIES, *(name for name in _BY_NAME if name not in FAMILIES))


def symbols_of(operations: Iterable[Operation]) -> tuple[str, ...]:
    """Returns the libc symbols behind these operations, each once, in the table's order."""
    return tuple(dict.fromkeys(symbol for op in operations for symbol in op.symbols))
