"""The guard: a small process that disarms the targets when this one dies (csrc/guard.c). Restarted if it is killed.

The thread that watches over it also holds the control block's owner lock, by which the kernel tells the targets of our death
when the guard died with us; and guard and we hold one end of a pipe, the lifeline, whose loss wakes stopped targets. At a
socket in the session's folder the guard lends the control block to targets whose /proc does not lead there (csrc/lend.c).
"""

from __future__ import annotations

import os
import select
import threading

from faultlib._core import ffi, lib
from faultlib.errors import FaultlibError
from faultlib.inject import background, door
from faultlib.inject import folder as folders
from faultlib.inject.control import ControlBlock

LENDING_BACKLOG = 128
GOODBYE_S = 0.05
"""How long `dismiss` waits for the guard before it asks again whether targets are left; with targets it stays alone."""


class Guard:
    """Keeps one guard process alive until `dismiss`."""

    def __init__(self, block: ControlBlock, folder: str) -> None:
        self._block = block
        self._place = folder
        self._folder = ffi.new("char[]", os.fsencode(folder))
        self._owner = os.pidfd_open(os.getpid())
        self._goodbye, self._say_goodbye = os.pipe2(os.O_CLOEXEC)
        block.ctl.lifeline, self._lifeline = os.pipe2(os.O_CLOEXEC)
        self._lending = door.listen(os.path.join(folder, folders.LENDING), 0o666, LENDING_BACKLOG)
        self._dismissed = False
        self._owned = threading.Event()
        self._pid, self._pidfd = self._spawn()
        self._watcher = background.start(self._watch, "faultlib-guard-watch")
        self._owned.wait()

    def _spawn(self) -> tuple[int, int]:
        descriptors = (self._owner, self._goodbye, self._lifeline, self._block.descriptor, self._lending)
        pid = lib.fl_guard_spawn(self._block.ctl, descriptors, self._folder)
        if pid < 0:
            raise FaultlibError(f"cannot start the guard process: {os.strerror(-pid)}")
        self._block.ctl.guard_pid = pid
        return pid, os.pidfd_open(pid)

    def _watch(self) -> None:
        """Somebody killed the guard: start another, so that our own death is still noticed."""
        block = self._block.ctl
        lib.fl_own(block)
        self._owned.set()
        while True:
            select.select([self._pidfd], [], [])
            lib.fl_guard_reap(self._pid)
            os.close(self._pidfd)
            if self._dismissed:
                break
            self._pid, self._pidfd = self._spawn()
        lib.fl_disown(block)

    def dismiss(self) -> None:
        """Lets the guard clean up: at once if no target is left, else as soon as the last one has ended."""
        self._dismissed = True
        os.write(self._say_goodbye, b".")
        while self._watcher.is_alive():
            self._watcher.join(GOODBYE_S)
            if self._targets_left():
                break
        if not self._watcher.is_alive() and not self._targets_left():
            folders.remove(self._place)  # in case that somebody killed the guard at this very moment
        ends = (self._owner, self._goodbye, self._say_goodbye, self._lifeline, self._block.ctl.lifeline, self._lending)
        for descriptor in ends:
            os.close(descriptor)

    def _targets_left(self) -> bool:
        return any(process.alive and process.pid for process in self._block.processes())
