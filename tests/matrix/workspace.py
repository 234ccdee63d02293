"""Where a case runs: a directory with a few files, and the programs that were compiled for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.matrix.model import Fails

SOURCES = Path(__file__).parent / "sources"
_OPTIONS = ("-O2", "-g", "-Wall", "-D_GNU_SOURCE", "-pthread")
COMPILERS: dict[str, list[str]] = {
    "stdio": ["gcc", *_OPTIONS, "-o", "{out}", "stdio.c"],
    "stdio_fortified_2": ["gcc", *_OPTIONS, "-D_FORTIFY_SOURCE=2", "-o", "{out}", "stdio.c"],
    "calls": ["gcc", *_OPTIONS, "-o", "{out}", "calls.c"],
    "calls_fortified_2": ["gcc", *_OPTIONS, "-D_FORTIFY_SOURCE=2", "-o", "{out}", "calls.c"],
    "calls_fortified_3": ["gcc", *_OPTIONS, "-D_FORTIFY_SOURCE=3", "-o", "{out}", "calls.c"],
    "raw": ["gcc", *_OPTIONS, "-o", "{out}", "raw.c"],
    "unseen": ["gcc", *_OPTIONS, "-o", "{out}", "unseen.c"],
    "children": ["gcc", *_OPTIONS, "-o", "{out}", "children.c"],
    "streams": ["g++", *_OPTIONS, "-std=c++17", "-o", "{out}", "streams.cpp"],
    "rust": ["rustc", "-O", "-o", "{out}", "files.rs"],
    "java": ["javac", "-d", "{out}", "Files1.java"],
}


class Toolbox:
    """Compiles the programs of `sources/` when first asked for, into one directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Path] = {}

    def get(self, name: str) -> Path:
        if name not in self._made:
            out = self._folder / name
            command = [part.format(out=out) for part in COMPILERS[name]]
            subprocess.run(command, cwd=SOURCES, check=True, env=os.environ | {"TMPDIR": str(self._folder)})
            self._made[name] = out
        return self._made[name]

    def fill(self, command: Sequence[str], workspace: Path) -> list[str]:
        """The command with the places of its programs put in."""
        filled = []
        for part in command:
            for name in COMPILERS:
                if f"{{{name}}}" in part:
                    part = part.replace(f"{{{name}}}", str(self.get(name)))
            filled.append(part.replace("{python}", sys.executable).replace("{dir}", str(workspace)))
        return filled


@cache
def has(command: str) -> bool:
    return shutil.which(command) is not None


def environment(extra: dict[str, str]) -> dict[str, str]:
    """A plain environment: the reactions are English."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "RUSTUP_HOME", "CARGO_HOME") if name in os.environ}
    author = {f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    # A fixed date gives fixed object names: a commit's own could else fall into a directory that is there already, and make none.
    author |= {f"GIT_{who}_DATE": "2020-01-01T00:00:00Z" for who in ("AUTHOR", "COMMITTER")}
    return kept | author | {"LC_ALL": "C", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"} | extra


def make(folder: Path, case: Fails) -> Path:
    """A fresh workspace: a file `f` of three lines, a directory `d` with two files and a directory in it, and what the case wants."""
    (folder / "d" / "sub").mkdir(parents=True)
    (folder / "f").write_text("one\ntwo\nthree\n")
    (folder / "d" / "a").write_text("a\n")
    (folder / "d" / "b").write_text("b\n")
    if case.prepare:
        subprocess.run(["bash", "-ec", case.prepare], cwd=folder, check=True, env=environment({}), stdout=subprocess.DEVNULL)
    return folder
