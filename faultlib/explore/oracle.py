"""What judges a run: a command's exit status, or a Python function."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, Any, NamedTuple

from faultlib.errors import UsageError
from faultlib.explore import function_host

PASS, FAIL, HANG, SUSPECT, RECOVERY = "pass", "fail", "hang", "suspect", "failed recovery"
UNSTABLE = "unstable"
MOST_OUTPUT = function_host.MOST_OUTPUT
MOST_PIECES = 64
_FUNCTION = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*|[^\s:]+\.py):(?P<function>[A-Za-z_]\w*)")


class Verdict(NamedTuple):
    """What a judge has said: `what` is PASS, SUSPECT, FAIL, HANG, RECOVERY or UNSTABLE; `text` what it printed or raised, cut if
    long. `about` are the files of which that is said, where that is known.

    SUSPECT is less than a FAIL: it may well be meant so. UNSTABLE is none at all: the same state has passed and failed.
    """

    what: str
    text: str = ""
    about: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether it is anything but a pass."""
        return self.what != PASS


class Promise(NamedTuple):
    """What the program has told the world when it was stopped, and how many operations it had done by then."""

    output: bytes
    operations: int


def run(command: str | Sequence[str], cwd: Path, timeout_s: float, promise: Promise | None = None) -> Verdict:
    """Runs a check or a recovery: status 0 is a pass. What hangs is killed with all its descendants in its process group."""
    env = dict(os.environ)
    if promise:
        env["FAULTLIB_OPERATIONS"] = str(promise.operations)
    words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    child = subprocess.Popen(
        words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    output = _Output(child.stdout)
    try:
        if output.read_until_end_of(child.pid, timeout_s):
            return verdict(child.wait(), output.kept)
        child.kill()  # which may have left its group
        _end_group(child.pid)
        child.wait()
        output.drain()
        return Verdict(HANG, f"still running after {timeout_s:g} s\n" + shown(output.kept))
    finally:
        _end_group(child.pid)
        output.close()


class _Output:
    """What a process prints: the beginning and the end of it. Whoever else has it open is not waited for."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream
        self._stream = stream
        self._head = self._tail = b""
        os.set_blocking(stream.fileno(), False)

    @property
    def kept(self) -> bytes:
        return self._head + self._tail

    def read_until_end_of(self, pid: int, timeout_s: float) -> bool:
        """Reads until a process has ended; false if that takes too long."""
        handle, deadline = os.pidfd_open(pid), time.monotonic() + timeout_s
        waiting = [handle, self._stream.fileno()]
        try:
            while ready := select.select(waiting, [], [], max(0.0, deadline - time.monotonic()))[0]:
                if handle in ready:
                    self.drain()
                    return True
                if not self._take():
                    waiting = [handle]
            return False
        finally:
            os.close(handle)

    def drain(self) -> None:
        """Reads what is there already; of what others write meanwhile not more than a pipe holds."""
        for _ in range(MOST_PIECES):
            if not self._take():
                return

    def _take(self) -> bool:
        try:
            data = os.read(self._stream.fileno(), 1 << 16)
        except BlockingIOError:
            return False
        room = MOST_OUTPUT - len(self._head)
        self._head += data[:room]
        self._tail = (self._tail + data[room:])[-MOST_OUTPUT:]
        return bool(data)

    def close(self) -> None:
        self._stream.close()


def verdict(code: int, output: bytes) -> Verdict:
    """Returns what a command's exit status (or, negative, signal) and its output amount to."""
    if code == 0:
        return Verdict(PASS, shown(output))
    return Verdict(FAIL, f"{f'signal {-code}' if code < 0 else f'status {code}'}\n{shown(output)}")


def _end_group(pid: int) -> None:
    """Nobody goes on in the tree of the next state."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def shown(output: bytes) -> str:
    """Returns output as text, without the middle if that is long."""
    text = output.decode("utf-8", "replace").strip()
    return text if len(text) <= MOST_OUTPUT else f"{text[: MOST_OUTPUT // 2]}\n...\n{text[-MOST_OUTPUT // 2 :]}"


class Function:
    """A check in Python: `module:function` or `file.py:function`, called with the directory, the output, the operation count.

    It passes by returning anything but False, and fails by False or an exception.
    """

    def __init__(self, text: str, cwd: Path) -> None:
        found = _FUNCTION.fullmatch(text)
        if not found:
            raise UsageError(f"--check {text}: not of the form module:function")
        self.function = self._find(text, found["module"], found["function"], cwd)
        self._nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    @property
    def needs_promises(self) -> bool:
        """Whether it is told more than the directory."""
        return function_host.arguments(self.function) > 1

    @staticmethod
    def is_one(text: str) -> bool:
        """Whether a check is spelled as a function, not as a command."""
        return _FUNCTION.fullmatch(text) is not None

    @staticmethod
    def _find(text: str, module: str, function: str, cwd: Path) -> Callable[..., Any]:
        try:
            found = function_host.find(module, function, cwd)
        except Exception as error:
            raise UsageError(f"--check {text}: {module} could not be imported: {type(error).__name__}: {error}") from error
        if not callable(found):
            there = [name for name, value in vars(_module(module)).items() if callable(value)]
            near = difflib.get_close_matches(function, there, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"--check {text}: there is no function {function} in {module}{hint}")
        if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found) or inspect.isgeneratorfunction(found):
            what = "a generator" if inspect.isgeneratorfunction(found) else "asynchronous"
            raise UsageError(f"--check {text}: {function} is {what}: calling it would run nothing; wrap it in a plain function")
        check: Callable[..., Any] = found
        return check

    def __call__(self, cwd: Path, timeout_s: float, promise: Promise) -> Verdict:
        """Calls the function in a fork of this process."""
        reader, writer = os.pipe()
        os.chdir(cwd)
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os._exit(self._answer(cwd, promise, writer))
        os.close(writer)
        return _wait(pid, reader, timeout_s)

    def _answer(self, cwd: Path, promise: Promise, writer: int) -> int:
        for fd in (0, 1, 2):
            os.dup2(self._nothing, fd)
        return function_host.call(self.function, cwd, promise.output, promise.operations, writer)


def _module(name: str) -> ModuleType:
    """A module that was imported already, by its name or its file's."""
    return sys.modules[Path(name).stem if name.endswith(".py") else name]


def _told(reader: int) -> bytes:
    """What was written into a pipe; nobody waits for more."""
    try:
        return os.read(reader, MOST_OUTPUT)
    except BlockingIOError:  # somebody else has the other end still, and has said nothing
        return b""


def _wait(pid: int, reader: int, timeout_s: float) -> Verdict:
    handle = os.pidfd_open(pid)
    try:
        if not select.select([handle], [], [], timeout_s)[0]:
            _end_group(pid)
            os.waitpid(pid, 0)
            return Verdict(HANG, f"still running after {timeout_s:g} s")
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        _end_group(pid)
        os.set_blocking(reader, False)
        text = _told(reader).decode("utf-8", "replace")
    finally:
        os.close(handle)
        os.close(reader)
    return verdict_of_function(status, text)


def verdict_of_function(status: int, text: str) -> Verdict:
    """Returns what the exit status (or, negative, signal) of a process that called a check amounts to, and what it wrote."""
    if status == 0:
        return Verdict(PASS, text)
    return Verdict(FAIL, text or (f"signal {-status}" if status < 0 else "returned False"))
