"""How much stack the shim takes: programs size their threads and signal stacks to the byte."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.transparency.modes import MODES, environment, mode

PASS_THROUGH_BYTES = 1024
ARMED_BYTES = 4096
THREAD_STATE_BYTES = 2048
"""Static thread-local storage lies on a thread's own stack."""


def used(program: Path, name: str, home: Path, extra_bytes: int = 16384) -> dict[str, int]:
    """Bytes used in the thread and in the handler, by the program's own account."""
    work = home / f"work-{name}"
    work.mkdir(parents=True)
    with mode(name) as runner:
        done = runner.run([str(program), str(extra_bytes)], environment(home), cwd=work)
    assert done.returncode == 0, (done.returncode, done.stdout)
    return {what: int(n) for what, n in re.findall(r"(thread|handler) (\d+) of", done.stdout.decode())}


@pytest.mark.parametrize("name", MODES)
def test_calls_take_little_stack(compiled: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    program = compiled("small_stack")
    bare, shimmed = used(program, "bare", tmp_path), used(program, name, tmp_path)
    allowed = PASS_THROUGH_BYTES if name == "idle" else ARMED_BYTES
    assert shimmed["handler"] - bare["handler"] <= allowed
    assert shimmed["thread"] - bare["thread"] <= allowed + THREAD_STATE_BYTES


def test_a_handler_on_a_stack_of_the_usual_size(compiled: Callable[[str], Path], tmp_path: Path) -> None:
    """SIGSTKSZ is 8192 where the kernel's own frame is small: all of it but the frame is the handler's."""
    assert used(compiled("small_stack"), "armed", tmp_path, extra_bytes=4096)["handler"] <= 8192
