"""The guard: a small process that disarms the targets when this one dies (csrc/guard.c). Restarted if it is killed."""

from __future__ import annotations

import os
import select
from pathlib import Path

from faultlib._core import ffi, lib
from faultlib.errors import FaultlibError
from faultlib.inject import background
from faultlib.inject.control import ControlBlock

GOODBYE_S = 0.1
"""How long `dismiss` waits for the guard to end; with targets still running it stays on its own."""


class Guard:
    """Keeps one guard process alive until `dismiss`."""

    def __init__(self, block: ControlBlock, folder: Path) -> None:
        self._block = block
        self._folder = ffi.new("char[]", str(folder).encode())
        self._owner = os.pidfd_open(os.getpid())
        self._goodbye, self._say_goodbye = os.pipe2(os.O_CLOEXEC)
        self._dismissed = False
        self._pid, self._pidfd = self._spawn()
        self._watcher = background.start(self._watch, "faultlib-guard-watch")

    def _spawn(self) -> tuple[int, int]:
        pid = lib.fl_guard_spawn(self._block.ctl, self._owner, self._goodbye, self._folder)
        if pid < 0:
            raise FaultlibError(f"cannot start the guard process: {os.strerror(-pid)}")
        self._block.ctl.guard_pid = pid
        return pid, os.pidfd_open(pid)

    def _watch(self) -> None:
        """Somebody killed the guard: start another, so that our own death is still noticed."""
        while True:
            select.select([self._pidfd], [], [])
            lib.fl_guard_reap(self._pid)
            os.close(self._pidfd)
            if self._dismissed:
                return
            self._pid, self._pidfd = self._spawn()

    def dismiss(self) -> None:
        """Lets the guard clean up: at once if no target is left, else as soon as the last one has ended."""
        self._dismissed = True
        os.write(self._say_goodbye, b".")
        self._watcher.join(GOODBYE_S if self._targets_left() else None)
        for descriptor in (self._owner, self._goodbye, self._say_goodbye):
            os.close(descriptor)

    def _targets_left(self) -> bool:
        busy = ("live", "exec-pending")
        return any(p.state in busy and Path(f"/proc/{p.pid}").exists() for p in self._block.processes())
