"""The style of the house, as far as a program can see it."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES = 700
MOST_LINES_OF_A_FUNCTION = 70
FLOORS = {"errors": 0, "inject": 1, "explore": 2, "report": 2, "experiment": 3, "testing": 3, "bench": 3, "commands": 4}
"""A module imports from its own floor or from below. `report` and `explore` share one: neither imports the other."""
SHARED = "faultlib.explore.finding"
"""What a finding is: the one thing of `explore` that `report` knows."""
PRINTED = (".py", ".c", ".h", ".def", ".S", ".md", ".toml", ".yaml", ".yml", ".txt", ".sh", "")


def tracked(*suffixes: str) -> list[Path]:
    """The files of the project that end so."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = listed.stdout.split("\0") if not listed.returncode else [str(p.relative_to(ROOT)) for p in ROOT.rglob("*")]
    return [ROOT / n for n in names if n and (ROOT / n).is_file() and Path(n).suffix in suffixes and "_cache" not in n]


PYTHON = tracked(".py")
C = tracked(".c", ".h", ".S")
TARGETS = ROOT / "experiments"
"""Programs to break: they are written as people write them."""


def place(file: Path, line: int) -> str:
    return f"{file.relative_to(ROOT)}:{line}"


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), file)


def test_there_is_something_to_check() -> None:
    assert len(PYTHON) > 30
    assert len(C) > 30


def test_no_file_is_too_long() -> None:
    lengths = {file: file.read_text().count("\n") for file in [*PYTHON, *C]}
    assert not [f"{place(file, n)}" for file, n in lengths.items() if n > MOST_LINES]


def python_functions(file: Path) -> Iterator[tuple[int, int]]:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


def c_functions(file: Path) -> Iterator[tuple[int, int]]:
    """Bodies begin with a brace at the left margin and end with one."""
    begin = 0
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if line.startswith("{"):
            begin = number
        elif line.startswith("}") and begin:
            yield begin, number - begin + 1
            begin = 0


def test_no_function_is_too_long() -> None:
    found = [(file, *where) for file in PYTHON for where in python_functions(file)]
    found += [(file, *where) for file in C for where in c_functions(file)]
    assert len(found) > 300
    assert not [f"{place(file, line)}: {n} lines" for file, line, n in found if n > MOST_LINES_OF_A_FUNCTION]


def test_no_error_is_swallowed() -> None:
    handlers = (
        (file, node) for file in PYTHON if TARGETS not in file.parents for node in ast.walk(tree(file)) if isinstance(node, ast.ExceptHandler)
    )
    silent = [place(f, n.lineno) for f, n in handlers if n.type is None or all(isinstance(s, ast.Pass) for s in n.body)]
    assert not silent, "contextlib.suppress says what is expected, and a comment why"


def test_every_module_says_what_it_is_for() -> None:
    assert not [place(file, 1) for file in PYTHON if file.read_text().strip() and not ast.get_docstring(tree(file))]
    headless = [file for file in C if not file.read_text().lstrip().startswith("/*")]
    assert not [place(file, 1) for file in headless]


def floor(module: str) -> tuple[str, int] | None:
    """The part of the package that a module is in, and its floor; None for those at the top, which may import anything."""
    parts = module.split(".")
    if len(parts) < 2 or parts[0] != "faultlib" or parts[1] not in FLOORS:
        return None
    return parts[1], FLOORS[parts[1]]


def imported(file: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{place(file, node.lineno)}: imports are absolute"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_imports_point_one_way() -> None:
    wrong = []
    for file in PYTHON:
        here = floor(".".join(file.relative_to(ROOT).with_suffix("").parts))
        for line, module in imported(file) if here else ():
            there = floor(module)
            is_shared = here and here[0] == "report" and module.startswith(f"{SHARED}.")
            if here and there and there[0] != here[0] and there[1] >= here[1] and not is_shared:
                wrong.append(f"{place(file, line)}: {here[0]} imports {module}")
    assert not wrong


def test_every_part_has_its_floor() -> None:
    parts = {file.relative_to(ROOT).parts[1].removesuffix(".py") for file in PYTHON if file.is_relative_to(ROOT / "faultlib")}
    assert parts - {"__init__", "__main__"} <= set(FLOORS)


FORBIDDEN = [
    ("a mark of unfinished work", r"\b(?:TODO|FIXME|XXX|HACK)\b"),
    ("a path of one machine", r"(?<![\w.])/(?:work|root)/"),
    ("a path of one machine", r"/tmp/(?:wt|venv)"),
    ("a number of some tracker", r"(?i)\bissue #?\d"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "pattern"), FORBIDDEN)
def test_nothing_in_the_text_that_is_not_of_the_project(what: str, pattern: str) -> None:
    found = [
        f"{place(file, number)}: {what}: {line.strip()}"
        for file in tracked(*PRINTED) if file != Path(__file__)
        for number, line in enumerate(file.read_text().splitlines(), 1) if re.search(pattern, line)
    ]  # fmt: skip
    assert not found


def test_no_trailing_blanks_and_no_tabs() -> None:
    found = [
        place(file, number)
        for file in tracked(*PRINTED)
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if line != line.rstrip() or "\t" in line
    ]
    assert not found


def test_in_the_text_of_a_script_the_interpreter_is_quoted() -> None:
    """A checkout may lie below a directory with a space in its name."""
    found = [
        f"{place(file, number)}: {line.strip()}"
        for file in PYTHON
        for number, line in enumerate(file.read_text().splitlines(), 1) if re.search(r"\{sys\.executable\}(?!\\?['\"])", line)
    ]  # fmt: skip
    assert not found
