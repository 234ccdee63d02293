"""Small C programs, compiled when first asked for, and how a test runs a program under rules."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import faultlib as api

SOURCES = Path(__file__).parent / "sources"
TIMEOUT_S = 60
Compile = Callable[..., str]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """`compiled("io")` is the program made of sources/io.c; further options go to the compiler."""
    folder = tmp_path_factory.mktemp("programs")
    made: dict[tuple[str, ...], str] = {}

    def build(name: str, *options: str, compiler: str = "gcc") -> str:
        key = (name, compiler, *options)
        if key not in made:
            out = folder / f"{name}-{len(made)}"
            command = [compiler, "-O2", "-g", "-Wall", "-D_GNU_SOURCE", "-pthread", "-o", out, SOURCES / f"{name}.c", *options]
            subprocess.run(command, check=True)
            made[key] = str(out)
        return made[key]

    return build


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program did under rules. `counts` are (matched, fired) per rule."""

    status: int
    out: str
    err: str
    counts: list[tuple[int, int]]
    lineages: list[str]
    firsts: list[tuple[str | None, str] | None]


Under = Callable[..., Outcome]


@pytest.fixture
def under(tmp_path: Path) -> Under:
    """`under([rule...], command)` runs the command in the test's directory, to its end."""

    def run(rules: str | Sequence[str], *command: str, seed: int = 1, stdin: str = "", label: str = "", env: dict[str, str] | None = None) -> Outcome:
        with api.Session([rules] if isinstance(rules, str) else rules, seed=seed, cwd=tmp_path) as session:
            done = session.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S, input=stdin, label=label, env=env)
            reports = session.report()
            return Outcome(
                done.returncode, done.stdout, done.stderr, [(r.count.matched, r.count.fired) for r in reports],
                [p.lineage for p in session.processes()], [r.first and (r.first.path, r.first.lineage) for r in reports],
            )  # fmt: skip

    return run
