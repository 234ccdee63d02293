"""The examples in the documents: found, run, and compared with the output that the reader was promised.

    ```console            `$ ` lines are typed into a shell, what follows them is what it must print
    ```sh                 a script that must succeed; with `<!-- checkout -->` above it, in a copy of this checkout
    ```python             a program that must succeed; an `<!-- output -->` block below it is what it must print
    ```yaml               a rule file, saved under the name of `<!-- file: NAME -->` above it
    ```text, ```ebnf      not run

Each section (`## `) has a directory of its own, with the programs of experiments/coordination in it. `<!-- run: CMD -->` is
typed unseen. In promised output a `...` stands for anything in a line, and on a line of its own for any number of lines.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOUSE = ROOT / "experiments" / "coordination"
KINDS = ("console", "sh", "python", "yaml", "text", "ebnf")
DEADLINE_S = 600

_PART = re.compile(r"^## (?P<section>.*)$|^<!-- (?P<marker>.*?) -->$|^```(?P<kind>\w*)\n(?P<text>(?s:.*?))^```$", re.M)


@dataclass(frozen=True)
class Example:
    """One fenced block, or a hidden command: `marker` is what the comments above it say, `line` where it stands."""

    kind: str
    text: str
    marker: str
    line: int


@dataclass(frozen=True)
class Section:
    """What is run in one directory, in order."""

    file: Path
    title: str
    examples: tuple[Example, ...]

    def __str__(self) -> str:
        return f"{self.file.name}-{re.sub(r'[^a-z0-9]+', '-', self.title.lower())}"


def sections(file: Path) -> Iterator[Section]:
    """The sections of a document that hold something to run. Raises ValueError for a block of no known kind."""
    text = file.read_text()
    title, marker, found = "", "", []
    for part in _PART.finditer(text):
        line = text.count("\n", 0, part.start()) + 1
        if part["section"] is not None:
            if found:
                yield Section(file, title, tuple(found))
            title, marker, found = part["section"], "", []
        elif part["marker"] is not None:
            if part["marker"].startswith("run: "):
                found.append(Example("run", part["marker"].removeprefix("run: "), "", line))
            else:
                marker = part["marker"]
        else:
            if part["kind"] not in KINDS:
                raise ValueError(f"{file.name}:{line}: a block says what it is, one of {', '.join(KINDS)}")
            if part["kind"] in KINDS[:4] or marker == "output":
                found.append(Example(part["kind"], part["text"], marker, line))
            marker = ""
    if found:
        yield Section(file, title, tuple(found))


def environment() -> dict[str, str]:
    """What a reader has: the virtual environment of this interpreter, activated."""
    env = {key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "PYTHONPATH")}
    return env | {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}", "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8"}


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a script with standard output and standard error in one."""
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=DEADLINE_S,
    )  # fmt: skip


def matches(promised: str, printed: str) -> bool:
    """Whether the output is what was promised, up to `...` and trailing blanks."""
    pattern = ""
    for line in promised.splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += r".*?".join(re.escape(piece) for piece in line.rstrip().split("...")) + r"[ \t]*\n"
    return re.fullmatch(pattern, printed if printed.endswith("\n") or not printed else printed + "\n") is not None


def transcript(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with its promised output. A command ends where its continuation lines do."""
    steps: list[tuple[str, str]] = []
    continued = False
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            steps.append((line[2:], ""))
            continued = line.rstrip().endswith("\\")
        elif continued:
            steps[-1] = (steps[-1][0] + line, "")
            continued = line.rstrip().endswith("\\")
        else:
            steps[-1] = (steps[-1][0], steps[-1][1] + line)
    return steps


def run_section(section: Section, folder: Path) -> None:
    """Runs what a section shows. Raises AssertionError where it does not do what it says."""
    for program in HOUSE.glob("*.py"):
        shutil.copy(program, folder)
    printed = ""
    for example in section.examples:
        where = f"{section.file.name}:{example.line}"
        if example.marker == "output":
            assert matches(example.text, printed), f"{where}: printed was\n{printed}"
        elif example.kind == "console":
            for command, promised in transcript(example.text):
                printed = shell(command, folder).stdout
                assert matches(promised, printed), f"{where}: {command}printed\n{printed}"
        elif example.kind == "yaml":
            (folder / example.marker.removeprefix("file: ")).write_text(example.text)
        elif example.marker != "checkout":
            script = {"python": "example.py", "sh": "example.sh", "run": "hidden.sh"}[example.kind]
            (folder / script).write_text(example.text)
            done = shell(f"python3 {script}" if example.kind == "python" else f"bash -e {script}", folder)
            printed = done.stdout
            assert done.returncode == 0, f"{where}: exit status {done.returncode}\n{printed}"
