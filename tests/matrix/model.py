"""What the matrix is made of: programs in rows, families of operations in columns, and in each cell either calls that are
made to fail, or the reason why the program never makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

COLUMNS = (
    "open", "read", "write", "fsync", "rename", "unlink", "mkdir", "stat", "readdir", "truncate", "lock", "close",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fails:
    """A call that fails, and the program's own reaction to it.

    `rule` is taken below the workspace. `command` is an argv; `{name}` stands for a compiled program, {python} for this
    interpreter, {dir} for the workspace. `reaction` is a pattern in what it prints (output and errors) that must appear under the rule and must
    not appear without it; None: the program says nothing, and then its status must differ, or, with `ignored`, the failure
    is one that the program does not look at: what it prints and returns is the same, only the rule proves that it met it.
    """

    rule: str
    command: Sequence[str]
    reaction: str | None = None
    prepare: str = ""
    ignored: str = ""
    stdin: str = ""


@dataclass(frozen=True, slots=True)
class Never:
    """The program does not make such calls on its files; `why` says what it does instead. Checked with strace."""

    why: str


Cell = Fails | Never


@dataclass(frozen=True, slots=True)
class Program:
    """One row. `needs` are commands without which it cannot be tried."""

    name: str
    cells: dict[str, Cell]
    needs: Sequence[str] = ()
    env: dict[str, str] = field(default_factory=dict)

    @property
    def commands(self) -> list[Fails]:
        return [cell for cell in self.cells.values() if isinstance(cell, Fails)]


def row(name: str, *, needs: Sequence[str] = (), env: dict[str, str] | None = None, **cells: Cell | str) -> Program:
    """A program; a plain string is the reason of a `Never`."""
    unknown = set(cells) - set(COLUMNS)
    missing = [column for column in COLUMNS if column not in cells]
    assert not unknown and not missing, f"{name}: unknown {sorted(unknown)}, missing {missing}"
    made = {column: Never(cells[column]) if isinstance(cells[column], str) else cells[column] for column in COLUMNS}  # type: ignore[arg-type]
    return Program(name, made, needs, env or {})  # type: ignore[arg-type]
