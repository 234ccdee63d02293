"""A session of a real program is the same bare and under each mode of the shim: output, exit status, the tree left.

The sessions are the bash scripts in programs/. Whatever differs in every run of itself (times, pids, random names) they
keep out of their output and tree.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.transparency.modes import MODES, environment, mode

HERE = Path(__file__).parent
SCRIPTS = sorted(path.stem for path in (HERE / "programs").glob("*.sh"))
COMMANDS = {"sqlite": "sqlite3", "redis": "redis-server", "coreutils": "tac", "python": "python3"}
Result = tuple[int, str, str, dict[str, tuple[str, str]]]


def tree(root: Path) -> dict[str, tuple[str, str]]:
    """Every name below root with its type and mode, and its content's hash or its target."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = ""
        if stat.S_ISLNK(status.st_mode):
            content = str(path.readlink())
        elif stat.S_ISREG(status.st_mode):
            content = f"{status.st_size} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        found[str(path.relative_to(root))] = (stat.filemode(status.st_mode), content)
    return found


@pytest.fixture(scope="module")
def session_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Result]:
    """Runs a script in a mode, always in the same (emptied) directory."""
    base = tmp_path_factory.mktemp("programs")
    known: dict[tuple[str, str], Result] = {}

    def run(program: str, name: str) -> Result:
        if (program, name) in known:
            return known[program, name]
        if shutil.which(COMMANDS.get(program, program)) is None:
            pytest.fail(f"{COMMANDS.get(program, program)} is not installed; .ci/run names its package")
        work = base / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        script = (HERE / "programs" / f"{program}.sh").read_text()
        python = getattr(sys, "_base_executable", sys.executable)
        with mode(name.removesuffix(" again")) as runner:
            env = {**environment(base / "home"), "PYTHON": python}
            done = runner.run(["bash", "-c", script], env, cwd=work, timeout=120)
        known[program, name] = done.returncode, done.stdout.decode(), done.stderr.decode(), tree(work)
        return known[program, name]

    return run


@pytest.mark.parametrize("program", SCRIPTS)
@pytest.mark.parametrize("name", MODES)
def test_a_session_is_the_same(session_of: Callable[[str, str], Result], program: str, name: str) -> None:
    bare, shimmed = session_of(program, "bare"), session_of(program, name)
    assert bare[1], "the script printed nothing: it shows nothing"
    assert shimmed == bare


@pytest.mark.parametrize("program", SCRIPTS)
def test_two_bare_sessions_are_the_same(session_of: Callable[[str, str], Result], program: str) -> None:
    """Else the comparison would say nothing about the shim."""
    assert session_of(program, "bare again") == session_of(program, "bare")
