"""Writes docs/targets.md from the matrix: `python -m tests.matrix.table`."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable
from pathlib import Path

from faultlib._core import ffi, lib

from tests.matrix.model import COLUMNS, Cell, Fails, Program
from tests.matrix.rows import PROGRAMS
from tests.matrix.rows.children import WAYS
from tests.matrix.rows.outside import OUTSIDE
from tests.matrix.rows.unseen import UNSEEN

FILE = Path(__file__).parents[2] / "docs" / "targets.md"
HEAD = """# What faultlib reaches

Generated from `tests/matrix` by `python -m tests.matrix.table`; every cell is a test.

**yes**: one call on one file was made to fail, and the program showed it. **ignored**: the call failed, and the program does not
look at its result. **–**: the program never makes such a call on its files; a test runs it under strace to make sure. Below the
table: the rule, the program's reaction, the reasons.

What libc does inside itself (streams, `opendir`, `scandir`, `mkstemp`, `system`, aio) is seen as well where it goes through
{entries}.
That is on x86-64, with a glibc whose functions begin as expected (2.36 of Debian 12 does); `faultlib doctor` says so where they do
not. What libc does inside by other calls is [not seen](#what-is-not-seen).
"""
CHILDREN = """
## Children

However a child is made, it stays in the session: a write of the child on one file was made to fail, and the child showed it.
"""
UNSEEN_HEAD = """
## What is not seen

No rule reaches, and no trace shows: stores into pages that were mapped, system calls by inline assembly, io_uring and Linux' own
asynchronous I/O (`io_submit`; the summary names both where `syscall()` sets them up, `faultlib doctor` where the program is linked
with liburing or libaio, whose system calls are inline), and of what libc does inside itself:
"""
BEYOND = """
## What cannot be reached

These cannot load a shim. Launched directly they are refused before anything runs (exit 126, with the reason); as children they
run on undisturbed, and the summary names each of them.
"""


def mark(cell: Cell) -> str:
    return "–" if not isinstance(cell, Fails) else "ignored" if cell.ignored else "yes"


def text(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *([*row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def called(case: Fails) -> str:
    """The command, where it is short enough to read; the others are in the tests."""
    line = shlex.join(case.command)
    return f" on `{line}`" if len(line) <= 60 and not set("`{\n") & set(line) else ""


def details(program: Program) -> str:
    lines = [f"\n### {program.name}\n"]
    never: dict[str, list[str]] = {}
    for column in COLUMNS:
        cell = program.cells[column]
        if not isinstance(cell, Fails):
            never.setdefault(cell.why, []).append(column)
        elif cell.ignored:
            lines.append(f"- {column}: `{cell.rule}`{called(cell)}: {cell.ignored}")
        else:
            shown = f"says `{cell.reaction}`" if cell.reaction else "ends with an error status"
            lines.append(f"- {column}: `{cell.rule}`{called(cell)}: {shown}")
    lines += [f"- no {', '.join(columns)}: {why}" for why, columns in never.items()]
    return "\n".join(lines) + "\n"


def entries() -> str:
    """The functions of glibc that the entry patch redirects, those of the cancellation points' twins aside."""
    names: list[str] = []
    while name := lib.fl_entry_name(len(names)):
        names.append(ffi.string(name).decode())
    plain = [f"`{name}`" for name in names if not name.startswith("__")]
    return ", ".join(plain[:-1]) + f" and {plain[-1]}, with or without cancellation"


def render() -> str:
    matrix = table(["program", *COLUMNS], ([p.name, *(mark(p.cells[c]) for c in COLUMNS)] for p in PROGRAMS))
    children = table(["child", "made by"], ([way.name, text(way.how)] for way in WAYS))
    beyond = table(["program", "launched directly, faultlib says"], ([one.name, text(one.reason)] for one in OUTSIDE))
    unseen = table(["functions", "what of them is not seen"], ([one.what, one.calls] for one in UNSEEN))
    head = HEAD.format(entries=textwrap.fill(entries(), 130))
    beyond += UNSEEN_HEAD + "\n" + unseen
    return head + "\n" + matrix + CHILDREN + "\n" + children + BEYOND + "\n" + beyond + "\n## Cell by cell\n" + "".join(map(details, PROGRAMS))


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
