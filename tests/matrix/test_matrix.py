"""Every cell of the matrix: the call fails and the program shows it; or the program really never makes it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import faultlib as api
from tests.matrix import workspace
from tests.matrix.model import COLUMNS, Fails, Never, Program
from tests.matrix.rows import PROGRAMS
from tests.matrix.strace import calls_below

TIMEOUT_S = 120
FAILING = [pytest.param(p, c, id=f"{p.name}-{c}") for p in PROGRAMS for c in COLUMNS if isinstance(p.cells[c], Fails)]
NEVER = [pytest.param(p, id=p.name) for p in PROGRAMS if any(isinstance(cell, Never) for cell in p.cells.values())]


def need(program: Program) -> None:
    missing = [command for command in program.needs if not workspace.has(command)]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")


def run_bare(case: Fails, command: list[str], folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, input=case.stdin, errors="replace"
    )


@pytest.mark.parametrize(("program", "column"), FAILING)
def test_the_call_fails_and_the_program_shows_it(
    program: Program, column: str, tmp_path: Path, toolbox: workspace.Toolbox
) -> None:
    need(program)
    case = program.cells[column]
    assert isinstance(case, Fails)
    env = workspace.environment(program.env)
    plain = workspace.make(tmp_path / "plain", case)
    bare = run_bare(case, toolbox.fill(case.command, plain), plain, env)
    faulted = workspace.make(tmp_path / "faulted", case)
    with api.Session([case.rule], cwd=faulted) as session:
        done = session.run(
            toolbox.fill(case.command, faulted), cwd=faulted, env=env, capture_output=True, text=True, timeout=TIMEOUT_S,
            input=case.stdin, errors="replace",
        )  # fmt: skip
        (report,) = session.report()
    said, unsaid = done.stdout + done.stderr, bare.stdout + bare.stderr
    context = f"status {done.returncode} after {report.count}, said:\n{said}\nbare status {bare.returncode}, said:\n{unsaid}"
    assert report.count.fired >= 1, f"never fired; {context}"
    assert report.first is not None and column in case.rule.split(":")[0].split(",")
    assert bare.returncode == 0, context
    if case.ignored:
        assert done.returncode == 0, context
    elif case.reaction is None:
        assert done.returncode != 0, context
    else:
        assert re.search(case.reaction, said), context
        assert not re.search(case.reaction, unsaid), context


@pytest.mark.parametrize("program", NEVER)
def test_the_program_never_makes_the_call(program: Program, tmp_path: Path, toolbox: workspace.Toolbox) -> None:
    """All its commands under strace: a call that faultlib should have seen would be in the kernel's record."""
    need(program)
    if not workspace.has("strace"):
        pytest.skip("strace is not installed")
    seen: dict[str, list[str]] = {}
    for number, case in enumerate(program.commands):
        folder = workspace.make(tmp_path / str(number), case)
        made = calls_below(folder, toolbox.fill(case.command, folder), workspace.environment(program.env), case.stdin)
        for family, lines in made.items():
            seen.setdefault(family, []).extend(lines)
    wrong = {c: seen[c][:3] for c in COLUMNS if isinstance(program.cells[c], Never) and c in seen}
    assert not wrong, wrong
