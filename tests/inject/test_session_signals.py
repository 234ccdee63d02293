"""`faultlib run` stands in for its target: signals, job control, exit status, the terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import faultlib as api
from tests.conftest import Run

COUNTING = """
import signal, sys, time
got = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, lambda n, f: got.append(signal.Signals(n).name))
print("ready", flush=True)
while not got:
    time.sleep(0.01)
time.sleep(0.3)
print(*got, flush=True)
sys.exit(9)
"""


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_threads_of_ours_take_no_signals() -> None:
    """A SIGCHLD that such a thread took was lost, and `faultlib run` waited for ever."""
    with api.Session() as session:
        assert session
        ours = [thread.native_id for thread in threading.enumerate() if thread.name.startswith("faultlib")]
        status = [Path(f"/proc/self/task/{task}/status").read_text() for task in ours]
    blocked = [int(line.split()[1], 16) for text in status for line in text.splitlines() if line.startswith("SigBlk")]
    assert blocked
    assert all(mask >> signal.SIGCHLD - 1 & 1 for mask in blocked)


def test_the_end_of_a_short_command_is_never_missed(faultlib: Run) -> None:
    for _ in range(10):
        assert faultlib("run", "-v", "--", "true", timeout=30).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_to_us_reaches_the_target_once(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "faultlib", "run", "-q", "--", sys.executable, "-c", COUNTING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout and runner.stdout.readline() == "ready\n"
        runner.send_signal(number)
        assert runner.stdout.read().split() == [number.name]
    assert runner.returncode == 9


def test_an_ignored_sigchld_does_not_take_the_status(faultlib: Run) -> None:
    code = "import signal, os, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, sys.executable, "-m", "faultlib", "run", "--", "sh", "-c", "exit 7"], timeout=30
    )
    assert done.returncode == 7


ENDS = [("exit 0", 0), ("exit 200", 200), ("kill -KILL $$", 137), ("kill -SEGV $$", 139)]


@pytest.mark.parametrize(("script", "status"), ENDS)
def test_exit_status(faultlib: Run, script: str, status: int) -> None:
    assert faultlib("run", "--", "sh", "-c", script).returncode == status


class Screen:
    """A tmux window: the only honest way to see what a terminal user sees. Its home is `folder`: shells keep a history there."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "tmux")
        self._env = os.environ | {"HOME": str(folder)}
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "40", "bash", "--norc", "--noprofile")

    def tmux(self, *arguments: str) -> str:
        return subprocess.run(
            ["tmux", "-S", self._socket, *arguments], env=self._env, check=True, capture_output=True, text=True, timeout=20
        ).stdout

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def text(self) -> str:
        return self.tmux("capture-pane", "-p")

    def wait(self, text: str) -> None:
        until(lambda: text in self.text(), f"no {text!r} on the screen:\n{self.text()}")

    def close(self) -> None:
        self.tmux("kill-server")


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    made = Screen(tmp_path)
    made.type(f"PS1='shell> '; cd {tmp_path}; faultlib() {{ '{sys.executable}' -m faultlib \"$@\"; }}; clear", "Enter")
    made.wait("shell>")
    yield made
    made.close()


def test_what_is_typed_here_is_no_part_of_the_users_history(screen: Screen, tmp_path: Path) -> None:
    screen.type("history -w", "Enter")
    until((tmp_path / ".bash_history").exists, "bash kept its history somewhere else")


def test_control_c_reaches_the_target_once(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text(COUNTING)
    screen.type(f"faultlib run -q -- '{sys.executable}' t.py; echo status $?", "Enter")
    screen.wait("ready")
    screen.type("C-c")
    screen.wait("status 9")
    assert "SIGINT\n" in screen.text()
    assert "SIGINT SIGINT" not in screen.text()


def test_control_z_and_fg(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text(
        "import signal, sys\n"
        "signal.signal(signal.SIGCONT, lambda *_: print('again', flush=True))\n"
        "print('begun', flush=True)\n"
        "print('over', sys.stdin.read())\n"
    )
    screen.type(f"faultlib run -q -- '{sys.executable}' t.py", "Enter")
    screen.wait("begun\n")
    screen.type("C-z")
    screen.wait("Stopped")
    screen.type("fg", "Enter")
    screen.wait("again\n")  # the shell has given it the terminal before
    screen.type("hello", "Enter", "C-d")
    screen.wait("over hello")


def test_a_target_that_stops_itself_stops_us(screen: Screen) -> None:
    screen.type("faultlib run -q -- bash -c 'kill -TSTP $$; echo woken'; echo status $?", "Enter")
    screen.wait("Stopped")
    assert "woken\n" not in screen.text()
    screen.type("fg", "Enter")
    screen.wait("woken\n")


def test_the_terminal_is_the_targets(screen: Screen) -> None:
    screen.type(f"faultlib run -q -- '{sys.executable}' -i; echo status $?", "Enter")
    screen.wait(">>>")
    screen.type("import os; os.isatty(0), os.isatty(1), 6 * 7", "Enter")
    screen.wait("(True, True, 42)")
    screen.type("C-d")
    screen.wait("status 0")
