"""The one thing that a program can see: LD_PRELOAD in its environment, and in nothing else any difference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import faultlib
from faultlib.errors import NotExecutable
from tests.transparency.modes import environment

PRINT = "import json, os; print(json.dumps(dict(os.environ)))"
CHILDREN = {
    "inherited": f"import subprocess, sys; subprocess.run([sys.executable, '-c', {PRINT!r}])",
    "made by hand": f"import subprocess, sys; subprocess.run([sys.executable, '-c', {PRINT!r}], env={{'A': 'b'}})",
    "emptied": f"import subprocess, sys; subprocess.run([sys.executable, '-c', {PRINT!r}], env={{}})",
    "spawned": f"import os, sys; os.waitpid(os.posix_spawn(sys.executable, ['x', '-c', {PRINT!r}], {{'A': 'b'}}), 0)",
}


def variables(env: dict[str, str], code: str, session: faultlib.Session | None = None) -> dict[str, str]:
    """The environment that the code's child prints."""
    command = [sys.executable, "-c", code]
    if session is None:
        out = subprocess.run(command, env=env, capture_output=True, check=True).stdout
    else:
        out = session.run(command, env=env, capture_output=True).stdout
    return dict(json.loads(out))


@pytest.mark.parametrize("kind", CHILDREN)
def test_only_ld_preload_differs(tmp_path: Path, kind: str) -> None:
    env = environment(tmp_path)
    bare = variables(env, CHILDREN[kind])
    with faultlib.Session() as session:
        shimmed = variables(env, CHILDREN[kind], session)
        link = shimmed.pop("LD_PRELOAD")
        assert Path(link).parent == session.folder
    assert shimmed == bare


def test_preloads_of_the_user_stay_in_front(tmp_path: Path) -> None:
    """Also in a child whose environment was made by hand with only the user's own in it."""
    source, library = tmp_path / "l.c", tmp_path / "l.so"
    source.write_text("int of_the_user;\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {PRINT!r}], env={{'LD_PRELOAD': {str(library)!r}}})"
    with faultlib.Session() as session:
        for child in (CHILDREN["inherited"], code):
            seen = variables({**environment(tmp_path), "LD_PRELOAD": str(library)}, child, session)["LD_PRELOAD"]
            first, link = seen.split(":")
            assert first == str(library)
            assert Path(link).parent == session.folder


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program with AddressSanitizer's runtime as a shared library: it runs its arguments, or prints what it preloads."""
    folder = tmp_path_factory.mktemp("sanitized")
    source = folder / "s.c"
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
        'int main(int n, char **a) { if (n > 1) execvp(a[1], a + 1); else puts(getenv("LD_PRELOAD")); return n > 1; }\n'
    )
    subprocess.run(["gcc", "-fsanitize=address", "-o", folder / "s", source], check=True)
    return folder / "s"


def test_a_sanitizer_comes_first_where_it_is_needed_and_only_there(sanitized: Path) -> None:
    show = 'echo "$LD_PRELOAD"'
    with faultlib.Session() as session:
        link = session.folder
        for command, runtime in (
            ([sanitized], True), (["bash", "-c", f"{sanitized}; true"], True), (["env", "-i", sanitized], True),
            ([sanitized, "sh", "-c", show], False), ([sanitized, sanitized], True),
            ([sanitized, "sh", "-c", f"{sanitized}; true"], True),
        ):  # fmt: skip
            done = session.run([str(word) for word in command], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert not done.stderr
            names = [name for name in done.stdout.strip().split(":") if name]
            assert Path(names[-1]).parent == link
            assert [name.startswith("libasan.so") for name in names[:-1]] == [True] * runtime, names


def test_a_failed_exec_changes_nothing(tmp_path: Path) -> None:
    code = "import os, sys\ntry: os.execve('/nowhere/x', ['x'], {})\nexcept OSError as e: sys.exit(e.errno)"
    with faultlib.Session() as session:
        assert session.run([sys.executable, "-c", code]).returncode == 2
        (process,) = session.processes()
        assert process.exe == os.path.realpath(sys.executable)
        assert not session.uncovered()


def test_bad_addresses_are_the_kernels_business(tmp_path: Path) -> None:
    """EFAULT, and no crash in the shim, whatever is armed."""
    code = (
        "import ctypes, sys\nc = ctypes.CDLL(None, use_errno=True)\n"
        "for bad in (None, ctypes.c_void_p(1), ctypes.c_void_p(-1)):\n"
        " for name, tail in (('open', (0,)), ('unlink', ()), ('rename', (bad,)), ('mkdir', (0,)), ('execve', (None, None))):\n"
        "  assert getattr(c, name)(bad, *tail) == -1 and ctypes.get_errno() == 14, (name, bad, ctypes.get_errno())\n"
    )
    with faultlib.Session(["open,unlink,rename,mkdir,exec:error=EIO:path=/nowhere/*"]) as session:
        done = session.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_executing_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    """The look at what is executed must not wait for a writer."""
    os.mkfifo(tmp_path / "fifo", 0o755)
    code = "import os, sys\ntry: os.execv('fifo', ['x'])\nexcept OSError as e: sys.exit(e.errno)"
    with faultlib.Session() as session:
        assert session.run([sys.executable, "-c", code], cwd=tmp_path, timeout=20).returncode == 13
        with pytest.raises(NotExecutable):
            session.run(["./fifo"], cwd=tmp_path)


def test_signals_are_as_a_shell_leaves_them() -> None:
    """posix_spawn would leave two of libc's own ignored, which a program can send to itself."""
    command = ["grep", "^Sig[BI]", "/proc/self/status"]
    bare = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    under = [sys.executable, "-m", "faultlib", "run", "-q", "--"]
    assert subprocess.run([*under, *command], capture_output=True, text=True, check=True).stdout == bare
    for name in ("CHLD", "INT", "USR1"):
        ignoring = ["sh", "-c", f"trap '' {name}; exec \"$@\"", "sh"]
        bare = subprocess.run([*ignoring, *command], capture_output=True, text=True, check=True).stdout
        assert subprocess.run([*ignoring, *under, *command], capture_output=True, text=True, check=True).stdout == bare
    assert subprocess.run([*under, "perl", "-e", "kill 33, $$; sleep 9"]).returncode == 128 + 33
