"""Starting the target of a command line and standing in for it: signals go to it, its end becomes ours."""

from __future__ import annotations

import os
import signal

from faultlib.errors import NotExecutable
from faultlib.inject import target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from faultlib.inject.session import Session

FORWARDED = {
    signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
    signal.SIGTSTP,
}  # fmt: skip
WATCHED = {*FORWARDED, signal.SIGCHLD}
JOB_CONTROL = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


def launch(session: Session, command: Sequence[str], label: str = "") -> int:
    """Runs the command under the session to its end and returns its exit status, 128 + N if signal N ended it.

    Raises CommandNotFound and NotInstrumentable before anything is started.
    """
    return run(command, session.environment(label), target.check(command[0]))


def run(command: Sequence[str], env: Mapping[str, str], image: target.Image) -> int:
    """Runs the command in an environment that has the session's link, to its end. Returns its exit status as above."""
    preload = image.preload(env["LD_PRELOAD"])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, as some parents leave it, it would take the status with it
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    try:
        return _stand_in(_spawn(command, {**env, "LD_PRELOAD": preload}, mask))
    finally:
        while signal.sigtimedwait(FORWARDED, 0):  # too late for the target, and nothing to end us by
            continue
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _spawn(command: Sequence[str], env: Mapping[str, str], mask: Iterable[int]) -> int:
    """Python ignores SIGPIPE and SIGXFSZ for itself; a program expects the defaults."""
    file = target.find(command[0])
    try:
        return os.posix_spawn(file, list(command), env, setsigmask=mask, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
    except OSError as error:  # too many arguments, no permission for that file system ...
        raise NotExecutable(f"{command[0]}: {(error.strerror or str(error)).lower()}") from error


def _stand_in(pid: int) -> int:
    while True:
        info = signal.sigwaitinfo(WATCHED)
        if info.si_signo != signal.SIGCHLD:
            # The terminal signals the whole foreground group, the target has had it; pass on what processes send.
            if info.si_code <= 0:
                os.kill(pid, info.si_signo)
            continue
        done, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if done != pid:
            continue
        if os.WIFSTOPPED(status):
            if os.WSTOPSIG(status) in JOB_CONTROL:
                _stop_like(pid, os.WSTOPSIG(status))
            continue
        return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


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
