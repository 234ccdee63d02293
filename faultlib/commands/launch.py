"""Starting the target of a command line and standing in for it: signals go to it, its end becomes ours."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from faultlib.inject import target
from faultlib.inject.session import Session

FORWARDED = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH}
JOB_CONTROL = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


def launch(session: Session, command: Sequence[str], label: str = "") -> int:
    """Runs the command to its end and returns its exit status, 128 + N if signal N ended it.

    Raises CommandNotFound and NotInstrumentable before anything is started.
    """
    env = session.environment(label)
    image = target.check(command[0])
    env["LD_PRELOAD"] = ":".join([*image.preload_first, env["LD_PRELOAD"]])
    watched = {*FORWARDED, signal.SIGCHLD}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    try:
        # Python ignores SIGPIPE and SIGXFSZ for itself; a program expects the defaults.
        pid = os.posix_spawn(
            target.find(command[0]), list(command), env, setsigmask=mask, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ]
        )
        return _stand_in(pid, watched)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _stand_in(pid: int, watched: set[signal.Signals]) -> int:
    while True:
        info = signal.sigwaitinfo(watched)
        if info.si_signo != signal.SIGCHLD:
            # The terminal signals the whole foreground group, the target has had it; only pass on what a process sent us.
            if info.si_code <= 0:
                os.kill(pid, info.si_signo)
            continue
        done, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if done != pid:
            continue
        if os.WIFSTOPPED(status):
            if os.WSTOPSIG(status) in JOB_CONTROL:
                os.kill(os.getpid(), signal.SIGSTOP)
                os.kill(pid, signal.SIGCONT)
            continue
        return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
