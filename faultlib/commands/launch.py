"""Starting the target of a command line and standing in for it: signals go to it, its end becomes ours."""

from __future__ import annotations

import contextlib
import os
import signal

from faultlib._core import ffi, lib
from faultlib.errors import NotExecutable, SessionGone
from faultlib.inject import liveness, target
from faultlib.inject.frozen import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from faultlib.inject.session import Session
    from faultlib.report.summary import Source

FORWARDED = {
    signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
    signal.SIGTSTP,
}  # fmt: skip
WATCHED = {*FORWARDED, signal.SIGCHLD}
MOMENTS, MOMENT_S = 4, 0.1
"""How many times to look again for a process that may be coming, and how often in all."""
SPARE_DESCRIPTORS = 4
JOB_CONTROL = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class Remains(Frozen):
    """What is left of a command after its end: the processes of its launch (None: of all) that still run."""

    source: Source
    launch: int | None = None

    def pids(self) -> tuple[list[int], bool]:
        """Those that run, and whether one was forked that is not among them yet."""
        try:
            processes = self.source.processes()
        except SessionGone:  # its owner was killed: the summary says so
            return [], False
        return [process.pid for process in liveness.running(processes, self.launch)], liveness.one_is_coming(processes)


def launch(session: Session, command: Sequence[str], label: str = "", *, wait: bool = False) -> int:
    """Runs the command under the session to its end and returns its exit status, 128 + N if signal N ended it.

    With `wait`, to the end of the last process of the session. Raises CommandNotFound, NotExecutable and NotInstrumentable
    before anything is started.
    """
    return run(command, session.environment(label), target.check(command[0]), Remains(session) if wait else None)


def run(command: Sequence[str], env: Mapping[str, str], image: target.Image, remains: Remains | None = None) -> int:
    """Runs the command in an environment that has the session's link, to its end, and to that of what remains of it.

    Returns its exit status as above.
    """
    preload = image.preload(env["LD_PRELOAD"])
    _make_sure_of_descriptors()
    ignored = signal.signal(signal.SIGCHLD, signal.SIG_DFL) is signal.SIG_IGN  # that would take the status with it
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    try:
        status = _stand_in(_spawn(command, {**env, "LD_PRELOAD": preload}, mask, ignored))
        if remains:
            _outlast(remains)
        return status
    finally:
        while signal.sigtimedwait(FORWARDED, 0):  # too late for the target, and nothing to end us by
            continue
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _make_sure_of_descriptors() -> None:
    """Raises OSError now if there are too few for the report: when the command has run it is too late."""
    found: list[int] = []
    try:
        while len(found) < SPARE_DESCRIPTORS:
            found.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    finally:
        for descriptor in found:
            os.close(descriptor)


def _spawn(command: Sequence[str], env: Mapping[str, str], mask: Iterable[int], ignores_children: bool) -> int:
    file = target.find(command[0])
    words = _pointers(command)
    variables = _pointers([f"{name}={value}" for name, value in env.items()])
    blocked = sum(1 << number - 1 for number in mask)
    pid = int(lib.fl_spawn(os.fsencode(file), words[-1], variables[-1], blocked, ignores_children))
    if pid < 0:  # too many arguments, no permission for that file system ...
        raise NotExecutable(f"{command[0]}: {os.strerror(-pid).lower()}")
    return pid


def _pointers(texts: Sequence[str]) -> list[Any]:
    """Texts for C, and at the end the array of pointers to them, which needs them kept."""
    kept: list[Any] = [ffi.new("char[]", os.fsencode(text)) for text in texts]
    return [*kept, ffi.new("char *[]", [*kept, ffi.NULL])]



def _stand_in(pid: int) -> int:
    while True:
        info = signal.sigwaitinfo(WATCHED)
        if info.si_signo != signal.SIGCHLD:
            # The terminal signals the whole foreground group, the target has had it; pass on what processes send.
            if info.si_code <= 0:
                _send(pid, info.si_signo)
            continue
        done, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if done != pid:
            continue
        if os.WIFSTOPPED(status):
            if os.WSTOPSIG(status) in JOB_CONTROL:
                _stop_like(pid, os.WSTOPSIG(status))
            continue
        return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has just ended, or has become another user
        os.kill(pid, number)


def _outlast(remains: Remains) -> None:
    """Stays until nothing is left. What processes send goes on to all of them, and Ctrl-C to those that the terminal left out."""
    moments = MOMENTS
    while moments:
        pids, one_is_coming = remains.pids()
        moments = MOMENTS if pids else moments - 1 if one_is_coming else 0
        info = signal.sigtimedwait(WATCHED, MOMENT_S) if moments else None
        if info is None or info.si_signo == signal.SIGCHLD:
            continue
        if info.si_code > 0 and info.si_signo in JOB_CONTROL:
            os.kill(os.getpid(), signal.SIGSTOP)
            continue
        for pid in pids:
            if info.si_code <= 0 or not _is_of_our_group(pid):
                _send(pid, info.si_signo)


def _is_of_our_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == os.getpgrp()
    except ProcessLookupError:
        return True


def _stop_like(pid: int, number: int) -> None:
    """The target was stopped by job control: so are we, for the shell to see. Whoever wakes us alone wakes it too."""
    with_default = signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.pthread_sigmask(signal.SIG_BLOCK, {number} & WATCHED)
    signal.signal(number, with_default)
    if _is_stopped(pid):
        os.kill(pid, signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as status:
        return status.read().rpartition(")")[2].split()[0] in ("T", "t")
